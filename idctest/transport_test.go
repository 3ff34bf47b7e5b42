package idctest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

func TestTransportRefuses(t *testing.T) {
	rt := idctest.New().Transport()
	for name, change := range map[string]func(*http.Request){
		"scheme":       func(r *http.Request) { r.URL.Scheme = "ftp" },
		"host":         func(r *http.Request) { r.URL.Host = "" },
		"URL":          func(r *http.Request) { r.URL = nil },
		"no header":    func(r *http.Request) { r.Header = nil },
		"method":       func(r *http.Request) { r.Method = "PO ST" },
		"header name":  func(r *http.Request) { r.Header["a b"] = []string{"x"} },
		"header value": func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer secret\r\nX: y"} },
	} {
		body := &closeRecorder{Reader: strings.NewReader("{}")}
		req, err := http.NewRequest("POST", "https://idc.example/token", body)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		_, err = rt.RoundTrip(req)
		_, wantErr := http.DefaultTransport.RoundTrip(req)
		if err == nil || wantErr == nil {
			t.Errorf("%s: got %v, net/http gives %v", name, err, wantErr)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the value: %v", name, err)
		}
		if !body.closed {
			t.Errorf("%s: the body was not closed", name)
		}
	}
}

type closeRecorder struct {
	io.Reader
	closed bool
}

func (c *closeRecorder) Close() error {
	c.closed = true
	return nil
}

func TestTransportContext(t *testing.T) {
	boom := errors.New("boom")
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		rt := srv.Transport()

		// Over before it began.
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(boom)
		if _, _, err := post(ctx, rt, "https://idc.example", "{}"); err != boom {
			t.Errorf("got %v, want the cause", err)
		}
		if n := srv.Count(idctest.AnyOperation).Requests; n != 0 {
			t.Errorf("%d requests arrived, want 0", n)
		}

		// Given up while waiting for the answer.
		ctx, cancel = context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(boom) })
		srv.Inject(idctest.AnyOperation, idctest.Fault{Hang: true})
		if _, _, err := post(ctx, rt, "https://idc.example", "{}"); err != boom {
			t.Errorf("got %v, want the cause", err)
		}

		// Given up while reading the body, buffered or streamed.
		for _, size := range []int64{0, 1 << 40} {
			ctx, cancel = context.WithCancelCause(t.Context())
			srv.Inject(idctest.AnyOperation, idctest.Fault{BodySize: size})
			req, err := http.NewRequestWithContext(ctx, "POST", "https://idc.example/token", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
				t.Error(err)
			}
			cancel(boom)
			if _, err := io.ReadAll(resp.Body); err != boom {
				t.Errorf("size %d: got %v, want the cause", size, err)
			}
		}

		// The client's own timeout.
		srv.Inject(idctest.AnyOperation, idctest.Fault{Hang: true})
		_, err := (&http.Client{Transport: rt, Timeout: time.Minute}).Get("https://idc.example/device")
		if e, ok := errors.AsType[interface {
			error
			Timeout() bool
		}](err); !ok || !e.Timeout() {
			t.Errorf("got %v, want a timeout", err)
		}

		// A request body that never ends does not keep the server.
		r, w := io.Pipe()
		ctx, cancel = context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(boom) })
		req, err := http.NewRequestWithContext(ctx, "POST", "https://idc.example/token", r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rt.RoundTrip(req); err != boom {
			t.Errorf("got %v, want the cause", err)
		}
		if _, err := w.Write([]byte("{")); err != io.ErrClosedPipe {
			t.Errorf("the request's body was not closed: %v", err)
		}
	}) // which fails if a goroutine is left
}

func TestTransportCloseWithoutReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Inject(idctest.AnyOperation, idctest.Fault{BodySize: 1 << 40})
		resp, err := (&http.Client{Transport: srv.Transport()}).Get("https://idc.example/device")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
			t.Error("read from a closed body")
		}
	})
}

// TestTransportRequest checks what of a request arrives, by the log.
func TestTransportRequest(t *testing.T) {
	srv := idctest.New()
	req, err := http.NewRequest("", "https://portal.sso.eu-west-1.amazonaws.com?Action=None", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["x-amz-sso_bearer_token"] = []string{"x"}
	resp, err := srv.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	log := srv.Log()
	if len(log) != 1 || log[0].Method != "GET" || log[0].Host != "portal.sso.eu-west-1.amazonaws.com" || log[0].Path != "/" ||
		log[0].UserAgent != "Go-http-client/1.1" || log[0].Status != 400 || log[0].Type != "InvalidAction" || log[0].RequestID != resp.Header.Get("X-Amzn-RequestId") {
		t.Errorf("log: %+v", log)
	}
	if resp.Request != req || resp.TLS == nil || resp.ProtoMajor != 1 || resp.Status != "400 Bad Request" || resp.Header.Get("Date") == "" {
		t.Errorf("response: %+v", resp)
	}
	if _, ok := req.Header["User-Agent"]; ok {
		t.Error("the request was changed")
	}
}

// TestTransportGzip checks that compression is undone exactly where
// http.Transport undoes it.
func TestTransportGzip(t *testing.T) {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	io.WriteString(zw, strings.Repeat("x", 1<<20))
	zw.Close()
	fault := idctest.Fault{Body: b.Bytes(), Header: http.Header{"Content-Encoding": {"gzip"}}, Times: 2}
	srv := idctest.New()
	srv.Inject(idctest.AnyOperation, fault)
	resp, body := send(t, srv.Transport(), "GET", "https://idc.example/", "", "")
	if len(body) != 1<<20 || !resp.Uncompressed || resp.ContentLength != -1 || resp.Header.Get("Content-Encoding") != "" {
		t.Errorf("%d bytes, %+v", len(body), resp)
	}
	req, err := http.NewRequest("GET", "https://idc.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err = srv.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(raw, b.Bytes()) || resp.Uncompressed {
		t.Errorf("%d bytes, %+v, %v", len(raw), resp, err)
	}
}

// TestLogIsBounded checks that the newest entries are kept, in order, with no
// query.
func TestLogIsBounded(t *testing.T) {
	srv := idctest.New()
	var ids []string
	for range 1500 {
		resp, _ := send(t, srv.Transport(), "GET", "https://idc.example/"+strings.Repeat("p", 400)+"?user_code=q", "", "")
		ids = append(ids, resp.Header.Get("X-Amzn-RequestId"))
	}
	var logged []string
	for _, e := range srv.Log() {
		logged = append(logged, e.RequestID)
		if len(e.Path) != 256 || strings.Contains(e.Path, "?") {
			t.Fatalf("path %q", e.Path)
		}
	}
	if !slices.Equal(logged, ids[1500-1024:]) {
		t.Errorf("%d entries, not the last 1024 in order", len(logged))
	}
}
