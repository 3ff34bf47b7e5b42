package providers

import (
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// The clients that every provider knows. They differ in their ID tokens alone:
// neither provider puts a jti in one unless it is told to. Access tokens always
// have one.
const (
	withoutJTI  = "without-jti"
	withJTI     = "with-jti"
	redirectURI = "http://127.0.0.1/callback"
)

// A provider is a running OpenID provider. Its users are those whom users lists.
type provider struct {
	*oidc.Provider
	issuer string
	// accessAudience returns the audience of the access tokens of a client.
	accessAudience func(client string) string
}

// users of a provider, by the name that they sign in with.
var users = []string{"jane", "john"}

// each runs a test at each provider, which is started for it.
func each(t *testing.T, test func(t *testing.T, p *provider)) {
	for name, start := range map[string]func(t *testing.T) *provider{"oidc-provider": startNPM, "zitadel": startZitadel} {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

// discovered is a provider that answers already.
func discovered(t *testing.T, issuer string, accessAudience func(client string) string) *provider {
	t.Helper()
	p, err := oidc.NewProvider(t.Context(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	return &provider{p, issuer, accessAudience}
}

// trusted is the provider as a trusted token issuer of Identity Center.
func (p *provider) trusted(audiences ...string) idctest.TrustedIssuer {
	return idctest.TrustedIssuer{Issuer: p.issuer, Audiences: audiences, HTTPClient: loopback(nil)}
}

// A session is a user's sign-in to a client.
type session struct {
	config  *oauth2.Config
	token   *oauth2.Token
	subject awsoidc.Subject // of the verified ID token
}

// signIn signs a user in: the authorization code grant with PKCE, through the
// provider's own pages.
func (p *provider) signIn(t *testing.T, client, user string) *session {
	t.Helper()
	config := &oauth2.Config{
		ClientID: client, RedirectURL: redirectURI, Endpoint: p.Endpoint(),
		Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess},
	}
	config.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	verifier, state := oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	callback := browse(t, config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("prompt", "consent")), user)
	if callback.Get("state") != state {
		t.Fatalf("the callback is %v", callback)
	}
	token, err := config.Exchange(t.Context(), callback.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	s := &session{config: config, token: token}
	s.subject = p.verify(t, s.idToken(), client)
	if !strings.HasSuffix(s.subject.ID, user) {
		t.Fatalf("%s signed in as %v", user, s.subject)
	}
	return s
}

// verify verifies a token as a service does, and returns whose it is.
func (p *provider) verify(t *testing.T, raw, audience string) awsoidc.Subject {
	t.Helper()
	token, err := p.Verifier(&oidc.Config{ClientID: audience}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return awsoidc.Subject{Issuer: token.Issuer, ID: token.Subject}
}

func (s *session) idToken() string {
	raw, _ := s.token.Extra("id_token").(string)
	return raw
}

// source returns the session's tokens, and new ones where these have expired.
func (s *session) source(t *testing.T) oauth2.TokenSource {
	return s.config.TokenSource(t.Context(), s.token)
}

// expired is the session with an access token that has expired: its source has
// to ask the provider for the next.
func (s *session) expired() *session {
	later := *s
	later.token = s.token.WithExtra(map[string]any{"id_token": s.idToken()})
	later.token.Expiry = past
	return &later
}
