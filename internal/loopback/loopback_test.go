package loopback_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/internal/loopback"
)

const (
	state  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	issuer = "https://d-1234567890.awsapps.com/start"
)

func receive(t *testing.T) (*loopback.Receiver, *http.Client) {
	t.Helper()
	l, err := loopback.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	r := loopback.Receive(l, loopback.Expected{State: state, Issuers: []string{issuer}})
	t.Cleanup(r.Close)
	return r, &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get asks for a URL and checks what every answer must have.
func get(t *testing.T, c *http.Client, u string) (status int, body string) {
	t.Helper()
	resp, err := c.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	h := resp.Header
	policy := h.Get("Content-Security-Policy")
	if h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" ||
		!strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") || h.Get("Location") != "" {
		t.Errorf("%s: headers %v", u, h)
	}
	if body = string(raw); strings.Contains(body, "<script") || strings.Contains(body, "http-equiv") || strings.Contains(body, "{{") || strings.Contains(body, "canary") {
		t.Errorf("%s: the page is not static: %s", u, body)
	}
	return resp.StatusCode, body
}

func TestListensOnLoopbackAlone(t *testing.T) {
	r, c := receive(t)
	u, err := url.Parse(r.RedirectURI())
	if err != nil || u.Path != "/oauth/callback" {
		t.Fatalf("redirect URI %s", r.RedirectURI())
	}
	if a, err := netip.ParseAddrPort(u.Host); err != nil || a.Addr() != netip.MustParseAddr("127.0.0.1") && a.Addr() != netip.IPv6Loopback() {
		t.Errorf("it listens on %s", u.Host)
	}
	r.Close()
	if _, err := c.Get(r.RedirectURI()); err == nil {
		t.Error("it still listens after Close")
	}
}

// TestListensNowhereElse tries the port on other addresses of this machine,
// loopback's included: of 127.0.0.0/8 Linux and Windows have them all.
func TestListensNowhereElse(t *testing.T) {
	r, c := receive(t)
	u, err := url.Parse(r.RedirectURI())
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := c.Get(r.RedirectURI()); err != nil {
		t.Errorf("at its own address: %v", err)
	} else {
		resp.Body.Close()
	}
	for _, other := range []string{"127.0.0.1", "127.0.0.2", "127.255.255.254", "::1"} {
		if other == u.Hostname() {
			continue
		}
		if conn, err := net.Dial("tcp", net.JoinHostPort(other, u.Port())); err == nil {
			conn.Close()
			t.Errorf("it listens on %s too", other)
		}
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := loopback.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := int(netip.MustParseAddrPort(taken.Addr().String()).Port())
	if l, err := loopback.Listen(port); !errors.Is(err, loopback.ErrPortTaken) {
		t.Errorf("got %v, %v", l, err)
	}
	taken.Close()
	l, err := loopback.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestForgeries sends everything that is not the callback, a flood of it, and
// then the callback.
func TestForgeries(t *testing.T) {
	r, c := receive(t)
	at := r.RedirectURI()
	good := url.Values{"state": {state}, "code": {"the-code"}, "iss": {issuer}}.Encode()
	for i := range 300 {
		for _, query := range []string{
			"", "code=canary", fmt.Sprintf("code=canary&state=%043d", i), "error=access_denied&state=", "error=access_denied",
			"code=canary&state=" + state[1:], good + "&code=canary", good + "&state=" + state, good + "&x=1&x=2", good + "&%zz", good + ";a=b",
			"code=canary&State=" + state,
		} {
			if status, page := get(t, c, at+"?"+query); status != 400 || !strings.Contains(page, "was not used") {
				t.Fatalf("%s: %d %s", query, status, page)
			}
			if i > 0 && i%12 != 0 {
				break
			}
		}
	}
	base := strings.TrimSuffix(at, loopback.Path)
	for _, path := range []string{"/", loopback.Path + "/", "/oauth/%63allback", "//oauth/callback", "/favicon.ico"} {
		if status, _ := get(t, c, base+path+"?"+good); status != 404 {
			t.Errorf("%s: status %d", path, status)
		}
	}
	for _, method := range []string{"POST", "HEAD", "OPTIONS", "PUT"} {
		req, _ := http.NewRequest(method, at+"?"+good, nil)
		resp, err := c.Do(req)
		if err != nil || resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET" {
			t.Errorf("%s: %v, %v", method, resp, err)
		}
		resp.Body.Close()
	}
	port := at[strings.LastIndex(base, ":"):len(base)]
	for _, host := range []string{"evil.example", "localhost" + port, "127.0.0.1", "127.0.0.1:1", "evil.example" + port} {
		req, _ := http.NewRequest("GET", at+"?"+good, nil)
		req.Host = host
		resp, err := c.Do(req)
		if err != nil || resp.StatusCode != 400 {
			t.Errorf("host %s: %v, %v", host, resp, err)
		}
		resp.Body.Close()
	}
	if status, page := get(t, c, at+"?"+good); status != 200 || !strings.Contains(page, "You may close this window") {
		t.Errorf("the true callback: %d %s", status, page)
	}
	for range 3 {
		if status, page := get(t, c, at+"?"+good); status != 400 || !strings.Contains(page, "Answered already") {
			t.Errorf("a repeat: %d %s", status, page)
		}
	}
	answer, err := r.Wait(t.Context())
	if err != nil || answer != (loopback.Answer{Code: "the-code"}) {
		t.Errorf("got %+v, %v", answer, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a second answer, or %v", err)
	}
}

func TestAnswers(t *testing.T) {
	for query, want := range map[string]struct {
		status     int
		page, text string
	}{
		"error=access_denied&error_description=No%0Acanary": {200, "Sign-in refused", "access_denied: No canary"},
		"error=server_error":              {400, "Sign-in failed", "server_error"},
		"code=a&iss=https://evil.example": {400, "Sign-in failed", "another issuer"},
		"code=a&error=b":                  {400, "Sign-in failed", "not one of"},
		"x=1":                             {400, "Sign-in failed", "not one of"},
		"code=a%20b":                      {400, "Sign-in failed", "characters"},
	} {
		r, c := receive(t)
		if status, page := get(t, c, r.RedirectURI()+"?state="+state+"&"+query); status != want.status || !strings.Contains(page, want.page) {
			t.Errorf("%s: %d %s", query, status, page)
		}
		if a, err := r.Wait(t.Context()); err != nil || a.Code != "" || a.Err == nil || !strings.Contains(a.Err.Error(), want.text) {
			t.Errorf("%s: %+v, %v", query, a, err)
		}
	}
}

// TestManyConnections leaves more connections open than there may be, and
// sends too long a header; the callback still gets through.
func TestManyConnections(t *testing.T) {
	r, c := receive(t)
	host := strings.TrimSuffix(strings.TrimPrefix(r.RedirectURI(), "http://"), loopback.Path)
	for range 40 {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := get(t, c, r.RedirectURI()+"?code=a&state="+state); status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestLongHeader(t *testing.T) {
	r, _ := receive(t)
	host := strings.TrimSuffix(strings.TrimPrefix(r.RedirectURI(), "http://"), loopback.Path)
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go io.WriteString(conn, "GET /oauth/callback?code=a&state="+state+" HTTP/1.1\r\nHost: "+host+"\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := r.Wait(ctx); err == nil {
		t.Errorf("got %+v", a)
	}
}
