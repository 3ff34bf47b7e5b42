package awsoidc_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
	"github.com/awsoidc/awsoidc/prompt"
)

// The programs of README.md, letter for letter, and their tests.

// get signs a person in, unless they are, and calls an HTTP API as them.
func get(ctx context.Context, url string) ([]byte, error) {
	src, err := profile.Open(ctx, profile.Options{
		Profile: "dev",
		Prompt:  prompt.Terminal(os.Stderr),
	})
	if err != nil {
		return nil, err
	}
	defer src.Close()

	_, err = src.TokenContext(ctx) // refreshes the session where that is due
	if errors.Is(err, awsoidc.ErrLoginRequired) {
		err = src.Login(ctx) // asks the person
	}
	if err != nil {
		return nil, err
	}

	resp, err := oauth2.NewClient(ctx, src).Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// whoAmI asks AWS for the caller's ARN, with whatever credentials the
// environment and the profile have.
func whoAmI(ctx context.Context) (string, error) {
	cfg, err := profile.LoadDefaultConfig(ctx) // in place of config.LoadDefaultConfig
	if err != nil {
		return "", err
	}
	caller, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return aws.ToString(caller.Arn), nil
}

// useSession lets what a service has built already act for the session's person.
func useSession(src *awsoidc.TokenSource, cfg *aws.Config, client *http.Client) {
	cfg.Credentials = aws.NewCredentialsCache(src.RoleCredentials("123456789012", "ReadOnly"))
	client.Transport = src.Client("https://api.example.com").Transport // no other host sees the token
}

// A verifier checks a JWT's signature, issuer, audience and expiry, and says
// whose it is.
type verifier func(ctx context.Context, jwt string) (awsoidc.Subject, error)

// whoAsks answers with the ARN under which AWS knows the user of a request.
func whoAsks(ex *awsoidc.Exchanger, client *sts.Client, verify verifier) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, jwt, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		user, err := verify(r.Context(), jwt)
		if err != nil {
			http.Error(w, "sign in", http.StatusUnauthorized)
			return
		}
		creds := ex.Identity(user, awsoidc.JWT(jwt)).Credentials(awsoidc.Role{ARN: "arn:aws:iam::123456789012:role/reports"})
		caller, err := client.GetCallerIdentity(r.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
			o.Credentials = creds // one client and one Exchanger serve all users
		})
		switch {
		case errors.Is(err, awsoidc.ErrReauthRequired):
			http.Error(w, "sign in again", http.StatusUnauthorized)
		case err != nil:
			http.Error(w, "AWS did not answer as expected", http.StatusBadGateway)
		default:
			io.WriteString(w, aws.ToString(caller.Arn))
		}
	}
}

func TestSignedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no real time passes
		idc := idctest.New()
		src, err := awsoidc.New(awsoidc.Config{
			StartURL:    "https://d-1234567890.awsapps.com/start",
			Region:      "us-east-1",
			SessionName: "test",
			HTTPClient:  &http.Client{Transport: idc.Transport()}, // nothing leaves the process
			Prompt: awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
				return idc.Approve(v.UserCode)
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		if err := src.Login(t.Context()); err != nil {
			t.Fatal(err)
		}

		idc.RevokeSessions()
		time.Sleep(2 * time.Hour) // the token has expired
		if _, err := src.Token(); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired", err)
		}
	})
}

func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for text := string(readme); ; blocks++ {
		_, rest, found := strings.Cut(text, "\n```go\n")
		if !found {
			break
		}
		block, rest, _ := strings.Cut(rest, "```")
		if !strings.Contains(string(source), "\n"+block) {
			t.Errorf("not in readme_test.go as README.md has it:\n%s", block)
		}
		text = rest
	}
	if blocks != 5 {
		t.Errorf("README.md has %d programs, want 5", blocks)
	}
}

func TestREADMEGet(t *testing.T) {
	idc := readmeMachine(t)
	idc.ApproveAfter(0)
	body, err := get(t.Context(), os.Getenv("AWS_ENDPOINT_URL")+"/userinfo")
	if err != nil || !strings.Contains(string(body), `"sub":"jane.doe@example.com"`) {
		t.Errorf("got %s, %v", body, err)
	}
	if _, err := get(t.Context(), os.Getenv("AWS_ENDPOINT_URL")+"/userinfo"); err != nil {
		t.Error(err)
	}
	if n := idc.Count(idctest.StartDeviceAuthorization).Requests; n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

func TestREADMEWhoAmI(t *testing.T) {
	idc := readmeMachine(t)
	record, err := json.Marshal(idc.Issue("sso:account:access"))
	if err != nil {
		t.Fatal(err)
	}
	name := sha1.Sum([]byte("corp"))
	folder := filepath.Join(os.Getenv("HOME"), ".aws", "sso", "cache")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, hex.EncodeToString(name[:])+".json"), record, 0o600); err != nil {
		t.Fatal(err)
	}
	if arn, err := whoAmI(t.Context()); err != nil || !strings.HasPrefix(arn, "arn:aws:sts::123456789012:assumed-role/") {
		t.Errorf("got %s, %v", arn, err)
	}
}

// readmeMachine serves a fake service, and gives the process a home folder and
// an environment for it.
func readmeMachine(t *testing.T) *idctest.Server {
	t.Helper()
	idc := idctest.New()
	server := httptest.NewServer(idc)
	t.Cleanup(server.Close)
	home := t.TempDir()
	config := filepath.Join(home, "config")
	text := fmt.Sprintf("[sso-session corp]\nsso_start_url = %s\nsso_region = us-east-1\nsso_registration_scopes = sso:account:access\n\n"+
		"[profile dev]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = ReadOnly\nregion = us-east-1\n", startURL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // restored in the end
			os.Unsetenv(name)
		}
	}
	for name, value := range map[string]string{
		"HOME": home, "USERPROFILE": home, "AWS_PROFILE": "dev", "AWS_CONFIG_FILE": config,
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "none"), "AWS_ENDPOINT_URL": server.URL,
	} {
		t.Setenv(name, value)
	}
	return idc
}

func TestREADMEUseSession(t *testing.T) {
	idc, src := signedInOnce()
	cfg := aws.Config{Region: "us-east-1", HTTPClient: &http.Client{Transport: idc.Transport()}}
	client := &http.Client{}
	useSession(src, &cfg, client)
	if _, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
	resp, err := client.Get("https://api.example.com/userinfo")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the API answered %s", resp.Status)
	}
}

func TestREADMEWhoAsks(t *testing.T) {
	w := newWorkplace()
	defer w.Close()
	verify := func(_ context.Context, jwt string) (awsoidc.Subject, error) {
		name, forged := strings.CutPrefix(jwt, "forged ")
		if forged {
			return awsoidc.Subject{}, errors.New(name + " did not sign in")
		}
		return awsoidc.Subject{Issuer: w.issuer.URL, ID: "jane"}, nil
	}
	handler := whoAsks(w.Exchanger, sts.NewFromConfig(w.aws), verify)
	ask := func(jwt string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+jwt)
		answer := httptest.NewRecorder()
		handler(answer, r)
		return answer
	}
	for range 2 {
		if a := ask(w.signIn("jane")); a.Code != http.StatusOK || !strings.HasPrefix(a.Body.String(), "arn:aws:sts::123456789012:assumed-role/reports/") {
			t.Errorf("%d %s", a.Code, a.Body)
		}
	}
	if n := exchanges(w.idc); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
	if a := ask("forged jane"); a.Code != http.StatusUnauthorized {
		t.Errorf("a token that does not verify: %d", a.Code)
	}
	if err := w.Forget(t.Context(), awsoidc.Subject{Issuer: w.issuer.URL, ID: "jane"}); err != nil {
		t.Error(err)
	}
	if a := ask(w.issuer.Sign(map[string]any{"sub": "jane", "aud": "another"})); a.Code != http.StatusUnauthorized {
		t.Errorf("a token for another audience: %d", a.Code)
	}
	if a := ask(w.signIn("joe")); a.Code != http.StatusBadGateway {
		t.Errorf("another's token: %d", a.Code)
	}
}
