package wire_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/awsoidc/awsoidc/wire"
)

// The connection is used again after every kind of answer that was read.
func TestConnectionReuse(t *testing.T) {
	answers := []struct {
		status int
		body   string
	}{
		{200, `{"accessToken":"a","expiresIn":1}`}, {400, `{"error":"slow_down"}`}, {500, ``}, {302, `<a href="/">moved</a>`}, {200, `{}`},
		{200, `{"accessToken":"` + strings.Repeat("a", 60_000) + `","expiresIn":1}`}, {503, strings.Repeat("x", 500_000)}, {200, `{"accessToken":"a","expiresIn":1}`},
	}
	var connections, requests atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		a := answers[requests.Add(1)-1]
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	for _, a := range answers {
		_, err := (&wire.Client{Endpoint: s.URL}).CreateToken(t.Context(), refreshInput()) // the shared http.Client
		if (err == nil) != (a.status == 200 && len(a.body) > 2) {
			t.Errorf("%d %.50s: %v", a.status, a.body, err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// An answer is cut at its cap, whatever it would have become.
func TestResponseCap(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(bytes.Repeat([]byte(" "), 8<<20))
	z.Close()
	if bomb.Len() > 100_000 {
		t.Fatalf("the bomb has %d bytes", bomb.Len())
	}
	for name, status := range map[string]int{"success": 200, "error": 400} {
		s := quietServer(t, func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("Accept-Encoding %q", req.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(status)
			w.Write(bomb.Bytes())
		})
		s.Start()
		_, err := (&wire.Client{Endpoint: s.URL, HTTPClient: s.Client()}).CreateToken(t.Context(), refreshInput())
		if e := asError(t, err); !errors.Is(err, wire.ErrResponse) || e.StatusCode != status || !strings.Contains(err.Error(), "larger than 1 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The cap itself, and not more than a little beyond it, is read.
	for _, declared := range []bool{true, false} {
		for size, tooLarge := range map[int]bool{wire.MaxResponseBytes: false, wire.MaxResponseBytes + 1: true, 3 * wire.MaxResponseBytes: true} {
			head := `{"accessToken":"a","expiresIn":1,"x":"`
			body := strings.NewReader(head + strings.Repeat("x", size-len(head)-2) + `"}`)
			c := newClient(func(req *http.Request) (*http.Response, error) {
				resp := answer(req, 200, "")
				resp.Body, resp.ContentLength = io.NopCloser(body), -1
				if declared {
					resp.ContentLength = int64(size)
				}
				return resp, nil
			})
			if _, err := c.CreateToken(t.Context(), refreshInput()); errors.Is(err, wire.ErrResponse) != tooLarge || (err == nil) == tooLarge {
				t.Errorf("%d bytes: %v", size, err)
			}
			if read := size - body.Len(); read > wire.MaxResponseBytes*5/4 {
				t.Errorf("%d bytes were read of %d", read, size)
			}
		}
	}
}

// A gzip answer of the usual kind is understood.
func TestGzip(t *testing.T) {
	s := quietServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, `{"accessToken":"a","expiresIn":1}`)
		z.Close()
	})
	s.Start()
	if _, err := (&wire.Client{Endpoint: s.URL, HTTPClient: s.Client()}).CreateToken(t.Context(), refreshInput()); err != nil {
		t.Error(err)
	}
}

// A server that switches to another protocol, and then says nothing more, does
// not hang the caller.
func TestSwitchingProtocols(t *testing.T) {
	address := listen(t, func(c net.Conn) {
		readRequest(t, c)
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		io.Copy(io.Discard, c) // until the client closes
		c.Close()
	})
	_, err := (&wire.Client{Endpoint: "http://" + address, HTTPClient: &http.Client{Transport: &http.Transport{}}}).CreateToken(t.Context(), refreshInput())
	if e := asError(t, err); e.StatusCode != 101 || !errors.Is(err, wire.ErrResponse) {
		t.Errorf("%v", err)
	}
}
