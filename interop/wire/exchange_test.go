package wire

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// exchanged is what one grant of CreateTokenWithIAM gave.
type exchanged struct {
	AccessToken     string `json:"accessToken"`
	RefreshToken    string `json:"refreshToken"`
	IdentityContext string `json:"identityContext"`
}

// newService is idctest with the AWS credentials that requests are signed with.
func newService() *idctest.Server {
	srv := idctest.New()
	srv.JWTBearerRefreshTokens = true
	srv.AddAccessKey(idctest.AccessKey{
		ID: keys.AccessKeyID, Secret: keys.SecretAccessKey, SessionToken: keys.SessionToken,
		ARN: "arn:aws:sts::123456789012:assumed-role/service/session",
	})
	return srv
}

// assertion is a JWT of another issuer, which idctest does not verify.
func assertion() string {
	encode := base64.RawURLEncoding.EncodeToString
	claims := `{"iss":"https://issuer.example","sub":"jane","aud":"my-service","exp":4102444800}`
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

const otherApplication = "arn:aws:sso::123456789012:application/ssoins-1111111111111111/apl-3333333333333333"

// granted is an authorization code, with what was asked for.
type granted struct {
	Code         string `json:"code"`
	RedirectURI  string `json:"redirectUri"`
	CodeVerifier string `json:"codeVerifier"`
}

// authorize has a person approve at /authorize, and returns what the
// application is given at its redirect URI.
func authorize(t *testing.T, srv *idctest.Server, endpoint string) granted {
	t.Helper()
	g := granted{RedirectURI: "https://app.example/callback", CodeVerifier: strings.Repeat("verifier-", 6)}
	challenge := sha256.Sum256([]byte(g.CodeVerifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {application}, "redirect_uri": {g.RedirectURI}, "state": {"state-1"},
		"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
	}
	callback, err := srv.ApproveAuthorization(endpoint + "/authorize?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	if g.Code = u.Query().Get("code"); g.Code == "" || u.Query().Get("state") != "state-1" {
		t.Fatalf("the browser is sent to %s", callback)
	}
	return g
}

// TestExchanges has each client exchange an authorization code and an
// assertion, refresh, and, as another application, exchange the access token,
// at idctest on a loopback port, which verifies signatures.
func TestExchanges(t *testing.T) {
	for name, journey := range map[string]func(*testing.T, string, granted) []exchanged{
		"wire": ourExchanges, "Go": officialExchanges,
		"JavaScript": func(t *testing.T, url string, g granted) (got []exchanged) {
			node(t, &got, map[string]any{
				"granted": g, "assertion": assertion(), "application": application, "otherApplication": otherApplication,
				"credentials": map[string]string{"accessKeyId": keys.AccessKeyID, "secretAccessKey": keys.SecretAccessKey, "sessionToken": keys.SessionToken},
			}, "exchange.mjs", url)
			return got
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newService()
			ts := httptest.NewServer(srv)
			defer ts.Close()
			got := journey(t, ts.URL, authorize(t, srv, ts.URL))
			if len(got) != 4 {
				t.Fatalf("%d answers, want 4", len(got))
			}
			for i, e := range got {
				if e.AccessToken == "" || e.IdentityContext == "" {
					t.Errorf("answer %d: access token %v, identity context %v", i, e.AccessToken != "", e.IdentityContext != "")
				}
			}
			for _, op := range []idctest.Operation{
				idctest.CreateTokenWithIAMAuthorizationCode, idctest.CreateTokenWithIAMJWTBearer, idctest.CreateTokenWithIAMRefresh, idctest.CreateTokenWithIAMTokenExchange,
			} {
				if n := srv.Count(op); n.Succeeded != 1 || n.Failed != 0 {
					t.Errorf("%s: %+v", op, n)
				}
			}
		})
	}
}

func ourExchanges(t *testing.T, url string, g granted) (all []exchanged) {
	c := &wire.Client{Endpoint: url, Signer: awsoidc.NewSigner(credentials(), region)}
	exchange := func(in *wire.CreateTokenWithIAMInput) exchanged {
		in.ClientID = cmp.Or(in.ClientID, application)
		out, err := c.CreateTokenWithIAM(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		e := exchanged{string(out.AccessToken), string(out.RefreshToken), string(out.IdentityContext)}
		all = append(all, e)
		return e
	}
	exchange(&wire.CreateTokenWithIAMInput{
		GrantType: wire.GrantAuthorizationCode, Code: wire.Secret(g.Code), RedirectURI: g.RedirectURI, CodeVerifier: wire.Secret(g.CodeVerifier),
	})
	first := exchange(&wire.CreateTokenWithIAMInput{GrantType: wire.GrantJWTBearer, Assertion: wire.Secret(assertion())})
	exchange(&wire.CreateTokenWithIAMInput{GrantType: wire.GrantRefreshToken, RefreshToken: wire.Secret(first.RefreshToken)})
	exchange(&wire.CreateTokenWithIAMInput{
		ClientID: otherApplication, GrantType: wire.GrantTokenExchange, SubjectToken: wire.Secret(first.AccessToken), SubjectTokenType: wire.TokenTypeAccessToken,
	})
	return all
}

func officialExchanges(t *testing.T, url string, g granted) (all []exchanged) {
	c := ssooidc.New(ssooidc.Options{Region: region, BaseEndpoint: &url, Credentials: credentials(), RetryMaxAttempts: 1})
	exchange := func(in *ssooidc.CreateTokenWithIAMInput) exchanged {
		if in.ClientId == nil {
			in.ClientId = aws.String(application)
		}
		out, err := c.CreateTokenWithIAM(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		e := exchanged{AccessToken: aws.ToString(out.AccessToken), RefreshToken: aws.ToString(out.RefreshToken)}
		if out.AwsAdditionalDetails != nil {
			e.IdentityContext = aws.ToString(out.AwsAdditionalDetails.IdentityContext)
		}
		all = append(all, e)
		return e
	}
	exchange(&ssooidc.CreateTokenWithIAMInput{
		GrantType: aws.String(wire.GrantAuthorizationCode), Code: &g.Code, RedirectUri: &g.RedirectURI, CodeVerifier: &g.CodeVerifier,
	})
	first := exchange(&ssooidc.CreateTokenWithIAMInput{GrantType: aws.String(wire.GrantJWTBearer), Assertion: aws.String(assertion())})
	exchange(&ssooidc.CreateTokenWithIAMInput{GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: &first.RefreshToken})
	exchange(&ssooidc.CreateTokenWithIAMInput{
		ClientId: aws.String(otherApplication), GrantType: aws.String(wire.GrantTokenExchange), SubjectToken: &first.AccessToken, SubjectTokenType: aws.String(wire.TokenTypeAccessToken),
	})
	return all
}

// TestAlteredSignedRequest alters each byte of what wire sent: idctest carries
// out the request as it was, and no other.
func TestAlteredSignedRequest(t *testing.T) {
	srv := newService()
	sent := recorder{status: 500}
	call := createTokenWithIAM(wire.CreateTokenWithIAMInput{ClientID: application, GrantType: wire.GrantJWTBearer, Assertion: wire.Secret(assertion())})
	if _, err := call.ours(t.Context(), ours(&sent)); err == nil {
		t.Fatal("no error")
	}
	if status := resend(t, srv.Transport(), sent.got); status != 200 {
		t.Fatalf("as it was sent: HTTP %d", status)
	}
	altered := 0
	alter := func(what, whole string, set func(string)) {
		for i := range len(whole) {
			b := []byte(whole)
			if b[i] ^= 1; b[i] > '~' {
				b[i] = '!'
			}
			set(string(b))
			if status := resend(t, srv.Transport(), sent.got); status < 400 {
				t.Errorf("byte %d of %s: HTTP %d", i, what, status)
			}
			altered++
		}
		set(whole)
	}
	alter("host", sent.got.Host, func(s string) { sent.got.Host = s })
	alter("query", sent.got.Query, func(s string) { sent.got.Query = s })
	alter("body", sent.got.Body, func(s string) { sent.got.Body = s })
	for _, name := range []string{"authorization", "content-type", "x-amz-date", "x-amz-security-token"} {
		alter(name, sent.got.Header[name], func(s string) { sent.got.Header[name] = s })
	}
	if status := resend(t, srv.Transport(), sent.got); status != 200 || altered < 500 {
		t.Errorf("after %d alterations: HTTP %d", altered, status)
	}
}

// resend sends a request as it is and returns the answer's status.
func resend(t *testing.T, rt http.RoundTripper, r request) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.Method, endpoint+r.Path, strings.NewReader(r.Body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.URL.RawQuery = r.Host, r.Query
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestRefusedSignatures checks what each Go client is told where the service
// does not accept who signs.
func TestRefusedSignatures(t *testing.T) {
	for name, change := range map[string]func(*aws.Credentials){
		"unknown key":            func(c *aws.Credentials) { c.AccessKeyID = "AKIAUNKNOWN" },
		"wrong secret":           func(c *aws.Credentials) { c.SecretAccessKey = "another" },
		"wrong session token":    func(c *aws.Credentials) { c.SessionToken = "another" },
		"session token left out": func(c *aws.Credentials) { c.SessionToken = "" },
	} {
		t.Run(name, func(t *testing.T) {
			srv, bad := newService(), keys
			change(&bad)
			provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return bad, nil })
			c := &wire.Client{Endpoint: endpoint, Signer: awsoidc.NewSigner(provider, region), HTTPClient: &http.Client{Transport: srv.Transport()}}
			_, err := c.CreateTokenWithIAM(t.Context(), &wire.CreateTokenWithIAMInput{
				ClientID: application, GrantType: wire.GrantJWTBearer, Assertion: wire.Secret(assertion()),
			})
			e, ok := errors.AsType[*wire.Error](err)
			if !ok || e.StatusCode < 400 || e.StatusCode >= 500 || e.Type == "" || errors.Is(err, wire.ErrResponse) {
				t.Fatalf("%v: %+v", err, e)
			}
			if text := err.Error(); strings.Contains(text, bad.SecretAccessKey) && bad.SecretAccessKey != "another" || strings.Contains(text, keys.SessionToken) {
				t.Errorf("%v shows a credential", err)
			}
			if n := srv.Count(idctest.CreateTokenWithIAM); n.Succeeded != 0 || n.Failed != 1 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// TestRefusedSignatureTime has a clock that is off by more than AWS allows.
func TestRefusedSignatureTime(t *testing.T) {
	srv := newService()
	srv.Now = func() time.Time { return time.Now().Add(time.Hour) }
	c := &wire.Client{Endpoint: endpoint, Signer: awsoidc.NewSigner(credentials(), region), HTTPClient: &http.Client{Transport: srv.Transport()}}
	_, err := c.CreateTokenWithIAM(t.Context(), &wire.CreateTokenWithIAMInput{
		ClientID: application, GrantType: wire.GrantJWTBearer, Assertion: wire.Secret(assertion()),
	})
	if e, ok := errors.AsType[*wire.Error](err); !ok || e.StatusCode/100 != 4 || e.Type == "" {
		t.Fatalf("%v: %+v", err, e)
	}
}
