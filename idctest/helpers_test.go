package idctest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

const startURL = "https://d-1234567890.awsapps.com/start"

// The official clients, without retries, on any transport.

func oidcClient(rt http.RoundTripper) *ssooidc.Client {
	return ssooidc.New(ssooidc.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: rt}, RetryMaxAttempts: 1})
}

func portalClient(rt http.RoundTripper) *sso.Client {
	return sso.New(sso.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: rt}, RetryMaxAttempts: 1})
}

func stsClient(rt http.RoundTripper, keyID, secret, token string) *sts.Client {
	return sts.New(sts.Options{
		Region: "us-east-1", HTTPClient: &http.Client{Transport: rt}, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret, SessionToken: token}, nil
		}),
	})
}

// signIn is a device authorization in progress.
type signIn struct {
	t                      *testing.T
	oidc                   *ssooidc.Client
	clientID, clientSecret *string
	deviceCode             *string
	userCode               string
}

func register(t *testing.T, srv *idctest.Server, scopes ...string) *signIn {
	t.Helper()
	oidc := oidcClient(srv.Transport())
	reg, err := oidc.RegisterClient(t.Context(), &ssooidc.RegisterClientInput{
		ClientName: aws.String("test"), ClientType: aws.String("public"), Scopes: scopes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &signIn{t: t, oidc: oidc, clientID: reg.ClientId, clientSecret: reg.ClientSecret}
}

func begin(t *testing.T, srv *idctest.Server, scopes ...string) *signIn {
	t.Helper()
	s := register(t, srv, scopes...)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *signIn) start() error {
	out, err := s.oidc.StartDeviceAuthorization(s.t.Context(), &ssooidc.StartDeviceAuthorizationInput{
		ClientId: s.clientID, ClientSecret: s.clientSecret, StartUrl: aws.String(startURL),
	})
	if err != nil {
		return err
	}
	s.deviceCode, s.userCode = out.DeviceCode, *out.UserCode
	return nil
}

func (s *signIn) poll() (*ssooidc.CreateTokenOutput, error) {
	return s.oidc.CreateToken(s.t.Context(), &ssooidc.CreateTokenInput{
		ClientId: s.clientID, ClientSecret: s.clientSecret,
		GrantType: aws.String(wire.GrantDeviceCode), DeviceCode: s.deviceCode,
	})
}

func (s *signIn) refresh(token string) (*ssooidc.CreateTokenOutput, error) {
	return refresh(s.t.Context(), s.oidc, *s.clientID, *s.clientSecret, token)
}

func refresh(ctx context.Context, oidc *ssooidc.Client, clientID, clientSecret, token string) (*ssooidc.CreateTokenOutput, error) {
	return oidc.CreateToken(ctx, &ssooidc.CreateTokenInput{
		ClientId: &clientID, ClientSecret: &clientSecret,
		GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: &token,
	})
}

// refreshSession is refresh for what Issue returned.
func refreshSession(t *testing.T, srv *idctest.Server, s idctest.Session) (*ssooidc.CreateTokenOutput, error) {
	return refresh(t.Context(), oidcClient(srv.Transport()), s.ClientID, s.ClientSecret, s.RefreshToken)
}

// roleCredentials asks the portal for the default account's ReadOnly role.
func roleCredentials(t *testing.T, srv *idctest.Server, accessToken string) (*sso.GetRoleCredentialsOutput, error) {
	return portalClient(srv.Transport()).GetRoleCredentials(t.Context(), &sso.GetRoleCredentialsInput{
		AccessToken: &accessToken, AccountId: aws.String("123456789012"), RoleName: aws.String("ReadOnly"),
	})
}

// wantException fails unless err is an API error of that type.
func wantException(t *testing.T, err error, typ string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != typ {
		t.Fatalf("got error %v, want %s", err, typ)
	}
}

// send makes a request that no official client would, and returns the answer
// with its body.
func send(t *testing.T, rt http.RoundTripper, method, url, contentType, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// isException reports whether err is an API error of that type.
func isException(err error, typ string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == typ
}
