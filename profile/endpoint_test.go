package profile_test

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
)

const endpointConfig = ssoConfig + `
[services local]
sso =
  endpoint_url = http://127.0.0.1:1001
sso_oidc =
  endpoint_url = http://127.0.0.1:1002

[profile services]
sso_session = corp
services = local

[profile both]
sso_session = corp
services = local
endpoint_url = http://127.0.0.1:1003

[profile common]
sso_session = corp
endpoint_url = http://localhost:1004/

[profile ignored]
sso_session = corp
services = local
endpoint_url = http://127.0.0.1:1003
ignore_configured_endpoint_urls = true

[profile fips]
sso_session = corp
use_fips_endpoint = true

[profile dual]
sso_session = corp
use_dualstack_endpoint = true
`

// The SDK's clients decide which endpoints are configured.
func TestEndpointsAgreeWithSDK(t *testing.T) {
	newHome(t, endpointConfig)
	environments := []map[string]string{
		{},
		{"AWS_ENDPOINT_URL": "http://127.0.0.1:2001"},
		{"AWS_ENDPOINT_URL": ""},
		{"AWS_ENDPOINT_URL_SSO": "http://127.0.0.1:2002"},
		{"AWS_ENDPOINT_URL_SSO_OIDC": "http://[::1]:2003"},
		{"AWS_ENDPOINT_URL": "http://127.0.0.1:2001", "AWS_ENDPOINT_URL_SSO": "https://sso.example.com", "AWS_ENDPOINT_URL_SSO_OIDC": "https://oidc.example.com"},
		{"AWS_ENDPOINT_URL": "http://127.0.0.1:2001", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
		{"AWS_ENDPOINT_URL_SSO": "http://127.0.0.1:2002", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"},
	}
	for _, name := range []string{"dev", "services", "both", "common", "ignored"} {
		for _, env := range environments {
			t.Run(name, func(t *testing.T) {
				for name, value := range env {
					t.Setenv(name, value)
				}
				p, err := profile.Load(t.Context(), profile.Options{Profile: name})
				if err != nil {
					t.Fatal(err)
				}
				cfg, err := config.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile(name))
				if err != nil {
					t.Fatal(err)
				}
				want := awsoidc.Endpoints{
					OIDC:   strings.TrimRight(aws.ToString(ssooidc.NewFromConfig(cfg).Options().BaseEndpoint), "/"),
					Portal: strings.TrimRight(aws.ToString(sso.NewFromConfig(cfg).Options().BaseEndpoint), "/"),
				}
				if p.Endpoints != want {
					t.Errorf("with %v: got %+v, the SDK's are %+v", env, p.Endpoints, want)
				}
				if got, err := profile.Endpoints(t.Context(), cfg, "us-east-1"); err != nil || got != want {
					t.Errorf("Endpoints with %v: got %+v and %v, the SDK's are %+v", env, got, err, want)
				}
			})
		}
	}
}

func TestEndpointVariants(t *testing.T) {
	newHome(t, endpointConfig)
	fips := awsoidc.Endpoints{OIDC: "https://oidc-fips.us-east-1.amazonaws.com", Portal: "https://portal.sso-fips.us-east-1.amazonaws.com"}
	dual := awsoidc.Endpoints{OIDC: "https://oidc.us-east-1.api.aws", Portal: "https://portal.sso.us-east-1.api.aws"}
	check := func(name string, want awsoidc.Endpoints) {
		t.Helper()
		p, err := profile.Load(t.Context(), profile.Options{Profile: name})
		if err != nil {
			t.Error(err)
		} else if p.Endpoints != want {
			t.Errorf("%s: got %+v, want %+v", name, p.Endpoints, want)
		}
	}
	check("fips", fips)
	check("dual", dual)
	t.Setenv("AWS_USE_FIPS_ENDPOINT", "true")
	check("dev", fips)
	t.Setenv("AWS_USE_FIPS_ENDPOINT", "false")
	check("fips", awsoidc.Endpoints{})
	t.Setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
	check("dev", dual)
}

func TestEndpointErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"dev", map[string]string{"AWS_ENDPOINT_URL_SSO_OIDC": "http://10.0.0.1"}, "profile: AWS_ENDPOINT_URL_SSO_OIDC: the endpoint is http on 10.0.0.1"},
		{"dev", map[string]string{"AWS_ENDPOINT_URL": "http://localhost.evil.example"}, "profile: AWS_ENDPOINT_URL: the endpoint is http on localhost.evil.example"},
		{"dev", map[string]string{"AWS_ENDPOINT_URL_SSO": "https://user:hunter2@example.com"}, "profile: AWS_ENDPOINT_URL_SSO: the endpoint "},
		{"remote", nil, "profile: [profile remote]: services: sso: endpoint_url: the endpoint is http on sso.example.com"},
	} {
		t.Run(test.want, func(t *testing.T) {
			newHome(t, endpointConfig+"[services remote]\nsso =\n  endpoint_url = http://sso.example.com\n[profile remote]\nsso_session = corp\nservices = remote\n")
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			_, err := profile.Load(t.Context(), profile.Options{Profile: test.name})
			if err == nil || !strings.HasPrefix(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
			if !errors.Is(err, awsoidc.ErrConfig) {
				t.Error("the error does not wrap awsoidc.ErrConfig")
			}
		})
	}
}

// An endpoint of one's own is neither a FIPS nor a dual-stack one: whichever way
// both are asked for, the error names the setting to remove.
func TestOwnEndpointAndVariants(t *testing.T) {
	endpoints := []struct{ variable, key, want string }{
		{"AWS_ENDPOINT_URL", "", "AWS_ENDPOINT_URL"},
		{"AWS_ENDPOINT_URL_SSO", "", "AWS_ENDPOINT_URL_SSO"},
		{"AWS_ENDPOINT_URL_SSO_OIDC", "", "AWS_ENDPOINT_URL_SSO_OIDC"},
		{"", "endpoint_url = https://sso.example.com", "[profile dev]: endpoint_url"},
		{"", "services = remote", "[profile dev]: services: sso_oidc: endpoint_url"},
	}
	variants := []struct{ variable, key string }{
		{"AWS_USE_FIPS_ENDPOINT", ""}, {"AWS_USE_DUALSTACK_ENDPOINT", ""},
		{"", "use_fips_endpoint = true"}, {"", "use_dualstack_endpoint = true"},
	}
	for _, endpoint := range endpoints {
		for _, variant := range variants {
			t.Run(endpoint.want+" "+variant.variable+variant.key, func(t *testing.T) {
				newHome(t, "[services remote]\nsso_oidc =\n  endpoint_url = https://sso.example.com\n"+
					ssoConfig+"[profile dev]\n"+endpoint.key+"\n"+variant.key+"\n")
				if endpoint.variable != "" {
					t.Setenv(endpoint.variable, "https://sso.example.com")
				}
				if variant.variable != "" {
					t.Setenv(variant.variable, "true")
				}
				want := "profile: " + endpoint.want + " can't be used together with FIPS or dual-stack endpoints: remove one of the settings"
				check := func(how string, err error) {
					t.Helper()
					if !errors.Is(err, awsoidc.ErrConfig) || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
						t.Errorf("%s:\ngot  %v\nwant %s", how, err, want)
					}
				}
				_, err := profile.Open(t.Context(), profile.Options{Profile: "dev"})
				check("Open", err)
				cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile("dev"))
				if err != nil {
					t.Fatal(err)
				}
				_, err = cfg.Credentials.Retrieve(t.Context())
				check("credentials", err)
				_, err = cfg.BearerAuthTokenProvider.RetrieveBearerToken(t.Context())
				check("token", err)
			})
		}
	}

	newHome(t, ssoConfig)
	cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile("dev"),
		config.WithBaseEndpoint("https://sso.example.com"), config.WithUseFIPSEndpoint(aws.FIPSEndpointStateEnabled))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Credentials.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "config.WithBaseEndpoint can't be used together with FIPS") {
		t.Errorf("options: %v", err)
	}
}

func TestCABundle(t *testing.T) {
	server := httptest.NewTLSServer(idctest.New())
	defer server.Close()
	server.Config.ErrorLog = nil
	home := newHome(t, ssoConfig)
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	good := write(t, filepath.Join(home, "ca.pem"), string(block))

	login := func() error {
		src, err := profile.Open(t.Context(), profile.Options{Profile: "dev", CacheDir: t.TempDir(), Prompt: awsoidc.PromptFunc(refuse)})
		if err != nil {
			return err
		}
		defer src.Close()
		return src.Login(t.Context())
	}
	t.Setenv("AWS_CA_BUNDLE", good)
	if err := login(); !errors.Is(err, errRefused) {
		t.Errorf("the certificate is not trusted: %v", err)
	}
	t.Setenv("AWS_CA_BUNDLE", write(t, filepath.Join(home, "empty.pem"), "none"))
	if err := login(); !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), "holds no certificate in PEM form") {
		t.Errorf("got %v", err)
	}
	t.Setenv("AWS_CA_BUNDLE", good+".none")
	if err := login(); !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), "AWS_CA_BUNDLE or ca_bundle: ") {
		t.Errorf("got %v", err)
	}
}

// What LoadDefaultConfig signs in with trusts the certificates of AWS_CA_BUNDLE,
// and without it does not.
func TestCABundleOfLoadDefaultConfig(t *testing.T) {
	srv := idctest.New()
	server := httptest.NewUnstartedServer(srv)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	home := newHome(t, ssoConfig)
	saveSession(t, home, "corp", srv, "https://d-1234567890.awsapps.com/start")
	t.Setenv("AWS_ENDPOINT_URL", server.URL)
	retrieve := func() error {
		cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile("dev"))
		if err != nil {
			return err
		}
		_, err = cfg.Credentials.Retrieve(t.Context())
		return err
	}
	if err := retrieve(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	t.Setenv("AWS_CA_BUNDLE", write(t, filepath.Join(home, "ca.pem"), string(block)))
	if err := retrieve(); err != nil {
		t.Errorf("with its certificate in AWS_CA_BUNDLE: %v", err)
	}
}

// otherClient is an HTTP client of a type that only its Do method shows. It
// follows redirects.
type otherClient struct {
	client *http.Client
	calls  atomic.Int32
}

func (c *otherClient) Do(r *http.Request) (*http.Response, error) {
	c.calls.Add(1)
	return c.client.Do(r)
}

// No client of the options follows a redirect with the bearer token of the
// portal, whatever it does by itself.
func TestClientsFollowNoRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, client := range map[string]config.HTTPClient{
			"http":  &http.Client{},
			"sdk":   awshttp.NewBuildableClient(),
			"other": &otherClient{client: &http.Client{}},
		} {
			if name == "other" && status != 302 && status != 307 {
				continue // its refusals are repeated, which takes seconds
			}
			t.Run(name+http.StatusText(status), func(t *testing.T) {
				var stolen atomic.Int32
				second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stolen.Add(1) }))
				defer second.Close()
				first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					w.Header().Set("Location", second.URL+r.URL.Path)
					w.WriteHeader(status)
				}))
				defer first.Close()
				home := newHome(t, ssoConfig)
				t.Setenv("AWS_ENDPOINT_URL", first.URL)
				saveSession(t, home, "corp", idctest.New(), "https://d-1234567890.awsapps.com/start")
				cfg, err := profile.LoadDefaultConfig(t.Context(),
					config.WithSharedConfigProfile("dev"), config.WithHTTPClient(client), config.WithRetryMaxAttempts(1))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := cfg.Credentials.Retrieve(t.Context()); err == nil {
					t.Error("no error")
				}
				if n := stolen.Load(); n != 0 {
					t.Errorf("the second server got %d requests", n)
				}
				if other, ok := client.(*otherClient); ok && other.calls.Load() == 0 {
					t.Error("the client was not used")
				}
			})
		}
	}
}
