package wire

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// reply is an HTTP answer.
type reply struct {
	status int // 0: none came
	header http.Header
	body   []byte
	err    error // why body is nil: it is too large, or broke off
}

func (r *reply) success() bool { return r.status >= 200 && r.status <= 299 }

// exchange sends one request and reads the answer. Its errors are *SendError,
// and come with what there is of an answer.
//
// It calls the Transport, not the http.Client: what that adds is what this
// package does without, following redirects and keeping cookies.
func (c *Client) exchange(ctx context.Context, cl *call, u *url.URL, header http.Header, body []byte) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, cl.sendError(ctx, err, true)
	}
	hc := c.HTTPClient
	if hc == nil {
		hc = sharedClient()
	}
	if hc.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, hc.Timeout)
		defer cancel()
	}
	transport := hc.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}

	var seen connTrace
	req := newRequest(seen.watch(ctx), u, header, body)
	if cl.signer != nil {
		if err := cl.sign(ctx, req, body); err != nil {
			return reply{}, err
		}
	}
	resp, err := transport.RoundTrip(req)
	if err == nil && resp == nil {
		err = errors.New("the HTTP transport returned neither an answer nor an error")
	}
	if err != nil {
		return reply{}, cl.sendError(ctx, withoutURL(err), seen.unspent(err))
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	if r.status < 200 {
		return r, nil // 101 switches to a protocol that might never end
	}
	r.body, r.err = readBody(resp)
	if r.err == nil || r.err == errTooLarge {
		return r, nil
	}
	broken := cl.sendError(ctx, withoutURL(r.err), false)
	if r.success() {
		return r, broken
	}
	r.err = &brokenBody{broken.Err} // a refusal is one without its body, too
	return r, nil
}

// newRequest makes the request as http.NewRequest does, but does not format the
// URL only to parse it again.
func newRequest(ctx context.Context, u *url.URL, header http.Header, body []byte) *http.Request {
	getBody := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	content, _ := getBody()
	req := http.Request{
		Method:        http.MethodPost,
		URL:           u,
		Host:          u.Host,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          content,
		GetBody:       getBody, // lets a transport repeat what it could not write at all
		ContentLength: int64(len(body)),
	}
	return req.WithContext(ctx)
}

var errTooLarge = errors.New("the answer is larger than 1 MiB")

// readBody reads the whole body, so that its connection can be used again.
func readBody(resp *http.Response) ([]byte, error) {
	size := int64(512)
	if n := resp.ContentLength; n > 0 && n <= MaxResponseBytes {
		size = n + 1 // to see the end without growing
	}
	b := make([]byte, 0, size)
	for {
		n, err := resp.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > MaxResponseBytes:
			return nil, errTooLarge
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, err
		case len(b) == cap(b):
			b = append(b, 0)[:len(b)]
		}
	}
}

// brokenBody is why a body could not be read to its end.
type brokenBody struct{ cause error }

func (e *brokenBody) Error() string   { return "its body broke off: " + e.cause.Error() }
func (e *brokenBody) Unwrap() []error { return []error{io.ErrUnexpectedEOF, e.cause} }

// read reads the body's members. Its errors say what is wrong with the body and
// show nothing of it; of the header they show the content type.
func (r *reply) read(members fields) error {
	switch {
	case r.err != nil:
		return r.err
	case len(r.body) == 0:
		return errors.New("it is empty")
	case !json.Valid(r.body):
		return r.notJSON()
	}
	return members.read(r.body)
}

func (r *reply) notJSON() error {
	contentType := cmp.Or(r.header.Get("Content-Type"), "something without a content type")
	if strings.Contains(contentType, "json") {
		return errors.New("it is not well-formed JSON")
	}
	return fmt.Errorf("it is not JSON but %s; see whether a proxy or another service answers at the endpoint", contentType)
}

// connTrace observes whether a request got a connection.
type connTrace struct {
	httptrace.ClientTrace
	asked, got atomic.Bool
}

func (t *connTrace) watch(ctx context.Context) context.Context {
	t.GetConn = func(string) { t.asked.Store(true) }
	t.GotConn = func(httptrace.GotConnInfo) { t.got.Store(true) }
	return httptrace.WithClientTrace(ctx, &t.ClientTrace)
}

// unspent reports whether a request that failed with err certainly never left.
// It is so where the transport asked for a connection and never got one:
// whether name resolution, dialing, the proxy, the TLS handshake or the wait
// for one of these failed. A transport that does not report to httptrace is
// judged by its error.
func (t *connTrace) unspent(err error) bool {
	switch {
	case t.got.Load():
		return false
	case t.asked.Load():
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true
	}
	_, ok := errors.AsType[*net.DNSError](err)
	return ok
}

// sharedClient is what serves every Client without an HTTPClient. It has its
// own transport, which no other package can have changed.
var sharedClient = sync.OnceValue(func() *http.Client {
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        90 * time.Second,
		},
	}
})
