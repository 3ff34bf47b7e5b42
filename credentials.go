package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

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
	r := &RoleCredentials{source: s, role: key}
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
	loginErr := r.source.Login(ctx)
	if l, err = r.credentials.get(ctx, r); loginErr != nil && err != nil {
		return nil, loginErr
	}
	return l, err
}

// renewFailed implements renewer.
func (r *RoleCredentials) renewFailed(err error) {
	r.source.warn("role credentials not refreshed; the present ones are still valid", err)
}

// renew implements renewer.
func (r *RoleCredentials) renew(ctx context.Context, _ *lease[aws.Credentials]) (*lease[aws.Credentials], error) {
	ctx, cancel := context.WithTimeout(ctx, roleTimeout)
	defer cancel()
	if r.source.cfg.RoleStore != nil {
		return r.renewShared(ctx)
	}
	c, _, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	return leaseCredentials(c, r.source.rules.now()), nil
}

// ask asks the portal for credentials, and returns the token with which it gave
// them.
func (r *RoleCredentials) ask(ctx context.Context) (c aws.Credentials, with wire.Secret, err error) {
	err = r.source.askPortal(ctx, func(ctx context.Context, token wire.Secret) (err error) {
		with = token
		c, err = r.source.portal.credentials(ctx, token, r.role, r.source.rules.now())
		return err
	}, func(err error) error { return r.role.explain(err, ErrLoginRequired, r.source.toSignIn()) })
	return c, with, err
}

// leaseCredentials computes when credentials are to be replaced.
func leaseCredentials(c aws.Credentials, now instant) *lease[aws.Credentials] {
	return &lease[aws.Credentials]{
		value:     c,
		expiresAt: now.at(c.Expires),
		lead:      lead(c.Expires.Sub(now.time()), wire.Secret(c.AccessKeyID)),
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

// IdentityCredentials yields AWS credentials of one role on behalf of one user,
// and keeps them fresh as its Exchanger keeps tokens. It is an
// aws.CredentialsProvider, and safe for concurrent use. It is cheap: make one
// for each request, and pass it in the options of a call, so that one client of
// a service serves all users. Printing it, with any verb, shows no secret.
type IdentityCredentials struct {
	identity Identity
	assumable
}

// Credentials returns identity-enhanced credentials of an IAM role: STS
// AssumeRole with the user's identity context (ProvidedContexts), so that
// services know the user, and CloudTrail names them. It sends nothing.
//
// The Exchanger's own credentials assume the role, which must trust them with
// sts:AssumeRole and sts:SetContext. The application needs the scope
// sts:identity_context.
//
// Those of a user's last 32 roles are kept: one who uses more by turns costs a
// request for each use.
func (i Identity) Credentials(role Role) *IdentityCredentials {
	return &IdentityCredentials{identity: i, assumable: assumable{role: role}}
}

// RoleCredentials returns credentials of a role that the user is assigned to,
// in an account of 12 digits, through the AWS access portal (operation
// GetRoleCredentials). It sends nothing. The application needs the scope
// sso:account:access.
func (i Identity) RoleCredentials(accountID, roleName string) *IdentityCredentials {
	return &IdentityCredentials{identity: i, assumable: assumable{portal: roleKey{accountID, roleName}, viaPortal: true}}
}

// Retrieve returns valid credentials. Their Expires is when to ask again, which
// is before they expire.
//
// Errors are those of the Identity; ErrAccessDenied and ErrNotAssigned also
// mean that STS or the portal refuses the role. If ctx ends first, the error is
// its cause.
func (c *IdentityCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	r, l, err := c.get(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	return toAskAgain(&r.credentials, l), nil
}

// Current returns what Retrieve does, but with the true expiry.
func (c *IdentityCredentials) Current(ctx context.Context) (aws.Credentials, error) {
	_, l, err := c.get(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	return l.value, nil
}

// HandleFailToRefresh lets an aws.CredentialsCache keep credentials that have
// not expired yet. It implements aws.HandleFailRefreshCredentialsCacheStrategy.
func (c *IdentityCredentials) HandleFailToRefresh(_ context.Context, previous aws.Credentials, err error) (aws.Credentials, error) {
	entry := c.identity.exchanger.identities.index.find(c.identity.subject)
	if entry == nil {
		return aws.Credentials{}, err
	}
	r := find(entry.heldRoles(), c.assumable)
	if r == nil {
		return aws.Credentials{}, err
	}
	return stillValid(&r.credentials, previous, err)
}

// AdjustExpiresBy keeps Expires as it is, whatever the ExpiryWindow of the
// aws.CredentialsCache: it is early enough already. It implements
// aws.AdjustExpiresByCredentialsCacheStrategy.
func (c *IdentityCredentials) AdjustExpiresBy(credentials aws.Credentials, _ time.Duration) (aws.Credentials, error) {
	return credentials, nil
}

// Format writes the subject and the role, whatever the verb and flags.
func (c *IdentityCredentials) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "awsoidc.IdentityCredentials(%v, %s)", c.identity, wire.Redact(c.assumable.name()))
}

func (c *IdentityCredentials) get(ctx context.Context) (*assumableRole, *lease[aws.Credentials], error) {
	i, e := c.identity, c.identity.exchanger
	if entry, now := e.identities.get(i.subject); entry != nil {
		if r := find(entry.heldRoles(), c.assumable); r != nil {
			if l := r.credentials.fresh(now); l != nil {
				e.counters.hits.Inc()
				return r, l, nil
			}
		}
	}
	if !c.viaPortal {
		if err := c.role.check(); err != nil {
			return nil, nil, err
		}
	}
	e.obeyForgets(ctx)
	entry, release, err := i.acquire()
	if err != nil {
		return nil, nil, err
	}
	defer release()
	r := entry.role(c.assumable, &e.rules)
	l, err := c.assume(ctx, entry, r)
	if err == nil && entry.forgotten.Load() {
		err = errForgotten
	}
	return r, l, err
}

// assume returns credentials. Those who wait for each other share an outcome,
// but not that somebody else had no good assertion.
func (c *IdentityCredentials) assume(ctx context.Context, entry *entry, r *assumableRole) (*lease[aws.Credentials], error) {
	for waited := 0; ; waited++ {
		a := &assumption{IdentityCredentials: c, entry: entry}
		l, err := r.credentials.get(ctx, a)
		if err == nil || a.began.Load() || waited == maxJoins || !isCallersOwn(err) || ctx.Err() != nil {
			return l, err
		}
	}
}

// An assumption obtains credentials of a role once. It implements renewer.
type assumption struct {
	*IdentityCredentials
	entry    *entry
	began    atomic.Bool
	prefetch bool // there are valid credentials
}

// renewFailed implements renewer.
func (a *assumption) renewFailed(err error) {
	if !isCallersOwn(err) && !errors.Is(err, ErrThrottled) {
		a.identity.exchanger.warn("credentials of an identity not renewed; the present ones are still valid", a.identity.subject, err)
	}
}

// renew implements renewer. Where the identity's token turns out to be dead, it
// is replaced, once.
func (a *assumption) renew(ctx context.Context, present *lease[aws.Credentials]) (*lease[aws.Credentials], error) {
	a.began.Store(true)
	ctx, cancel := context.WithTimeout(ctx, roleTimeout)
	defer cancel()
	e := a.identity.exchanger
	a.prefetch = present != nil && !e.rules.now().reached(present.expiresAt)
	var dead error // why the token was replaced
	for sends := 1; ; sends++ {
		l, err := a.identity.obtain(ctx, a.entry, a.prefetch)
		switch {
		case err != nil && dead != nil:
			return nil, dead
		case err != nil:
			return nil, err
		case !a.viaPortal && l.value.identityContext() == "":
			return nil, &failure{kind: ErrConfig, what: "the service gave no identity context", retry: a.soon(denialPeriod),
				advice: "give the application the scope sts:identity_context"}
		}
		credentials, err := a.send(ctx, &l.value)
		switch {
		case a.entry.forgotten.Load():
			return nil, errForgotten
		case err == nil:
			return leaseCredentials(credentials, e.rules.now()), nil
		case errors.Is(err, errNotAdmitted):
			return nil, err
		case isDeadToken(err) && dead == nil && a.entry.tokens.lapse(func(t exchanged) bool { return t.accessToken() == l.value.accessToken() }):
			dead = a.explain(err)
		case sends >= maxSends || !isRetryable(ctx, err) || pause(ctx, resendDelay(sends, err)) != nil:
			return nil, a.explain(err)
		}
	}
}

// send asks for the credentials once.
func (a *assumption) send(ctx context.Context, t *exchanged) (aws.Credentials, error) {
	e := a.identity.exchanger
	budget := BudgetSTS
	if a.viaPortal {
		budget = BudgetPortal
	}
	event := Event{Rung: RungCredentials, Role: a.name()}
	if err := a.identity.admit(ctx, event, budget, a.prefetch); err != nil {
		return aws.Credentials{}, err
	}
	start := e.rules.now()
	credentials, err := a.fetch(ctx, t)
	event.Duration = e.rules.now().since(start)
	if err != nil {
		event.Err = a.explain(err)
	}
	a.identity.observe(ctx, event)
	e.throttled(budget, err)
	return credentials, err
}

func (a *assumption) fetch(ctx context.Context, t *exchanged) (aws.Credentials, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	e := a.identity.exchanger
	if a.viaPortal {
		return e.service.Load().portal.credentials(ctx, t.accessToken(), a.portal, e.rules.now())
	}
	out, err := e.sts.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         &a.role.ARN,
		RoleSessionName: aws.String(a.role.sessionName(a.identity.subject)),
		DurationSeconds: a.role.seconds(),
		Policy:          optional(a.role.Policy),
		ExternalId:      optional(a.role.ExternalID),
		ProvidedContexts: []types.ProvidedContext{{
			ProviderArn:      aws.String("arn:" + e.partition + ":iam::aws:contextProvider/IdentityCenter"),
			ContextAssertion: aws.String(string(t.identityContext())),
		}},
	})
	if err != nil {
		return aws.Credentials{}, newSDKError(err, t.identityContext())
	}
	return stsCredentials(out.Credentials, out.AssumedRoleUser, e.rules.now())
}

// explain says what a refusal of the role means, and what to do.
func (a *assumption) explain(err error) error {
	if !a.viaPortal {
		return explainSTS(a.role, err, a.soon(denialPeriod),
			"check that the role's trust policy allows this program's own role sts:AssumeRole and sts:SetContext, that the role is not the program's own, and that the scope sts:identity_context is granted")
	}
	f := a.portal.explain(err, ErrReauthRequired, "let the user sign in again")
	switch {
	case errors.Is(f, ErrThrottled):
		f.retry = a.soon(throttlePeriod)
	case status(err) >= 400 && status(err) < 500:
		f.retry = a.soon(denialPeriod)
	}
	return f
}

// soon returns the time after d.
func (a *assumption) soon(d time.Duration) time.Time {
	return a.identity.exchanger.rules.now().time().Add(d)
}
