package awsoidc

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/awsoidc/awsoidc/wire"
)

// Client returns an HTTP client that sends the access token as a bearer token
// to the given origins ("https://api.example.com", no path) and to no others.
// An origin must be https, or http on a loopback address. A request to any
// other origin fails, except where a redirect leads there: that one is sent
// without the token.
//
// After an answer of 401 the token is invalidated, and the request is sent
// once more with a new one, if its body can be replayed (see
// http.Request.GetBody).
//
// The client's Transport can be used and wrapped by itself. It uses the
// Transport of Config.HTTPClient, if any.
func (s *TokenSource) Client(origins ...string) *http.Client {
	t := &bearerTransport{source: s, base: http.DefaultTransport, origins: map[origin]bool{}}
	if c := s.cfg.HTTPClient; c != nil && c.Transport != nil {
		t.base = c.Transport
	}
	for _, raw := range origins {
		u, err := wire.CheckEndpoint(raw)
		if err == nil && strings.Trim(u.Path, "/") != "" {
			err = fmt.Errorf("it has a path")
		}
		if err != nil {
			t.err = badConfig("origin", raw, "give scheme and host, such as https://api.example.com", err)
			break
		}
		t.origins[originOf(u)] = true
	}
	return &http.Client{Transport: t}
}

// bearerTransport adds the bearer token to requests for its origins.
type bearerTransport struct {
	source  *TokenSource
	base    http.RoundTripper
	origins map[origin]bool
	err     error // what every request fails with: the origins are unusable
}

// RoundTrip implements http.RoundTripper.
func (t *bearerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.refuse(req); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	if !t.origins[originOf(req.URL)] {
		return t.base.RoundTrip(req) // a redirect led here
	}
	l, err := t.source.get(req.Context())
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	resp, err := t.base.RoundTrip(withBearer(req, l.value))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	refused := l.value.accessToken
	t.source.Invalidate(string(refused)) // unless another request did
	l, err = t.source.get(req.Context())
	if err != nil || l.value.accessToken == refused {
		return resp, nil // the 401 says more than why there is no other token
	}
	again, ok := replay(req)
	if !ok {
		return resp, nil
	}
	resp.Body.Close() // unread: it may take as long as it likes
	return t.base.RoundTrip(withBearer(again, l.value))
}

// CloseIdleConnections serves http.Client.CloseIdleConnections.
func (t *bearerTransport) CloseIdleConnections() { closeIdle(t.base) }

func closeIdle(rt http.RoundTripper) {
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *bearerTransport) refuse(req *http.Request) error {
	if t.err != nil {
		return t.err
	}
	if !t.origins[originOf(req.URL)] && req.Response == nil {
		return &failure{
			what:   "the token is not sent to " + req.URL.Scheme + "://" + req.URL.Host + ", which this client is not bound to",
			advice: "name that origin in the call of Client",
		}
	}
	return nil
}

// withBearer returns a copy of req that carries v's access token.
func withBearer(req *http.Request, v *session) *http.Request {
	r := *req
	r.Header = make(http.Header, len(req.Header)+1)
	maps.Copy(r.Header, req.Header)
	r.Header["Authorization"] = v.authorization
	return &r
}

// replay returns req with its body from the beginning, where that can be had.
func replay(req *http.Request) (*http.Request, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, false
	}
	r := *req
	r.Body = body
	return &r, true
}

// origin is what RFC 6454 calls so.
type origin struct{ scheme, host, port string }

func originOf(u *url.URL) origin {
	o := origin{u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	switch {
	case o.port != "":
	case o.scheme == "https":
		o.port = "443"
	case o.scheme == "http":
		o.port = "80"
	}
	return o
}

// strictClient returns a copy of c, or a client with http.DefaultTransport for
// nil, that follows no redirect and reads bounded answers.
func strictClient(c *http.Client) *http.Client {
	strict := http.Client{}
	if c != nil {
		strict = *c
	}
	strict.Jar = nil
	strict.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	strict.Transport = boundedTransport{strict.Transport}
	return &strict
}

// boundedTransport cuts answers off after wire.MaxResponseBytes and one more,
// which is enough to see that they are too large.
type boundedTransport struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(req)
	if err == nil && resp != nil && resp.Body != nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, wire.MaxResponseBytes+1), resp.Body}
	}
	return resp, err
}

// CloseIdleConnections serves http.Client.CloseIdleConnections.
func (t boundedTransport) CloseIdleConnections() { closeIdle(t.base) }
