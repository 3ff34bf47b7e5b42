package idctest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// TestIdentify follows two users of one name, of two issuers, through all that
// is issued to them.
func TestIdentify(t *testing.T) {
	srv := idctest.New()
	srv.JWTBearerRefreshTokens = true
	srv.Applications = []idctest.Application{{ARN: application}, {ARN: otherApplication, Scopes: []string{"openid", "sso:account:access"}}}
	key := srv.AddAccessKey(idctest.AccessKey{})
	client := iamClient(srv.Transport(), "us-east-1", key)
	wantIdentity := func(what, secret string, want idctest.Identity) {
		t.Helper()
		if got, ok := srv.Identify(secret); !ok || got != want {
			t.Errorf("%s of %s: %+v, %v; want %+v", what, want.Issuer, got, ok, want)
		}
	}
	for _, issuer := range []string{"https://one.example", "https://two.example"} {
		jane := idctest.Identity{Subject: "jane", Issuer: issuer, Application: application}
		first, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(map[string]any{"iss": issuer})))
		if err != nil {
			t.Fatal(err)
		}
		wantIdentity("access token", *first.AccessToken, jane)
		wantIdentity("refresh token", *first.RefreshToken, jane)
		wantIdentity("identity context", *first.AwsAdditionalDetails.IdentityContext, jane)
		next, err := client.CreateTokenWithIAM(t.Context(), iamRefresh(first.RefreshToken))
		if err != nil {
			t.Fatal(err)
		}
		wantIdentity("next refresh token", *next.RefreshToken, jane)
		if body := userInfoOf(t, srv, *next.AccessToken); !strings.Contains(body, `"sub":"jane","iss":"`+issuer+`"`) {
			t.Errorf("userinfo: %s", body)
		}

		assumed, err := stsAs(srv.Transport(), key).AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: aws.String(role), RoleSessionName: aws.String("jane"),
			ProvidedContexts: []ststypes.ProvidedContext{{ProviderArn: aws.String(provider), ContextAssertion: next.AwsAdditionalDetails.IdentityContext}},
		})
		if err != nil {
			t.Fatal(err)
		}
		wantIdentity("session", *assumed.Credentials.AccessKeyId, jane)

		exchange := tokenExchange(next.AccessToken, accessTokenType, refreshTokenType)
		exchange.ClientId = aws.String(otherApplication)
		exchanged, err := client.CreateTokenWithIAM(t.Context(), exchange)
		if err != nil {
			t.Fatal(err)
		}
		jane.Application = otherApplication
		wantIdentity("exchanged token", *exchanged.AccessToken, jane)
		portal, err := roleCredentials(t, srv, *exchanged.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		wantIdentity("portal's credentials", *portal.RoleCredentials.AccessKeyId, jane)
		web, err := stsAs(srv.Transport(), key).AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String(role), RoleSessionName: aws.String("jane"), WebIdentityToken: aws.String(assertion(map[string]any{"iss": issuer})),
		})
		if err != nil {
			t.Fatal(err)
		}
		wantIdentity("web identity", *web.Credentials.AccessKeyId, idctest.Identity{Subject: "jane", Issuer: issuer})
	}
	session := srv.Issue("sso:account:access")
	srv.RevokeSessions() // which makes no difference
	wantIdentity("signed in", session.AccessToken, idctest.Identity{Subject: "jane.doe@example.com", Application: session.ClientID})

	plain, err := stsAs(srv.Transport(), key).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("jane")})
	if err != nil {
		t.Fatal(err)
	}
	for _, nobody := range []string{"", "aoa", key.ID, session.ClientID, *plain.Credentials.AccessKeyId, *plain.Credentials.SessionToken} {
		if got, ok := srv.Identify(nobody); ok {
			t.Errorf("%q is %+v", nobody, got)
		}
	}
}

func userInfoOf(t *testing.T, srv *idctest.Server, accessToken string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://idc.example/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+accessToken)
	resp, err := srv.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestPortalScope checks that an application's access token is good for the
// portal with sso:account:access alone, narrowed and refreshed ones included.
func TestPortalScope(t *testing.T) {
	srv := idctest.New()
	srv.Applications = []idctest.Application{{ARN: application, Scopes: []string{"openid", "sso:account:access"}}, {ARN: otherApplication}}
	client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	subject := srv.Issue("sso:account:access")
	exchange := func(application string, scopes ...string) *ssooidc.CreateTokenWithIAMOutput {
		in := tokenExchange(&subject.AccessToken, accessTokenType, refreshTokenType)
		in.ClientId, in.Scope = &application, scopes
		out, err := client.CreateTokenWithIAM(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, good := range []*ssooidc.CreateTokenWithIAMOutput{exchange(application), exchange(application, "sso:account:access")} {
		if _, err := roleCredentials(t, srv, *good.AccessToken); err != nil {
			t.Error(err)
		}
		in := iamRefresh(good.RefreshToken)
		in.Scope = []string{"sso:account:access"}
		next, err := client.CreateTokenWithIAM(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := roleCredentials(t, srv, *next.AccessToken); err != nil {
			t.Error(err)
		}
	}
	portal := portalClient(srv.Transport())
	for _, bad := range []*ssooidc.CreateTokenWithIAMOutput{exchange(application, "openid"), exchange(otherApplication)} {
		_, err := roleCredentials(t, srv, *bad.AccessToken)
		wantException(t, err, "UnauthorizedException")
		_, err = portal.ListAccounts(t.Context(), &sso.ListAccountsInput{AccessToken: bad.AccessToken})
		wantException(t, err, "UnauthorizedException")
	}
}

// TestAssignment checks that an application which users are assigned to denies
// the others, whatever the grant.
func TestAssignment(t *testing.T) {
	srv := idctest.New()
	srv.Applications = []idctest.Application{{ARN: application, Subjects: []string{"jane"}}}
	client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	if _, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil))); err != nil {
		t.Error(err)
	}
	_, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(map[string]any{"sub": "joe"})))
	wantException(t, err, wire.TypeAccessDenied)
	subject := srv.Issue("sso:account:access")
	_, err = client.CreateTokenWithIAM(t.Context(), tokenExchange(&subject.AccessToken, accessTokenType, ""))
	wantException(t, err, wire.TypeAccessDenied)
	verifier, redirect := strings.Repeat("v", 43), "https://app.example/callback"
	code := approve(t, srv, authorizeURL(application, redirect, verifier, nil)).Get("code")
	_, err = client.CreateTokenWithIAM(t.Context(), &ssooidc.CreateTokenWithIAMInput{
		ClientId: aws.String(application), GrantType: aws.String(wire.GrantAuthorizationCode),
		Code: &code, RedirectUri: &redirect, CodeVerifier: &verifier,
	})
	wantException(t, err, wire.TypeAccessDenied)
}
