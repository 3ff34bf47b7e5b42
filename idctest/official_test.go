package idctest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	oidctypes "github.com/aws/aws-sdk-go-v2/service/ssooidc/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// toServer sends every request to one base URL, like a proxy: the Host header,
// which STS's signature covers, stays.
type toServer struct{ base string }

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	r.URL.Scheme, r.URL.Host, _ = strings.Cut(s.base, "://")
	return http.DefaultTransport.RoundTrip(r)
}

// TestOfficialClients walks the whole journey with AWS's own clients, in
// memory and over TCP.
func TestOfficialClients(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		srv := idctest.New()
		journey(t, srv, srv.Transport())
	})
	t.Run("tcp", func(t *testing.T) {
		srv := idctest.New()
		ts := httptest.NewServer(srv)
		defer ts.Close()
		journey(t, srv, toServer{ts.URL})
	})
}

func journey(t *testing.T, srv *idctest.Server, rt http.RoundTripper) {
	ctx, before := t.Context(), time.Now().Truncate(time.Second)
	oidc := oidcClient(rt)
	reg, err := oidc.RegisterClient(ctx, &ssooidc.RegisterClientInput{
		ClientName: aws.String("test"), ClientType: aws.String("public"), Scopes: []string{"sso:account:access"},
	})
	if err != nil {
		t.Fatal(err)
	}
	issued, expires := time.Unix(reg.ClientIdIssuedAt, 0), time.Unix(reg.ClientSecretExpiresAt, 0)
	if issued.Before(before) || expires.Sub(issued) != 90*24*time.Hour {
		t.Errorf("registration issued at %v, expires at %v", issued, expires)
	}

	auth, err := oidc.StartDeviceAuthorization(ctx, &ssooidc.StartDeviceAuthorizationInput{
		ClientId: reg.ClientId, ClientSecret: reg.ClientSecret, StartUrl: aws.String(startURL),
	})
	if err != nil {
		t.Fatal(err)
	}
	if auth.ExpiresIn != 600 || auth.Interval != 1 {
		t.Errorf("expiresIn %d, interval %d; want 600, 1", auth.ExpiresIn, auth.Interval)
	}
	if !strings.HasSuffix(*auth.VerificationUri, "/device") || *auth.VerificationUriComplete != *auth.VerificationUri+"?user_code="+*auth.UserCode {
		t.Errorf("verification URIs %q, %q", *auth.VerificationUri, *auth.VerificationUriComplete)
	}
	if pending := srv.Pending(); !slices.Equal(pending, []string{*auth.UserCode}) {
		t.Errorf("pending: %q, want %q", pending, *auth.UserCode)
	}
	if err := srv.Approve(*auth.UserCode); err != nil {
		t.Fatal(err)
	}
	token, err := oidc.CreateToken(ctx, &ssooidc.CreateTokenInput{
		ClientId: reg.ClientId, ClientSecret: reg.ClientSecret,
		GrantType: aws.String(wire.GrantDeviceCode), DeviceCode: auth.DeviceCode,
	})
	if err != nil {
		t.Fatal(err)
	}
	if *token.TokenType != "Bearer" || token.ExpiresIn != 3600 || token.IdToken != nil {
		t.Errorf("token type %q, expires in %d, ID token %v", *token.TokenType, token.ExpiresIn, token.IdToken)
	}
	if !strings.HasPrefix(*token.AccessToken, "aoa") || !strings.HasPrefix(*token.RefreshToken, "aor") {
		t.Errorf("tokens %q, %q", *token.AccessToken, *token.RefreshToken)
	}

	next, err := refresh(ctx, oidc, *reg.ClientId, *reg.ClientSecret, *token.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if *next.AccessToken == *token.AccessToken || *next.RefreshToken == *token.RefreshToken {
		t.Error("a refresh answered with a token that was issued before")
	}
	callerIdentity(t, rt, *next.AccessToken)

	if _, err := portalClient(rt).Logout(ctx, &sso.LogoutInput{AccessToken: next.AccessToken}); err != nil {
		t.Fatal(err)
	}
	_, err = refresh(ctx, oidc, *reg.ClientId, *reg.ClientSecret, *next.RefreshToken)
	wantException(t, err, wire.TypeInvalidGrant)
}

// callerIdentity goes on from an access token to role credentials and to STS.
func callerIdentity(t *testing.T, rt http.RoundTripper, accessToken string) {
	ctx, portal := t.Context(), portalClient(rt)
	accounts, err := portal.ListAccounts(ctx, &sso.ListAccountsInput{AccessToken: &accessToken})
	if err != nil {
		t.Fatal(err)
	}
	if len(accounts.AccountList) != 1 || *accounts.AccountList[0].AccountId != "123456789012" || accounts.NextToken != nil {
		t.Fatalf("accounts: %+v", accounts.AccountList)
	}
	roles, err := portal.ListAccountRoles(ctx, &sso.ListAccountRolesInput{AccessToken: &accessToken, AccountId: aws.String("123456789012")})
	if err != nil {
		t.Fatal(err)
	}
	if len(roles.RoleList) != 2 || *roles.RoleList[0].RoleName != "ReadOnly" {
		t.Fatalf("roles: %+v", roles.RoleList)
	}
	out, err := portal.GetRoleCredentials(ctx, &sso.GetRoleCredentialsInput{
		AccessToken: &accessToken, AccountId: aws.String("123456789012"), RoleName: aws.String("ReadOnly"),
	})
	if err != nil {
		t.Fatal(err)
	}
	creds := out.RoleCredentials
	if left := time.Until(time.UnixMilli(creds.Expiration)); left < 59*time.Minute || left > time.Hour {
		t.Errorf("role credentials expire in %v, want 1 h", left)
	}
	who, err := stsClient(rt, *creds.AccessKeyId, *creds.SecretAccessKey, *creds.SessionToken).GetCallerIdentity(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	const prefix, suffix = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_ReadOnly_", "/jane.doe@example.com"
	middle, _ := strings.CutPrefix(*who.Arn, prefix)
	middle, _ = strings.CutSuffix(middle, suffix)
	if len(middle) != 16 || strings.Trim(middle, "0123456789abcdef") != "" {
		t.Errorf("ARN %q, want %s<16 hex>%s", *who.Arn, prefix, suffix)
	}
	if *who.Account != "123456789012" || !strings.HasPrefix(*who.UserId, "AROA") || !strings.HasSuffix(*who.UserId, ":jane.doe@example.com") {
		t.Errorf("account %q, user ID %q", *who.Account, *who.UserId)
	}
}

// TestOfficialClientTypes checks that the official client turns each
// exception of SSO OIDC into its own type, with the members set.
func TestOfficialClientTypes(t *testing.T) {
	srv := idctest.New()
	s := begin(t, srv, "sso:account:access")
	call := func(f idctest.Fault) error {
		srv.Inject(idctest.CreateTokenRefresh, f)
		_, err := s.refresh("any")
		var re *awshttp.ResponseError
		if !errors.As(err, &re) || re.ServiceRequestID() == "" {
			t.Errorf("%+v: no request id in %v", f, err)
		}
		return err
	}

	var denied *oidctypes.AccessDeniedException
	err := call(idctest.Fault{Type: wire.TypeAccessDenied, Description: "no", Reason: "KMS_AccessDeniedException"})
	if !errors.As(err, &denied) || *denied.Error_ != "access_denied" || *denied.Error_description != "no" || denied.Reason != "KMS_AccessDeniedException" {
		t.Errorf("got %#v", err)
	}
	var server *oidctypes.InternalServerException
	var re *awshttp.ResponseError
	err = call(idctest.Fault{Status: 500})
	if !errors.As(err, &server) || *server.Error_ != "server_error" || !errors.As(err, &re) || re.HTTPStatusCode() != 500 {
		t.Errorf("got %#v", err)
	}
	var region *oidctypes.InvalidRequestRegionException
	err = call(idctest.Fault{Type: wire.TypeInvalidRequestRegion, Region: "eu-west-1", Endpoint: "https://oidc.eu-west-1.amazonaws.com"})
	if !errors.As(err, &region) || *region.Error_ != "invalid_request" || *region.Region != "eu-west-1" || *region.Endpoint != "https://oidc.eu-west-1.amazonaws.com" {
		t.Errorf("got %#v", err)
	}
	var request *oidctypes.InvalidRequestException
	err = call(idctest.Fault{Type: wire.TypeInvalidRequest, Reason: "KMS_DisabledException"})
	if !errors.As(err, &request) || request.Reason != "KMS_DisabledException" {
		t.Errorf("got %#v", err)
	}
	for typ, status := range map[string]int{
		wire.TypeAuthorizationPending: 400, wire.TypeExpiredToken: 400, wire.TypeInvalidClient: 401,
		wire.TypeInvalidClientMetadata: 400, wire.TypeInvalidGrant: 400, wire.TypeInvalidRedirectURI: 400,
		wire.TypeInvalidScope: 400, wire.TypeSlowDown: 400, wire.TypeUnauthorizedClient: 400,
		wire.TypeUnsupportedGrantType: 400, wire.TypeInternalServer: 500,
	} {
		err := call(idctest.Fault{Type: typ})
		wantException(t, err, typ)
		if !errors.As(err, &re) || re.HTTPStatusCode() != status {
			t.Errorf("%s: %v, want status %d", typ, err, status)
		}
	}
}

// TestPresigned checks that STS takes a presigned GET too.
func TestPresigned(t *testing.T) {
	srv := idctest.New()
	creds, err := roleCredentials(t, srv, srv.Issue().AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	c := creds.RoleCredentials
	client := stsClient(srv.Transport(), *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	signed, err := sts.NewPresignClient(client).PresignGetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, body := send(t, srv.Transport(), signed.Method, signed.URL, "", "")
	if resp.StatusCode != 200 || !strings.Contains(body, "<Arn>arn:aws:sts::123456789012:") {
		t.Errorf("status %d, body %s", resp.StatusCode, body)
	}
}
