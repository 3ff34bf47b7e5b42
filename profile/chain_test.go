package profile_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/smithy-go/auth/bearer"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
)

// assumed is one AssumeRole request.
type assumed struct {
	form   url.Values
	signed string // the access key and region that signed it
}

// roles answers AssumeRole with the role's ARN as access key, and leaves the
// rest to the stand-in for the sign-in.
type roles struct {
	next http.Handler
	mu   sync.Mutex
	got  []assumed
}

func (h *roles) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		h.next.ServeHTTP(w, r)
		return
	}
	r.ParseForm()
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	parts := strings.Split(scope, "/") // key, date, region, service, …
	h.mu.Lock()
	h.got = append(h.got, assumed{r.PostForm, parts[0] + " " + parts[len(parts)-3]})
	h.mu.Unlock()
	_, name, _ := strings.Cut(r.PostForm.Get("RoleArn"), "role/")
	fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
		<AssumedRoleUser><Arn>arn:aws:sts::111111111111:assumed-role/%[1]s/s</Arn><AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>
		<Credentials><AccessKeyId>ASIA%[1]s</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
		<Expiration>%[2]s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`, name, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

const chainConfig = ssoConfig + `
[profile two]
role_arn = arn:aws:iam::222222222222:role/Two
source_profile = one
region = ap-northeast-1
role_session_name = second
duration_seconds = 1800

[profile one]
role_arn = arn:aws:iam::111111111111:role/One
source_profile = dev
external_id = external
mfa_serial = arn:aws:iam::111111111111:mfa/me
role_session_name = first
duration_seconds = 900
`

func TestAssumeRoleChain(t *testing.T) {
	home := newHome(t, chainConfig)
	s := idctest.New()
	sts := &roles{next: s}
	server := httptest.NewServer(sts)
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	saveSession(t, home, "corp", s, "https://d-1234567890.awsapps.com/start")

	cached := false
	cfg, err := profile.LoadDefaultConfig(t.Context(),
		config.WithSharedConfigProfile("two"),
		config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) {
			o.TokenProvider = func() (string, error) { return "123456", nil }
		}),
		config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) { cached = true }),
	)
	if err != nil {
		t.Fatal(err)
	}
	if !cached {
		t.Error("the caller's cache options were not used")
	}
	c, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.AccessKeyID != "ASIATwo" {
		t.Errorf("the credentials are those of %s", c.AccessKeyID)
	}
	if len(sts.got) != 2 {
		t.Fatalf("got %d AssumeRole requests", len(sts.got))
	}
	role := s.Count(idctest.GetRoleCredentials)
	if role.Succeeded != 1 {
		t.Errorf("GetRoleCredentials: %+v", role)
	}
	first, second := sts.got[0], sts.got[1]
	check := func(form url.Values, key, want string) {
		t.Helper()
		if got := form.Get(key); got != want {
			t.Errorf("%s of %s is %q, want %q", key, form.Get("RoleArn"), got, want)
		}
	}
	check(first.form, "RoleArn", "arn:aws:iam::111111111111:role/One")
	check(first.form, "ExternalId", "external")
	check(first.form, "SerialNumber", "arn:aws:iam::111111111111:mfa/me")
	check(first.form, "TokenCode", "123456")
	check(first.form, "RoleSessionName", "first")
	check(first.form, "DurationSeconds", "900")
	check(second.form, "RoleArn", "arn:aws:iam::222222222222:role/Two")
	check(second.form, "ExternalId", "")
	check(second.form, "SerialNumber", "")
	check(second.form, "RoleSessionName", "second")
	check(second.form, "DurationSeconds", "1800")
	if second.signed != "ASIAOne ap-northeast-1" {
		t.Errorf("the second is signed by %s", second.signed)
	}
	if !strings.HasSuffix(first.signed, " ap-northeast-1") || strings.HasPrefix(first.signed, "ASIAOne") {
		t.Errorf("the first is signed by %s", first.signed)
	}
}

// Where the SDK takes keys although there are SSO settings, so does the chain.
func TestAssumeRoleChainFromKeys(t *testing.T) {
	newHome(t, mixedConfig)
	sts := &roles{next: http.NotFoundHandler()}
	server := httptest.NewServer(sts)
	defer server.Close()
	t.Setenv("AWS_ENDPOINT_URL_STS", server.URL)
	cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile("keys-chain-over-sso"), config.WithRegion("us-east-1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Credentials.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(sts.got) != 1 || sts.got[0].signed != "AKIDPROFILE us-east-1" {
		t.Errorf("got %v", sts.got)
	}
}

// As with the SDK, a chain that needs a code and has no one to ask does not load.
func TestAssumeRoleChainWithoutTokenProvider(t *testing.T) {
	newHome(t, chainConfig)
	_, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile("two"))
	var want config.AssumeRoleTokenProviderNotSetError
	if !errors.As(err, &want) {
		t.Errorf("got %v", err)
	}
}

// One session serves credentials and bearer token, and the caller's HTTP
// client and cache options are used for both.
func TestBearerToken(t *testing.T) {
	home := newHome(t, ssoConfig)
	s := idctest.New()
	saveSession(t, home, "corp", s, "https://d-1234567890.awsapps.com/start")
	var options bearer.TokenCacheOptions
	cfg, err := profile.LoadDefaultConfig(t.Context(),
		config.WithSharedConfigProfile("dev"),
		config.WithHTTPClient(&http.Client{Transport: s.Transport()}),
		config.WithBearerAuthTokenCacheOptions(func(o *bearer.TokenCacheOptions) { options = *o }),
	)
	if err != nil {
		t.Fatal(err)
	}
	token, err := cfg.BearerAuthTokenProvider.RetrieveBearerToken(t.Context())
	if err != nil || token.Value == "" || !token.CanExpire {
		t.Errorf("token: %v", err)
	}
	if options.RefreshBeforeExpires != 5*time.Minute || options.RetrieveBearerTokenTimeout != 30*time.Second {
		t.Errorf("the cache's options are %+v, not the SDK's", options)
	}
	if _, err := cfg.Credentials.Retrieve(t.Context()); err != nil {
		t.Error(err)
	}
	for _, entry := range s.Log() {
		if want := "portal.sso.us-east-1.amazonaws.com"; entry.Host != want { // not the profile's eu-west-1
			t.Errorf("a request went to %s, want %s", entry.Host, want)
		}
	}
	if s.Count(idctest.GetRoleCredentials).Succeeded != 1 {
		t.Error("the caller's HTTP client was not used")
	}
}

// Names of cache files are SHA-1, which a FIPS 140-3 process refuses.
func TestFIPS(t *testing.T) {
	if os.Getenv("GODEBUG") != "fips140=only" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFIPS") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	newHome(t, ssoConfig)
	for _, name := range []string{"dev", "legacy", "chain"} {
		cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cfg.Credentials.Retrieve(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
