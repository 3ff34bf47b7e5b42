package interop

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc/types"

	"github.com/awsoidc/awsoidc/wire"
)

// A customer is a client registered by the service's official Go client.
type customer struct {
	*testing.T
	h          *host
	sdk        *ssooidc.Client
	id, secret *string
}

func newCustomer(t *testing.T, h *host) *customer {
	c := &customer{T: t, h: h, sdk: ssooidc.New(ssooidc.Options{
		Region: dev.region, BaseEndpoint: &h.url, Retryer: aws.NopRetryer{},
	})}
	out, err := c.sdk.RegisterClient(t.Context(), &ssooidc.RegisterClientInput{
		ClientName: aws.String("official"), ClientType: aws.String("public"), Scopes: dev.scopes,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.id, c.secret = out.ClientId, out.ClientSecret
	return c
}

func (c *customer) start() *ssooidc.StartDeviceAuthorizationOutput {
	c.Helper()
	out, err := c.sdk.StartDeviceAuthorization(c.Context(), &ssooidc.StartDeviceAuthorizationInput{
		ClientId: c.id, ClientSecret: c.secret, StartUrl: &dev.startURL,
	})
	if err != nil {
		c.Fatal(err)
	}
	return out
}

func (c *customer) redeem(deviceCode *string) (*ssooidc.CreateTokenOutput, error) {
	return c.sdk.CreateToken(c.Context(), &ssooidc.CreateTokenInput{
		ClientId: c.id, ClientSecret: c.secret, GrantType: aws.String(wire.GrantDeviceCode), DeviceCode: deviceCode,
	})
}

func (c *customer) refresh(refreshToken *string) (*ssooidc.CreateTokenOutput, error) {
	return c.sdk.CreateToken(c.Context(), &ssooidc.CreateTokenInput{
		ClientId: c.id, ClientSecret: c.secret, GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: refreshToken,
	})
}

// TestOfficialClient checks that the service's own Go client completes its
// three operations.
func TestOfficialClient(t *testing.T) {
	h := newHost(t)
	h.srv.ApproveAfter(-1)
	c := newCustomer(t, h)
	auth := c.start()
	if err := h.srv.Approve(*auth.UserCode); err != nil {
		t.Fatal(err)
	}
	first, err := c.redeem(auth.DeviceCode)
	if err != nil {
		t.Fatal(err)
	}
	if aws.ToString(first.TokenType) != "Bearer" || first.ExpiresIn != 3600 || first.AccessToken == nil {
		t.Errorf("token type %q, expires in %d", aws.ToString(first.TokenType), first.ExpiresIn)
	}
	second, err := c.refresh(first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	if *second.AccessToken == *first.AccessToken || *second.RefreshToken == *first.RefreshToken {
		t.Error("the refresh answered with a token that was issued before")
	}
}

// TestOfficialClientExceptions checks that the official client sees each
// refusal as the exception that the service's model has for it.
func TestOfficialClientExceptions(t *testing.T) {
	h := newHost(t)
	h.srv.ApproveAfter(-1)
	var late atomic.Int64 // nanoseconds that the service's clock is ahead
	h.srv.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	c := newCustomer(t, h)
	auth := c.start()

	_, err := c.redeem(auth.DeviceCode)
	wantException[*types.AuthorizationPendingException](t, err)
	_, err = c.redeem(auth.DeviceCode)
	wantException[*types.SlowDownException](t, err)
	late.Add(int64(time.Hour))
	_, err = c.redeem(auth.DeviceCode)
	wantException[*types.ExpiredTokenException](t, err)

	auth = c.start()
	if err := h.srv.Deny(*auth.UserCode); err != nil {
		t.Fatal(err)
	}
	_, err = c.redeem(auth.DeviceCode)
	wantException[*types.AccessDeniedException](t, err)

	_, err = c.refresh(aws.String("unknown"))
	wantException[*types.InvalidGrantException](t, err)
	_, err = c.sdk.CreateToken(t.Context(), &ssooidc.CreateTokenInput{
		ClientId: c.id, ClientSecret: c.secret, GrantType: aws.String("password"),
	})
	wantException[*types.UnsupportedGrantTypeException](t, err)
	_, err = c.sdk.CreateToken(t.Context(), &ssooidc.CreateTokenInput{
		ClientId: c.id, ClientSecret: aws.String("wrong"), GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: aws.String("any"),
	})
	wantException[*types.InvalidClientException](t, err)
	_, err = c.sdk.StartDeviceAuthorization(t.Context(), &ssooidc.StartDeviceAuthorizationInput{
		ClientId: c.id, ClientSecret: c.secret, StartUrl: aws.String("not a URL"),
	})
	wantException[*types.InvalidRequestException](t, err)

	_, err = c.sdk.RegisterClient(t.Context(), &ssooidc.RegisterClientInput{ClientName: c.id, ClientType: aws.String("confidential")})
	wantException[*types.InvalidClientMetadataException](t, err)
	_, err = c.sdk.RegisterClient(t.Context(), &ssooidc.RegisterClientInput{ClientName: c.id, ClientType: aws.String("public"), Scopes: []string{"two words"}})
	wantException[*types.InvalidScopeException](t, err)
	_, err = c.sdk.RegisterClient(t.Context(), &ssooidc.RegisterClientInput{ClientName: c.id, ClientType: aws.String("public"), RedirectUris: []string{"no URI"}})
	wantException[*types.InvalidRedirectUriException](t, err)
}

func wantException[E error](t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[E](err); !ok {
		t.Errorf("got %v, want %T", err, *new(E))
	}
}
