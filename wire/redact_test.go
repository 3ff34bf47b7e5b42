package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/awsoidc/awsoidc/wire"
)

// aorToken is a token of the form that the service gives, as far as it matters
// here: what is escaped in URLs, JSON and HTML is in it.
const aorToken = "aorAAAAAGb4:MGUCMQDo/kz+8hQ2TQv==.eyJzZXNzaW9uIjoiYTw&Yj4iLCJuIjox<fQ>:x/y+z_0-9~'\"\\end=="

// In whatever form a server shows a secret, in whole or in part.
func TestRedactForms(t *testing.T) {
	jsonForm, _ := json.Marshal(aorToken)
	everyByte := func(format string) string {
		var b strings.Builder
		for i := range len(aorToken) {
			fmt.Fprintf(&b, format, aorToken[i])
		}
		return b.String()
	}
	for name, shown := range map[string]string{
		"raw":                  aorToken,
		"query":                url.QueryEscape(aorToken),
		"path":                 url.PathEscape(aorToken),
		"query, twice":         url.QueryEscape(url.QueryEscape(aorToken)),
		"query, thrice":        url.QueryEscape(url.QueryEscape(url.QueryEscape(aorToken))),
		"query, lower case":    strings.ToLower(url.QueryEscape("://")) + url.QueryEscape(aorToken),
		"plus read as space":   strings.ReplaceAll(aorToken, "+", " "),
		"JSON":                 string(jsonForm),
		"JSON with slashes":    strings.ReplaceAll(aorToken, "/", `\/`),
		"JSON with u003d":      strings.ReplaceAll(aorToken, "=", `\u003d`),
		"JSON, every byte":     everyByte(`\u%04x`),
		"Go's %q":              fmt.Sprintf("%q", aorToken),
		"Go's %q, twice":       fmt.Sprintf("%q", fmt.Sprintf("%q", aorToken)),
		"JavaScript":           everyByte(`\x%02X`),
		"HTML":                 html.EscapeString(aorToken),
		"HTML, decimal":        everyByte(`&#%d;`),
		"HTML, hexadecimal":    everyByte(`&#x%X;`),
		"HTML of a URL":        html.EscapeString(url.QueryEscape(aorToken)),
		"URL of JSON":          url.QueryEscape(string(jsonForm)),
		"URL, every byte":      everyByte(`%%%02X`),
		"without its start":    aorToken[9:],
		"without its end":      aorToken[:40],
		"its middle":           aorToken[20:50],
		"its middle, escaped":  url.QueryEscape(aorToken[20:50]),
		"in lines":             aorToken[:10] + "\r\n " + aorToken[10:30] + "\n" + aorToken[30:],
		"in lines, escaped":    aorToken[:10] + `\r\n` + aorToken[10:30] + `\n` + aorToken[30:],
		"with a control":       aorToken[:8] + "\x00" + aorToken[8:],
		"one letter at a time": strings.Join(strings.Split(aorToken, ""), " "),
	} {
		t.Run(name, func(t *testing.T) {
			got := wire.Redact("you sent "+shown+", which is bad", "another-secret-of-no-matter", aorToken)
			if !strings.HasPrefix(got, "you sent ") || !strings.Contains(got, "[redacted]") || !strings.HasSuffix(got, ", which is bad") {
				t.Errorf("%q", got)
			}
			checkParts(t, got, aorToken)
			if len(got) > len("you sent [redacted], which is bad")+8*6 { // quotes and signs at its ends may stay
				t.Errorf("much is left: %q", got)
			}

			// And the same where a server or a transport says it.
			in := refreshInput()
			in.RefreshToken = wire.Secret("aor-as-others-" + aorToken[1:]) // a client that sent it with a prefix
			data, _ := json.Marshal(map[string]string{"error": "invalid_grant", "error_description": shown})
			_, err := answering(400, string(data), "x-amzn-RequestId", shown).CreateToken(t.Context(), in)
			checkParts(t, fmt.Sprintf("%v %+v %#v", err, asError(t, err), asError(t, err)), aorToken)
			_, err = newClient(failing(errors.New(shown))).CreateToken(t.Context(), in)
			checkParts(t, fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), aorToken)
		})
	}
}

// checkParts looks for 16 letters and digits of a secret in a row, in a text
// with its escapes read by others than this package.
func checkParts(t *testing.T, text, secret string) {
	t.Helper()
	alphanumeric := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < 128 && (r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
				return r
			}
			return -1
		}, s)
	}
	forms := []string{text, html.UnescapeString(text)}
	for range 3 {
		last := forms[len(forms)-1]
		if s, err := url.QueryUnescape(last); err == nil {
			forms = append(forms, s)
		}
	}
	var s string
	if json.Unmarshal([]byte(`"`+strings.ReplaceAll(text, `"`, `\"`)+`"`), &s) == nil {
		forms = append(forms, s)
	}
	key := alphanumeric(secret)
	for _, form := range forms {
		form = alphanumeric(form)
		for i := 0; i+16 <= len(key); i++ {
			if strings.Contains(form, key[i:i+16]) {
				t.Errorf("%q shows %q", text, key[i:i+16])
				return
			}
		}
	}
}

func TestRedact(t *testing.T) {
	for _, c := range []struct {
		text    string
		secrets []wire.Secret
		want    string
	}{
		{"", nil, ""},
		{"", []wire.Secret{aorToken}, ""},
		{"plain", nil, "plain"},
		{"plain", []wire.Secret{""}, "plain"},
		{" two\nlines\x1b[31m ", nil, "two lines [31m"},
		{"not \xff UTF-8", nil, "not \uFFFD UTF-8"},
		{"100% of R&D, C:\\dir &unknown; &#zz; %zz \\u12 &", []wire.Secret{aorToken}, "100% of R&D, C:\\dir &unknown; &#zz; %zz \\u12 &"},
		{strings.Repeat("é", 300), nil, strings.Repeat("é", 254) + "…"},
		{"the refresh token was refused", []wire.Secret{"refresh-token-1"}, "the refresh token was refused"}, // words, not the secret
		{"expired_token", []wire.Secret{"token"}, "expired_[redacted]"},
		{"a %74oken", []wire.Secret{"token"}, "a [redacted]"},
		{"++++ is bad", []wire.Secret{"++++"}, "[redacted] is bad"},
		{"%2B%2B%2b%2B is bad", []wire.Secret{"++++"}, "[redacted] is bad"},
		{"x" + strings.Repeat("+", 20) + "y", []wire.Secret{wire.Secret(strings.Repeat("+", 30))}, "x[redacted]y"},
		{"%2", []wire.Secret{"%2"}, "[redacted]"},
		{`ends in \`, []wire.Secret{aorToken}, `ends in \`},
		{"abcdefgh01234567 abcdefgh01234567", []wire.Secret{"abcdefgh01234567"}, "[redacted] [redacted]"},
		{"abcdefgh01234567", []wire.Secret{"abcdefgh0123456789"}, "[redacted]"},
		{"abcdefgh0123456", []wire.Secret{"abcdefgh0123456789"}, "abcdefgh0123456"}, // too little to tell
	} {
		if got := wire.Redact(c.text, c.secrets...); got != c.want {
			t.Errorf("Redact(%q, %d secrets) = %q, want %q", c.text, len(c.secrets), got, c.want)
		}
	}
}

// Any run that is long enough is found, wherever in a secret and a text it is.
func TestRedactRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=:._-~"
	for range 2000 {
		secret := make([]byte, 40+r.IntN(200))
		for i := range secret {
			secret[i] = chars[r.IntN(len(chars))]
		}
		from := r.IntN(len(secret) - 30)
		part := string(secret[from : from+24+r.IntN(len(secret)-from-24)])
		text := fmt.Sprintf("%*s%s.", r.IntN(40), "", []string{part, url.QueryEscape(part)}[r.IntN(2)])
		got := wire.Redact(text, wire.Secret(secret))
		checkParts(t, got, string(secret))
		if !strings.Contains(got, "[redacted]") {
			t.Fatalf("%q of %q: %q", part, secret, got)
		}
	}
}

// A run that is just long enough is found, wherever in the secret it is.
func TestRedactShortestRun(t *testing.T) {
	const run = "abcdefgh01234567"
	for before := range 40 {
		for after := range 20 {
			secret := wire.Secret(strings.Repeat("Z", before) + run + strings.Repeat("Y", after))
			if got := wire.Redact("-"+run+"-", secret); got != "-[redacted]-" {
				t.Fatalf("%q with %d bytes before it and %d after it", got, before, after)
			}
		}
	}
}

// What no text is about takes little time, whoever wrote it.
func TestRedactIsBounded(t *testing.T) {
	secret := wire.Secret(strings.Repeat(aorToken, 700)) // of about the largest size
	for name, text := range map[string]string{
		"percent": strings.Repeat("%25", 1<<20), "backslash": strings.Repeat(`\`, 1<<20), "ampersand": strings.Repeat("&amp;", 1<<20),
		"secrets": strings.Repeat(aorToken+" ", 1<<14), "one secret": string(secret), "letters": strings.Repeat("a", 1<<20),
	} {
		got := wire.Redact(text, secret)
		if len(got) > 512 || !utf8.ValidString(got) {
			t.Errorf("%s: %d bytes: %q", name, len(got), got)
		}
		checkParts(t, got, aorToken)
	}
}

// What is looked for is prepared once for all texts of an answer, however large
// the secrets are.
func TestRedactMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	large := func() wire.Secret {
		b := make([]byte, wire.MaxTokenBytes)
		for i := range b {
			b[i] = chars[r.IntN(len(chars))]
		}
		return wire.Secret(b)
	}
	text := strings.Repeat(chars+"%2525&amp;", 2000)
	members := make(map[string]string)
	for _, name := range []string{"__type", "error", "error_description", "reason", "region", "endpoint"} {
		members[name] = text
	}
	body, _ := json.Marshal(members)
	c := answering(400, string(body), "x-amzn-RequestId", text, "x-amz-id-2", text, "X-Amz-Cf-Id", text)
	in := &wire.CreateTokenInput{
		ClientID: "x", ClientSecret: large(), GrantType: wire.GrantRefreshToken, DeviceCode: large(), Code: large(), CodeVerifier: large(), RefreshToken: large(),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.CreateToken(t.Context(), in)
	runtime.ReadMemStats(&after)
	asError(t, err)
	const limit = 64 << 20
	if n := after.TotalAlloc - before.TotalAlloc; n > limit {
		t.Errorf("%d MiB for one answer of %d KiB", n>>20, len(body)>>10)
	} else {
		t.Logf("%d MiB", n>>20)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("you sent "+aorToken, aorToken)
	f.Add(url.QueryEscape(aorToken), aorToken)
	f.Add(html.EscapeString(aorToken)+`\u003d\`, "short")
	f.Add("%", "%")
	f.Fuzz(func(t *testing.T, text, secret string) {
		got := wire.Redact(text, wire.Secret(secret))
		if len(got) > 512 || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00\x1b") {
			t.Errorf("%q", got)
		}
		token := !strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' }) // as all secrets of this package
		for part := range strings.SplitSeq(got, "[redacted]") {
			if token && len(secret) >= 16 && strings.Contains(part, secret) {
				t.Errorf("%q shows %q", got, secret)
			}
		}
	})
}

func ExampleRedact() {
	const token = "aorAAAAAGb4:MGUCMQDo/kz+8hQ2TQv=="
	fmt.Println(wire.Redact("the service said:\nno session for aorAAAAAGb4%3AMGUCMQDo%2Fkz%2B8hQ2TQv", token))
	// Output: the service said: no session for [redacted]
}
