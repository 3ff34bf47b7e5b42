package awsoidc_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// byCode makes a browser answer authorization requests as decide says.
func byCode(t *testing.T, decide func(authorizationURL string) (callback string, err error)) func(*awsoidc.Config) {
	return func(c *awsoidc.Config) {
		c.Grant = awsoidc.GrantAuthCode
		c.Prompt = awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
			if v.Grant != awsoidc.GrantAuthCode || v.UserCode != "" || v.URI != v.URIComplete {
				t.Errorf("the person is shown %+v", v)
			}
			callback, err := decide(v.URI)
			if err == nil {
				browse(t, callback, 0)
			}
			return err
		})
	}
}

// browse fetches a callback, which is answered with a status unless that is 0.
func browse(t *testing.T, callback string, want int) {
	t.Helper()
	resp, err := http.Get(callback)
	if err != nil {
		t.Error(err)
		return
	}
	resp.Body.Close()
	if want != 0 && resp.StatusCode != want {
		t.Errorf("%s: status %d, want %d", callback, resp.StatusCode, want)
	}
}

func TestAuthCode(t *testing.T) {
	srv := idctest.New()
	var skew time.Duration
	now := func() time.Time { return time.Now().Add(skew) }
	srv.Now = now
	var seen []url.Values
	src := signedIn(t, srv, func(c *awsoidc.Config) { c.Now = now }, byCode(t, func(u string) (string, error) {
		request, err := url.Parse(u)
		if err != nil {
			return "", err
		}
		seen = append(seen, request.Query())
		return srv.ApproveAuthorization(u)
	}))
	first := bearer(t, src)
	if n := srv.Count(idctest.CreateTokenAuthorizationCode).Requests; n != 1 || len(seen) != 1 {
		t.Errorf("the code was sent %d times", n)
	}
	q := seen[0]
	if q.Get("scopes") != "sso:account:access" || q.Has("scope") || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 22 {
		t.Errorf("authorization request %v", q)
	}
	skew = 2 * time.Hour
	if bearer(t, src) == first || refreshes(srv) != 1 {
		t.Error("two hours later the session was not refreshed")
	}
	if err := src.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seen[1].Get("state") == q.Get("state") || seen[1].Get("code_challenge") == q.Get("code_challenge") {
		t.Error("state or verifier was used twice")
	}
}

func TestAuthCodeOutcomes(t *testing.T) {
	at := time.Now()
	for _, test := range []struct {
		name   string
		fault  *idctest.Fault
		decide func(*idctest.Server, string) (string, error)
		want   error
		advice string
		sent   int
	}{
		{name: "denied", decide: (*idctest.Server).DenyAuthorization, want: awsoidc.ErrAccessDenied, advice: "sign in again"},
		{name: "too late", want: awsoidc.ErrCodeExpired, advice: "within the time shown", decide: func(srv *idctest.Server, u string) (string, error) {
			callback, err := srv.ApproveAuthorization(u)
			at = at.Add(11 * time.Minute)
			return callback, err
		}},
		{name: "another issuer", advice: "another issuer", decide: func(srv *idctest.Server, u string) (string, error) {
			callback, err := srv.ApproveAuthorization(u)
			return callback + "&iss=https://evil.example", err
		}},
		{name: "unknown outcome", fault: &idctest.Fault{Status: 503}, decide: (*idctest.Server).ApproveAuthorization, advice: "works once only", sent: 1},
		{name: "code refused", fault: &idctest.Fault{Type: wire.TypeInvalidGrant}, decide: (*idctest.Server).ApproveAuthorization, advice: "sign in again", sent: 1},
		{name: "no administrator's leave", fault: &idctest.Fault{Type: wire.TypeAccessDenied}, decide: (*idctest.Server).ApproveAuthorization, want: awsoidc.ErrAccessDenied, advice: "sign in again", sent: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := idctest.New()
			if test.fault != nil {
				srv.Inject(idctest.CreateTokenAuthorizationCode, *test.fault)
			}
			src := newSource(t, srv, func(c *awsoidc.Config) { c.Now = func() time.Time { return at } },
				byCode(t, func(u string) (string, error) { return test.decide(srv, u) }))
			err := src.Login(t.Context())
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.advice) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
			if n := srv.Count(idctest.CreateTokenAuthorizationCode).Requests; n != test.sent {
				t.Errorf("the code was sent %d times, want %d", n, test.sent)
			}
		})
	}
}

func TestAuthCodeForgedFirst(t *testing.T) {
	srv := idctest.New()
	signedIn(t, srv, byCode(t, func(u string) (string, error) {
		callback, err := srv.ApproveAuthorization(u)
		forged, _, _ := strings.Cut(callback, "?")
		for range 100 {
			browse(t, forged+"?code=evil&state=evil", http.StatusBadRequest)
			browse(t, forged+"?error=access_denied", http.StatusBadRequest)
		}
		return callback, err
	}))
}

func TestAuthCodeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("interrupted")
	src := newSource(t, idctest.New(), byCode(t, func(string) (string, error) { cancel(why); return "http://127.0.0.1:1", errors.New("no browser") }))
	if err := src.Login(ctx); err == nil {
		t.Error("Login succeeded")
	}
	var at string
	src = newSource(t, idctest.New(), func(c *awsoidc.Config) {
		c.Grant = awsoidc.GrantAuthCode
		c.Prompt = awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
			u, _ := url.Parse(v.URI)
			at = u.Query().Get("redirect_uri")
			cancel(why)
			return nil
		})
	})
	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	if err := src.Login(ctx); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	src.Close()
	if _, err := http.Get(at); err == nil {
		t.Error("it still listens")
	}
}

func TestAuthCodePort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	srv := idctest.New()
	port := taken.Addr().(*net.TCPAddr).Port
	src := newSource(t, srv, func(c *awsoidc.Config) { c.RedirectPort = port }, byCode(t, srv.ApproveAuthorization))
	if err := src.Login(t.Context()); err == nil || !strings.Contains(err.Error(), "set Config.RedirectPort") {
		t.Errorf("got %v", err)
	}
	taken.Close()
	if err := src.Login(t.Context()); err != nil {
		t.Errorf("with the port free: %v", err)
	}
}

// TestAuthCodeReusesRegistration signs in on a folder with files that the AWS
// CLI wrote.
func TestAuthCodeReusesRegistration(t *testing.T) {
	for fixture, redirects := range map[string]bool{"device": false, "pkce": true} {
		dir := copyDir(t, filepath.Join("testdata", "awscli", fixture))
		store, err := cache.NewDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		srv := idctest.New()
		client := &wire.Client{Endpoint: "https://oidc.us-east-1.amazonaws.com", HTTPClient: &http.Client{Transport: srv.Transport()}}
		out, err := client.RegisterClient(t.Context(), &wire.RegisterClientInput{
			ClientName: "cli", Scopes: []string{"sso:account:access"}, RedirectURIs: []string{"http://127.0.0.1/oauth/callback"},
			GrantTypes: []string{wire.GrantAuthorizationCode, wire.GrantRefreshToken}, IssuerURL: startURL,
		})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "bc8a1afdb0f5cdc2c789b8a6cd51898e2be3c37c.json")
		editJSON(t, file, func(m map[string]any) {
			m["clientId"], m["clientSecret"] = out.ClientID, string(out.ClientSecret)
			m["expiresAt"] = time.Now().Add(80 * 24 * time.Hour).UTC().Format(time.RFC3339)
		})
		signedIn(t, srv, withStore(store), byCode(t, srv.ApproveAuthorization))
		if n := srv.Count(idctest.RegisterClient).Requests; (n == 1) != redirects {
			t.Errorf("%s: %d registrations, the first one the fixture's", fixture, n)
		}
		editJSON(t, file, func(m map[string]any) {
			if types, ok := m["grantTypes"].([]any); !ok || len(types) != 2 {
				t.Errorf("%s: grantTypes %v", fixture, m["grantTypes"])
			}
		})
	}
}
