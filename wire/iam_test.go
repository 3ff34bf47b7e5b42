package wire_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

const applicationARN = "arn:aws:sso::123456789012:application/ssoins-1111111111111111/apl-2222222222222222"

// signerFunc is a Signer.
type signerFunc func(ctx context.Context, req *http.Request, payloadHash string) error

func (f signerFunc) Sign(ctx context.Context, req *http.Request, payloadHash string) error {
	return f(ctx, req, payloadHash)
}

// signs adds what stands for a signature, and the session token that a real one
// comes with.
var signs = signerFunc(func(_ context.Context, req *http.Request, _ string) error {
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/…")
	req.Header.Set("X-Amz-Security-Token", string(iamCanaries[5]))
	return nil
})

// signed has a client sign with signs.
func signed(c *wire.Client) *wire.Client {
	c.Signer = signs
	return c
}

func createTokenWithIAM(in *wire.CreateTokenWithIAMInput) call {
	return func(ctx context.Context, c *wire.Client) error { _, err := c.CreateTokenWithIAM(ctx, in); return err }
}

// iamCanaries are the secrets of a signed request that must appear nowhere.
var iamCanaries = []wire.Secret{
	"canary-assertion-eyJhbGciOiJSUzI1NiJ9", "canary-subject-token-77aa0c1e", "canary-refresh-token-4b6c7d8e",
	"canary-auth-code-e07d4c12", "canary-code-verifier-99ab03de", "canary-session-token-IQoJb3JpZ2lu",
}

// iamCanaryInput carries every canary but the last, which signs adds.
func iamCanaryInput() *wire.CreateTokenWithIAMInput {
	return &wire.CreateTokenWithIAMInput{
		ClientID:           applicationARN,
		GrantType:          wire.GrantJWTBearer,
		Assertion:          iamCanaries[0],
		SubjectToken:       iamCanaries[1],
		SubjectTokenType:   wire.TokenTypeAccessToken,
		RequestedTokenType: wire.TokenTypeRefreshToken,
		RefreshToken:       iamCanaries[2],
		Code:               iamCanaries[3],
		RedirectURI:        "http://127.0.0.1/oauth/callback",
		CodeVerifier:       iamCanaries[4],
		Scopes:             []string{"openid", "aws"},
	}
}

func bearerInput() *wire.CreateTokenWithIAMInput {
	return &wire.CreateTokenWithIAMInput{ClientID: applicationARN, GrantType: wire.GrantJWTBearer, Assertion: "a.b.c"}
}

// The wanted bodies are those of the official clients, byte for byte.
func TestSignedRequests(t *testing.T) {
	const client = `"clientId":"` + applicationARN + `",`
	for name, test := range map[string]struct {
		in   *wire.CreateTokenWithIAMInput
		body string
	}{
		"JWT bearer": {bearerInput(), `{"assertion":"a.b.c",` + client + `"grantType":"urn:ietf:params:oauth:grant-type:jwt-bearer"}`},
		"token exchange": {
			&wire.CreateTokenWithIAMInput{
				ClientID: applicationARN, GrantType: wire.GrantTokenExchange, SubjectToken: "subject", SubjectTokenType: wire.TokenTypeAccessToken,
				Scopes: []string{"sts:identity_context", "<a&b>"},
			},
			`{` + client + `"grantType":"urn:ietf:params:oauth:grant-type:token-exchange","scope":["sts:identity_context","<a&b>"],"subjectToken":"subject","subjectTokenType":"urn:ietf:params:oauth:token-type:access_token"}`,
		},
		"refresh token": {
			&wire.CreateTokenWithIAMInput{ClientID: applicationARN, GrantType: wire.GrantRefreshToken, RefreshToken: "refresh", Scopes: []string{}},
			`{` + client + `"grantType":"refresh_token","refreshToken":"refresh"}`,
		},
		"authorization code": {
			&wire.CreateTokenWithIAMInput{
				ClientID: applicationARN, GrantType: wire.GrantAuthorizationCode, Code: "code", RedirectURI: "https://example.com/?a=b&c", CodeVerifier: "verifier",
			},
			`{` + client + `"code":"code","codeVerifier":"verifier","grantType":"authorization_code","redirectUri":"https://example.com/?a=b&c"}`,
		},
		"every member": {
			iamCanaryInput(),
			`{"assertion":"` + string(iamCanaries[0]) + `",` + client + `"code":"` + string(iamCanaries[3]) + `","codeVerifier":"` + string(iamCanaries[4]) +
				`","grantType":"urn:ietf:params:oauth:grant-type:jwt-bearer","redirectUri":"http://127.0.0.1/oauth/callback","refreshToken":"` + string(iamCanaries[2]) +
				`","requestedTokenType":"urn:ietf:params:oauth:token-type:refresh_token","scope":["openid","aws"],"subjectToken":"` + string(iamCanaries[1]) +
				`","subjectTokenType":"urn:ietf:params:oauth:token-type:access_token"}`,
		},
		"another grant type is the service's to refuse": {
			&wire.CreateTokenWithIAMInput{ClientID: "app", GrantType: "password"}, `{"clientId":"app","grantType":"password"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var steps []string
			c := newClient(func(req *http.Request) (*http.Response, error) {
				steps = append(steps, "sent")
				body, err := io.ReadAll(req.Body)
				if err != nil || string(body) != test.body {
					t.Errorf("body\n%s, %v, want\n%s", body, err, test.body)
				}
				if got, want := req.Method+" "+req.URL.String(), "POST "+testEndpoint+"/token?aws_iam=t"; got != want {
					t.Errorf("request %s, want %s", got, want)
				}
				if got := req.Header; got.Get("Content-Type") != "application/json" || got.Get("Authorization") == "" || len(got) != 4 {
					t.Errorf("header %v", got)
				}
				return answer(req, 500, "{}"), nil
			})
			c.Signer = signerFunc(func(ctx context.Context, req *http.Request, payloadHash string) error {
				steps = append(steps, "signed")
				if want := fmt.Sprintf("%x", sha256.Sum256([]byte(test.body))); payloadHash != want {
					t.Errorf("payload hash %s, want %s", payloadHash, want)
				}
				if req.ContentLength != int64(len(test.body)) || req.Host != "oidc.us-east-1.amazonaws.com" || req.URL.RawQuery != "aws_iam=t" {
					t.Errorf("content length %d, host %q, query %q", req.ContentLength, req.Host, req.URL.RawQuery)
				}
				return signs(ctx, req, payloadHash)
			})
			asError(t, createTokenWithIAM(test.in)(t.Context(), c))
			if !reflect.DeepEqual(steps, []string{"signed", "sent"}) {
				t.Errorf("the request was %s", steps)
			}
		})
	}
}

// Nothing else is signed.
func TestUnsignedOperations(t *testing.T) {
	for name, call := range map[string]call{
		"RegisterClient":           registerClient(&wire.RegisterClientInput{ClientName: "n"}),
		"StartDeviceAuthorization": startDeviceAuthorization(deviceInput()),
		"CreateToken":              createToken(refreshInput()),
	} {
		c := answering(500, `{}`)
		c.Signer = signerFunc(func(context.Context, *http.Request, string) error {
			t.Errorf("%s was signed", name)
			return nil
		})
		asError(t, call(t.Context(), c))
	}
}

func TestUnusableSignedInput(t *testing.T) {
	with := func(grant string, change func(*wire.CreateTokenWithIAMInput)) *wire.CreateTokenWithIAMInput {
		in := iamCanaryInput()
		in.GrantType = grant
		change(in)
		return in
	}
	long := wire.Secret(strings.Repeat("x", wire.MaxTokenBytes+1))
	for _, test := range []struct {
		in   *wire.CreateTokenWithIAMInput
		want string
	}{
		{nil, "the input is nil"},
		{with(wire.GrantJWTBearer, func(in *wire.CreateTokenWithIAMInput) { in.ClientID = "" }), "ClientID is missing"},
		{with("", func(*wire.CreateTokenWithIAMInput) {}), "GrantType is missing"},
		{with(wire.GrantJWTBearer, func(in *wire.CreateTokenWithIAMInput) { in.Assertion = "" }), "Assertion is missing"},
		{with(wire.GrantTokenExchange, func(in *wire.CreateTokenWithIAMInput) { in.SubjectToken = "" }), "SubjectToken is missing"},
		{with(wire.GrantTokenExchange, func(in *wire.CreateTokenWithIAMInput) { in.SubjectTokenType = "" }), "SubjectTokenType is missing"},
		{with(wire.GrantRefreshToken, func(in *wire.CreateTokenWithIAMInput) { in.RefreshToken = "" }), "RefreshToken is missing"},
		{with(wire.GrantAuthorizationCode, func(in *wire.CreateTokenWithIAMInput) { in.Code = "" }), "Code is missing"},
		{with(wire.GrantAuthorizationCode, func(in *wire.CreateTokenWithIAMInput) { in.RedirectURI = "" }), "RedirectURI is missing"},
		{with(wire.GrantAuthorizationCode, func(in *wire.CreateTokenWithIAMInput) { in.CodeVerifier = "" }), "CodeVerifier is missing"},
		{with(wire.GrantRefreshToken, func(in *wire.CreateTokenWithIAMInput) { in.Assertion = "a b" }), "Assertion holds"},
		{with(wire.GrantRefreshToken, func(in *wire.CreateTokenWithIAMInput) { in.SubjectToken = "a\n" }), "SubjectToken holds"},
		{with(wire.GrantJWTBearer, func(in *wire.CreateTokenWithIAMInput) { in.RefreshToken = "\x00" }), "RefreshToken holds"},
		{with(wire.GrantJWTBearer, func(in *wire.CreateTokenWithIAMInput) { in.Code = "é" }), "Code holds"},
		{with(wire.GrantJWTBearer, func(in *wire.CreateTokenWithIAMInput) { in.CodeVerifier = "\x7f" }), "CodeVerifier holds"},
		{with(wire.GrantJWTBearer, func(in *wire.CreateTokenWithIAMInput) { in.Assertion = long }), "Assertion has 64 KiB or more"},
	} {
		c := newClient(func(*http.Request) (*http.Response, error) { t.Error("a request was sent"); return nil, io.EOF })
		c.Signer = signerFunc(func(context.Context, *http.Request, string) error { t.Error("a request was signed"); return nil })
		checkRefused(t, createTokenWithIAM(test.in)(t.Context(), c), "wire: CreateTokenWithIAM: "+test.want)
	}
	unsigned := answering(500, `{}`)
	checkRefused(t, createTokenWithIAM(bearerInput())(t.Context(), unsigned), "wire: CreateTokenWithIAM: Signer is missing")
}

// checkRefused fails the test unless err is that of a call that can't be made.
func checkRefused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
		return
	}
	checkText(t, err)
	checkHidden(t, shown(err), iamCanaries)
	var e *wire.Error
	var s *wire.SendError
	if errors.As(err, &e) || errors.As(err, &s) {
		t.Errorf("%v is a %T", err, err)
	}
}

// What could not be signed is unspent, and nothing is sent.
func TestSignerFails(t *testing.T) {
	cause := errors.New("no AWS credentials")
	fails := func(err error) signerFunc {
		return func(context.Context, *http.Request, string) error { return err }
	}
	for name, test := range map[string]struct {
		signer signerFunc
		want   string
	}{
		"error":         {fails(cause), "no AWS credentials"},
		"wrapped error": {fails(fmt.Errorf("refused\n%w", cause)), "refused no AWS credentials"},
		"error with a URL keeps its words": {
			fails(fmt.Errorf("metadata: %w", &url.Error{Op: "Get", URL: "http://169.254.169.254/", Err: cause})), `metadata: Get "http://169.254.169.254/": no AWS credentials`,
		},
		"error that shows secrets": {
			fails(fmt.Errorf("%w for %s", cause, string(iamCanaries[0]))), "no AWS credentials for [redacted]",
		},
		"error after signing that shows the session token": {
			func(ctx context.Context, req *http.Request, hash string) error {
				signs(ctx, req, hash)
				return fmt.Errorf("%w: %v", cause, req.Header["X-Amz-Security-Token"])
			},
			"no AWS credentials: [[redacted]]",
		},
		"no signature": {fails(nil), "the Signer added no signature"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c := newClient(func(*http.Request) (*http.Response, error) { t.Error("a request was sent"); return nil, io.EOF })
			c.Signer, c.Logger = test.signer, newLogger(&log)
			err := createTokenWithIAM(iamCanaryInput())(t.Context(), c)
			e := asSendError(t, err)
			if want := "wire: CreateTokenWithIAM: the request was not sent: it can't be signed: " + test.want; !e.Unspent || err.Error() != want {
				t.Errorf("unspent %v, %q, want %q", e.Unspent, err, want)
			}
			if test.signer(t.Context(), &http.Request{Header: http.Header{}}, "") != nil && !errors.Is(err, cause) {
				t.Error("errors.Is does not see the cause")
			}
			checkText(t, err)
			checkHidden(t, shown(err)+log.String(), iamCanaries)
		})
	}
}

// A Signer is bounded by the context and the Timeout; where one takes longer,
// nothing is sent all the same.
func TestSignerTimeout(t *testing.T) {
	for name, signer := range map[string]signerFunc{
		"its own error": func(ctx context.Context, _ *http.Request, _ string) error {
			<-ctx.Done()
			return errors.New("canceled")
		},
		"the context's error": func(ctx context.Context, _ *http.Request, _ string) error {
			<-ctx.Done()
			return fmt.Errorf("no credentials: %w", ctx.Err())
		},
		"too late": func(ctx context.Context, req *http.Request, hash string) error {
			<-ctx.Done()
			return signs(ctx, req, hash)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient(func(*http.Request) (*http.Response, error) { t.Error("a request was sent"); return nil, io.EOF })
				c.Signer, c.HTTPClient.Timeout = signer, 7*time.Second
				start := time.Now()
				e := asSendError(t, createTokenWithIAM(bearerInput())(t.Context(), c))
				if !e.Unspent || !errors.Is(e, context.DeadlineExceeded) || time.Since(start) != 7*time.Second {
					t.Errorf("%#v after %v", e, time.Since(start))
				}
			})
		})
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	c := answering(200, `{}`)
	c.Signer = signerFunc(func(context.Context, *http.Request, string) error { t.Error("a request was signed"); return nil })
	if e := asSendError(t, createTokenWithIAM(bearerInput())(over, c)); !e.Unspent || !errors.Is(e, context.Canceled) {
		t.Errorf("%#v", e)
	}
}

// Canary secrets go through every way in which a signed call can fail.
func TestSignedErrorsHideSecrets(t *testing.T) {
	for name, c := range hostileClients(iamCanaries) {
		t.Run(name, func(t *testing.T) {
			testHidesSecrets(t, signed(c), createTokenWithIAM(iamCanaryInput()), iamCanaries)
		})
	}
	t.Run("bad identity context", func(t *testing.T) {
		const context = wire.Secret("canary-identity-context-5d2e9a01")
		c := answering(200, `{"accessToken":"a","expiresIn":1,"awsAdditionalDetails":{"identityContext":"`+string(context)+` "}}`)
		testHidesSecrets(t, signed(c), createTokenWithIAM(iamCanaryInput()), []wire.Secret{context})
	})
	t.Run("success", func(t *testing.T) {
		c := answering(200, `{"accessToken":"`+string(canary)+`","expiresIn":1,"refreshToken":"`+string(canary)+`","idToken":"`+string(canary)+`","awsAdditionalDetails":{"identityContext":"`+string(canary)+`"}}`, hostileHeader(iamCanaries)...)
		var log bytes.Buffer
		c.Logger = newLogger(&log)
		out, err := signed(c).CreateTokenWithIAM(t.Context(), iamCanaryInput())
		if err != nil {
			t.Fatal(err)
		}
		checkHidden(t, shown(out)+shown(iamCanaryInput())+log.String(), append(iamCanaries, canary))
	})
}

func TestCreateTokenWithIAMOutput(t *testing.T) {
	full := `{"accessToken":"at","expiresIn":3600,"idToken":"it","refreshToken":"rt","tokenType":"bearer","issuedTokenType":"urn:ietf:params:oauth:token-type:access_token",` +
		`"scope":["openid","aws","sts:identity_context"],"awsAdditionalDetails":{"identityContext":"ctx","other":1},"unknown":{}}`
	long := strings.Repeat("s", 1000)
	for body, want := range map[string]wire.CreateTokenWithIAMOutput{
		full: {
			AccessToken: "at", ExpiresIn: time.Hour, RefreshToken: "rt", IDToken: "it", IssuedTokenType: wire.TokenTypeAccessToken,
			Scopes: []string{"openid", "aws", "sts:identity_context"}, IdentityContext: "ctx",
		},
		`{"accessToken":"at","expiresIn":1}`: {AccessToken: "at", ExpiresIn: time.Second},
		`{"accessToken":"at","expiresIn":1,"scope":null,"awsAdditionalDetails":null,"issuedTokenType":null,"refreshToken":null}`: {AccessToken: "at", ExpiresIn: time.Second},
		`{"accessToken":"at","expiresIn":1e30,"scope":["a\nb\u202e","` + long + `"],"issuedTokenType":"u\u001b[2J` + long + `","awsAdditionalDetails":{}}`: {
			AccessToken: "at", ExpiresIn: wire.MaxExpiresIn, Scopes: []string{"a b", long[:125] + "…"}, IssuedTokenType: "u [2J" + long[:120] + "…",
		},
	} {
		want.TokenType = "Bearer"
		want.Metadata = wire.Metadata{RequestID: "req-1", ExtendedRequestID: "ext-1", CfID: "cf-1"}
		out, err := signed(answering(200, body, requestIDs...)).CreateTokenWithIAM(t.Context(), bearerInput())
		if err != nil {
			t.Errorf("%.200s: %v", body, err)
			continue
		}
		if !reflect.DeepEqual(*out, want) {
			t.Errorf("%.200s:\ngot  %q\nwant %q", body, []any{out.Scopes, out.IssuedTokenType, *out}, []any{want.Scopes, want.IssuedTokenType, want})
		}
	}
}

func TestUnusableSignedAnswers(t *testing.T) {
	const rest = `"accessToken":"at","expiresIn":1,`
	for body, want := range map[string]string{
		`{"expiresIn":1}`:                    "accessToken is missing",
		`{"accessToken":"a"}`:                "expiresIn is missing",
		`{` + rest + `"tokenType":"mac"}`:    "tokenType is not Bearer",
		`{` + rest + `"refreshToken":"a b"}`: "refreshToken holds",
		`{` + rest + `"awsAdditionalDetails":{"identityContext":"a\nb"}}`:                                              "identityContext holds",
		`{` + rest + `"awsAdditionalDetails":{"identityContext":7}}`:                                                   "its member awsAdditionalDetails.identityContext has the wrong type",
		`{` + rest + `"awsAdditionalDetails":"x"}`:                                                                     "its member awsAdditionalDetails has the wrong type",
		`{` + rest + `"scope":"openid aws"}`:                                                                           "its member scope has the wrong type",
		`{` + rest + `"awsAdditionalDetails":{"identityContext":"` + strings.Repeat("x", wire.MaxTokenBytes+1) + `"}}`: "identityContext has 64 KiB or more",
		`<html>`: "it is not well-formed JSON",
		``:       "it is empty",
	} {
		err := createTokenWithIAM(bearerInput())(t.Context(), signed(answering(200, body)))
		if e := asError(t, err); !errors.Is(err, wire.ErrResponse) || !strings.Contains(err.Error(), ": unusable answer: "+want) || e.StatusCode != 200 {
			t.Errorf("%.200s: %v, want %s", body, err, want)
		}
		checkText(t, err)
	}
}
