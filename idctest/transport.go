package idctest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Transport returns an [http.RoundTripper] that brings every request, whatever
// its host, to s without a network. It keeps to what [http.Transport] does:
// a request's context ends the wait for its answer and the reading of the
// answer's body, with the context's cause as the error; headers that can't be
// sent are refused; an answer compressed with gzip is decompressed. It does
// not look at Request.Cancel, proxies or cookies.
//
// It may be used inside a testing/synctest bubble. Each request runs on a
// goroutine of its own that ends with the request: when the answer's body was
// read or closed, or the context ended.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	err := sendable(req)
	if err == nil && req.Context().Err() != nil {
		err = context.Cause(req.Context())
	}
	closeBody := sync.OnceFunc(func() {
		if req.Body != nil {
			req.Body.Close()
		}
	})
	if err != nil {
		closeBody()
		return nil, err
	}
	// The server's context ends with the request's, and when the answer's body
	// is closed.
	ctx, cancel := context.WithCancel(req.Context())
	x := &exchange{req: req, ctx: ctx, cancel: cancel, header: make(http.Header), ready: make(chan struct{})}
	r, gunzip := serverRequest(ctx, req)
	x.gunzip = gunzip
	go func() {
		defer closeBody()
		t.handler.ServeHTTP(x, r)
		x.finish()
	}()
	select {
	case <-x.ready:
	case <-ctx.Done():
		closeBody() // or the server might go on waiting for more of it
		return nil, context.Cause(req.Context())
	}
	if x.err != nil {
		cancel()
		return nil, x.err
	}
	return x.resp, nil
}

// sendable returns why http.Transport would refuse req.
func sendable(req *http.Request) error {
	switch {
	case req.URL == nil:
		return errors.New("http: nil Request.URL")
	case req.Header == nil:
		return errors.New("http: nil Request.Header")
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return fmt.Errorf("unsupported protocol scheme %q", req.URL.Scheme)
	case req.URL.Host == "":
		return errors.New("http: no Host in request URL")
	case strings.ContainsFunc(req.Method, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("net/http: invalid method %q", req.Method)
	}
	for name, values := range req.Header {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			return fmt.Errorf("net/http: invalid header field name %q", name)
		}
		for _, v := range values {
			if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				return fmt.Errorf("net/http: invalid header field value for %q", name) // which may be a secret
			}
		}
	}
	return nil
}

// serverRequest returns req as a server sees it, and whether the transport
// asked for compression on its own account.
func serverRequest(ctx context.Context, req *http.Request) (r *http.Request, gunzip bool) {
	header := make(http.Header, len(req.Header)+3)
	for name, values := range req.Header {
		name = textproto.CanonicalMIMEHeaderKey(name)
		header[name] = append(header[name], values...)
	}
	header.Del("Host") // net/http sends Request.Host in its place
	if _, ok := header["User-Agent"]; !ok {
		header.Set("User-Agent", "Go-http-client/1.1")
	}
	if header.Get("Accept-Encoding") == "" && header.Get("Range") == "" && req.Method != http.MethodHead {
		header.Set("Accept-Encoding", "gzip")
		gunzip = true
	}
	r = &http.Request{
		Method: req.Method, Host: req.Host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: req.Body, ContentLength: req.ContentLength,
		RemoteAddr: "127.0.0.1:1", RequestURI: req.URL.RequestURI(),
	}
	u := *req.URL
	u.Scheme, u.Host, u.User, u.Fragment, u.RawFragment = "", "", nil, "", ""
	if u.Path == "" {
		u.Path = "/"
	}
	r.URL = &u
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		r.Body = http.NoBody
	case req.ContentLength > 0:
		header.Set("Content-Length", strconv.FormatInt(req.ContentLength, 10))
	default:
		r.ContentLength = -1 // unknown
	}
	if req.URL.Scheme == "https" {
		r.TLS = tlsState(req)
	}
	return r.WithContext(ctx), gunzip
}

func tlsState(req *http.Request) *tls.ConnectionState {
	return &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: req.URL.Hostname()}
}

// exchange is one request and its answer. It is the server's
// [http.ResponseWriter]; what the client gets is made when the server has
// finished, or has written more than fits into buf.
type exchange struct {
	req    *http.Request
	ctx    context.Context
	cancel context.CancelFunc
	gunzip bool

	header http.Header
	status int
	buf    bytes.Buffer
	pipe   *io.PipeWriter // once the answer was handed over

	ready chan struct{} // closed when resp or err is set
	resp  *http.Response
	err   error
}

// maxBuffered is how much of an answer's body is kept before the client gets
// to see it.
const maxBuffered = 8 << 10

func (x *exchange) Header() http.Header { return x.header }

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
}

func (x *exchange) Write(b []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	if x.pipe == nil && x.buf.Len()+len(b) <= maxBuffered {
		return x.buf.Write(b)
	}
	x.Flush()
	return x.pipe.Write(b)
}

// Flush hands the answer over to the client. The rest of its body is streamed.
func (x *exchange) Flush() {
	if x.pipe == nil {
		var r *io.PipeReader
		r, x.pipe = io.Pipe()
		stop := context.AfterFunc(x.ctx, func() { r.CloseWithError(context.Cause(x.ctx)) })
		x.answer(io.MultiReader(bytes.NewReader(x.buf.Bytes()), r), -1, func() { stop(); r.Close() })
	}
}

// finish ends the answer.
func (x *exchange) finish() {
	switch {
	case x.pipe != nil:
		x.pipe.Close()
	case x.err == nil:
		x.WriteHeader(http.StatusOK)
		x.answer(bytes.NewReader(x.buf.Bytes()), int64(x.buf.Len()), func() {})
	}
}

// abort ends the exchange as a broken connection does.
func (x *exchange) abort(why error) {
	err := x.netError(why)
	if x.pipe != nil {
		x.pipe.CloseWithError(err)
		return
	}
	x.err = err
	close(x.ready)
}

// answer makes the client's response.
func (x *exchange) answer(body io.Reader, length int64, release func()) {
	if n, err := strconv.ParseInt(x.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		length = n
	}
	if x.header.Get("Date") == "" {
		x.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	x.resp = &http.Response{
		Status: strings.TrimSpace(fmt.Sprintf("%03d %s", x.status, http.StatusText(x.status))), StatusCode: x.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: x.header, ContentLength: length, Request: x.req,
	}
	if x.req.URL.Scheme == "https" {
		x.resp.TLS = tlsState(x.req)
	}
	if length < 0 {
		x.resp.TransferEncoding = []string{"chunked"}
	}
	b := &responseBody{Reader: body, exchange: x, release: release}
	x.resp.Body = b
	if x.gunzip && strings.EqualFold(x.header.Get("Content-Encoding"), "gzip") && length != 0 {
		x.header.Del("Content-Encoding")
		x.header.Del("Content-Length")
		x.resp.ContentLength, x.resp.Uncompressed = -1, true
		b.Reader = &gunzipReader{compressed: body}
	}
	close(x.ready)
}

// netError is what a TCP connection would have reported.
func (x *exchange) netError(why error) error {
	addr := netAddr(x.req.URL.Host)
	switch why {
	case errDial:
		return &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	case errReset, errCut:
		return &net.OpError{Op: "read", Net: "tcp", Addr: addr, Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	}
	return why // the context's: nobody waits any more
}

// netAddr is a host and port.
type netAddr string

func (netAddr) Network() string  { return "tcp" }
func (a netAddr) String() string { return string(a) }

// responseBody is an answer's body on the client's side.
type responseBody struct {
	io.Reader
	exchange *exchange
	release  func() // lets go of the server's side
	closed   atomic.Bool
}

// Read fails once the request's context has ended.
func (b *responseBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errors.New("http: read on closed response body")
	}
	if b.exchange.req.Context().Err() != nil {
		return 0, context.Cause(b.exchange.req.Context())
	}
	n, err := b.Reader.Read(p)
	if err != nil {
		b.exchange.cancel()
	}
	return n, err
}

func (b *responseBody) Close() error {
	if !b.closed.Swap(true) {
		b.release()
		b.exchange.cancel()
	}
	return nil
}

// gunzipReader reads the gzip header when it is first read from.
type gunzipReader struct {
	compressed io.Reader
	zr         *gzip.Reader
}

func (g *gunzipReader) Read(p []byte) (n int, err error) {
	if g.zr == nil {
		if g.zr, err = gzip.NewReader(g.compressed); err != nil {
			return 0, err
		}
	}
	return g.zr.Read(p)
}
