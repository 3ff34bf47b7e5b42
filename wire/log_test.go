package wire_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// A record says what was asked for, how it ended, and how long it took.
func TestLog(t *testing.T) {
	const took = 1500 * time.Millisecond
	slowly := func(answer func(*http.Request) (*http.Response, error)) transportFunc {
		return func(req *http.Request) (*http.Response, error) {
			time.Sleep(took)
			return answer(req)
		}
	}
	answers := func(status int, body string) transportFunc {
		return slowly(func(req *http.Request) (*http.Response, error) { return answer(req, status, body, requestIDs...), nil })
	}
	for name, test := range map[string]struct {
		call      call
		transport transportFunc
		want      map[string]any
	}{
		"success": {createToken(canaryInput()), answers(200, `{"accessToken":"a","expiresIn":1}`), map[string]any{
			"operation": "CreateToken", "path": "/token", "status": 200.0, "request_id": "req-1",
		}},
		"exception": {registerClient(&wire.RegisterClientInput{ClientName: "n"}), answers(400, `{"error":"slow_down"}`), map[string]any{
			"operation": "RegisterClient", "path": "/client/register", "status": 400.0, "request_id": "req-1",
			"error": "wire: RegisterClient: HTTP 400 SlowDownException (request ID req-1)",
		}},
		"unusable answer": {startDeviceAuthorization(deviceInput()), answers(200, `{}`), map[string]any{
			"operation": "StartDeviceAuthorization", "path": "/device_authorization", "status": 200.0, "request_id": "req-1",
			"error": "wire: StartDeviceAuthorization: HTTP 200: unusable answer: deviceCode is missing (request ID req-1)",
		}},
		"no answer": {createTokenWithIAM(bearerInput()), slowly(failing(errors.New("reset"))), map[string]any{
			"operation": "CreateTokenWithIAM", "path": "/token",
			"error": "wire: CreateTokenWithIAM: no complete answer, and the request may have been carried out: reset",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				c := newClient(test.transport)
				c.Signer, c.Logger = signs, newLogger(&log)
				test.call(t.Context(), c)
				var got map[string]any
				if err := json.Unmarshal(log.Bytes(), &got); err != nil {
					t.Fatalf("%v: %s", err, log.Bytes())
				}
				test.want["msg"], test.want["level"], test.want["method"] = "request to IAM Identity Center", "DEBUG", "POST"
				test.want["duration"] = float64(took)
				delete(got, "time")
				if !maps.Equal(got, test.want) {
					t.Errorf("got  %v\nwant %v", got, test.want)
				}
				checkHidden(t, log.String(), canaries)
			})
		})
	}
}

// Nothing is logged where nothing was sent, or where nobody wants to know. The
// handler gets the caller's context.
func TestLogIsQuiet(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, true)
	for level, want := range map[slog.Level]int{slog.LevelInfo: 0, slog.LevelDebug: 1} {
		h := &handler{level: level, seen: func(ctx context.Context) {
			if ctx.Value(key{}) == nil {
				t.Error("the handler got another context")
			}
		}}
		c := answering(200, `{"accessToken":"a","expiresIn":1}`)
		c.Logger = slog.New(h)
		if _, err := c.CreateToken(ctx, refreshInput()); err != nil {
			t.Error(err)
		}
		if _, err := c.CreateToken(ctx, nil); err == nil {
			t.Error("no error")
		}
		if _, err := c.CreateTokenWithIAM(ctx, bearerInput()); err == nil { // there is no Signer
			t.Error("no error")
		}
		if h.records != want {
			t.Errorf("%v: %d records, want %d", level, h.records, want)
		}
	}
}

// A handler gets the error's text, and not what the error wraps, which it might
// print.
func TestLogHasNoErrors(t *testing.T) {
	c := newClient(failing(valueError{string(canary)}))
	h := &handler{level: slog.LevelDebug, seen: func(context.Context) {}}
	c.Logger = slog.New(h)
	asSendError(t, createToken(refreshInput())(t.Context(), c))
	h.last.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindAny {
			t.Errorf("%s is a %T", a.Key, a.Value.Any())
		}
		return true
	})
	if h.records != 1 || h.last.NumAttrs() != 5 {
		t.Errorf("%d records, the last with %d attributes", h.records, h.last.NumAttrs())
	}
}

// handler counts records.
type handler struct {
	level   slog.Level
	seen    func(context.Context)
	records int
	last    slog.Record
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool { h.seen(ctx); return l >= h.level }
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	h.seen(ctx)
	h.last = r
	h.records++
	return nil
}
func (h *handler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *handler) WithGroup(string) slog.Handler      { return h }
