package profile_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
)

var errRefused = errors.New("refused by the test")

func refuse(context.Context, awsoidc.Verification) error { return errRefused }

// serve starts a stand-in for AWS and points all services at it.
func serve(t *testing.T) *idctest.Server {
	t.Helper()
	s := idctest.New()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	return s
}

// saveSession puts a session of s where the AWS CLI would.
func saveSession(t *testing.T, home, key string, s *idctest.Server, startURL string) {
	t.Helper()
	if err := writeSession(home, key, s.Issue("sso:account:access"), startURL); err != nil {
		t.Fatal(err)
	}
}

func writeSession(home, key string, session idctest.Session, startURL string) error {
	session.StartURL = startURL
	data, err := json.Marshal(session)
	if err != nil {
		return err
	}
	name := tokenFile(home, key)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o600)
}

func tokenFile(home, key string) string {
	sum := sha1.Sum([]byte(key))
	return filepath.Join(home, ".aws", "sso", "cache", hex.EncodeToString(sum[:])+".json")
}

// approve is the prompt of a person who approves at once.
func approve(s *idctest.Server) awsoidc.Prompter {
	return awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error { return s.Approve(v.UserCode) })
}

func TestOpenFindsTheSessionOfTheAWSCLI(t *testing.T) {
	for _, test := range []struct {
		options  profile.Options
		key      string // what the AWS CLI names the file by
		startURL string
		hint     string
	}{
		{profile.Options{Profile: "dev"}, "corp", "https://d-1234567890.awsapps.com/start", "run aws sso login --profile dev"},
		{profile.Options{SSOSession: "corp"}, "corp", "https://d-1234567890.awsapps.com/start", "run aws sso login --sso-session corp"},
		{profile.Options{Profile: "legacy"}, "https://d-0987654321.awsapps.com/start", "https://d-0987654321.awsapps.com/start", "run aws sso login --profile legacy"},
		{profile.Options{Profile: "legacy", LoginHint: "ask nicely"}, "https://d-0987654321.awsapps.com/start", "https://d-0987654321.awsapps.com/start", "ask nicely"},
		{profile.Options{StartURL: "https://x.awsapps.com/start", Region: "us-east-1"}, "https://x.awsapps.com/start", "https://x.awsapps.com/start", "call Login"},
	} {
		t.Run(test.hint, func(t *testing.T) {
			home := newHome(t, ssoConfig)
			s := serve(t)
			if test.options.Profile == "legacy" {
				s.Region = "us-west-2"
			}
			src, err := profile.Open(t.Context(), test.options)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) || !strings.Contains(err.Error(), test.hint) {
				t.Errorf("without a session: %v", err)
			}
			saveSession(t, home, test.key, s, test.startURL)
			again, err := profile.Open(t.Context(), test.options)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if _, err := again.Bearer(t.Context()); err != nil {
				t.Errorf("with a session: %v", err)
			}
		})
	}
}

func TestOpenRole(t *testing.T) {
	home := newHome(t, ssoConfig)
	s := serve(t)
	s.Accounts = []idctest.Account{{ID: "123456789012", Name: "dev", Email: "a@example.com", Roles: []string{"ReadOnly"}}}
	saveSession(t, home, "corp", s, "https://d-1234567890.awsapps.com/start")
	src, creds, err := profile.OpenRole(t.Context(), profile.Options{Profile: "dev"})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	c, err := creds.Retrieve(t.Context())
	if err != nil || !c.HasKeys() || c.AccountID != "123456789012" {
		t.Errorf("got %+v, %v", c.AccountID, err)
	}
}

// TestRegionOfTheSession has a profile that works in a region other than the
// session's: everything is asked in the latter.
func TestRegionOfTheSession(t *testing.T) {
	home := newHome(t, ssoConfig)
	s := idctest.New()
	saveSession(t, home, "corp", s, "https://d-1234567890.awsapps.com/start")
	t.Setenv("AWS_REGION", "ap-southeast-2")
	src, role, err := profile.OpenRole(t.Context(), profile.Options{Profile: "dev", HTTPClient: &http.Client{Transport: s.Transport()}, ShareRoles: true})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := role.Retrieve(t.Context()); err != nil {
		t.Error(err)
	}
	for account, err := range src.Accounts(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range src.Roles(t.Context(), account.ID) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(s.Log()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	for _, r := range s.Log() {
		if want := "portal.sso.us-east-1.amazonaws.com"; r.Host != want {
			t.Errorf("%s was asked, want %s", r.Host, want)
		}
	}
	if _, err := os.Stat(filepath.Join(home, ".aws", "cli", "cache")); err != nil {
		t.Errorf("role credentials are not where the AWS CLI keeps them: %v", err)
	}
}

func TestOpenRoleErrors(t *testing.T) {
	newHome(t, ssoConfig+"[profile account]\nsso_session = corp\nsso_account_id = 123456789012\n")
	for _, test := range []struct {
		options profile.Options
		want    string
	}{
		{profile.Options{Profile: "token"}, "config: [profile token] has no sso_account_id: add the AWS account's number"},
		{profile.Options{Profile: "account"}, "config: [profile account] has no sso_role_name: add the name of the permission set"},
		{profile.Options{SSOSession: "corp"}, "profile: role credentials need a profile that names sso_account_id and sso_role_name"},
	} {
		_, _, err := profile.OpenRole(t.Context(), test.options)
		if !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

// What the token source refuses is said with the place in the file.
func TestOpenNamesTheSection(t *testing.T) {
	newHome(t, "[profile dev]\nsso_session = corp\n[sso-session corp]\nsso_start_url = http://example.com\nsso_region = us-east-1\n")
	_, err := profile.Open(t.Context(), profile.Options{Profile: "dev"})
	if !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), "config: [sso-session corp]: sso_start_url") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestOpenWithoutHome(t *testing.T) {
	home := newHome(t, ssoConfig)
	t.Setenv("HOME", "relative")
	t.Setenv("USERPROFILE", "relative")
	_, err := profile.Open(t.Context(), profile.Options{Profile: "dev"})
	if !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), "set HOME, or Options.CacheDir") {
		t.Errorf("got %v", err)
	}
	src, err := profile.Open(t.Context(), profile.Options{Profile: "dev", CacheDir: home})
	if err != nil {
		t.Fatal(err)
	}
	src.Close()
}

// The SDK for Go itself finds the session that Login saves.
func TestLoginSavesForTheSDK(t *testing.T) {
	newHome(t, ssoConfig)
	s := serve(t)
	t.Setenv("AWS_ENDPOINT_URL_SSO", os.Getenv("AWS_ENDPOINT_URL"))
	src, err := profile.Open(t.Context(), profile.Options{Profile: "dev", Prompt: approve(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := src.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile("dev"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Credentials.Retrieve(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLogoutRemovesRolesOfTheSession has the AWS CLI keep credentials for every
// profile: those that the session gave go with it.
func TestLogoutRemovesRolesOfTheSession(t *testing.T) {
	const dev = `{"accountId":"123456789012","roleName":"ReadOnly","sessionName":"corp"}`
	const second = `{"accountId":"123456789012","roleName":"Second","sessionName":"corp"}`
	const other = `{"accountId":"123456789012","roleName":"ReadOnly","sessionName":"other"}`
	const legacy = `{"accountId":"210987654321","roleName":"Admin","startUrl":"https://d-0987654321.awsapps.com/start"}`
	for _, test := range []struct {
		options profile.Options
		kept    []string
	}{
		{profile.Options{Profile: "token", ShareRoles: true}, []string{other, legacy}},
		{profile.Options{SSOSession: "corp", ShareRoles: true}, []string{other, legacy}},
		{profile.Options{Profile: "legacy", ShareRoles: true}, []string{dev, second, other}},
		{profile.Options{Profile: "dev"}, []string{dev, second, other, legacy}},
		{profile.Options{StartURL: "https://d-0987654321.awsapps.com/start", Region: "us-west-2", ShareRoles: true}, []string{dev, second, other, legacy}},
	} {
		home := newHome(t, ssoConfig+"\n[profile second]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Second\n"+
			"\n[profile other]\nsso_session = other\nsso_account_id = 123456789012\nsso_role_name = ReadOnly\n")
		serve(t)
		name := func(key string) string {
			sum := sha1.Sum([]byte(key))
			return filepath.Join(home, ".aws", "cli", "cache", hex.EncodeToString(sum[:])+".json")
		}
		for _, key := range []string{dev, second, other, legacy} {
			write(t, name(key), `{"ProviderType": "sso", "Credentials": {}}`)
		}
		src, err := profile.Open(t.Context(), test.options)
		if err != nil {
			t.Fatal(err)
		}
		if err := src.Logout(t.Context()); err != nil {
			t.Errorf("Logout: %v", err)
		}
		src.Close()
		for _, key := range []string{dev, second, other, legacy} {
			if _, err := os.Stat(name(key)); (err == nil) != slices.Contains(test.kept, key) {
				t.Errorf("%+v: %s: %v", test.options, key, err)
			}
		}
	}
}

func TestRedirectPort(t *testing.T) {
	newHome(t, ssoConfig)
	s := serve(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	options := profile.Options{Profile: "dev", Grant: awsoidc.GrantAuthCode, RedirectPort: l.Addr().(*net.TCPAddr).Port}
	options.Prompt = awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
		callback, err := s.ApproveAuthorization(v.URI)
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("http://127.0.0.1:%d/", options.RedirectPort); !strings.HasPrefix(callback, want) {
			t.Errorf("the browser is sent to %s, want %s", callback, want)
		}
		resp, err := http.Get(callback)
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	src, err := profile.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if err := src.Login(t.Context()); err == nil || !strings.Contains(err.Error(), "set RedirectPort to another") {
		t.Errorf("with the port taken: %v", err)
	}
	l.Close()
	if err := src.Login(t.Context()); err != nil {
		t.Errorf("with the port free: %v", err)
	}
	options.RedirectPort = 65536
	if _, err := profile.Open(t.Context(), options); !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), "Options.RedirectPort = 65536") {
		t.Errorf("got %v", err)
	}
}
