package awsoidc

import (
	"context"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"
)

// TokenSource …
type TokenSource struct{ cfg Config }

// New …
func New(cfg Config) (*TokenSource, error) { return &TokenSource{cfg}, nil }

func (s *TokenSource) Token() (*oauth2.Token, error) { return nil, ErrLoginRequired }
func (s *TokenSource) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	return nil, ErrLoginRequired
}
func (s *TokenSource) Bearer(ctx context.Context) (string, error) { return "", ErrLoginRequired }
func (s *TokenSource) RetrieveBearerToken(ctx context.Context) (bearer.Token, error) {
	return bearer.Token{}, ErrLoginRequired
}
func (s *TokenSource) Login(ctx context.Context) error                             { return ErrNoPrompt }
func (s *TokenSource) Invalidate(accessToken string) bool                          { return false }
func (s *TokenSource) Client(origins ...string) *http.Client                       { return nil }
func (s *TokenSource) Close() error                                                { return nil }
func (s *TokenSource) RoleCredentials(accountID, roleName string) *RoleCredentials { return nil }

// RoleCredentials is an aws.CredentialsProvider …
type RoleCredentials struct{}

func (r *RoleCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, ErrLoginRequired
}
