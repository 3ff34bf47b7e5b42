package idctest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// The example of RFC 7636 appendix B.
const (
	rfcVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// authorizeURL is an authorization URL as the AWS CLI makes it, with some
// parameters changed; "" removes one.
func authorizeURL(clientID, redirectURI, verifier string, change map[string]string) string {
	h := sha256.Sum256([]byte(verifier))
	params := map[string]string{
		"response_type": "code", "client_id": clientID, "redirect_uri": redirectURI, "state": "0b6d4f4e-state",
		"code_challenge_method": "S256", "code_challenge": base64.RawURLEncoding.EncodeToString(h[:]),
	}
	maps.Copy(params, change)
	query := url.Values{}
	for name, value := range params {
		if value != "" {
			query.Set(name, value)
		}
	}
	return "https://oidc.us-east-1.amazonaws.com/authorize?" + strings.ReplaceAll(query.Encode(), "+", "%20")
}

// approve approves an authorization URL, and returns what the callback is told.
func approve(t *testing.T, srv *idctest.Server, authorizationURL string) url.Values {
	t.Helper()
	callback, err := srv.ApproveAuthorization(authorizationURL)
	if err != nil {
		t.Fatal(err)
	}
	return callbackQuery(t, callback)
}

func callbackQuery(t *testing.T, callback string) url.Values {
	t.Helper()
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// pkce is a client that was registered as the AWS CLI does it.
type pkce struct {
	t          *testing.T
	oidc       *ssooidc.Client
	id, secret *string
}

const loopback = "http://127.0.0.1:53682/oauth/callback"

func registerPKCE(t *testing.T, srv *idctest.Server) *pkce {
	t.Helper()
	oidc := oidcClient(srv.Transport())
	out, err := oidc.RegisterClient(t.Context(), &ssooidc.RegisterClientInput{
		ClientName: aws.String("test"), ClientType: aws.String("public"), IssuerUrl: aws.String(startURL),
		RedirectUris: []string{"http://127.0.0.1/oauth/callback"}, Scopes: []string{"sso:account:access"},
		GrantTypes: []string{wire.GrantAuthorizationCode, wire.GrantRefreshToken},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &pkce{t, oidc, out.ClientId, out.ClientSecret}
}

func (p *pkce) redeem(code, redirectURI, verifier string) (*ssooidc.CreateTokenOutput, error) {
	return p.oidc.CreateToken(p.t.Context(), &ssooidc.CreateTokenInput{
		ClientId: p.id, ClientSecret: p.secret, GrantType: aws.String(wire.GrantAuthorizationCode),
		Code: &code, RedirectUri: &redirectURI, CodeVerifier: &verifier,
	})
}

func TestAuthorizationCode(t *testing.T) {
	srv := idctest.New()
	p := registerPKCE(t, srv)
	request := authorizeURL(*p.id, loopback, "", map[string]string{"code_challenge": rfcChallenge, "scopes": "sso:account:access"})
	callback, err := srv.ApproveAuthorization(request)
	if err != nil {
		t.Fatal(err)
	}
	query := callbackQuery(t, callback)
	if !strings.HasPrefix(callback, loopback+"?") || len(query) != 2 || query.Get("state") != "0b6d4f4e-state" || query.Get("code") == "" {
		t.Fatalf("callback %s", callback)
	}
	token, err := p.redeem(query.Get("code"), loopback, rfcVerifier)
	if err != nil {
		t.Fatal(err)
	}
	if *token.TokenType != "Bearer" || token.ExpiresIn != 3600 || token.RefreshToken == nil {
		t.Errorf("answer: %+v", token)
	}
	if _, err := roleCredentials(t, srv, *token.AccessToken); err != nil {
		t.Error(err)
	}
	next, err := refresh(t.Context(), p.oidc, *p.id, *p.secret, *token.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}

	// A second use fails, and takes back what the first gave.
	_, err = p.redeem(query.Get("code"), loopback, rfcVerifier)
	wantException(t, err, wire.TypeInvalidGrant)
	_, err = refresh(t.Context(), p.oidc, *p.id, *p.secret, *next.RefreshToken)
	wantException(t, err, wire.TypeInvalidGrant)
	_, err = roleCredentials(t, srv, *token.AccessToken)
	wantException(t, err, "UnauthorizedException")

	denied, err := srv.DenyAuthorization(request)
	if err != nil || callbackQuery(t, denied).Get("error") != "access_denied" || callbackQuery(t, denied).Get("state") != "0b6d4f4e-state" {
		t.Errorf("denied: %s, %v", denied, err)
	}
	if c := srv.Count(idctest.CreateTokenAuthorizationCode); c.Requests != 2 || c.Succeeded != 1 || srv.Count(idctest.Authorize).Requests != 0 {
		t.Errorf("counts %+v", c)
	}
}

// TestAuthorizationCodeRefuses checks that a code which was used wrongly is
// spent, except by another client.
func TestAuthorizationCodeRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		p, other := registerPKCE(t, srv), registerPKCE(t, srv)
		code := func() string {
			return approve(t, srv, authorizeURL(*p.id, loopback, rfcVerifier, nil)).Get("code")
		}
		for name, use := range map[string]func(code string) error{
			"verifier":       func(code string) error { _, err := p.redeem(code, loopback, strings.Repeat("x", 43)); return err },
			"short verifier": func(code string) error { _, err := p.redeem(code, loopback, "x"); return err },
			"other port": func(code string) error {
				_, err := p.redeem(code, "http://127.0.0.1:1/oauth/callback", rfcVerifier)
				return err
			},
			"late": func(code string) error {
				time.Sleep(time.Minute)
				_, err := p.redeem(code, loopback, rfcVerifier)
				return err
			},
		} {
			c := code()
			wantException(t, use(c), wire.TypeInvalidGrant)
			if _, err := p.redeem(c, loopback, rfcVerifier); err == nil {
				t.Errorf("%s: the code was not spent", name)
			}
		}
		c := code()
		_, err := other.redeem(c, loopback, rfcVerifier)
		wantException(t, err, wire.TypeInvalidGrant)
		time.Sleep(59 * time.Second)
		if _, err := p.redeem(c, loopback, rfcVerifier); err != nil {
			t.Errorf("another client spent the code: %v", err)
		}
		_, err = p.redeem("", loopback, rfcVerifier)
		wantException(t, err, wire.TypeInvalidRequest)
		_, err = p.redeem("x", loopback, rfcVerifier)
		wantException(t, err, wire.TypeInvalidGrant)
	})
}

// TestShortVerifier checks that a verifier has the length of RFC 7636 section
// 4.1, even where it belongs to the challenge.
func TestShortVerifier(t *testing.T) {
	srv := idctest.New()
	p := registerPKCE(t, srv)
	for _, verifier := range []string{strings.Repeat("v", 42), strings.Repeat("v", 129), strings.Repeat("v", 42) + "+"} {
		code := approve(t, srv, authorizeURL(*p.id, loopback, verifier, nil)).Get("code")
		_, err := p.redeem(code, loopback, verifier)
		wantException(t, err, wire.TypeInvalidGrant)
	}
}

// TestAuthorizationRequest checks what becomes of requests that can't be
// granted: some go to the callback, some go nowhere.
func TestAuthorizationRequest(t *testing.T) {
	srv := idctest.New()
	srv.Applications = []idctest.Application{
		{ARN: application, RedirectURIs: []string{"https://app.example/callback", "http://127.0.0.1/cb"}},
		{ARN: otherApplication, GrantTypes: []string{wire.GrantJWTBearer}},
	}
	p := registerPKCE(t, srv)
	plain := register(t, srv, "sso:account:access")
	ask := func(change map[string]string) string { return authorizeURL(*p.id, loopback, rfcVerifier, change) }
	for name, test := range map[string]struct{ url, want string }{
		"no client":            {ask(map[string]string{"client_id": ""}), "client_id"},
		"unknown client":       {ask(map[string]string{"client_id": "x"}), "client"},
		"client without URIs":  {ask(map[string]string{"client_id": *plain.clientID}), "redirect URI"},
		"unknown application":  {ask(map[string]string{"client_id": application + "x"}), "application"},
		"no redirect URI":      {ask(map[string]string{"redirect_uri": ""}), "redirect_uri"},
		"another path":         {ask(map[string]string{"redirect_uri": "http://127.0.0.1:53682/callback"}), "redirect URI"},
		"another host":         {ask(map[string]string{"redirect_uri": "http://127.0.0.2:53682/oauth/callback"}), "redirect URI"},
		"a name":               {ask(map[string]string{"redirect_uri": "http://localhost:53682/oauth/callback"}), "redirect URI"},
		"https":                {ask(map[string]string{"redirect_uri": "https://127.0.0.1:53682/oauth/callback"}), "redirect URI"},
		"a query":              {ask(map[string]string{"redirect_uri": loopback + "?x=y"}), "redirect URI"},
		"a fragment":           {ask(map[string]string{"redirect_uri": loopback + "#"}), "redirect URI"},
		"a user":               {ask(map[string]string{"redirect_uri": "http://u@127.0.0.1:53682/oauth/callback"}), "redirect URI"},
		"not configured":       {authorizeURL(application, "https://app.example/other", rfcVerifier, nil), "redirect URI"},
		"not https":            {authorizeURL(otherApplication, "http://app.example/", rfcVerifier, nil), "redirect URI"},
		"repeated client":      {ask(nil) + "&client_id=x", "client_id"},
		"malformed query":      {ask(nil) + "&%zz", "client_id"},
		"not an authorization": {strings.Replace(ask(nil), "/authorize", "/device", 1), "/authorize"},
	} {
		callback, err := srv.ApproveAuthorization(test.url)
		if err == nil || callback != "" || !strings.HasPrefix(err.Error(), "idctest: ") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %q, %v", name, callback, err)
		}
		if strings.Contains(test.url, "/device") {
			continue
		}
		resp, body := send(t, srv.Transport(), "GET", test.url, "", "")
		if resp.StatusCode != 400 || resp.Header.Get("Location") != "" || !strings.Contains(body, "can’t go on") {
			t.Errorf("%s: status %d, %v", name, resp.StatusCode, resp.Header)
		}
	}
	for name, test := range map[string]struct{ url, want string }{
		"response type":   {ask(map[string]string{"response_type": "token"}), "unsupported_response_type"},
		"no challenge":    {ask(map[string]string{"code_challenge": "", "code_challenge_method": ""}), "invalid_request"},
		"plain challenge": {ask(map[string]string{"code_challenge_method": "plain"}), "invalid_request"},
		"short challenge": {ask(map[string]string{"code_challenge": rfcChallenge[1:]}), "invalid_request"},
		"repeated":        {ask(nil) + "&foo=1&foo=2", "invalid_request"},
		"scope":           {ask(map[string]string{"scopes": "sso:account:access more"}), "invalid_scope"},
		"grant":           {authorizeURL(otherApplication, "https://x.example", rfcVerifier, nil), "unauthorized_client"},
	} {
		query := approve(t, srv, test.url)
		if query.Get("error") != test.want || query.Get("state") != "0b6d4f4e-state" || query.Has("code") {
			t.Errorf("%s: got %v, want %s", name, query, test.want)
		}
		resp, _ := send(t, srv.Transport(), "GET", test.url, "", "")
		if resp.StatusCode != 303 || callbackQuery(t, resp.Header.Get("Location")).Get("error") != test.want {
			t.Errorf("%s: status %d, %v", name, resp.StatusCode, resp.Header)
		}
	}
	for _, uri := range []string{"http://127.0.0.1/oauth/callback", "http://127.0.0.1:1/oauth/callback"} {
		if approve(t, srv, authorizeURL(*p.id, uri, rfcVerifier, nil)).Get("code") == "" {
			t.Errorf("no code for %s", uri)
		}
	}
	for _, uri := range []string{"https://app.example/callback", "http://127.0.0.1:8080/cb"} {
		if approve(t, srv, authorizeURL(application, uri, rfcVerifier, nil)).Get("code") == "" {
			t.Errorf("no code for %s", uri)
		}
	}
	if c := srv.Count(idctest.Authorize); c.Failed != c.Requests {
		t.Errorf("counts %+v, want all failed", c)
	}
}

// TestRedirectURIs checks which a public client may register.
func TestRedirectURIs(t *testing.T) {
	srv := idctest.New()
	for uri, want := range map[string]bool{
		"http://127.0.0.1/oauth/callback": true, "http://[::1]:1/oauth/callback": true, "https://app.example/any": true,
		"http://127.0.0.1/callback": false, "http://127.0.0.1/oauth/callback?x": false, "http://localhost/oauth/callback": false,
		"http://app.example/oauth/callback": false, "app:/oauth/callback": false, "": false, "https://u:p@app.example/": false,
	} {
		_, err := oidcClient(srv.Transport()).RegisterClient(t.Context(), &ssooidc.RegisterClientInput{
			ClientName: aws.String("test"), ClientType: aws.String("public"), RedirectUris: []string{uri},
		})
		if want && err != nil {
			t.Errorf("%q: %v", uri, err)
		} else if !want {
			wantException(t, err, wire.TypeInvalidRedirectURI)
		}
	}
}

// TestWithoutIssuer checks that a client has to say whose access portal it is
// for, and may no longer ask once its registration has expired.
func TestWithoutIssuer(t *testing.T) {
	srv := idctest.New()
	_, body := send(t, srv.Transport(), "POST", "https://idc.example/client/register", "application/json",
		`{"clientName":"a","clientType":"public","redirectUris":["http://127.0.0.1/oauth/callback"]}`)
	var reg struct{ ClientID string }
	if err := json.Unmarshal([]byte(body), &reg); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.ApproveAuthorization(authorizeURL(reg.ClientID, loopback, rfcVerifier, nil)); err == nil || !strings.Contains(err.Error(), "issuerUrl") {
		t.Errorf("got %v", err)
	}
	p := registerPKCE(t, srv)
	srv.ExpireRegistrations()
	if _, err := srv.ApproveAuthorization(authorizeURL(*p.id, loopback, rfcVerifier, nil)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v", err)
	}
}

// TestAuthorizedScopes checks that a session has the scopes that were asked
// for.
func TestAuthorizedScopes(t *testing.T) {
	srv := idctest.New()
	out, err := oidcClient(srv.Transport()).RegisterClient(t.Context(), &ssooidc.RegisterClientInput{
		ClientName: aws.String("test"), ClientType: aws.String("public"), IssuerUrl: aws.String(startURL),
		RedirectUris: []string{"http://127.0.0.1/oauth/callback"}, Scopes: []string{"a", "b", "c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &pkce{t, oidcClient(srv.Transport()), out.ClientId, out.ClientSecret}
	for asked, want := range map[string][]string{"": {"a", "b", "c"}, "c a": {"a", "c"}} {
		token, err := p.redeem(approve(t, srv, authorizeURL(*p.id, loopback, rfcVerifier, map[string]string{"scopes": asked})).Get("code"), loopback, rfcVerifier)
		if err != nil {
			t.Fatal(err)
		}
		_, body := sendBearer(t, srv.Transport(), *token.AccessToken)
		var who struct{ Scope string }
		if err := json.Unmarshal([]byte(body), &who); err != nil || !slices.Equal(strings.Fields(who.Scope), want) {
			t.Errorf("asked for %q: scope %q, want %q", asked, who.Scope, want)
		}
	}
}

// sendBearer calls /userinfo.
func sendBearer(t *testing.T, rt http.RoundTripper, token string) (*http.Response, string) {
	t.Helper()
	return send(t, bearerTransport{rt, token}, "GET", "https://api.example/userinfo", "", "")
}

type bearerTransport struct {
	http.RoundTripper
	token string
}

func (b bearerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.RoundTripper.RoundTrip(r)
}
