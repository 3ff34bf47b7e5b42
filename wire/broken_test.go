package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// What a refusal's status and header say is known, though its body never came.
func TestBrokenRefusal(t *testing.T) {
	const ids = "x-amzn-RequestId: req-1\r\nx-amz-id-2: ext-1\r\nRetry-After: 7\r\n"
	for name, body := range map[string]string{
		"cut short":         "Content-Length: 100\r\n\r\n{\"error\":",
		"chunked cut short": "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"err",
		"not gzip":          "Content-Encoding: gzip\r\nContent-Length: 25\r\n\r\n{\"error\":\"invalid_grant\"}",
	} {
		for status, typ := range map[string]string{
			"400 Bad Request": wire.TypeInvalidGrant, "429 Too Many Requests": "ThrottlingException", "503 Service Unavailable": "",
			"400 Bad": "", "307 Temporary Redirect": "",
		} {
			t.Run(name+" "+status, func(t *testing.T) {
				header := ids
				if typ != "" {
					header += "x-amzn-ErrorType: " + typ + ":http://x/\r\n"
				}
				address := listen(t, func(c net.Conn) {
					readRequest(t, c)
					io.WriteString(c, "HTTP/1.1 "+status+"\r\n"+header+body)
					c.Close()
				})
				tr := &http.Transport{}
				defer tr.CloseIdleConnections()
				var log bytes.Buffer
				c := &wire.Client{Endpoint: "http://" + address, HTTPClient: &http.Client{Transport: tr}, Logger: newLogger(&log)}
				_, err := c.CreateToken(t.Context(), canaryInput())
				checkText(t, err)
				checkHidden(t, shown(err)+log.String(), canaries)
				e := asError(t, err)
				if !strings.HasPrefix(status, strconv.Itoa(e.StatusCode)) || e.Type != typ || e.RequestID != "req-1" || e.ExtendedRequestID != "ext-1" || e.RetryAfter != 7*time.Second {
					t.Errorf("%+v", e)
				}
				redirected := e.StatusCode == 307
				if errors.Is(err, wire.ErrResponse) != (typ == "") || errors.Is(err, io.ErrUnexpectedEOF) != (typ == "" && !redirected) {
					t.Errorf("%v wraps %v", err, e.Err)
				}
				wantLog(t, &log, e.StatusCode, "req-1")
			})
		}
	}
}

// A success whose body broke off may have been carried out. What came of it is
// in the log.
func TestBrokenSuccess(t *testing.T) {
	var log bytes.Buffer
	c := newClient(func(req *http.Request) (*http.Response, error) {
		resp := brokenBody(req, io.ErrUnexpectedEOF)
		resp.Header.Set("x-amzn-RequestId", "req-1")
		return resp, nil
	})
	c.Logger = newLogger(&log)
	_, err := c.CreateToken(t.Context(), refreshInput())
	if e := asSendError(t, err); e.Unspent || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%#v", e)
	}
	wantLog(t, &log, 200, "req-1")
}

// The context that ended while a refusal was read can be recognized, where the
// refusal names no error.
func TestTimeoutInRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, typ := range []string{"", wire.TypeInvalidGrant} {
			c := newClient(func(req *http.Request) (*http.Response, error) {
				resp := answer(req, 503, "", "x-amzn-ErrorType", typ)
				resp.ContentLength = -1
				resp.Body = io.NopCloser(readFunc(func([]byte) (int, error) {
					<-req.Context().Done()
					return 0, errors.New("some other words about " + string(canaries[4]))
				}))
				return resp, nil
			})
			c.HTTPClient.Timeout = time.Second
			_, err := c.CreateToken(t.Context(), canaryInput())
			checkText(t, err)
			checkHidden(t, shown(err), canaries)
			e := asError(t, err)
			if e.StatusCode != 503 || e.Type != typ || errors.Is(err, wire.ErrResponse) != (typ == "") || errors.Is(err, context.DeadlineExceeded) != (typ == "") {
				t.Errorf("%q: %+v", typ, e)
			}
		}
	})
}

func wantLog(t *testing.T, log *bytes.Buffer, status int, requestID string) {
	t.Helper()
	var got struct {
		Status    int
		RequestID string `json:"request_id"`
		Error     string
	}
	if err := json.Unmarshal(log.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Status != status || got.RequestID != requestID || got.Error == "" {
		t.Errorf("logged %+v", got)
	}
}
