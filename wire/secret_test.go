package wire_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/wire"
)

const canary = wire.Secret("canary-client-secret-8c1d2b7f") // canaries[0]

func TestSecretIsHidden(t *testing.T) {
	type nested struct {
		Name   string
		Secret wire.Secret
		List   []wire.Secret
		Map    map[string]wire.Secret
		Inner  struct{ Secret wire.Secret }
		Any    any
	}
	pointed := canary
	value := nested{Secret: canary, List: []wire.Secret{canary}, Map: map[string]wire.Secret{"key": canary}, Any: canary}
	value.Inner.Secret = canary
	for name, v := range map[string]any{
		"secret": canary, "pointer": &pointed, "list": value.List, "map": value.Map, "struct": value, "pointer to struct": &value,
		"error":  fmt.Errorf("refused %v %+v %#v %s %q %x %d", canary, canary, canary, canary, canary, canary, canary),
		"input":  canaryInput(),
		"output": wire.CreateTokenOutput{AccessToken: canary, RefreshToken: canary, IDToken: canary},
		"client": wire.RegisterClientOutput{ClientID: "id", ClientSecret: canary},
		"device": wire.StartDeviceAuthorizationOutput{DeviceCode: canary},
	} {
		t.Run(name, func(t *testing.T) {
			text := shown(v)
			checkHidden(t, text, canaries)
			if !strings.Contains(text, "[redacted]") {
				t.Errorf("nothing says that something was left out: %s", text)
			}
		})
	}
}

func TestSecretForms(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%b", "%e", "%c", "%U", "%t", "%z", "%-20s", "%.3s", "%[1]v"} {
		if got := fmt.Sprintf(verb, canary); got != "[redacted]" {
			t.Errorf("%s: %q", verb, got)
		}
	}
	for _, got := range []string{canary.String(), canary.GoString(), canary.LogValue().String(), fmt.Sprint(canary), fmt.Sprintln(canary)[:10]} {
		if got != "[redacted]" {
			t.Errorf("%q", got)
		}
	}
	if data, err := json.Marshal(map[string]any{"a": canary, "b": wire.Secret("")}); err != nil || string(data) != `{"a":"[redacted]","b":""}` {
		t.Errorf("JSON %s, %v", data, err)
	}
	if data, err := xml.Marshal(canary); err != nil || strings.Contains(string(data), string(canary)) {
		t.Errorf("XML %s, %v", data, err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "secret", canary, slog.Any("group", slog.GroupValue(slog.Any("secret", canary))))
	checkHidden(t, log.String(), canaries)

	if string(canary) != "canary-client-secret-8c1d2b7f" {
		t.Error("a conversion does not give the value")
	}
	if wire.Secret("").String() != "" || fmt.Sprintf("%v%#v%q", wire.Secret(""), wire.Secret(""), wire.Secret("")) != "" {
		t.Error("the empty secret is not printed as such")
	}
}

// Canary secrets go through every way in which a call can fail, and neither the
// error nor the log shows one.
func TestErrorsHideSecrets(t *testing.T) {
	for name, c := range hostileClients(canaries) {
		t.Run(name, func(t *testing.T) { testHidesSecrets(t, c, createToken(canaryInput()), canaries) })
	}
	t.Run("unusable input", func(t *testing.T) {
		in := canaryInput()
		in.RefreshToken += "\n"
		_, err := answering(200, ``).CreateToken(t.Context(), in)
		checkHidden(t, shown(err), canaries)
	})
	t.Run("endpoint", func(t *testing.T) {
		for _, endpoint := range []string{
			"https://user:" + string(canary) + "@example.com", "https://example.com/?" + string(canary), "https://example.com/#" + string(canary),
			"https://example.com:" + string(canary), "https://user:" + string(canary), "\x00" + string(canary), "ftp://" + string(canary),
		} {
			_, err := (&wire.Client{Endpoint: endpoint}).CreateToken(t.Context(), canaryInput())
			if err == nil {
				t.Errorf("%q: no error", endpoint)
				continue
			}
			checkText(t, err)
			checkHidden(t, shown(err), canaries)
		}
	})
	t.Run("metadata of a success", func(t *testing.T) {
		out, err := answering(200, `{"accessToken":"a","expiresIn":1}`, hostileHeader(canaries)...).CreateToken(t.Context(), canaryInput())
		if err != nil {
			t.Fatal(err)
		}
		checkHidden(t, shown(out), canaries)
	})
}

// testHidesSecrets expects a call to fail and to show no secret.
func testHidesSecrets(t *testing.T, c *wire.Client, call call, secrets []wire.Secret) {
	t.Helper()
	var log bytes.Buffer
	c.Logger = newLogger(&log)
	err := call(t.Context(), c)
	if err == nil {
		t.Fatal("no error")
	}
	checkText(t, err)
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
	text := shown(err) + log.String()
	checkHidden(t, text, secrets)
	if last := secrets[len(secrets)-1]; strings.Contains(text, string(last[:20])) {
		t.Error("a long part of a secret is shown")
	}
}

// hostileClients are clients of servers and transports that give back the
// secrets of a request wherever they can.
func hostileClients(secrets []wire.Secret) map[string]*wire.Client {
	all := ""
	for _, c := range secrets {
		all += " " + string(c)
	}
	last := string(secrets[len(secrets)-1])
	split := " " + last[:6] + "\x00" + last[6:] + " " + last[:20] + " x" + last + string(secrets[0]) + "x"
	echo := func(member string) string {
		data, _ := json.Marshal(map[string]string{"error": "invalid_grant", member: "you sent" + all + split})
		return string(data)
	}
	everyHeader := hostileHeader(secrets)
	broken := func(err error) *wire.Client { return newClient(failing(err)) }
	clients := map[string]*wire.Client{
		"header of an error":     answering(400, `{}`, everyHeader...),
		"header of a redirect":   answering(302, ``, everyHeader...),
		"header of a bad answer": answering(200, `{}`, everyHeader...),
		"content type":           answering(200, `x`, "Content-Type", all),
		"HTML":                   answering(500, `<pre>`+all+`</pre>`, "Content-Type", "text/html"),
		"JSON that is none":      answering(200, `{"accessToken":"`+all),
		"array":                  answering(200, `["`+all+`"]`),
		"bad access token":       answering(200, `{"accessToken":"`+all+`","expiresIn":1}`),
		"bad refresh token":      answering(200, `{"accessToken":"a","refreshToken":"`+all+`","expiresIn":1}`),
		"bad token type":         answering(200, `{"accessToken":"`+last+`","tokenType":"`+all+`","expiresIn":1}`),
		"bad lifetime":           answering(200, `{"accessToken":"`+last+`","expiresIn":0}`),
		"lifetime of a secret":   answering(200, `{"accessToken":"a","expiresIn":"`+last+`"}`),
		"too large":              answering(200, strings.Repeat(all, 10_000)),
		"transport":              broken(errors.New("could not send" + all)),
		"transport, wrapped":     broken(fmt.Errorf("%w: %w", errors.New(all), errors.New("x"+all))),
		"transport, a URL":       broken(&url.Error{Op: "Post", URL: "https://example.com/?" + all, Err: errors.New("reset")}),
		"transport, a URL alone": broken(&url.Error{Op: "Post", URL: "https://example.com/?" + all}),
		"transport, URL and all": broken(&url.Error{Op: "Post", URL: "https://example.com/?" + all, Err: errors.New("reset" + all)}),
		"transport, a value":     broken(valueError{all}),
		"transport, much text":   broken(errors.New(strings.Repeat("x", 5000) + all)),
		"body":                   newClient(func(req *http.Request) (*http.Response, error) { return brokenBody(req, errors.New(all)), nil }),
	}
	for _, member := range []string{"__type", "error", "error_description", "message", "reason", "region", "endpoint"} {
		clients["echo in "+member] = answering(400, echo(member))
	}
	return clients
}

// hostileHeader gives back the secrets in every header that is looked at.
func hostileHeader(secrets []wire.Secret) (header []string) {
	all := ""
	for _, c := range secrets {
		all += " " + string(c)
	}
	for _, name := range []string{"x-amzn-RequestId", "x-amz-id-2", "X-Amz-Cf-Id", "x-amzn-ErrorType", "Retry-After"} {
		header = append(header, name, strings.TrimSpace(all))
	}
	last := string(secrets[len(secrets)-1])
	return append(header, "Location", "https://"+last+".example/"+last)
}

// An error whose text held a secret can still be recognized.
func TestScrubbedErrorIsRecognized(t *testing.T) {
	cause := errors.New("the cause of " + string(canaries[4]))
	c := newClient(failing(cause))
	_, err := c.CreateToken(t.Context(), canaryInput())
	if !errors.Is(err, cause) {
		t.Errorf("%v: errors.Is does not see the cause", err)
	}
	if want := "the cause of [redacted]"; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want …%s", err, want)
	}
}

// The service's own words survive a secret that occurs in them.
func TestShortSecret(t *testing.T) {
	in := refreshInput()
	in.ClientSecret, in.RefreshToken = "token", "invalid_grant"
	e := asError(t, createToken(in)(t.Context(), answering(400, `{"__type":"ExpiredTokenException","error":"expired_token","error_description":"expired_token invalid_grant"}`)))
	if e.Type != wire.TypeExpiredToken || e.Code != "expired_token" || e.Description != "expired_[redacted] [redacted]" {
		t.Errorf("%+v", e)
	}
	in.ClientSecret = "Exception"
	if e := asError(t, createToken(in)(t.Context(), answering(400, `{"__type":"ExpiredTokenException"}`))); e.Type != wire.TypeExpiredToken {
		t.Errorf("%+v", e)
	}
}

// Of two secrets that begin alike the longer one is cut out.
func TestSecretsThatBeginAlike(t *testing.T) {
	in := refreshInput()
	for in.ClientSecret, in.RefreshToken = range map[wire.Secret]wire.Secret{"abc": "abc-def", "abc-def": "abc"} {
		e := asError(t, createToken(in)(t.Context(), answering(400, `{"error":"invalid_grant","error_description":"abc-def and abc"}`)))
		if e.Description != "[redacted] and [redacted]" {
			t.Errorf("%q", e.Description)
		}
	}
}

// valueError is an error whose fields %#v shows.
type valueError struct{ Text string }

func (e valueError) Error() string { return "failed:" + e.Text }
