package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// What follows needs virtual time, which only a test has. The tests write their
// figures as benchmarks do, and hold this library to its own.

// figure writes a line of a benchmark.
func figure(benchmark, impl string, value float64, unit string) {
	fmt.Printf("Benchmark%s/impl=%s 1 %v %s\n", benchmark, impl, value, unit)
}

// TestDay calls for 24 hours, each second and each 30 seconds, through the
// caches that others put above a source, and counts the calls that waited. A
// refresh takes 50 ms.
func TestDay(t *testing.T) {
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	for _, above := range []struct {
		name         string
		ours, theirs func(t *testing.T) func(context.Context) error
	}{
		{"oauth2.NewClient", func(t *testing.T) func(context.Context) error {
			return newClient(virtualSource(t))
		}, func(*testing.T) func(context.Context) error {
			return newClient(&upstream{lifetime: time.Hour, latency: 50 * time.Millisecond})
		}},
		{"LoadDefaultConfig", func(t *testing.T) func(context.Context) error {
			return retrieve(t, config.WithCredentialsProvider(virtualSource(t).RoleCredentials("123456789012", "ReadOnly")))
		}, ssoProfile},
		{"WithBearerAuthTokenProvider", func(t *testing.T) func(context.Context) error {
			return bearerToken(t, virtualSource(t))
		}, func(t *testing.T) func(context.Context) error {
			return bearerToken(t, &upstream{lifetime: time.Hour, latency: 50 * time.Millisecond})
		}},
	} {
		for _, every := range []time.Duration{time.Second, 30 * time.Second} {
			day := func(impl string, get func(*testing.T) func(context.Context) error) int {
				blocked := 0
				t.Run(above.name+"/"+every.String()+"/"+impl, func(t *testing.T) {
					t.Setenv("HOME", t.TempDir())
					synctest.Test(t, func(t *testing.T) { blocked = blockedCalls(t, get(t), every) })
				})
				figure(fmt.Sprintf("Day/above=%s/every=%v", above.name, every), impl, float64(blocked), "blocked/op")
				return blocked
			}
			if n := day("awsoidc", above.ours); n > 0 {
				t.Errorf("%s, every %v: %d calls waited", above.name, every, n)
			}
			day("peer", above.theirs)
		}
	}
}

// blockedCalls returns how many calls took time, after the first.
func blockedCalls(t *testing.T, get func(context.Context) error, every time.Duration) int {
	blocked := 0
	for begin := time.Now(); time.Since(begin) < scaled(24*time.Hour, 3*time.Hour); time.Sleep(every) {
		before := time.Now()
		if err := get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if before.After(begin) && time.Since(before) > 0 {
			blocked++
		}
	}
	return blocked
}

func newClient(src oauth2.TokenSource) func(context.Context) error {
	above := oauth2.NewClient(context.Background(), src).Transport.(*oauth2.Transport).Source
	return func(context.Context) error { _, err := above.Token(); return err }
}

func retrieve(t *testing.T, options ...func(*config.LoadOptions) error) func(context.Context) error {
	cfg, err := config.LoadDefaultConfig(t.Context(), append(options, config.WithRegion("us-east-1"))...)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) error { _, err := cfg.Credentials.Retrieve(ctx); return err }
}

func bearerToken(t *testing.T, provider bearer.TokenProvider) func(context.Context) error {
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithBearerAuthTokenProvider(provider), config.WithRegion("us-east-1"))
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) error {
		_, err := cfg.BearerAuthTokenProvider.RetrieveBearerToken(ctx)
		return err
	}
}

// slowServer returns a server that answers in 50 ms.
func slowServer() *idctest.Server {
	srv := idctest.New()
	srv.SessionLifetime = 30 * 24 * time.Hour
	srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Latency: 50 * time.Millisecond})
	srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Times: idctest.Always, Latency: 50 * time.Millisecond})
	return srv
}

func virtualSource(t *testing.T) *awsoidc.TokenSource {
	srv := slowServer()
	src, err := awsoidc.New(awsoidc.Config{
		StartURL: startURL, Region: "us-east-1", SessionName: "corp",
		Store:      putSession(t, t.TempDir(), srv.Issue("sso:account:access")),
		HTTPClient: &http.Client{Transport: srv.Transport()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// ssoProfile is the AWS SDK alone, with a profile of the config file.
func ssoProfile(t *testing.T) func(context.Context) error {
	srv := slowServer()
	folder := filepath.Join(os.Getenv("HOME"), ".aws")
	putSession(t, filepath.Join(folder, "sso", "cache"), srv.Issue("sso:account:access"))
	file := filepath.Join(folder, "config")
	if err := os.WriteFile(file, []byte(configFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return retrieve(t, config.WithSharedConfigFiles([]string{file}), config.WithSharedConfigProfile("dev"),
		config.WithHTTPClient(&http.Client{Transport: srv.Transport()}))
}

// TestDevicePolling signs in while one poll of the device code meets a fault, of
// four kinds. x/oauth2 speaks to a server of RFC 8628's own format.
func TestDevicePolling(t *testing.T) {
	const timeout = 10 * time.Second
	faults := []idctest.Fault{{Status: 503}, {ResetBefore: true}, {Latency: time.Hour}, {Type: "SlowDownException"}}
	ours, theirs := 0, 0
	for _, fault := range faults {
		synctest.Test(t, func(t *testing.T) {
			srv := idctest.New()
			srv.ApproveAfter(3)
			srv.Inject(idctest.CreateTokenDeviceCode, idctest.Fault{}, fault)
			src, err := awsoidc.New(awsoidc.Config{
				StartURL: startURL, Region: "us-east-1", SessionName: "corp",
				HTTPClient: &http.Client{Transport: srv.Transport(), Timeout: timeout},
				Prompt:     awsoidc.PromptFunc(func(context.Context, awsoidc.Verification) error { return nil }),
			})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			if err := src.Login(t.Context()); err != nil {
				t.Errorf("%+v: %v", fault, err)
				return
			}
			ours++
		})
		synctest.Test(t, func(t *testing.T) {
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: rfc8628(fault), Timeout: timeout})
			conf := oauth2.Config{ClientID: "id", Endpoint: oauth2.Endpoint{TokenURL: "https://issuer.example/token", AuthStyle: oauth2.AuthStyleInParams}}
			_, err := conf.DeviceAccessToken(ctx, &oauth2.DeviceAuthResponse{DeviceCode: "code", Interval: 5, Expiry: time.Now().Add(10 * time.Minute)})
			if err == nil {
				theirs++
			}
		})
	}
	figure("DevicePolling", "awsoidc", float64(ours), "survived-of-4")
	figure("DevicePolling", "x/oauth2", float64(theirs), "survived-of-4")
}

// rfc8628 returns a service whose second answer is the fault, and whose third a
// token.
func rfc8628(fault idctest.Fault) http.RoundTripper {
	polls := 0
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		status, body := 400, `{"error":"authorization_pending"}`
		switch polls++; {
		case polls == 2 && fault.ResetBefore:
			return nil, syscall.ECONNRESET
		case polls == 2 && fault.Latency > 0:
			select {
			case <-req.Context().Done():
				return nil, req.Context().Err()
			case <-time.After(fault.Latency):
			}
		case polls == 2 && fault.Status > 0:
			status, body = fault.Status, "unavailable"
		case polls == 2:
			body = `{"error":"slow_down"}`
		case polls > 2:
			status, body = 200, `{"access_token":"token","token_type":"Bearer","expires_in":3600}`
		}
		return &http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body)), Request: req,
		}, nil
	})
}

// TestRedirect has the token endpoint, and an API, redirect to another host, and
// counts what reaches that host: a refresh token, or the access token.
func TestRedirect(t *testing.T) {
	var ours, theirs elsewhere
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		session := srv.Issue("sso:account:access")
		ours.secrets = []string{session.AccessToken, session.RefreshToken}
		hc := &http.Client{Transport: ours.around(srv.Transport())}
		src, err := awsoidc.New(awsoidc.Config{
			StartURL: startURL, Region: "us-east-1", SessionName: "corp", HTTPClient: hc,
			Store: putSession(t, t.TempDir(), session),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		src.Client("https://api.example.com").Get("https://api.example.com/x")
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{
			Times: idctest.Always, Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"https://elsewhere.example/"}},
		})
		src.Token()
	})
	synctest.Test(t, func(t *testing.T) {
		theirs.secrets = []string{"access-token", "refresh-token"}
		redirect := roundTripper(func(req *http.Request) (*http.Response, error) {
			return redirection(req), nil
		})
		ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: theirs.around(redirect)})
		conf := oauth2.Config{Endpoint: oauth2.Endpoint{TokenURL: "https://issuer.example/token", AuthStyle: oauth2.AuthStyleInParams}}
		conf.Client(ctx, &oauth2.Token{AccessToken: "access-token", Expiry: time.Now().Add(time.Hour)}).Get("https://api.example.com/x")
		conf.TokenSource(ctx, &oauth2.Token{RefreshToken: "refresh-token"}).Token()
	})
	if ours.got > 0 {
		t.Errorf("%d secrets were sent to another host", ours.got)
	}
	figure("Redirect", "awsoidc", float64(ours.got), "secrets/op")
	figure("Redirect", "x/oauth2", float64(theirs.got), "secrets/op")
}

// elsewhere counts requests to another host that have one of the secrets.
type elsewhere struct {
	secrets []string
	got     int
}

func (e *elsewhere) around(base http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		switch req.URL.Host {
		case "elsewhere.example":
			seen := req.Header.Get("Authorization")
			if req.Body != nil {
				body, err := io.ReadAll(req.Body)
				if err != nil {
					return nil, err
				}
				seen += string(body)
			}
			for _, secret := range e.secrets {
				if strings.Contains(seen, secret) {
					e.got++
				}
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
		case "api.example.com":
			return redirection(req), nil
		default:
			return base.RoundTrip(req)
		}
	})
}

func redirection(req *http.Request) *http.Response {
	return &http.Response{
		StatusCode: http.StatusTemporaryRedirect, Request: req, Body: http.NoBody,
		Header: http.Header{"Location": {"https://elsewhere.example/"}},
	}
}
