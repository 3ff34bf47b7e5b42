package wire_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// send calls a server with a client of its own and expects a *wire.SendError.
func send(t *testing.T, ctx context.Context, endpoint string, tr http.RoundTripper) *wire.SendError {
	t.Helper()
	if tr, ok := tr.(*http.Transport); ok {
		defer tr.CloseIdleConnections()
	}
	c := &wire.Client{Endpoint: endpoint, HTTPClient: &http.Client{Transport: tr}}
	_, err := c.CreateToken(ctx, canaryInput())
	e := asSendError(t, err)
	checkText(t, err)
	checkHidden(t, shown(err), canaries)
	if e.Operation != "CreateToken" {
		t.Errorf("operation %q", e.Operation)
	}
	var withURL *url.Error
	if errors.As(err, &withURL) {
		t.Errorf("%v holds a *url.Error", err)
	}
	return e
}

// unusedAddress is a loopback address that refuses connections.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func quietServer(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(s.Close)
	return s
}

// Failures before a connection is had: the request is unspent.
func TestUnspent(t *testing.T) {
	t.Run("refused connection", func(t *testing.T) {
		e := send(t, t.Context(), "http://"+unusedAddress(t), &http.Transport{})
		var op *net.OpError
		if !e.Unspent || !errors.As(e, &op) || op.Op != "dial" {
			t.Errorf("%#v", e)
		}
	})
	t.Run("unknown host", func(t *testing.T) {
		resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no name server")
		}}
		e := send(t, t.Context(), "https://oidc.no-such-region.example", &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext})
		var dns *net.DNSError
		if !e.Unspent || !errors.As(e, &dns) {
			t.Errorf("%#v", e)
		}
	})
	t.Run("certificate that is not trusted", func(t *testing.T) {
		s := quietServer(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
		s.StartTLS()
		if e := send(t, t.Context(), s.URL, &http.Transport{}); !e.Unspent || !strings.Contains(e.Error(), "certificate") {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		s := quietServer(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
		s.Start()
		if e := send(t, t.Context(), strings.Replace(s.URL, "http:", "https:", 1), &http.Transport{}); !e.Unspent {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("reset in the TLS handshake", func(t *testing.T) {
		address := listen(t, func(c net.Conn) { c.Close() })
		if e := send(t, t.Context(), "https://"+address, &http.Transport{}); !e.Unspent {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("proxy that refuses", func(t *testing.T) {
		proxy := quietServer(t, func(w http.ResponseWriter, req *http.Request) {
			if req.Method != http.MethodConnect {
				t.Errorf("the proxy got %s %s", req.Method, req.URL)
			}
			w.WriteHeader(http.StatusProxyAuthRequired)
		})
		proxy.Start()
		u, _ := url.Parse(proxy.URL)
		if e := send(t, t.Context(), "https://oidc.us-east-1.example", &http.Transport{Proxy: http.ProxyURL(u)}); !e.Unspent {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("proxy that is not there", func(t *testing.T) {
		u := &url.URL{Scheme: "http", Host: unusedAddress(t)}
		if e := send(t, t.Context(), "https://oidc.us-east-1.example", &http.Transport{Proxy: http.ProxyURL(u)}); !e.Unspent {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("deadline while dialing", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		e := send(t, ctx, "http://127.0.0.1:1", &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if !e.Unspent || !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("context that was over before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		e := send(t, ctx, testEndpoint, transportFunc(func(*http.Request) (*http.Response, error) {
			t.Error("a request was sent")
			return nil, io.EOF
		}))
		if !e.Unspent || !errors.Is(e, context.Canceled) {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("transport that reports nothing to httptrace", func(t *testing.T) {
		for _, err := range []error{
			&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")},
			fmt.Errorf("proxy: %w", &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}),
			&net.DNSError{Err: "no such host", Name: "oidc.example", IsNotFound: true},
		} {
			if e := send(t, t.Context(), testEndpoint, failing(err)); !e.Unspent {
				t.Errorf("%#v: %v", e, e)
			}
		}
	})
}

// Failures after that: nobody knows.
func TestNotUnspent(t *testing.T) {
	reset := func(c net.Conn) {
		readRequest(t, c)
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	t.Run("reset instead of an answer", func(t *testing.T) {
		if e := send(t, t.Context(), "http://"+listen(t, reset), &http.Transport{}); e.Unspent {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("closed instead of an answer", func(t *testing.T) {
		address := listen(t, func(c net.Conn) { readRequest(t, c); c.Close() })
		if e := send(t, t.Context(), "http://"+address, &http.Transport{}); e.Unspent {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("no HTTP", func(t *testing.T) {
		address := listen(t, func(c net.Conn) { readRequest(t, c); io.WriteString(c, "220 mail.example ESMTP\r\n"); c.Close() })
		if e := send(t, t.Context(), "http://"+address, &http.Transport{}); e.Unspent {
			t.Errorf("%#v: %v", e, e)
		}
	})
	for name, body := range map[string]string{
		"body cut short":         "Content-Length: 100\r\n\r\n{\"accessToken\":\"a\",\"expiresIn\":1}",
		"chunked body cut short": "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"acc",
		"body that is not gzip":  "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
	} {
		t.Run(name, func(t *testing.T) {
			address := listen(t, func(c net.Conn) { readRequest(t, c); io.WriteString(c, "HTTP/1.1 200 OK\r\n"+body); c.Close() })
			if e := send(t, t.Context(), "http://"+address, &http.Transport{}); e.Unspent {
				t.Errorf("%#v: %v", e, e)
			}
		})
	}
	t.Run("canceled while waiting", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the caller's reason")
		s := quietServer(t, func(_ http.ResponseWriter, req *http.Request) {
			io.Copy(io.Discard, req.Body) // or the server would not see the end of the connection
			cancel(cause)
			<-req.Context().Done()
		})
		s.Start()
		e := send(t, ctx, s.URL, &http.Transport{})
		if e.Unspent || !errors.Is(e, context.Canceled) {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("canceled within the body", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := quietServer(t, func(w http.ResponseWriter, req *http.Request) {
			io.Copy(io.Discard, req.Body)
			io.WriteString(w, `{"accessToken":`)
			http.NewResponseController(w).Flush()
			cancel()
			<-req.Context().Done()
		})
		s.Start()
		e := send(t, ctx, s.URL, &http.Transport{})
		if e.Unspent || !errors.Is(e, context.Canceled) {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("HTTP/2 stream reset, on a new and on a used connection", func(t *testing.T) {
		var requests atomic.Int64
		s := quietServer(t, func(w http.ResponseWriter, req *http.Request) {
			if req.ProtoMajor != 2 {
				t.Errorf("the request came by %s", req.Proto)
			}
			io.Copy(io.Discard, req.Body)
			if requests.Add(1) == 2 {
				io.WriteString(w, `{}`)
				return
			}
			panic(http.ErrAbortHandler)
		})
		s.EnableHTTP2 = true
		s.StartTLS()
		tr := s.Client().Transport
		c := &wire.Client{Endpoint: s.URL, HTTPClient: s.Client()}
		for want := int64(1); want <= 3; want++ {
			_, err := c.CreateToken(t.Context(), canaryInput())
			if want == 2 {
				asError(t, err)
				continue
			}
			if e := asSendError(t, err); e.Unspent || requests.Load() != want {
				t.Errorf("%#v: %v (%d requests)", e, e, requests.Load())
			}
		}
		tr.(*http.Transport).CloseIdleConnections()
	})
	t.Run("transport that repeats", func(t *testing.T) {
		// The first attempt got a connection, the second did not.
		e := send(t, t.Context(), testEndpoint, transportFunc(func(req *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(req.Context())
			trace.GetConn("")
			trace.GotConn(httptrace.GotConnInfo{})
			trace.GetConn("")
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}))
		if e.Unspent {
			t.Errorf("%#v: %v", e, e)
		}
	})
	t.Run("transport that reports nothing to httptrace", func(t *testing.T) {
		for _, err := range []error{
			io.EOF, io.ErrUnexpectedEOF, errors.New("connection lost"), context.DeadlineExceeded,
			&net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}, &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")},
		} {
			if e := send(t, t.Context(), testEndpoint, failing(err)); e.Unspent || !errors.Is(e, err) {
				t.Errorf("%#v: %v", e, e)
			}
		}
	})
}

// The Timeout of the http.Client applies, and to the body as well.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tr := range map[string]transportFunc{
			"header": func(req *http.Request) (*http.Response, error) {
				<-req.Context().Done()
				return nil, errors.New("some other words")
			},
			"body": func(req *http.Request) (*http.Response, error) {
				resp := answer(req, 200, "")
				resp.ContentLength = -1
				resp.Body = io.NopCloser(readFunc(func([]byte) (int, error) {
					<-req.Context().Done()
					return 0, req.Context().Err()
				}))
				return resp, nil
			},
		} {
			start := time.Now()
			c := &wire.Client{Endpoint: testEndpoint, HTTPClient: &http.Client{Transport: tr, Timeout: 7 * time.Second}}
			_, err := c.CreateToken(t.Context(), refreshInput())
			e := asSendError(t, err)
			if e.Unspent || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 7*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
		}
	})
}

// A transport that breaks the contract of http.RoundTripper does no harm.
func TestOddTransports(t *testing.T) {
	if e := send(t, t.Context(), testEndpoint, transportFunc(func(*http.Request) (*http.Response, error) { return nil, nil })); e.Unspent {
		t.Errorf("%#v", e)
	}
	within := &url.Error{Op: "Post", URL: "https://example.com/", Err: io.ErrUnexpectedEOF}
	if e := send(t, t.Context(), testEndpoint, failing(within)); e.Err != io.ErrUnexpectedEOF {
		t.Errorf("%#v", e)
	}
	inBody := transportFunc(func(req *http.Request) (*http.Response, error) { return brokenBody(req, within), nil })
	if e := send(t, t.Context(), testEndpoint, inBody); e.Err != io.ErrUnexpectedEOF {
		t.Errorf("%#v", e)
	}
	bare := newClient(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil })
	if _, err := bare.CreateToken(t.Context(), refreshInput()); !errors.Is(err, wire.ErrResponse) {
		t.Error(err)
	}
}

// listen serves each connection with handle, until the test ends.
func listen(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// readRequest reads a whole request from a connection.
func readRequest(t *testing.T, c net.Conn) {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, err = io.Copy(io.Discard, req.Body)
	}
	if err != nil {
		t.Error(err)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
