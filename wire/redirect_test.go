package wire_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/awsoidc/awsoidc/wire"
)

// Not one byte reaches the server that a redirect points to, and not even a
// connection: for every kind of redirect, every operation, and an http.Client
// that would follow them all.
func TestRedirectsAreRefused(t *testing.T) {
	var connections atomic.Int64
	second := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the second server got a request")
	}))
	second.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	second.Start()
	defer second.Close()

	status := 0
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, second.URL+req.URL.Path, status)
	}))
	defer first.Close()

	jar, _ := cookiejar.New(nil)
	clients := map[string]*http.Client{
		"none":       nil,
		"zero":       {},
		"default":    http.DefaultClient,
		"permissive": {CheckRedirect: func(*http.Request, []*http.Request) error { return nil }, Jar: jar},
		"transport":  first.Client(),
	}
	operations := map[string]call{
		"RegisterClient":           registerClient(&wire.RegisterClientInput{ClientName: "n"}),
		"StartDeviceAuthorization": startDeviceAuthorization(deviceInput()),
		"CreateToken":              createToken(canaryInput()),
	}
	for _, status = range []int{300, 301, 302, 303, 307, 308} {
		for client, hc := range clients {
			for operation, call := range operations {
				err := call(t.Context(), &wire.Client{Endpoint: first.URL, HTTPClient: hc})
				e := asError(t, err)
				want := fmt.Sprintf("wire: %s: HTTP %d: unusable answer: a redirect to %s was refused; check the endpoint",
					operation, status, strings.TrimPrefix(second.URL, "http://"))
				if !errors.Is(err, wire.ErrResponse) || e.StatusCode != status || err.Error() != want {
					t.Errorf("%s client: %v, want %s", client, err, want)
				}
			}
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections to the second server", n)
	}
}

// Cookies are neither sent nor kept.
func TestNoCookies(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if c := req.Header.Get("Cookie"); c != "" {
			t.Errorf("a cookie was sent: %s", c)
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "x", Path: "/"})
		w.WriteHeader(400)
	}))
	defer server.Close()
	jar, _ := cookiejar.New(nil)
	c := &wire.Client{Endpoint: server.URL, HTTPClient: &http.Client{Jar: jar}}
	for range 2 {
		asError(t, createToken(refreshInput())(t.Context(), c))
	}
}
