package idctest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	oidctypes "github.com/aws/aws-sdk-go-v2/service/ssooidc/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	application      = "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"
	otherApplication = "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-fedcba0987654321"

	accessTokenType  = "urn:ietf:params:oauth:token-type:access_token"
	refreshTokenType = "urn:ietf:params:oauth:token-type:refresh_token"
)

// iamClient is the official client, which signs as key.
func iamClient(rt http.RoundTripper, region string, key idctest.AccessKey) *ssooidc.Client {
	return ssooidc.New(ssooidc.Options{
		Region: region, HTTPClient: &http.Client{Transport: rt}, RetryMaxAttempts: 1, Credentials: static(key),
	})
}

func static(key idctest.AccessKey) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: key.SessionToken}, nil
	})
}

func jwtBearer(assertion string) *ssooidc.CreateTokenWithIAMInput {
	return &ssooidc.CreateTokenWithIAMInput{
		ClientId: aws.String(application), GrantType: aws.String(wire.GrantJWTBearer), Assertion: &assertion,
	}
}

func iamRefresh(token *string) *ssooidc.CreateTokenWithIAMInput {
	return &ssooidc.CreateTokenWithIAMInput{
		ClientId: aws.String(application), GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: token,
	}
}

// TestCreateTokenWithIAM goes through the grants with AWS's own client, in
// memory and over TCP.
func TestCreateTokenWithIAM(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		srv := idctest.New()
		iamGrants(t, srv, srv.Transport())
	})
	t.Run("tcp", func(t *testing.T) {
		srv := idctest.New()
		ts := httptest.NewServer(srv)
		defer ts.Close()
		iamGrants(t, srv, toServer{ts.URL})
	})
}

func iamGrants(t *testing.T, srv *idctest.Server, rt http.RoundTripper) {
	srv.JWTBearerRefreshTokens = true
	ctx, client := t.Context(), iamClient(rt, "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	defaults := []string{"openid", "aws", "sts:identity_context"}

	first, err := client.CreateTokenWithIAM(ctx, jwtBearer(assertion(nil)))
	if err != nil {
		t.Fatal(err)
	}
	if *first.TokenType != "Bearer" || first.ExpiresIn != 3600 || *first.IssuedTokenType != refreshTokenType || !slices.Equal(first.Scope, defaults) {
		t.Errorf("answer: %+v", first)
	}
	claims := claimsOf(t, *first.IdToken, srv.IDTokenKey())
	if claims["iss"] != "https://identitycenter.amazonaws.com/ssoins-1234567890abcdef" || claims["sub"] != "jane" || claims["aud"] != application ||
		claims["sts:identity_context"] != *first.AwsAdditionalDetails.IdentityContext {
		t.Errorf("claims: %v", claims)
	}

	// A refresh can narrow the scopes, and widen them again.
	in := iamRefresh(first.RefreshToken)
	in.Scope = []string{"aws"}
	narrow, err := client.CreateTokenWithIAM(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(narrow.Scope, in.Scope) || narrow.IdToken != nil || narrow.AwsAdditionalDetails != nil || *narrow.RefreshToken == *first.RefreshToken {
		t.Errorf("narrowed: %+v", narrow)
	}
	wide, err := client.CreateTokenWithIAM(ctx, iamRefresh(narrow.RefreshToken))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(wide.Scope, defaults) || *wide.AwsAdditionalDetails.IdentityContext == *first.AwsAdditionalDetails.IdentityContext {
		t.Errorf("widened: %+v", wide)
	}

	// The access token of one application becomes one of another.
	exchange := &ssooidc.CreateTokenWithIAMInput{
		ClientId: aws.String(otherApplication), GrantType: aws.String(wire.GrantTokenExchange),
		SubjectToken: wide.AccessToken, SubjectTokenType: aws.String(accessTokenType), Scope: []string{"openid"},
	}
	exchanged, err := client.CreateTokenWithIAM(ctx, exchange)
	if err != nil {
		t.Fatal(err)
	}
	if *exchanged.IssuedTokenType != accessTokenType || exchanged.RefreshToken != nil || exchanged.AwsAdditionalDetails != nil ||
		claimsOf(t, *exchanged.IdToken, srv.IDTokenKey())["sub"] != "jane" {
		t.Errorf("exchanged: %+v", exchanged)
	}
	exchange.RequestedTokenType = aws.String(refreshTokenType)
	exchanged, err = client.CreateTokenWithIAM(ctx, exchange)
	if err != nil {
		t.Fatal(err)
	}
	if *exchanged.IssuedTokenType != refreshTokenType || exchanged.RefreshToken == nil {
		t.Errorf("exchanged: %+v", exchanged)
	}

	// The authorization code grant, for an application.
	verifier, redirect := strings.Repeat("v", 43), "https://app.example/callback?tenant=1"
	code := approve(t, srv, authorizeURL(application, redirect, verifier, nil)).Get("code")
	signedIn, err := client.CreateTokenWithIAM(ctx, &ssooidc.CreateTokenWithIAMInput{
		ClientId: aws.String(application), GrantType: aws.String(wire.GrantAuthorizationCode),
		Code: &code, RedirectUri: &redirect, CodeVerifier: &verifier,
	})
	if err != nil {
		t.Fatal(err)
	}
	if claimsOf(t, *signedIn.IdToken, srv.IDTokenKey())["sub"] != "jane.doe@example.com" || signedIn.RefreshToken == nil {
		t.Errorf("signed in: %+v", signedIn)
	}
	code = approve(t, srv, authorizeURL(application, redirect, verifier, map[string]string{"scopes": "aws"})).Get("code")
	_, err = client.CreateTokenWithIAM(ctx, &ssooidc.CreateTokenWithIAMInput{
		ClientId: aws.String(application), GrantType: aws.String(wire.GrantAuthorizationCode),
		Code: &code, RedirectUri: &redirect, CodeVerifier: &verifier, Scope: []string{"openid"},
	})
	wantException(t, err, wire.TypeInvalidScope)
	for op, want := range map[idctest.Operation]int{
		idctest.CreateTokenWithIAMJWTBearer: 1, idctest.CreateTokenWithIAMRefresh: 2, idctest.CreateTokenWithIAMTokenExchange: 2,
		idctest.CreateTokenWithIAMAuthorizationCode: 1, idctest.CreateTokenWithIAM: 6, idctest.CreateToken: 0,
	} {
		if got := srv.Count(op).Succeeded; got != want {
			t.Errorf("%s: %d succeeded, want %d", op, got, want)
		}
	}
}

// TestCreateTokenWithIAMRefuses pins which exception each mistake gives, and
// that none spends anything.
func TestCreateTokenWithIAMRefuses(t *testing.T) {
	srv := idctest.New()
	srv.JWTBearerRefreshTokens = true
	srv.Applications = []idctest.Application{
		{ARN: application},
		{ARN: otherApplication, GrantTypes: []string{wire.GrantJWTBearer}, Scopes: []string{"aws"}},
	}
	client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	good, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil)))
	if err != nil {
		t.Fatal(err)
	}
	portal := srv.Issue("sso:account:access")
	past := time.Now().Add(-time.Second).Unix()
	for name, test := range map[string]struct {
		in  ssooidc.CreateTokenWithIAMInput
		typ string
	}{
		"no ARN":              {ssooidc.CreateTokenWithIAMInput{ClientId: &portal.ClientID, GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: &portal.RefreshToken}, wire.TypeInvalidRequest},
		"unknown application": {ssooidc.CreateTokenWithIAMInput{ClientId: aws.String(application + "0"), GrantType: aws.String(wire.GrantJWTBearer), Assertion: aws.String(assertion(nil))}, wire.TypeInvalidClient},
		"grant not allowed":   {ssooidc.CreateTokenWithIAMInput{ClientId: aws.String(otherApplication), GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: good.RefreshToken}, wire.TypeUnauthorizedClient},
		"unknown grant":       {ssooidc.CreateTokenWithIAMInput{ClientId: aws.String(application), GrantType: aws.String(wire.GrantDeviceCode)}, wire.TypeUnsupportedGrantType},
		"scope not allowed":   {ssooidc.CreateTokenWithIAMInput{ClientId: aws.String(otherApplication), GrantType: aws.String(wire.GrantJWTBearer), Assertion: aws.String(assertion(nil)), Scope: []string{"openid"}}, wire.TypeInvalidScope},

		"no assertion":       {ssooidc.CreateTokenWithIAMInput{ClientId: aws.String(application), GrantType: aws.String(wire.GrantJWTBearer)}, wire.TypeInvalidRequest},
		"no JWT":             {*jwtBearer("opaque"), wire.TypeInvalidGrant},
		"no JSON":            {*jwtBearer("e30.e.c2ln"), wire.TypeInvalidGrant},
		"expired":            {*jwtBearer(assertion(map[string]any{"exp": past})), wire.TypeInvalidGrant},
		"expired long ago":   {*jwtBearer(assertion(map[string]any{"exp": -1e30})), wire.TypeInvalidGrant},
		"not yet valid":      {*jwtBearer(assertion(map[string]any{"nbf": past + 3600})), wire.TypeInvalidGrant},
		"no expiry":          {*jwtBearer(assertion(map[string]any{"exp": nil})), wire.TypeInvalidGrant},
		"no subject":         {*jwtBearer(assertion(map[string]any{"sub": nil})), wire.TypeInvalidGrant},
		"long subject":       {*jwtBearer(assertion(map[string]any{"sub": strings.Repeat("s", 256)})), wire.TypeInvalidGrant},
		"no issuer":          {*jwtBearer(assertion(map[string]any{"iss": ""})), wire.TypeInvalidGrant},
		"no audience":        {*jwtBearer(assertion(map[string]any{"aud": []string{}})), wire.TypeInvalidGrant},
		"claim of no string": {*jwtBearer(assertion(map[string]any{"sub": 1})), wire.TypeInvalidGrant},

		"no refresh token":      {*iamRefresh(nil), wire.TypeInvalidRequest},
		"unknown refresh token": {*iamRefresh(aws.String("aor")), wire.TypeInvalidGrant},
		"another's":             {*iamRefresh(&portal.RefreshToken), wire.TypeInvalidGrant},

		"no code": {ssooidc.CreateTokenWithIAMInput{ClientId: aws.String(application), GrantType: aws.String(wire.GrantAuthorizationCode)}, wire.TypeInvalidRequest},
		"unknown code": {ssooidc.CreateTokenWithIAMInput{ClientId: aws.String(application), GrantType: aws.String(wire.GrantAuthorizationCode),
			Code: aws.String("x"), RedirectUri: aws.String("https://x.example"), CodeVerifier: aws.String("x")}, wire.TypeInvalidGrant},

		"no subject token":     {*tokenExchange(nil, accessTokenType, ""), wire.TypeInvalidRequest},
		"scope of exchange":    {ssooidc.CreateTokenWithIAMInput{ClientId: aws.String(application), GrantType: aws.String(wire.GrantTokenExchange), SubjectToken: &portal.AccessToken, SubjectTokenType: aws.String(accessTokenType), Scope: []string{"more"}}, wire.TypeInvalidScope},
		"other subject type":   {*tokenExchange(&portal.AccessToken, refreshTokenType, ""), wire.TypeInvalidRequest},
		"other requested type": {*tokenExchange(&portal.AccessToken, accessTokenType, "urn:ietf:params:oauth:token-type:id_token"), wire.TypeInvalidRequest},
		"dead subject token":   {*tokenExchange(aws.String("aoa"), accessTokenType, ""), wire.TypeInvalidGrant},
		"own subject token":    {*tokenExchange(good.AccessToken, accessTokenType, ""), wire.TypeInvalidRequest},
	} {
		_, err := client.CreateTokenWithIAM(t.Context(), &test.in)
		var api interface{ ErrorCode() string }
		if !errors.As(err, &api) || api.ErrorCode() != test.typ {
			t.Errorf("%s: got %v, want %s", name, err, test.typ)
		}
	}
	for _, body := range []map[string]any{
		{"clientId": application}, {"grantType": wire.GrantJWTBearer}, {"clientId": application, "grantType": wire.GrantJWTBearer, "scope": "aws"},
		{"clientId": "arn:aws:sso::123456789012:application/other-1/apl-1", "grantType": wire.GrantJWTBearer, "assertion": "x"},
		{"clientId": "arn:aws:sso:us-east-1:123456789012:application/ins-1/apl-1", "grantType": wire.GrantJWTBearer, "assertion": "x"},
		{"clientId": "arn:aws:sso::1:application/ins-1/apl-1", "grantType": wire.GrantJWTBearer, "assertion": "x"},
		{"clientId": "arn:aws:sso::123456789012:application/ins-1/apl-", "grantType": wire.GrantJWTBearer, "assertion": "x"},
		{"clientId": "arn:aws:sso::123456789012:application/ins-1", "grantType": wire.GrantJWTBearer, "assertion": "x"},
	} {
		req := signed(t, srv.AddAccessKey(idctest.AccessKey{}), func(s *signing) { s.body = toJSON(t, body) })
		if code, answer := status(t, srv, req); code != 400 || !strings.HasPrefix(answer, wire.TypeInvalidRequest) {
			t.Errorf("%v: status %d, %s", body, code, answer)
		}
	}
	in := iamRefresh(good.RefreshToken)
	in.Scope = []string{"more"}
	_, err = client.CreateTokenWithIAM(t.Context(), in)
	wantException(t, err, wire.TypeInvalidScope)
	if _, err := client.CreateTokenWithIAM(t.Context(), iamRefresh(good.RefreshToken)); err != nil {
		t.Errorf("a refused request spent the refresh token: %v", err)
	}
	if _, err := client.CreateTokenWithIAM(t.Context(), tokenExchange(&portal.AccessToken, accessTokenType, accessTokenType)); err != nil {
		t.Error(err)
	}
}

func tokenExchange(subject *string, subjectType, requestedType string) *ssooidc.CreateTokenWithIAMInput {
	in := &ssooidc.CreateTokenWithIAMInput{
		ClientId: aws.String(application), GrantType: aws.String(wire.GrantTokenExchange),
		SubjectToken: subject, SubjectTokenType: &subjectType,
	}
	if requestedType != "" {
		in.RequestedTokenType = &requestedType
	}
	return in
}

// TestJWTBearerRefreshTokens checks the setting, and that an audience may be a
// list.
func TestJWTBearerRefreshTokens(t *testing.T) {
	srv := idctest.New()
	client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	out, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(map[string]any{"aud": []string{"a", "b"}})))
	if err != nil {
		t.Fatal(err)
	}
	if out.RefreshToken != nil || *out.IssuedTokenType != accessTokenType {
		t.Errorf("answer: %+v, want no refresh token", out)
	}
}

// TestIAMRotation checks that an application's refresh tokens keep to the same
// settings as a client's.
func TestIAMRotation(t *testing.T) {
	srv := idctest.New()
	srv.JWTBearerRefreshTokens = true
	client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	first, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil)))
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.CreateTokenWithIAM(t.Context(), iamRefresh(first.RefreshToken))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CreateTokenWithIAM(t.Context(), iamRefresh(first.RefreshToken))
	wantException(t, err, wire.TypeInvalidGrant)
	_, err = client.CreateTokenWithIAM(t.Context(), iamRefresh(second.RefreshToken))
	wantException(t, err, wire.TypeInvalidGrant)
	_, err = client.CreateTokenWithIAM(t.Context(), tokenExchange(second.AccessToken, accessTokenType, ""))
	wantException(t, err, wire.TypeInvalidGrant)
	if srv.Reuses() != 1 {
		t.Errorf("%d reuses, want 1", srv.Reuses())
	}
}

// TestExchangedSessionEndsWithItsSubject checks expiresIn near the end of the
// subject's session.
func TestExchangedSessionEndsWithItsSubject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		srv.SessionLifetime = 90 * time.Minute
		session := srv.Issue()
		client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
		time.Sleep(80 * time.Minute)
		out, err := client.CreateTokenWithIAM(t.Context(), tokenExchange(&session.AccessToken, accessTokenType, ""))
		if err != nil || out.ExpiresIn != 600 {
			t.Errorf("%+v, %v; want a token for 600 s", out, err)
		}
		time.Sleep(10 * time.Minute)
		_, err = client.CreateTokenWithIAM(t.Context(), tokenExchange(&session.AccessToken, accessTokenType, ""))
		wantException(t, err, wire.TypeInvalidGrant)
	})
}

// TestRegion checks that a server in one region refuses requests signed for
// another, and says where to go.
func TestRegion(t *testing.T) {
	srv := idctest.New()
	srv.Region = "cn-north-1"
	key := srv.AddAccessKey(idctest.AccessKey{})
	_, err := iamClient(srv.Transport(), "cn-northwest-1", key).CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil)))
	var region *oidctypes.InvalidRequestRegionException
	if !errors.As(err, &region) || *region.Region != "cn-north-1" || *region.Endpoint != "https://oidc.cn-north-1.amazonaws.com.cn" || *region.Error_ != "invalid_request" {
		t.Fatalf("got %#v", err)
	}
	if _, err := iamClient(srv.Transport(), *region.Region, key).CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil))); err != nil {
		t.Error(err)
	}
}
