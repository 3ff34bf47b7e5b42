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

// reply is an HTTP answer, read to its end or to the cap.
type reply struct {
	status   int
	header   http.Header
	body     []byte // nil where tooLarge
	tooLarge bool
}

// exchange sends one request and reads the answer. Its errors are *SendError.
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
	r.body, err = readBody(resp)
	if errors.Is(err, errTooLarge) {
		r.tooLarge = true
	} else if err != nil {
		return reply{}, cl.sendError(ctx, withoutURL(err), false)
	}
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

// decode reads a successful answer into out. Its errors say what is wrong with
// the answer and show nothing of it but its content type.
func (r *reply) decode(out answer) error {
	if r.tooLarge {
		return errTooLarge
	}
	if err := json.Unmarshal(r.body, out); err != nil {
		return r.notJSON(err)
	}
	return out.check()
}

// notJSON says why the body could not be read as the JSON it should be.
func (r *reply) notJSON(err error) error {
	if len(r.body) == 0 {
		return errors.New("it is empty")
	}
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrongType.Field == "" {
			return errors.New("it is not a JSON object")
		}
		return fmt.Errorf("its member %s has the wrong type", wrongType.Field)
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); !ok {
		return errors.New("a number in it can't be read")
	}
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
