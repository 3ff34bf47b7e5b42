package providers

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
)

const (
	cognitoIssuer = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_uiIFNdacd"
	cognitoClient = "7lhlkkfbfb4q5kpp90urffao"
	cognitoSub    = "f5e6a2f4-1c3d-4ae6-8b1c-2d3e4f5a6b7c"
)

// cognitoIDToken returns an ID token of a user pool.
func cognitoIDToken(t *testing.T, pool *signer, more map[string]any) string {
	return pool.sign(t, map[string]any{
		"sub": cognitoSub, "aud": cognitoClient, "token_use": "id", "auth_time": time.Now().Unix(),
		"event_id": rand.Text(), "origin_jti": rand.Text(), "cognito:username": "jane", "cognito:groups": []string{"readers"},
		"email": "jane@example.com", "email_verified": true,
	}, more)
}

// cognitoAccessToken returns an access token of a user pool. It names the client
// in client_id, and no audience.
func cognitoAccessToken(t *testing.T, pool *signer, more map[string]any) string {
	return pool.sign(t, map[string]any{
		"sub": cognitoSub, "client_id": cognitoClient, "token_use": "access", "auth_time": time.Now().Unix(),
		"event_id": rand.Text(), "origin_jti": rand.Text(), "jti": rand.Text(), "username": "jane",
		"scope": "openid profile", "version": 2,
	}, more)
}

// TestCognitoIDToken has a user act by the ID token of a user pool.
func TestCognitoIDToken(t *testing.T) {
	pool := newSigner(t, cognitoIssuer)
	for name, more := range map[string]map[string]any{"without-jti": nil, "with-jti": {"jti": rand.Text()}} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, func(c *awsoidc.ExchangerConfig) { c.Audiences = []string{cognitoClient} }, pool.trusted(cognitoClient))
			raw := cognitoIDToken(t, pool, more)
			var claims struct {
				TokenUse string `json:"token_use"`
			}
			subject := pool.verify(t, raw, cognitoClient, &claims)
			if claims.TokenUse != "id" {
				t.Fatalf("token_use is %s", claims.TokenUse)
			}
			s.acts(subject, awsoidc.JWT(raw))
			if err := s.Forget(t.Context(), subject); err != nil {
				t.Fatal(err)
			}
			_, err := s.Identity(subject, awsoidc.JWT(raw)).TokenContext(t.Context())
			if single := more != nil; single != errors.Is(err, awsoidc.ErrReauthRequired) || !single && err != nil {
				t.Errorf("a second time: %v", err)
			}
			if n := s.sent.times(raw); (n == 1) != (more != nil) {
				t.Errorf("the assertion was sent %d times", n)
			}
		})
	}
}

// TestCognitoAccessToken checks that an access token, which has no audience, is
// refused with an error that says so: before it is sent, where the service gave
// its audience, and by Identity Center otherwise.
func TestCognitoAccessToken(t *testing.T) {
	pool := newSigner(t, cognitoIssuer)
	raw := cognitoAccessToken(t, pool, nil)
	source := oauth2.StaticTokenSource((&oauth2.Token{AccessToken: raw}).WithExtra(map[string]any{"id_token": cognitoIDToken(t, pool, nil)}))
	var claims struct {
		ClientID string `json:"client_id"`
		TokenUse string `json:"token_use"`
	}
	subject := pool.verify(t, raw, "", &claims)
	if claims.ClientID != cognitoClient || claims.TokenUse != "access" {
		t.Fatalf("the token is %+v", claims)
	}
	for name, audiences := range map[string][]string{"audience known": {cognitoClient}, "audience not known": nil} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, func(c *awsoidc.ExchangerConfig) { c.Audiences = audiences }, pool.trusted(cognitoClient))
			var first error
			for _, refused := range []awsoidc.Assertion{awsoidc.AccessTokenOf(source), awsoidc.JWT(raw)} {
				_, err := s.Identity(subject, refused).Credentials(awsoidc.Role{ARN: role}).Retrieve(t.Context())
				if !errors.Is(err, awsoidc.ErrConfig) {
					t.Errorf("%v, want ErrConfig", err)
				}
				if first == nil {
					first = err
				}
			}
			if text := fmt.Sprint(first); !strings.Contains(text, "aud") || strings.Contains(text, raw) {
				t.Errorf("the error is %q", text)
			}
			if n := s.sent.times(raw); n != 0 {
				t.Errorf("it was sent %d times", n)
			}
			err := s.Preflight(t.Context(), subject, awsoidc.JWT(raw))
			if err == nil || !strings.Contains(err.Error(), "audience") {
				t.Errorf("Preflight: %v, want one about the audience", err)
			}
			s.acts(subject, awsoidc.IDTokenOf(source))
		})
	}
}
