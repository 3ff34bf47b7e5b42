package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/awsoidc/awsoidc/wire"
)

const testEndpoint = "https://oidc.us-east-1.amazonaws.com"

// transportFunc is an in-memory transport.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func failing(err error) transportFunc {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// newClient returns a client of an in-memory transport.
func newClient(f transportFunc) *wire.Client {
	return &wire.Client{Endpoint: testEndpoint, HTTPClient: &http.Client{Transport: f}}
}

// answering returns a client whose every request gets the one answer. The
// header is given as keys and values.
func answering(status int, body string, header ...string) *wire.Client {
	return newClient(func(req *http.Request) (*http.Response, error) {
		return answer(req, status, body, header...), nil
	})
}

func answer(req *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode:    status,
		Header:        h,
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       req,
	}
}

// canaries are the secrets of a request that must appear nowhere.
var canaries = []wire.Secret{
	"canary-client-secret-8c1d2b7f", "canary-device-code-51f0aa93", "canary-auth-code-e07d4c12",
	"canary-code-verifier-99ab03de", "canary-refresh-token-4b6c7d8e",
}

// canaryInput carries every canary.
func canaryInput() *wire.CreateTokenInput {
	return &wire.CreateTokenInput{
		ClientID:     "client-id",
		ClientSecret: canaries[0],
		GrantType:    wire.GrantRefreshToken,
		DeviceCode:   canaries[1],
		Code:         canaries[2],
		RedirectURI:  "http://127.0.0.1/oauth/callback",
		CodeVerifier: canaries[3],
		RefreshToken: canaries[4],
	}
}

func refreshInput() *wire.CreateTokenInput {
	return &wire.CreateTokenInput{
		ClientID:     "client-id",
		ClientSecret: "client-secret",
		GrantType:    wire.GrantRefreshToken,
		RefreshToken: "refresh-token",
	}
}

func deviceInput() *wire.StartDeviceAuthorizationInput {
	return &wire.StartDeviceAuthorizationInput{
		ClientID:     "client-id",
		ClientSecret: canaries[0],
		StartURL:     "https://d-1234567890.awsapps.com/start",
	}
}

// newLogger writes everything to w, as JSON.
func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// asError returns the *wire.Error in err.
func asError(t *testing.T, err error) *wire.Error {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %T (%v), want a *wire.Error", err, err)
	}
	return e
}

// asSendError returns the *wire.SendError in err.
func asSendError(t *testing.T, err error) *wire.SendError {
	t.Helper()
	var e *wire.SendError
	if !errors.As(err, &e) {
		t.Fatalf("the error is %T (%v), want a *wire.SendError", err, err)
	}
	return e
}

// shown is every way in which a program might print v: all verbs of fmt, slog
// as text and as JSON, encoding/json, and the same for all that an error wraps.
func shown(v any) string {
	var b strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3v", "%t"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	slog.New(slog.NewJSONHandler(&b, nil)).Error("json", "v", v)
	slog.New(slog.NewTextHandler(&b, nil)).Error("text", "v", v)
	if data, err := json.Marshal(v); err == nil {
		b.Write(data)
	}
	switch e := v.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			b.WriteString(shown(inner))
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			b.WriteString(shown(inner))
		}
	}
	return b.String()
}

// checkHidden fails the test where a secret is in the text, plain or in hex.
func checkHidden(t *testing.T, text string, secrets []wire.Secret) {
	t.Helper()
	for _, c := range secrets {
		for _, form := range []string{string(c), fmt.Sprintf("%x", string(c)), fmt.Sprintf("%X", string(c))} {
			if strings.Contains(text, form) {
				t.Fatalf("a secret is shown (%s…):\n%.2000s", form[:16], text)
			}
		}
	}
}

// checkText fails the test where an error's text is not one bounded line of
// printable characters with the package's prefix.
func checkText(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if !strings.HasPrefix(text, "wire: ") {
		t.Fatalf("the error %q lacks the package's name", text)
	}
	checkLine(t, text, 2<<10)
}

// checkLine fails the test where text is not one line of printable characters
// of at most limit bytes.
func checkLine(t *testing.T, text string, limit int) {
	t.Helper()
	if len(text) > limit {
		t.Fatalf("a text of %d bytes, more than %d: %.200s…", len(text), limit, text)
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			t.Fatalf("%q holds the character %U", text, r)
		}
	}
	if !utf8.ValidString(text) {
		t.Fatalf("%q is not valid UTF-8", text)
	}
}

// brokenBody is an answer of status 200 whose body ends in err.
func brokenBody(req *http.Request, err error) *http.Response {
	resp := answer(req, 200, "")
	resp.ContentLength = -1
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"accessToken":"a",`), iotest.ErrReader(err)))
	return resp
}
