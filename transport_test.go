package awsoidc_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// api is a resource server that remembers what it was sent.
type api struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []string // Authorization headers
	bodies []string
}

func newAPI(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.seen = append(a.seen, r.Header.Get("Authorization"))
		a.bodies = append(a.bodies, string(body))
		n := len(a.seen)
		a.mu.Unlock()
		answer(n, w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func ok(int, http.ResponseWriter, *http.Request) {}

// realNetwork makes the source reach srv in memory, and everything else over
// the network.
func realNetwork(srv *idctest.Server) func(*awsoidc.Config) {
	return func(c *awsoidc.Config) {
		c.HTTPClient = &http.Client{Transport: split{srv.Transport()}}
	}
}

type split struct{ service http.RoundTripper }

func (s split) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Host, "amazonaws.com") {
		return s.service.RoundTrip(r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestClientSendsTheTokenToItsOriginsOnly(t *testing.T) {
	srv := idctest.New()
	src := issued(t, srv, realNetwork(srv))
	foreign := newAPI(t, ok)
	mine := newAPI(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			http.Redirect(w, r, foreign.URL+"/target", http.StatusTemporaryRedirect)
		}
	})
	client := src.Client(mine.URL)

	resp, err := client.Get(mine.URL + "/x")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := "Bearer " + bearer(t, src); mine.seen[0] != want {
		t.Error("the token was not sent to its origin")
	}

	resp, err = client.Get(mine.URL + "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if len(foreign.seen) != 1 || foreign.seen[0] != "" {
		t.Error("the token was sent to a redirect's host")
	}

	if _, err = client.Get(foreign.URL); err == nil || !strings.Contains(err.Error(), "not bound to") {
		t.Errorf("a foreign origin: %v", err)
	}
	if len(foreign.seen) != 1 {
		t.Error("a request reached a foreign origin")
	}
	request, _ := http.NewRequest("GET", mine.URL, nil)
	if resp, err = client.Do(request); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if request.Header.Get("Authorization") != "" {
		t.Error("the caller's request was changed")
	}
}

func TestClientRefusesBadOrigins(t *testing.T) {
	srv := idctest.New()
	src := issued(t, srv)
	for _, bad := range []string{"http://10.0.0.1", "http://localhost.evil.example", "https://user@host", "https://host/path", "ftp://host", "host", ""} {
		_, err := src.Client(bad).Get("https://host/")
		if !errors.Is(err, awsoidc.ErrConfig) {
			t.Errorf("origin %q: %v", bad, err)
		}
	}
	if _, err := src.Client().Get("https://host/"); err == nil {
		t.Error("a client without origins sent a request")
	}
}

func TestClientAfter401(t *testing.T) {
	unauthorized := func(until int) func(int, http.ResponseWriter, *http.Request) {
		return func(n int, w http.ResponseWriter, _ *http.Request) {
			if n <= until {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}
	}
	t.Run("once", func(t *testing.T) {
		srv := idctest.New()
		mine := newAPI(t, unauthorized(1))
		src := issued(t, srv, realNetwork(srv))
		resp, err := src.Client(mine.URL).Post(mine.URL, "text/plain", bytes.NewReader([]byte("body")))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("got %v, %v", resp, err)
		}
		resp.Body.Close()
		if len(mine.seen) != 2 || mine.seen[0] == mine.seen[1] || mine.bodies[1] != "body" {
			t.Errorf("the request was not sent again with a new token: %d requests, body %q", len(mine.seen), mine.bodies)
		}
	})
	t.Run("always", func(t *testing.T) {
		srv := idctest.New()
		mine := newAPI(t, unauthorized(1000))
		src := issued(t, srv, realNetwork(srv))
		client := src.Client(mine.URL)
		for range 100 {
			resp, err := client.Get(mine.URL)
			if err != nil || resp.StatusCode != 401 {
				t.Fatalf("got %v, %v", resp, err)
			}
			resp.Body.Close()
		}
		if n := refreshes(srv); n != 1 {
			t.Errorf("%d refreshes for a hundred 401s, want 1", n)
		}
		if len(mine.seen) != 101 {
			t.Errorf("%d requests, want 101", len(mine.seen))
		}
	})
	t.Run("body that can't be replayed", func(t *testing.T) {
		srv := idctest.New()
		mine := newAPI(t, unauthorized(1))
		src := issued(t, srv, realNetwork(srv))
		resp, err := src.Client(mine.URL).Post(mine.URL, "text/plain", io.MultiReader(strings.NewReader("body")))
		if err != nil || resp.StatusCode != 401 {
			t.Fatalf("got %v, %v", resp, err)
		}
		resp.Body.Close()
		if len(mine.seen) != 1 {
			t.Errorf("%d requests, want 1", len(mine.seen))
		}
	})
}

func TestTwoOAuth2ClientsAroundOneSource(t *testing.T) {
	srv := idctest.New()
	mine := newAPI(t, ok)
	src := issued(t, srv)
	var users sync.WaitGroup
	for range 2 {
		client := oauth2.NewClient(t.Context(), src)
		for range 8 {
			users.Go(func() {
				for range 20 {
					resp, err := client.Get(mine.URL)
					if err != nil {
						t.Error(err)
						return
					}
					resp.Body.Close()
				}
			})
		}
	}
	users.Wait()
}

func TestRedirectsOfTheServiceAreRefused(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			var other countingTransport
			src := newSource(t, srv, func(c *awsoidc.Config) {
				c.HTTPClient = &http.Client{
					Transport:     byHost{"evil.example": &other, "": srv.Transport()},
					CheckRedirect: func(*http.Request, []*http.Request) error { return nil },
				}
			})
			if err := src.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			elsewhere := idctest.Fault{Times: idctest.Always, Status: status, Header: http.Header{"Location": {"https://evil.example/"}}}
			srv.Inject(idctest.AnyOperation, elsewhere)
			if _, err := src.RoleCredentials(account, "ReadOnly").Retrieve(t.Context()); err == nil {
				t.Errorf("%d: the portal's redirect was followed", status)
			}
			src.Invalidate(bearer(t, src))
			if _, err := src.Token(); err == nil {
				t.Errorf("%d: a refresh's redirect was followed", status)
			}
			if err := src.Login(t.Context()); err == nil {
				t.Errorf("%d: a sign-in's redirect was followed", status)
			}
			if other.requests != 0 {
				t.Errorf("%d: %d requests reached the other server", status, other.requests)
			}
		})
	}
}

type byHost map[string]http.RoundTripper

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := b[r.URL.Hostname()]; t != nil {
		return t.RoundTrip(r)
	}
	return b[""].RoundTrip(r)
}

type countingTransport struct{ requests int }

func (c *countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests++
	return nil, errors.New("nobody is here")
}
