package awsoidc_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

const (
	applicationARN = "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"
	accessRole     = "arn:aws:iam::123456789012:role/Access"
	issuer         = "https://issuer.example"
)

var jane = awsoidc.Subject{Issuer: issuer, ID: "jane"}

var jtis atomic.Int64

// assertionOf returns a JWT of the subject, which nobody signed, with a jti of
// its own. Changes of nil remove a claim.
func assertionOf(s awsoidc.Subject, changes map[string]any) string {
	claims := map[string]any{
		"iss": s.Issuer, "sub": s.ID, "aud": "my-service", "jti": fmt.Sprint(jtis.Add(1)),
		"iat": time.Now().Unix(), "exp": time.Now().Add(24 * time.Hour).Unix(),
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	body, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(body) + "." + encode([]byte("not verified"))
}

// fresh returns a new assertion of the subject.
func fresh(s awsoidc.Subject) awsoidc.Assertion { return awsoidc.JWT(assertionOf(s, nil)) }

// awsConfig returns what a service runs with, in srv's AWS.
func awsConfig(srv *idctest.Server) aws.Config {
	key := srv.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:iam::123456789012:user/service"})
	return aws.Config{
		Region:     "us-east-1",
		HTTPClient: &http.Client{Transport: srv.Transport()},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
		}),
	}
}

// newExchanger returns an Exchanger in srv's AWS, which is closed when the test
// ends.
func newExchanger(t testing.TB, srv *idctest.Server, options ...func(*awsoidc.ExchangerConfig)) *awsoidc.Exchanger {
	t.Helper()
	cfg := awsoidc.ExchangerConfig{Application: applicationARN, AWS: awsConfig(srv)}
	for _, option := range options {
		option(&cfg)
	}
	e, err := awsoidc.NewExchanger(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// callerOf returns whom STS takes the credentials for.
func callerOf(t *testing.T, srv *idctest.Server, c aws.CredentialsProvider) string {
	t.Helper()
	client := sts.New(sts.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}, Credentials: c})
	out, err := client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.Arn)
}

// accessToken returns the identity's token.
func accessToken(t *testing.T, i awsoidc.Identity) string {
	t.Helper()
	token, err := i.TokenContext(t.Context())
	if err != nil {
		t.Errorf("Token: %v", err)
		return ""
	}
	return token.AccessToken
}

func exchanges(srv *idctest.Server) int {
	return srv.Count(idctest.CreateTokenWithIAMJWTBearer).Requests
}

func iamRefreshes(srv *idctest.Server) int {
	return srv.Count(idctest.CreateTokenWithIAMRefresh).Requests
}

// failing is a store that can't be used while fail is set.
type failing struct {
	cache.Store
	fail atomic.Bool
}

func (s *failing) Get(ctx context.Context, key string) ([]byte, error) {
	if s.fail.Load() {
		return nil, cache.ErrLock
	}
	return s.Store.Get(ctx, key)
}

func (s *failing) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	if s.fail.Load() {
		return cache.ErrLock
	}
	return s.Store.Update(ctx, key, fn)
}

// keys is a store that notes the keys of identities that are asked for.
type keys struct {
	cache.Store
	seen []string
}

func (s *keys) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, "awsoidc-identity-") {
		s.seen = append(s.seen, key)
	}
	return s.Store.Get(ctx, key)
}
