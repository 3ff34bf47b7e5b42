package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
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
	port, free := takePort(t)
	srv := idctest.New()
	src := newSource(t, srv, func(c *awsoidc.Config) { c.RedirectPort = port }, byCode(t, srv.ApproveAuthorization))
	err := src.Login(t.Context())
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("on port %d", port)) || !strings.Contains(err.Error(), "set RedirectPort to another") {
		t.Errorf("got %v", err)
	}
	free()
	if err := src.Login(t.Context()); err != nil {
		t.Errorf("with the port free: %v", err)
	}
}

// takePort takes a port of 127.0.0.1.
func takePort(t *testing.T) (port int, free func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port, func() { l.Close() }
}

// A chooser is a Prompter that chooses the authorization code grant.
type chooser struct{ awsoidc.Prompter }

func (chooser) ChooseGrant() (awsoidc.Grant, string) {
	return awsoidc.GrantAuthCode, "a browser can be opened"
}

// TestGrantAutoWithoutThePort takes the device grant instead, and says why.
func TestGrantAutoWithoutThePort(t *testing.T) {
	port, free := takePort(t)
	srv := idctest.New()
	srv.ApproveAfter(0)
	var shown []awsoidc.Verification
	src := newSource(t, srv, func(c *awsoidc.Config) {
		c.RedirectPort = port
		c.Prompt = chooser{awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
			shown = append(shown, v)
			if v.Grant == awsoidc.GrantAuthCode {
				callback, err := srv.ApproveAuthorization(v.URI)
				browse(t, callback, http.StatusOK)
				return err
			}
			return nil
		})}
	})
	if err := src.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := shown[0]; v.Grant != awsoidc.GrantDevice || v.UserCode == "" || v.Reason != fmt.Sprintf("a browser can't come back to this program on port %d", port) {
		t.Errorf("the person is shown %+v", v)
	}
	free()
	if err := src.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := shown[1]; v.Grant != awsoidc.GrantAuthCode || v.Reason != "a browser can be opened" {
		t.Errorf("with the port free the person is shown %+v", v)
	}
}

// TestCodeThatWasSentIsNotAbandoned has the caller give up while the code is at
// the token endpoint: the session is saved all the same.
func TestCodeThatWasSentIsNotAbandoned(t *testing.T) {
	srv, store := idctest.New(), newLRU(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	gaveUp := make(chan struct{})
	src := newSource(t, srv, withStore(store), byCode(t, srv.ApproveAuthorization), func(c *awsoidc.Config) {
		to := c.HTTPClient.Transport
		c.HTTPClient = &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/token" {
				cancel(why)
				<-gaveUp
			}
			return to.RoundTrip(req)
		})}
	})
	if err := src.Login(ctx); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	close(gaveUp)
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	bearer(t, newSource(t, srv, withStore(store)))
	if n := srv.Count(idctest.CreateTokenAuthorizationCode).Requests; n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
}

const registrationFile = "bc8a1afdb0f5cdc2c789b8a6cd51898e2be3c37c.json"

// cliFolder is a folder with files that the AWS CLI wrote, whose registration
// is one of srv.
func cliFolder(t *testing.T, srv *idctest.Server, fixture string) (store *cache.Dir, file string) {
	t.Helper()
	dir := copyDir(t, filepath.Join("testdata", "awscli", fixture))
	store, err := cache.NewDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	client := &wire.RegisterClientInput{ClientName: "cli", Scopes: []string{"sso:account:access"}}
	if fixture == "pkce" {
		client.RedirectURIs = []string{"http://127.0.0.1/oauth/callback"}
		client.GrantTypes = []string{wire.GrantAuthorizationCode, wire.GrantRefreshToken}
		client.IssuerURL = startURL
	}
	service := &wire.Client{Endpoint: "https://oidc.us-east-1.amazonaws.com", HTTPClient: &http.Client{Transport: srv.Transport()}}
	out, err := service.RegisterClient(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, registrationFile)
	editJSON(t, file, func(m map[string]any) {
		m["clientId"], m["clientSecret"] = out.ClientID, string(out.ClientSecret)
		m["expiresAt"] = time.Now().Add(80 * 24 * time.Hour).UTC().Format(time.RFC3339)
	})
	return store, file
}

// TestRegistrationOfTheAWSCLI signs in by either grant where the AWS CLI has a
// registration in either form, and where it is not what it should be.
func TestRegistrationOfTheAWSCLI(t *testing.T) {
	set := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) { m[name] = value }
	}
	ends := func(in time.Duration) func(map[string]any) {
		return func(m map[string]any) { m["expiresAt"] = time.Now().Add(in).UTC().Format(time.RFC3339) }
	}
	remove := func(name string) func(map[string]any) {
		return func(m map[string]any) { delete(m, name) }
	}
	for _, test := range []struct {
		name    string
		fixture string
		edit    func(map[string]any)
		fits    bool // the grant that it is for; the other one it never does
	}{
		{name: "device", fixture: "device", fits: true},
		{name: "PKCE", fixture: "pkce", fits: true},
		{name: "member of another tool", fixture: "device", edit: set("theirs", []any{1}), fits: true},
		{name: "more grant types", fixture: "pkce", edit: set("grantTypes", []any{"refresh_token", "authorization_code", "x"}), fits: true},
		{name: "ends in an hour", fixture: "device", edit: ends(time.Hour)},
		{name: "ended", fixture: "pkce", edit: ends(-time.Hour)},
		{name: "does not say when it ends", fixture: "device", edit: remove("expiresAt")},
		{name: "odd end", fixture: "device", edit: set("expiresAt", "soon")},
		{name: "other scopes", fixture: "device", edit: set("scopes", []any{"sso:account:access", "codewhisperer:completions"})},
		{name: "no scopes", fixture: "pkce", edit: remove("scopes")},
		{name: "no refresh token grant", fixture: "pkce", edit: set("grantTypes", []any{"authorization_code"})},
		{name: "no client id", fixture: "device", edit: remove("clientId")},
		{name: "no secret", fixture: "pkce", edit: remove("clientSecret")},
		{name: "odd secret", fixture: "device", edit: set("clientSecret", "a\r\nb")},
		{name: "other types", fixture: "device", edit: set("clientId", 1)},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				store, file := cliFolder(t, srv, test.fixture)
				kept := test.fits && test.fixture == "device"
				registrationIsUsed(t, srv, file, test.edit, kept, kept, func() { signedIn(t, srv, withStore(store)) })
			})
			srv := idctest.New()
			store, file := cliFolder(t, srv, test.fixture)
			// What an older AWS CLI can use is not taken from it.
			registrationIsUsed(t, srv, file, test.edit, test.fits && test.fixture == "pkce", test.fits, func() {
				signedIn(t, srv, withStore(store), byCode(t, srv.ApproveAuthorization))
			})
		})
	}
}

// registrationIsUsed edits a registration and signs in twice: used says whether
// it serves, kept whether its file stays as it is. What is registered in its
// place must serve the second time.
func registrationIsUsed(t *testing.T, srv *idctest.Server, file string, edit func(map[string]any), used, kept bool, signIn func()) {
	t.Helper()
	if edit != nil {
		editJSON(t, file, edit)
	}
	read := func() string {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	before, registered := read(), srv.Count(idctest.RegisterClient).Requests
	signIn()
	n := srv.Count(idctest.RegisterClient).Requests - registered
	if (n == 0) != used || n > 1 {
		t.Errorf("%d registrations at the first sign-in", n)
	}
	if after := read(); (after == before) != kept {
		t.Errorf("the file holds\n%s, and held\n%s", after, before)
	}
	signIn()
	if again := srv.Count(idctest.RegisterClient).Requests - registered; again != n {
		t.Errorf("%d registrations at the second sign-in", again-n)
	}
}

// TestRegistrationOfAnotherRegion has the AWS CLI's registration for the region
// next door, under the same session name.
func TestRegistrationOfAnotherRegion(t *testing.T) {
	srv := idctest.New()
	store, file := cliFolder(t, srv, "pkce")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	src := newSource(t, srv, withStore(store), byCode(t, srv.ApproveAuthorization), func(c *awsoidc.Config) { c.Region = "us-west-2" })
	if err := src.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := srv.Count(idctest.RegisterClient).Requests; n != 2 {
		t.Errorf("%d registrations, the first one the AWS CLI's", n)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the other region's registration was changed: %v", err)
	}
}
