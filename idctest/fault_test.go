package idctest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// refreshBody is a refresh as it goes over the wire.
func refreshBody(t *testing.T, s idctest.Session) string {
	return toJSON(t, map[string]string{
		"clientId": s.ClientID, "clientSecret": s.ClientSecret, "grantType": "refresh_token", "refreshToken": s.RefreshToken,
	})
}

// post sends a refresh, and returns the answer and what reading it gave.
func post(ctx context.Context, rt http.RoundTripper, base, body string) (resp *http.Response, b []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, "POST", base+"/token", strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if resp, err = rt.RoundTrip(req); err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	return resp, b, err
}

// TestBrokenConnections checks what the client sees, and whether the refresh
// was carried out: the token was spent, so that using it again is a reuse.
func TestBrokenConnections(t *testing.T) {
	reset := func(err error) bool {
		var op *net.OpError
		return errors.As(err, &op) && op.Op == "read" && errors.Is(err, syscall.ECONNRESET)
	}
	for _, test := range []struct {
		name      string
		fault     idctest.Fault
		committed bool
		memory    func(error) bool
	}{
		{"dial", idctest.Fault{Dial: true}, false, func(err error) bool {
			var op *net.OpError
			return errors.As(err, &op) && op.Op == "dial" && errors.Is(err, syscall.ECONNREFUSED)
		}},
		{"before", idctest.Fault{ResetBefore: true}, false, reset},
		{"after", idctest.Fault{ResetAfter: true}, true, reset},
		{"cut", idctest.Fault{CutBody: true}, true, reset},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := idctest.New()
			ts := httptest.NewTLSServer(srv)
			defer ts.Close()
			fresh := ts.Client().Transport.(*http.Transport)
			fresh.DisableKeepAlives = true // net/http retries on a connection used before
			for _, rt := range []http.RoundTripper{srv.Transport(), fresh} {
				s := srv.Issue("sso:account:access")
				before, reuses := srv.Count(idctest.CreateTokenRefresh), srv.Reuses()
				srv.Inject(idctest.CreateTokenRefresh, test.fault)
				_, _, err := post(t.Context(), rt, ts.URL, refreshBody(t, s))
				if err == nil || rt != fresh && !test.memory(err) {
					t.Errorf("%T: error %v", rt, err)
				}
				after := srv.Count(idctest.CreateTokenRefresh)
				if got := after.Succeeded == before.Succeeded+1; got != test.committed {
					t.Errorf("%T: carried out: %v, want %v", rt, got, test.committed)
				}
				if got := after.Requests - before.Requests; got != 1 && !test.fault.Dial || test.fault.Dial && got != 0 {
					t.Errorf("%T: %d requests counted", rt, got)
				}
				_, err = refreshSession(t, srv, s)
				if test.committed {
					wantException(t, err, wire.TypeInvalidGrant)
				} else if err != nil {
					t.Error(err)
				}
				if got := srv.Reuses() - reuses; (got == 1) != test.committed {
					t.Errorf("%T: %d reuses", rt, got)
				}
			}
		})
	}
}

func TestLatencyAndHang(t *testing.T) {
	type outcome struct {
		after     time.Duration
		timeout   bool
		committed bool
	}
	for _, test := range []struct {
		name  string
		fault idctest.Fault
		want  outcome
	}{
		{"latency", idctest.Fault{Latency: 3 * time.Second}, outcome{3 * time.Second, false, true}},
		{"latency after", idctest.Fault{LatencyAfter: 3 * time.Second}, outcome{3 * time.Second, false, true}},
		{"both", idctest.Fault{Latency: time.Second, LatencyAfter: 2 * time.Second}, outcome{3 * time.Second, false, true}},
		{"too long", idctest.Fault{Latency: time.Minute}, outcome{10 * time.Second, true, false}},
		{"too long after", idctest.Fault{LatencyAfter: time.Minute}, outcome{10 * time.Second, true, true}},
		{"hang", idctest.Fault{Hang: true}, outcome{10 * time.Second, true, false}},
		{"hang after", idctest.Fault{Hang: true, Commit: true}, outcome{10 * time.Second, true, true}},
		{"late error", idctest.Fault{Latency: time.Second, Status: 503}, outcome{time.Second, false, false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := idctest.New()
				s := srv.Issue("sso:account:access")
				srv.Inject(idctest.CreateToken, test.fault)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				start := time.Now()
				_, _, err := post(ctx, srv.Transport(), "https://idc.example", refreshBody(t, s))
				after := time.Since(start)
				synctest.Wait() // until the server has noticed
				got := outcome{after, errors.Is(err, context.DeadlineExceeded), srv.Count(idctest.CreateToken).Succeeded == 1}
				if got != test.want {
					t.Errorf("got %+v, want %+v (%v)", got, test.want, err)
				}
			})
		})
	}
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		name        string
		fault       idctest.Fault
		status      int
		contentType string
		body        string // a part of it
		committed   bool
	}{
		{"none", idctest.Fault{}, 200, "application/json", `"accessToken":"aoa`, true},
		{"503", idctest.Fault{Status: 503}, 503, "text/html", "503 Service Unavailable", false},
		{"503 after all", idctest.Fault{Status: 503, Commit: true}, 503, "text/html", "503 Service Unavailable", true},
		{"429", idctest.Fault{Status: 429}, 429, "application/json", `"error"`, false},
		{"typed, other status", idctest.Fault{Type: wire.TypeSlowDown, Status: 429}, 429, "application/json", `"slow_down"`, false},
		{"code alone", idctest.Fault{Code: "teapot", Description: "short"}, 400, "application/json", `{"error":"teapot","error_description":"short"}`, false},
		{"garbage", idctest.Fault{Body: []byte("<html>")}, 200, "application/json", "<html>", false},
		{"empty", idctest.Fault{Body: []byte{}}, 200, "application/json", "", false},
		{"garbage in text", idctest.Fault{Body: []byte("no"), ContentType: "text/plain", Status: 418}, 418, "text/plain", "no", false},
		{"other content type", idctest.Fault{ContentType: "text/plain"}, 200, "text/plain", `"accessToken"`, true},
		{"no content", idctest.Fault{Status: 204}, 204, "text/html", "", false},
		{"impossible status", idctest.Fault{Status: 42}, 400, "text/html", "400 Bad Request", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := idctest.New()
			ts := httptest.NewServer(srv)
			defer ts.Close()
			for _, rt := range []http.RoundTripper{srv.Transport(), http.DefaultTransport} {
				s := srv.Issue("sso:account:access")
				before := srv.Count(idctest.CreateToken)
				srv.Inject(idctest.CreateToken, test.fault)
				resp, body, err := post(t.Context(), rt, ts.URL, refreshBody(t, s))
				if err != nil {
					t.Fatal(err)
				}
				got := resp.Header.Get("Content-Type")
				if resp.StatusCode != test.status || got != test.contentType || !strings.Contains(string(body), test.body) {
					t.Errorf("%T: status %d, %s, body %s", rt, resp.StatusCode, got, body)
				}
				if resp.Header.Get("X-Amzn-RequestId") == "" {
					t.Errorf("%T: no request id", rt)
				}
				after := srv.Count(idctest.CreateToken)
				if (after.Succeeded > before.Succeeded) != test.committed || after.Faulted != before.Faulted+1 {
					t.Errorf("%T: counts %+v, then %+v", rt, before, after)
				}
			}
		})
	}
}

func TestAnswerHeader(t *testing.T) {
	srv := idctest.New()
	header := http.Header{"retry-after": {"7"}, "X-Amz-Cf-Id": {"cf"}}
	srv.Inject(idctest.CreateToken, idctest.Fault{Status: 429, Header: header}, idctest.Fault{Header: header},
		idctest.Fault{Status: 307, Header: http.Header{"Location": {"https://elsewhere.example/token"}}})
	s := srv.Issue("sso:account:access")
	for _, status := range []int{429, 200} {
		resp, _, err := post(t.Context(), srv.Transport(), "https://idc.example", refreshBody(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status || resp.Header.Get("Retry-After") != "7" || resp.Header.Get("X-Amz-Cf-Id") != "cf" {
			t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
		}
		resp.Header["Retry-After"][0] = "mine" // must not reach the next answer
	}
	resp, _, err := post(t.Context(), srv.Transport(), "https://idc.example", refreshBody(t, s))
	if err != nil || resp.StatusCode != 307 || resp.Header.Get("Location") != "https://elsewhere.example/token" {
		t.Errorf("got %+v, %v", resp, err)
	}
}

// TestQueues checks which fault a request meets.
func TestQueues(t *testing.T) {
	srv := idctest.New()
	s := srv.Issue("sso:account:access")
	srv.Inject(idctest.AnyOperation, idctest.Fault{Status: 599, Times: idctest.Always})
	srv.Inject(idctest.CreateToken, idctest.Fault{Status: 501, Times: 2}, idctest.Fault{Status: 502})
	srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Status: 503})
	srv.Inject(idctest.CreateTokenDeviceCode, idctest.Fault{Status: 400})
	for _, want := range []int{503, 501, 501, 502, 599, 599} {
		resp, _, err := post(t.Context(), srv.Transport(), "https://idc.example", refreshBody(t, s))
		if err != nil || resp.StatusCode != want {
			t.Errorf("got %v, %v; want %d", resp, err, want)
		}
	}
	if resp, _ := send(t, srv.Transport(), "GET", "https://idc.example/nowhere", "", ""); resp.StatusCode != 599 {
		t.Errorf("an unknown operation: status %d, want 599", resp.StatusCode)
	}
	if n, m := srv.PendingFaults(idctest.CreateToken), srv.PendingFaults(idctest.CreateTokenDeviceCode); n != 0 || m != 1 {
		t.Errorf("%d and %d faults pending, want 0 and 1", n, m)
	}
	srv.ClearFaults(idctest.AnyOperation)
	if _, err := refreshSession(t, srv, s); err != nil {
		t.Error(err)
	}
	srv.ClearFaults()
	if n := srv.PendingFaults(idctest.CreateTokenDeviceCode); n != 0 {
		t.Errorf("%d faults pending after ClearFaults", n)
	}
}

// TestLargeBody checks that padding keeps JSON valid, and that an answer far
// larger than memory can be given up.
func TestLargeBody(t *testing.T) {
	srv := idctest.New()
	ts := httptest.NewServer(srv)
	defer ts.Close()
	for _, rt := range []http.RoundTripper{srv.Transport(), http.DefaultTransport} {
		s := srv.Issue("sso:account:access")
		srv.Inject(idctest.CreateToken, idctest.Fault{BodySize: 3 << 20}, idctest.Fault{Body: []byte("{"), BodySize: 1 << 50})
		_, body, err := post(t.Context(), rt, ts.URL, refreshBody(t, s))
		if err != nil || len(body) != 3<<20 || !json.Valid(body) {
			t.Errorf("%T: %d bytes, valid JSON: %v, %v", rt, len(body), json.Valid(body), err)
		}
		req, err := http.NewRequest("POST", ts.URL+"/token", strings.NewReader(refreshBody(t, s)))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.CopyN(io.Discard, resp.Body, 10<<20); err != nil {
			t.Errorf("%T: %d bytes, %v", rt, n, err)
		}
		resp.Body.Close()
	}
}

// TestWithoutHijacker checks the last resort for a broken connection.
func TestWithoutHijacker(t *testing.T) {
	srv := idctest.New()
	srv.Inject(idctest.AnyOperation, idctest.Fault{ResetBefore: true})
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v", v)
		}
		if c := srv.Count(idctest.AnyOperation); c.Failed != 1 {
			t.Errorf("counts %+v", c)
		}
	}()
	srv.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/device", nil))
}
