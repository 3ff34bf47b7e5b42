package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/internal/loopback"
)

// A pipeListener takes connections from dial, so that a browser comes back in
// virtual time, and to addresses that this machine may not have.
type pipeListener struct {
	addr   string
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipeListener(addr string) *pipeListener {
	return &pipeListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.addr))
}

// browse fetches a callback.
func (l *pipeListener) browse(callback string) error {
	c := &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}}
	resp, err := c.Get(callback)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", callback, resp.Status)
	}
	return nil
}

// newListening returns a source that lets a browser come back to what listen
// returns, and hands authorization URLs to decide.
func newListening(t *testing.T, srv *idctest.Server, listen func(port int) (net.Listener, error), decide func(v Verification) error) *TokenSource {
	t.Helper()
	s, err := New(Config{
		StartURL: "https://d-1234567890.awsapps.com/start", Region: "us-east-1", SessionName: "corp",
		Grant:      GrantAuthCode,
		HTTPClient: &http.Client{Transport: srv.Transport()},
		Prompt:     PromptFunc(func(_ context.Context, v Verification) error { return decide(v) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.listen = listen
	t.Cleanup(func() { s.Close() })
	return s
}

// TestAuthCodeTimesOut has nobody answer in the browser. The service may have
// shown an error because it does not know the client: the next sign-in has
// another.
func TestAuthCodeTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		var listeners []*pipeListener
		var clients []string
		s := newListening(t, srv, func(int) (net.Listener, error) {
			l := newPipeListener("127.0.0.1:8400")
			listeners = append(listeners, l)
			return l, nil
		}, func(v Verification) error {
			if left := time.Until(v.ExpiresAt); left != 10*time.Minute {
				t.Errorf("the person is told of %v", left)
			}
			u, err := url.Parse(v.URI)
			clients = append(clients, u.Query().Get("client_id"))
			return err
		})
		for i := range 2 {
			begin := time.Now()
			if err := s.Login(t.Context()); !errors.Is(err, ErrCodeExpired) || !strings.Contains(err.Error(), "belongs to an Identity Center instance in region us-east-1") {
				t.Errorf("got %v", err)
			}
			if d := time.Since(begin); d != 10*time.Minute {
				t.Errorf("Login took %v", d)
			}
			if err := listeners[i].browse("http://127.0.0.1:8400/oauth/callback"); !errors.Is(err, net.ErrClosed) {
				t.Errorf("afterwards: %v", err)
			}
		}
		if clients[0] == clients[1] {
			t.Error("the second sign-in used the same client")
		}
	})
}

// TestAuthCodeOnIPv6 has no 127.0.0.1. Stored registrations are for that one.
func TestAuthCodeOnIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		addr := "127.0.0.1:8400"
		var l *pipeListener
		s := newListening(t, srv, func(int) (net.Listener, error) {
			l = newPipeListener(addr)
			return l, nil
		}, func(v Verification) error {
			u, err := url.Parse(v.URI)
			if err != nil {
				return err
			}
			if got, want := u.Query().Get("redirect_uri"), "http://"+addr+"/oauth/callback"; got != want {
				t.Errorf("redirect URI %s, want %s", got, want)
			}
			callback, err := srv.ApproveAuthorization(v.URI)
			if err != nil {
				return err
			}
			return l.browse(callback)
		})
		for _, next := range []struct {
			addr          string
			registrations int // in all, afterwards
		}{{"127.0.0.1:8400", 1}, {"[::1]:8400", 2}, {"[::1]:8401", 3}, {"127.0.0.1:8400", 3}} {
			addr = next.addr
			if err := s.Login(t.Context()); err != nil {
				t.Fatalf("%s: %v", addr, err)
			}
			if n := srv.Count(idctest.RegisterClient).Requests; n != next.registrations {
				t.Errorf("%s: %d registrations so far, want %d", addr, n, next.registrations)
			}
		}
	})
}

func TestAuthCodeWithoutLoopback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		none := func(int) (net.Listener, error) {
			return nil, fmt.Errorf("%w: no such device", loopback.ErrUnavailable)
		}
		s := newListening(t, srv, none, func(Verification) error {
			t.Error("the person was asked")
			return nil
		})
		err := s.Login(t.Context())
		if err == nil || !strings.Contains(err.Error(), "set Grant to GrantDevice") || !errors.Is(err, loopback.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}
