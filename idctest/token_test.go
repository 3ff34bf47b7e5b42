package idctest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

func TestRotation(t *testing.T) {
	srv := idctest.New()
	s := srv.Issue("sso:account:access")
	first, err := refreshSession(t, srv, s)
	if err != nil {
		t.Fatal(err)
	}
	if *first.RefreshToken == s.RefreshToken {
		t.Fatal("the refresh token did not rotate")
	}
	// The old access token works until it expires; the old refresh token ends
	// the session.
	if _, err := roleCredentials(t, srv, s.AccessToken); err != nil {
		t.Error(err)
	}
	_, err = refreshSession(t, srv, s)
	wantException(t, err, wire.TypeInvalidGrant)
	if srv.Reuses() != 1 {
		t.Errorf("%d reuses, want 1", srv.Reuses())
	}
	s.RefreshToken = *first.RefreshToken
	_, err = refreshSession(t, srv, s)
	wantException(t, err, wire.TypeInvalidGrant)
	for _, token := range []string{s.AccessToken, *first.AccessToken} {
		_, err = roleCredentials(t, srv, token)
		wantException(t, err, "UnauthorizedException")
	}
	if srv.Reuses() != 1 {
		t.Errorf("%d reuses, want 1: the last token was never spent", srv.Reuses())
	}
}

func TestReuseWithoutDetection(t *testing.T) {
	srv := idctest.New()
	srv.DetectReuse = false
	s := srv.Issue("sso:account:access")
	next, err := refreshSession(t, srv, s)
	if err != nil {
		t.Fatal(err)
	}
	_, err = refreshSession(t, srv, s)
	wantException(t, err, wire.TypeInvalidGrant)
	s.RefreshToken = *next.RefreshToken
	if _, err := refreshSession(t, srv, s); err != nil {
		t.Errorf("the session did not survive: %v", err)
	}
	if srv.Reuses() != 1 {
		t.Errorf("%d reuses, want 1", srv.Reuses())
	}
}

func TestRefreshTokenThatStays(t *testing.T) {
	for _, omit := range []bool{false, true} {
		srv := new(idctest.Server)
		srv.OmitRefreshToken = omit
		s := srv.Issue("sso:account:access")
		for range 3 {
			out, err := refreshSession(t, srv, s)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case omit && out.RefreshToken != nil:
				t.Error("a refresh token where none was to be")
			case !omit && (out.RefreshToken == nil || *out.RefreshToken != s.RefreshToken):
				t.Errorf("got refresh token %v, want the same one", out.RefreshToken)
			}
		}
		if srv.Reuses() != 0 {
			t.Errorf("%d reuses, want 0", srv.Reuses())
		}
	}
	srv := idctest.New()
	srv.OmitRefreshToken = true // overrides rotation
	s := srv.Issue("sso:account:access")
	for range 2 {
		if out, err := refreshSession(t, srv, s); err != nil || out.RefreshToken != nil {
			t.Errorf("got %v, %v", out, err)
		}
	}
}

func TestRefreshTokenIsBoundToItsClient(t *testing.T) {
	srv := idctest.New()
	a, b := srv.Issue("sso:account:access"), srv.Issue("sso:account:access")
	b.RefreshToken = a.RefreshToken
	_, err := refreshSession(t, srv, b)
	wantException(t, err, wire.TypeInvalidGrant)
	if _, err := refreshSession(t, srv, a); err != nil {
		t.Errorf("the owner can't use it any more: %v", err)
	}
}

func TestLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		srv.AccessTokenLifetime = 30 * time.Minute
		srv.SessionLifetime = 45 * time.Minute
		srv.ApproveAfter(0)
		s := begin(t, srv, "sso:account:access")
		token, err := s.poll()
		if err != nil {
			t.Fatal(err)
		}
		if token.ExpiresIn != 1800 {
			t.Errorf("expiresIn %d, want 1800", token.ExpiresIn)
		}
		time.Sleep(30*time.Minute - 1)
		if _, err := roleCredentials(t, srv, *token.AccessToken); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		_, err = roleCredentials(t, srv, *token.AccessToken)
		wantException(t, err, "UnauthorizedException")

		token, err = s.refresh(*token.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		if token.ExpiresIn != 900 {
			t.Errorf("expiresIn %d, want 900: no longer than the session", token.ExpiresIn)
		}
		time.Sleep(15*time.Minute - time.Second)
		if token, err = s.refresh(*token.RefreshToken); err != nil || token.ExpiresIn != 1 {
			t.Fatalf("in the last second: %+v, %v", token, err)
		}
		time.Sleep(time.Second / 2)
		if _, err = roleCredentials(t, srv, *token.AccessToken); err != nil {
			t.Error(err)
		}
		_, err = s.refresh(*token.RefreshToken) // expiresIn would have to be 0
		wantException(t, err, wire.TypeInvalidGrant)
		time.Sleep(time.Second / 2)
		_, err = roleCredentials(t, srv, *token.AccessToken)
		wantException(t, err, "UnauthorizedException")
	})
}

func TestWithoutScopes(t *testing.T) {
	srv := idctest.New()
	srv.SessionLifetime = 8*time.Hour - time.Millisecond // rounded up
	srv.ApproveAfter(0)
	token, err := begin(t, srv).poll()
	if err != nil {
		t.Fatal(err)
	}
	if token.RefreshToken != nil || token.ExpiresIn != 8*3600 {
		t.Errorf("refresh token %v, expires in %d; want none, 8 h", token.RefreshToken, token.ExpiresIn)
	}
}

func TestRevoke(t *testing.T) {
	srv := idctest.New()
	s := srv.Issue("sso:account:access")
	srv.RevokeAccessTokens()
	_, err := roleCredentials(t, srv, s.AccessToken)
	wantException(t, err, "UnauthorizedException")
	out, err := refreshSession(t, srv, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := roleCredentials(t, srv, *out.AccessToken); err != nil {
		t.Errorf("a token issued after the revocation: %v", err)
	}
	srv.RevokeSessions()
	_, err = roleCredentials(t, srv, *out.AccessToken)
	wantException(t, err, "UnauthorizedException")
	s.RefreshToken = *out.RefreshToken
	_, err = refreshSession(t, srv, s)
	wantException(t, err, wire.TypeInvalidGrant)
	if srv.Reuses() != 0 {
		t.Errorf("%d reuses, want 0", srv.Reuses())
	}
}

// TestIssue checks that a Session is a token file of the AWS CLI, and that it
// works.
func TestIssue(t *testing.T) {
	srv := idctest.New()
	srv.Region = "eu-west-1"
	srv.StartURLs = []string{"https://corp.awsapps.com/start"}
	srv.Now = func() time.Time { return time.Date(2026, 11, 23, 5, 0, 49, 5e8, time.FixedZone("", 3600)) }
	s := srv.Issue("sso:account:access")
	var file map[string]string
	if err := json.Unmarshal([]byte(toJSON(t, s)), &file); err != nil {
		t.Fatal(err)
	}
	for member, want := range map[string]string{
		"startUrl": "https://corp.awsapps.com/start", "region": "eu-west-1",
		"accessToken": s.AccessToken, "refreshToken": s.RefreshToken, "clientId": s.ClientID, "clientSecret": s.ClientSecret,
		"expiresAt": "2026-11-23T05:00:49Z", "registrationExpiresAt": "2027-02-21T04:00:49Z",
	} {
		if file[member] != want || want == "" {
			t.Errorf("%s is %q, want %q", member, file[member], want)
		}
		delete(file, member)
	}
	if len(file) != 0 {
		t.Errorf("further members: %v", file)
	}
	if strings.Contains(toJSON(t, srv.Issue()), "refreshToken") {
		t.Error("a refresh token without scopes")
	}
	if _, err := refreshSession(t, srv, s); err != nil {
		t.Error(err)
	}
	if got := srv.Count(idctest.AnyOperation).Requests; got != 1 {
		t.Errorf("%d requests counted, want 1: Issue is none", got)
	}
}

// TestRefusedRequests sends what no official client would.
func TestRefusedRequests(t *testing.T) {
	srv := idctest.New()
	issued := srv.Issue("sso:account:access")
	creds := `"clientId":"` + issued.ClientID + `","clientSecret":"` + issued.ClientSecret + `"`
	for _, test := range []struct{ name, path, body, typ, code string }{
		{"malformed JSON", "/token", `{"clientId":`, wire.TypeInvalidRequest, "invalid_request"},
		{"a form", "/token", `grant_type=refresh_token`, wire.TypeInvalidRequest, "invalid_request"},
		{"two objects", "/token", `{}{}`, wire.TypeInvalidRequest, "invalid_request"},
		{"an array", "/client/register", `[]`, wire.TypeInvalidRequest, "invalid_request"},
		{"empty", "/device_authorization", ``, wire.TypeInvalidRequest, "invalid_request"},
		{"too large", "/token", `{` + strings.Repeat(" ", 1<<20) + `}`, wire.TypeInvalidRequest, "invalid_request"},
		{"missing members", "/token", `{` + creds + `}`, wire.TypeInvalidRequest, "invalid_request"},
		{"null members", "/token", `{"clientId":null,"clientSecret":null,"grantType":null}`, wire.TypeInvalidRequest, "invalid_request"},
		{"names in the wrong case", "/token", `{"ClientID":"a","ClientSecret":"b","GrantType":"c"}`, wire.TypeInvalidRequest, "invalid_request"},
		{"wrong type", "/token", `{"clientId":1,"clientSecret":"b","grantType":"c"}`, wire.TypeInvalidRequest, "invalid_request"},
		{"wrong list", "/client/register", `{"clientName":"a","clientType":"public","scopes":"sso:account:access"}`, wire.TypeInvalidRequest, "invalid_request"},
		{"unknown grant", "/token", `{` + creds + `,"grantType":"password"}`, wire.TypeUnsupportedGrantType, "unsupported_grant_type"},
		{"no device code", "/token", `{` + creds + `,"grantType":"` + wire.GrantDeviceCode + `"}`, wire.TypeInvalidRequest, "invalid_request"},
		{"no refresh token", "/token", `{` + creds + `,"grantType":"refresh_token"}`, wire.TypeInvalidRequest, "invalid_request"},
		{"unknown refresh token", "/token", `{` + creds + `,"grantType":"refresh_token","refreshToken":"x"}`, wire.TypeInvalidGrant, "invalid_grant"},
		{"unknown device code", "/token", `{` + creds + `,"grantType":"` + wire.GrantDeviceCode + `","deviceCode":"x"}`, wire.TypeInvalidGrant, "invalid_grant"},
		{"unknown client", "/token", `{"clientId":"a","clientSecret":"b","grantType":"refresh_token","refreshToken":"x"}`, wire.TypeInvalidClient, "invalid_client"},
		{"confidential client", "/client/register", `{"clientName":"a","clientType":"confidential"}`, wire.TypeInvalidClientMetadata, "invalid_client_metadata"},
		{"bad scope", "/client/register", `{"clientName":"a","clientType":"public","scopes":["a b"]}`, wire.TypeInvalidScope, "invalid_scope"},
		{"bad grant type", "/client/register", `{"clientName":"a","clientType":"public","grantTypes":["implicit"]}`, wire.TypeUnsupportedGrantType, "unsupported_grant_type"},
		{"bad redirect URI", "/client/register", `{"clientName":"a","clientType":"public","redirectUris":["javascript:alert(1)"]}`, wire.TypeInvalidRedirectURI, "invalid_redirect_uri"},
	} {
		resp, body := send(t, srv.Transport(), "POST", "https://idc.example"+test.path, "application/json", test.body)
		var e struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Errorf("%s: %v in %q", test.name, err, body)
		}
		want := 400
		if test.typ == wire.TypeInvalidClient {
			want = 401
		}
		typ, _, _ := strings.Cut(resp.Header.Get("X-Amzn-ErrorType"), ":")
		if resp.StatusCode != want || typ != test.typ || e.Error != test.code || e.Description == "" || resp.Header.Get("X-Amzn-RequestId") == "" {
			t.Errorf("%s: status %d, %v, body %s; want %s", test.name, resp.StatusCode, resp.Header, body, test.typ)
		}
	}
}

// TestRegisteredGrantTypes checks that a client is held to them.
func TestRegisteredGrantTypes(t *testing.T) {
	srv := idctest.New()
	_, body := send(t, srv.Transport(), "POST", "https://idc.example/client/register", "application/json",
		`{"clientName":"a","clientType":"public","grantTypes":["authorization_code","refresh_token"],"redirectUris":["http://127.0.0.1/oauth/callback"],"issuerUrl":"`+startURL+`"}`)
	var reg struct{ ClientID, ClientSecret string }
	if err := json.Unmarshal([]byte(body), &reg); err != nil {
		t.Fatal(err)
	}
	s := &signIn{t: t, oidc: oidcClient(srv.Transport()), clientID: &reg.ClientID, clientSecret: &reg.ClientSecret, deviceCode: new(string)}
	wantException(t, s.start(), wire.TypeUnauthorizedClient)
	*s.deviceCode = "x"
	_, err := s.poll()
	wantException(t, err, wire.TypeUnauthorizedClient)
}
