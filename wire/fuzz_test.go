package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// fuzzAnswer adds answers to a corpus: those given, under several statuses, and
// the errors that every operation shares.
func fuzzAnswer(f *testing.F, answers ...string) {
	secret := string(canaries[0])
	for _, body := range append(answers,
		``, `{}`, `null`, `[]`, `{"a":`, `<html>`, "\xef\xbb\xbf{}", strings.Repeat("[", 1000),
		`{"__type":"com.amazonaws.ssooidc#InvalidGrantException:http://x/","error":"invalid_grant","error_description":"Invalid refresh token"}`,
		`{"error":"authorization_pending","error_description":null}`,
		`{"error":"invalid_request","reason":"KMS_DisabledException","region":"eu-west-1","endpoint":"https://oidc.eu-west-1.amazonaws.com"}`,
		`{"error":"x`+secret+`","error_description":"\u0000`+secret+`\u202e","message":"`+secret[:20]+`"}`,
		`{"error":7,"error_description":["x"],"message":"Too Many Requests"}`,
	) {
		f.Add(200, "application/json", "", "req-1", "", "", []byte(body))
		f.Add(400, "application/json", "SlowDownException:http://x/", secret, "30", "", []byte(body))
	}
	f.Add(307, "", "", "", "", "https://"+secret+".example/"+secret, []byte(nil))
	f.Add(503, "text/html\x1b[2J", "a#b#c:", "\xff\x00", "Fri, 31 Dec 9999 23:59:59 GMT", "://", []byte("<html>"))
	f.Add(101, "", "", "", "-1", "", []byte(nil))
}

// fuzzCall makes a call that carries the secrets sent and is answered as told.
// It checks the error, or the metadata, and returns the error.
func fuzzCall(t *testing.T, status int, contentType, errorType, requestID, retryAfter, location string, body []byte, sent []wire.Secret, call func(*wire.Client) (wire.Metadata, error)) error {
	c := newClient(func(req *http.Request) (*http.Response, error) {
		return answer(req, status, string(body), "Content-Type", contentType, "x-amzn-ErrorType", errorType, "x-amzn-RequestId", requestID,
			"x-amz-id-2", requestID, "X-Amz-Cf-Id", requestID, "Retry-After", retryAfter, "Location", location), nil
	})
	var log bytes.Buffer
	c.Logger = newLogger(&log)
	m, err := call(c)
	checkHidden(t, log.String(), sent)
	if err == nil {
		if status < 200 || status > 299 {
			t.Fatalf("status %d is a success", status)
		}
		for _, s := range []string{m.RequestID, m.ExtendedRequestID, m.CfID} {
			checkLine(t, s, 128)
			checkHidden(t, s, sent)
		}
		return nil
	}
	checkText(t, err)
	checkHidden(t, shown(err), sent)
	e := asError(t, err)
	if e.StatusCode != status || e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour {
		t.Fatalf("%+v", e)
	}
	for _, s := range errorStrings(e) {
		checkLine(t, s, 512)
	}
	if unusable := e.Type == "" && e.Code == ""; unusable != errors.Is(err, wire.ErrResponse) {
		t.Fatalf("%+v: ErrResponse is wrapped: %v", e, !unusable)
	}
	return err
}

func checkFuzzedToken(t *testing.T, token wire.Secret, required bool) {
	t.Helper()
	if required && token == "" || len(token) > wire.MaxTokenBytes {
		t.Fatalf("a token of %d bytes", len(token))
	}
	if i := strings.IndexFunc(string(token), func(r rune) bool { return r < 0x21 || r > 0x7E }); i >= 0 {
		t.Fatalf("a token holds %q", string(token)[i:])
	}
}

func checkFuzzedURL(t *testing.T, raw string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Hostname() == "" || strings.HasPrefix(raw, "-") {
		t.Fatalf("%q: %v", raw, err)
	}
	checkLine(t, raw, 8<<10)
	if u.Scheme == "https" {
		return
	}
	if addr, err := netip.ParseAddr(u.Hostname()); u.Scheme != "http" || err != nil && !strings.EqualFold(u.Hostname(), "localhost") || err == nil && !addr.IsLoopback() {
		t.Fatalf("%q leads elsewhere", raw)
	}
}

func FuzzRegisterClient(f *testing.F) {
	fuzzAnswer(f,
		`{"authorizationEndpoint":"https://a.example/authorize","clientId":"id","clientIdIssuedAt":1700000000,"clientSecret":"secret","clientSecretExpiresAt":1707776000,"tokenEndpoint":"http://[::1]/token"}`,
		`{"clientId":"id","clientSecret":"secret","clientIdIssuedAt":-1e99,"clientSecretExpiresAt":99999999999999999999,"authorizationEndpoint":"file:///x"}`)
	f.Fuzz(func(t *testing.T, status int, contentType, errorType, requestID, retryAfter, location string, body []byte) {
		var out *wire.RegisterClientOutput
		err := fuzzCall(t, status, contentType, errorType, requestID, retryAfter, location, body, nil, func(c *wire.Client) (m wire.Metadata, err error) {
			if out, err = c.RegisterClient(t.Context(), &wire.RegisterClientInput{ClientName: "n"}); err == nil {
				m = out.Metadata
			}
			return m, err
		})
		if err != nil {
			return
		}
		checkFuzzedToken(t, wire.Secret(out.ClientID), true)
		checkFuzzedToken(t, out.ClientSecret, true)
		for _, at := range []time.Time{out.ClientIDIssuedAt, out.ClientSecretExpiresAt} {
			if !at.IsZero() && (at.Year() < 1970 || at.Year() > 9999 || at.Location() != time.UTC) {
				t.Fatal(at)
			}
		}
		for _, u := range []string{out.AuthorizationEndpoint, out.TokenEndpoint} {
			if u != "" {
				checkFuzzedURL(t, u)
			}
		}
	})
}

func FuzzStartDeviceAuthorization(f *testing.F) {
	fuzzAnswer(f,
		`{"deviceCode":"dc","expiresIn":600,"interval":1,"userCode":"ABCD-EFGH","verificationUri":"https://device.example/","verificationUriComplete":"https://device.example/?user_code=ABCD-EFGH"}`,
		`{"deviceCode":"dc","expiresIn":1e9,"interval":-1,"userCode":"x","verificationUri":"http://127.0.0.1:1"}`,
		`{"deviceCode":"dc","expiresIn":600,"interval":1e400,"userCode":"\u001b","verificationUri":"http://localhost.evil.example"}`)
	f.Fuzz(func(t *testing.T, status int, contentType, errorType, requestID, retryAfter, location string, body []byte) {
		var out *wire.StartDeviceAuthorizationOutput
		err := fuzzCall(t, status, contentType, errorType, requestID, retryAfter, location, body, canaries[:1], func(c *wire.Client) (m wire.Metadata, err error) {
			if out, err = c.StartDeviceAuthorization(t.Context(), deviceInput()); err == nil {
				m = out.Metadata
			}
			return m, err
		})
		if err != nil {
			return
		}
		checkFuzzedToken(t, out.DeviceCode, true)
		if out.UserCode == "" || out.VerificationURI == "" {
			t.Fatalf("%+v", out)
		}
		checkLine(t, out.UserCode, 64)
		checkFuzzedURL(t, out.VerificationURI)
		if out.VerificationURIComplete != "" {
			checkFuzzedURL(t, out.VerificationURIComplete)
		}
		if out.ExpiresIn <= 0 || out.ExpiresIn > wire.MaxExpiresIn || out.Interval < time.Second || out.Interval > 5*time.Minute {
			t.Fatalf("%+v", out)
		}
	})
}

func FuzzCreateToken(f *testing.F) {
	fuzzAnswer(f,
		`{"accessToken":"at","expiresIn":3600,"idToken":"it","refreshToken":"rt","tokenType":"Bearer"}`,
		`{"accessToken":"at","expiresIn":1e30,"idToken":null,"refreshToken":null,"tokenType":null}`,
		`{"accessToken":"a\u0000t","expiresIn":-1,"tokenType":"mac"}`,
		`{"ACCESSTOKEN":"a","expiresin":"60"}`)
	f.Fuzz(func(t *testing.T, status int, contentType, errorType, requestID, retryAfter, location string, body []byte) {
		var out *wire.CreateTokenOutput
		err := fuzzCall(t, status, contentType, errorType, requestID, retryAfter, location, body, canaries, func(c *wire.Client) (m wire.Metadata, err error) {
			if out, err = c.CreateToken(t.Context(), canaryInput()); err == nil {
				m = out.Metadata
			}
			return m, err
		})
		if err != nil {
			return
		}
		checkFuzzedToken(t, out.AccessToken, true)
		checkFuzzedToken(t, out.RefreshToken, false)
		checkFuzzedToken(t, out.IDToken, false)
		if out.TokenType != "Bearer" || out.ExpiresIn < time.Second || out.ExpiresIn > wire.MaxExpiresIn {
			t.Fatalf("%+v", out)
		}
	})
}

func FuzzCreateTokenWithIAM(f *testing.F) {
	fuzzAnswer(f,
		`{"accessToken":"at","expiresIn":3600,"idToken":"it","refreshToken":"rt","tokenType":"Bearer","issuedTokenType":"urn:ietf:params:oauth:token-type:access_token","scope":["openid","aws"],"awsAdditionalDetails":{"identityContext":"ctx"}}`,
		`{"accessToken":"at","expiresIn":1,"scope":["a\u0000b","\u202e",null,""],"issuedTokenType":"\u001b[2J","awsAdditionalDetails":null}`,
		`{"accessToken":"at","expiresIn":1,"scope":"a b","awsAdditionalDetails":{"identityContext":"a b"}}`)
	f.Fuzz(func(t *testing.T, status int, contentType, errorType, requestID, retryAfter, location string, body []byte) {
		var out *wire.CreateTokenWithIAMOutput
		err := fuzzCall(t, status, contentType, errorType, requestID, retryAfter, location, body, iamCanaries, func(c *wire.Client) (m wire.Metadata, err error) {
			if out, err = signed(c).CreateTokenWithIAM(t.Context(), iamCanaryInput()); err == nil {
				m = out.Metadata
			}
			return m, err
		})
		if err != nil {
			return
		}
		checkFuzzedToken(t, out.AccessToken, true)
		checkFuzzedToken(t, out.RefreshToken, false)
		checkFuzzedToken(t, out.IDToken, false)
		checkFuzzedToken(t, out.IdentityContext, false)
		for _, s := range append(out.Scopes, out.IssuedTokenType) {
			checkLine(t, s, 128)
		}
		if out.TokenType != "Bearer" || out.ExpiresIn < time.Second || out.ExpiresIn > wire.MaxExpiresIn {
			t.Fatalf("%+v", out)
		}
	})
}

// FuzzSendError has the transport, and the body, fail with any text.
func FuzzSendError(f *testing.F) {
	for _, text := range []string{"", "connection reset", "a\nb\x1b[2J\xff\u202e", string(canaries[0]), "x" + string(canaries[4][:18]), strings.Repeat("é", 3000)} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, body bool) {
		cause := errors.New(text)
		c := newClient(func(req *http.Request) (*http.Response, error) {
			if body {
				return brokenBody(req, cause), nil
			}
			return nil, &url.Error{Op: "Post", URL: "https://example.com/" + string(canaries[1]), Err: cause}
		})
		_, err := c.CreateToken(t.Context(), canaryInput())
		checkText(t, err)
		if e := asSendError(t, err); e.Unspent || !errors.Is(err, cause) {
			t.Fatalf("%#v", e)
		}
		checkHidden(t, shown(err), canaries)
	})
}

func FuzzEndpointFor(f *testing.F) {
	for _, region := range []string{"us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-", "", "evil.example/", "a@b", "A", "-", strings.Repeat("a", 64)} {
		f.Add(region, false, false)
		f.Add(region, true, true)
	}
	suffixes := []string{
		"amazonaws.com", "api.aws", "amazonaws.com.cn", "api.amazonwebservices.com.cn", "c2s.ic.gov", "api.aws.ic.gov", "sc2s.sgov.gov", "api.aws.scloud",
		"cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "csp.hci.ic.gov", "api.aws.hci.ic.gov", "amazonaws.eu", "api.amazonwebservices.eu",
	}
	f.Fuzz(func(t *testing.T, region string, fips, dualStack bool) {
		endpoint, err := wire.EndpointFor(region, fips, dualStack)
		if err != nil {
			checkText(t, err)
			return
		}
		u, err := wire.CheckEndpoint(endpoint)
		if err != nil || u.Scheme != "https" || u.Path != "" || u.Host != u.Hostname() {
			t.Fatalf("%q: %s, %v", region, endpoint, err)
		}
		service, rest, _ := strings.Cut(u.Host, ".")
		if service != "oidc" && (service != "oidc-fips" || !fips) {
			t.Fatalf("%q: %s", region, endpoint)
		}
		for _, suffix := range suffixes {
			if rest == region+"."+suffix {
				return
			}
		}
		t.Fatalf("%q leads to %s", region, endpoint)
	})
}

func FuzzCheckEndpoint(f *testing.F) {
	for _, raw := range []string{
		"https://example.com", "https://example.com/base%2Fpath/", "http://127.0.0.1:8080", "http://[::1%25lo]:1", "http://localhost", "http://10.0.0.1",
		"http://localhost@evil.example", "http://localhost.evil.example", "https://a?b", "https://a#", "-", "file:///x", "https://user:secret-password@a", "http://%6c",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := wire.CheckURL(raw)
		if err == nil {
			checkFuzzedURL(t, raw)
		} else {
			checkText(t, err)
		}
		endpoint, err := wire.CheckEndpoint(raw)
		if err != nil {
			checkText(t, err)
			if strings.Contains(err.Error(), "secret-password") {
				t.Fatal(err)
			}
			return
		}
		checkFuzzedURL(t, raw)
		if u == nil || *u != *endpoint || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.ContainsAny(raw, "?#") {
			t.Fatalf("%q: %+v", raw, endpoint)
		}
		// What passes is where the request goes, and below its path.
		c := newClient(func(req *http.Request) (*http.Response, error) {
			if req.URL.Scheme != u.Scheme || req.URL.Host != u.Host || req.Host != u.Host || !strings.HasSuffix(req.URL.EscapedPath(), "/token") {
				t.Errorf("%q: the request goes to %s", raw, req.URL)
			}
			return nil, io.EOF
		})
		c.Endpoint = raw
		if _, err := c.CreateToken(t.Context(), refreshInput()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}
