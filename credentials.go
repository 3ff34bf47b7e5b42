package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/sso/types"

	"github.com/awsoidc/awsoidc/wire"
)

// credentialsSource is the aws.Credentials.Source of role credentials.
const credentialsSource = "awsoidc"

// roleTimeout bounds one attempt to obtain role credentials, the access token
// included.
const roleTimeout = lockWait + lockHold

// RoleCredentials yields credentials of one role in one account, through the
// AWS access portal (operation GetRoleCredentials), and keeps them fresh as
// its TokenSource keeps tokens. It is an aws.CredentialsProvider, and safe for
// concurrent use.
//
// Printing it, with any verb, shows account and role only.
type RoleCredentials struct {
	source      *TokenSource
	role        roleKey
	portal      *sso.Client
	credentials renewal[aws.Credentials]
}

type roleKey struct{ accountID, roleName string }

// RoleCredentials returns credentials of a role that the session's person is
// assigned to, in an account of 12 digits. It sends nothing. The same
// arguments give the same value.
func (s *TokenSource) RoleCredentials(accountID, roleName string) *RoleCredentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := roleKey{accountID, roleName}
	if r := s.roles[key]; r != nil {
		return r
	}
	options := sso.Options{Region: s.cfg.Region, HTTPClient: s.http}
	if s.cfg.Endpoints.Portal != "" {
		options.BaseEndpoint = &s.cfg.Endpoints.Portal
	}
	r := &RoleCredentials{source: s, role: key, portal: sso.New(options)}
	r.credentials.rules = &s.rules
	if !s.closed {
		s.roles[key] = r
	}
	return r
}

// Retrieve returns valid credentials. Their Expires is when to ask again,
// which is before they expire: caches above, such as aws.CredentialsCache, ask
// only then, and find the next ones ready.
//
// Errors wrap ErrLoginRequired without a session, and ErrNotAssigned where the
// portal refuses the role. If ctx ends first, the error is its cause.
func (r *RoleCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	l, err := r.get(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	c := l.value
	c.Expires = r.credentials.askAgain(l)
	return c, nil
}

// Current returns what Retrieve does, but with the true expiry, for those who
// pass the credentials on, as a credential_process does.
func (r *RoleCredentials) Current(ctx context.Context) (aws.Credentials, error) {
	l, err := r.get(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	return l.value, nil
}

// HandleFailToRefresh lets an aws.CredentialsCache keep credentials that have
// not expired yet: their Expires only says when to ask again. It implements
// aws.HandleFailRefreshCredentialsCacheStrategy.
func (r *RoleCredentials) HandleFailToRefresh(_ context.Context, previous aws.Credentials, err error) (aws.Credentials, error) {
	l := r.credentials.current.Load()
	if l == nil || l.value.AccessKeyID != previous.AccessKeyID || r.source.rules.now().reached(l.expiresAt) {
		return aws.Credentials{}, err
	}
	previous.Expires = r.credentials.askAgain(l)
	return previous, nil
}

// AdjustExpiresBy keeps Expires as it is, whatever the ExpiryWindow of the
// aws.CredentialsCache: it is early enough already. It implements
// aws.AdjustExpiresByCredentialsCacheStrategy.
func (r *RoleCredentials) AdjustExpiresBy(c aws.Credentials, _ time.Duration) (aws.Credentials, error) {
	return c, nil
}

// ProviderSources tells the SDK what the credentials come from, for its
// user-agent metrics (aws.CredentialProviderSource).
func (r *RoleCredentials) ProviderSources() []aws.CredentialSource {
	if r.source.cfg.SessionName == "" {
		return []aws.CredentialSource{aws.CredentialSourceSSOLegacy}
	}
	return []aws.CredentialSource{aws.CredentialSourceSSO}
}

// Format writes account and role, whatever the verb and flags.
func (r *RoleCredentials) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "awsoidc.RoleCredentials(%s, %s)", r.role.accountID, r.role.roleName)
}

func (r *RoleCredentials) get(ctx context.Context) (*lease[aws.Credentials], error) {
	l, err := r.credentials.get(ctx, r)
	if err == nil || !r.source.cfg.LoginOnDemand || !errors.Is(err, ErrLoginRequired) {
		return l, err
	}
	if err := r.source.Login(ctx); err != nil {
		return nil, err
	}
	return r.credentials.get(ctx, r)
}

// renewFailed implements renewer.
func (r *RoleCredentials) renewFailed(err error) {
	r.source.warn("role credentials not refreshed; the present ones are still valid", err)
}

// renew implements renewer. A token that the portal refuses is dropped and
// replaced, once.
func (r *RoleCredentials) renew(ctx context.Context, _ *lease[aws.Credentials]) (*lease[aws.Credentials], error) {
	ctx, cancel := context.WithTimeout(ctx, roleTimeout)
	defer cancel()
	token, err := r.source.tokens.get(ctx, r.source)
	if err != nil {
		return nil, err
	}
	c, err := r.fetch(ctx, token.value.accessToken)
	if isUnauthorized(err) {
		r.source.Invalidate(string(token.value.accessToken))
		next, tokenErr := r.source.tokens.get(ctx, r.source)
		if tokenErr != nil {
			return nil, tokenErr
		}
		if next.value.accessToken != token.value.accessToken {
			c, err = r.fetch(ctx, next.value.accessToken)
		}
	}
	if err != nil {
		return nil, r.explain(err)
	}
	now := r.source.rules.now()
	expires := now.at(c.Expires)
	lifetime := c.Expires.Sub(now.time())
	return &lease[aws.Credentials]{
		value:     c,
		expiresAt: expires,
		refreshAt: expires.add(-lead(lifetime, wire.Secret(c.AccessKeyID))),
	}, nil
}

func (r *RoleCredentials) fetch(ctx context.Context, accessToken wire.Secret) (aws.Credentials, error) {
	token := string(accessToken)
	out, err := r.portal.GetRoleCredentials(ctx, &sso.GetRoleCredentialsInput{
		AccessToken: &token,
		AccountId:   &r.role.accountID,
		RoleName:    &r.role.roleName,
	})
	if err != nil {
		return aws.Credentials{}, &portalError{text: wire.Redact(err.Error(), accessToken), err: err}
	}
	c := out.RoleCredentials
	if c == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" {
		return aws.Credentials{}, errors.New("the portal's answer holds no credentials")
	}
	expires := time.UnixMilli(c.Expiration).UTC()
	left := expires.Sub(r.source.rules.now().time())
	if left <= 0 || left > wire.MaxExpiresIn {
		return aws.Credentials{}, fmt.Errorf("the portal's credentials expire at %v, which can't be right: check this machine's clock", expires)
	}
	return aws.Credentials{
		AccessKeyID:     aws.ToString(c.AccessKeyId),
		SecretAccessKey: aws.ToString(c.SecretAccessKey),
		SessionToken:    aws.ToString(c.SessionToken),
		CanExpire:       true,
		Expires:         expires,
		Source:          credentialsSource,
		AccountID:       r.role.accountID,
	}, nil
}

// explain says what a refusal of the portal means, and what to do.
func (r *RoleCredentials) explain(err error) error {
	f := &failure{
		what:   fmt.Sprintf("no credentials for role %s in account %s", wire.Redact(r.role.roleName), wire.Redact(r.role.accountID)),
		cause:  err,
		advice: "check the network, the region and the endpoint",
	}
	switch status(err) {
	case http.StatusUnauthorized:
		f.kind, f.advice = ErrLoginRequired, "the session was ended or belongs to another region; to sign in, "+r.source.cfg.LoginHint
	case http.StatusForbidden:
		f.kind, f.advice = ErrNotAssigned, "check the role's name and the account, and that the person is assigned to it"
	case http.StatusBadRequest:
		f.advice = "check the account, of 12 digits, and the role's name"
	case http.StatusTooManyRequests:
		f.advice = "the portal is asked too often: try again later"
	}
	return f
}

// portalError is an error of the SDK, without what its text should not show.
type portalError struct {
	text string
	err  error
}

func (e *portalError) Error() string { return e.text }
func (e *portalError) Unwrap() error { return e.err }

func isUnauthorized(err error) bool {
	_, ok := errors.AsType[*types.UnauthorizedException](err)
	return ok || status(err) == http.StatusUnauthorized
}

// status returns the HTTP status of an error of the SDK, or 0.
func status(err error) int {
	if e, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return e.HTTPStatusCode()
	}
	return 0
}
