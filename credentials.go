package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

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
	portal      portal
	credentials renewal[aws.Credentials]
}

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
	r := &RoleCredentials{source: s, role: key, portal: newPortal(s.cfg.Region, s.cfg.Endpoints.Portal, s.http)}
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
	return toAskAgain(&r.credentials, l), nil
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
	return stillValid(&r.credentials, previous, err)
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
	c, err := r.portal.credentials(ctx, token.value.accessToken, r.role, r.source.rules.now())
	if isUnauthorized(err) {
		r.source.Invalidate(string(token.value.accessToken))
		next, tokenErr := r.source.tokens.get(ctx, r.source)
		if tokenErr != nil {
			return nil, tokenErr
		}
		if next.value.accessToken != token.value.accessToken {
			c, err = r.portal.credentials(ctx, next.value.accessToken, r.role, r.source.rules.now())
		}
	}
	if err != nil {
		return nil, r.role.explain(err, ErrLoginRequired, "to sign in, "+r.source.cfg.LoginHint)
	}
	return leaseCredentials(c, r.source.rules.now()), nil
}

// leaseCredentials computes when credentials are to be replaced.
func leaseCredentials(c aws.Credentials, now instant) *lease[aws.Credentials] {
	expires := now.at(c.Expires)
	return &lease[aws.Credentials]{
		value:     c,
		expiresAt: expires,
		refreshAt: expires.add(-lead(c.Expires.Sub(now.time()), wire.Secret(c.AccessKeyID))),
	}
}

// toAskAgain returns l's credentials for a cache that asks again only when they
// expire.
func toAskAgain(r *renewal[aws.Credentials], l *lease[aws.Credentials]) aws.Credentials {
	c := l.value
	c.Expires = r.askAgain(l)
	return c
}

// stillValid returns previous, which r gave to a cache, while they are valid,
// and err afterwards.
func stillValid(r *renewal[aws.Credentials], previous aws.Credentials, err error) (aws.Credentials, error) {
	l := r.current.Load()
	if l == nil || l.value.AccessKeyID != previous.AccessKeyID || r.rules.now().reached(l.expiresAt) {
		return aws.Credentials{}, err
	}
	return toAskAgain(r, l), nil
}
