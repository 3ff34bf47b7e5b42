package awsoidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"github.com/awsoidc/awsoidc/wire"
)

// Role is an IAM role to assume by STS, and how. ARN is required.
type Role struct {
	ARN string // such as "arn:aws:iam::123456789012:role/reports"

	// SessionName is what CloudTrail shows: 2 to 64 letters, digits and
	// characters of "+=,.@-_". The default is "awsoidc-" and a hash of the
	// subject, the same each time.
	SessionName string

	// Duration of the credentials: 15 minutes to 12 hours, and at most 1 hour
	// where the program itself runs as a role. The default is 1 hour. Fractions
	// of a second are dropped.
	Duration time.Duration

	Policy     string // an inline session policy, JSON, that narrows the role's own; "" for none
	ExternalID string // what a role of another account may demand; "" for none
}

const (
	minRoleDuration = 15 * time.Minute
	maxRoleDuration = 12 * time.Hour
)

func (r Role) check() error {
	a, err := arn.Parse(r.ARN)
	if err != nil || a.Service != "iam" || len(a.Resource) < 6 || a.Resource[:5] != "role/" {
		return badConfig("Role.ARN", r.ARN, "give the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME", nil)
	}
	if d := r.Duration; d != 0 && (d < minRoleDuration || d > maxRoleDuration) {
		return badConfig("Role.Duration", d.String(), "give 15 minutes to 12 hours", nil)
	}
	return nil
}

// sessionName returns r's, or one for the subject.
func (r Role) sessionName(s Subject) string {
	if r.SessionName != "" {
		return r.SessionName
	}
	h := sha256.Sum256([]byte(hashKey("session name", []string{s.Issuer, s.ID, s.Tenant})))
	return "awsoidc-" + hex.EncodeToString(h[:16])
}

func (r Role) seconds() *int32 {
	d := r.Duration
	if d == 0 {
		d = time.Hour
	}
	return aws.Int32(int32(d / time.Second))
}

// optional returns nil for "".
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// assumable is what a role of an identity is told apart by: one of STS, or one
// of the portal.
type assumable struct {
	role   Role
	portal roleKey
}

func (a assumable) String() string {
	if a.role.ARN != "" {
		return a.role.ARN
	}
	return a.portal.accountID + "/" + a.portal.roleName
}

// assumableRole holds the credentials of one role of an identity.
type assumableRole struct {
	assumable
	credentials renewal[aws.Credentials]
}

// maxRoles bounds the roles of one identity that are held at a time.
const maxRoles = 32

// role returns what is held of a role, new if need be.
func (e *entry) role(a assumable, rules *rules) *assumableRole {
	if r := find(e.assumable(), a); r != nil {
		return r
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	roles := e.assumable()
	if r := find(roles, a); r != nil {
		return r
	}
	if len(roles) >= maxRoles {
		roles = roles[1:]
	}
	r := &assumableRole{assumable: a}
	r.credentials.rules = rules
	roles = append(slices.Clone(roles), r)
	e.roles.Store(&roles)
	return r
}

func find(roles []*assumableRole, a assumable) *assumableRole {
	for _, r := range roles {
		if r.assumable == a {
			return r
		}
	}
	return nil
}

// IdentityCredentials yields AWS credentials of one role on behalf of one user,
// and keeps them fresh as its Exchanger keeps tokens. It is an
// aws.CredentialsProvider, and safe for concurrent use. It is cheap: make one
// for each request, and pass it in the options of a call, so that one client of
// a service serves all users. Printing it, with any verb, shows no secret.
type IdentityCredentials struct {
	identity *Identity
	assumable
}

// Credentials returns identity-enhanced credentials of an IAM role: STS
// AssumeRole with the user's identity context (ProvidedContexts), so that
// services know the user, and CloudTrail names them. It sends nothing.
//
// The Exchanger's own credentials assume the role, which must trust them with
// sts:AssumeRole and sts:SetContext. The application needs the scope
// sts:identity_context.
func (i *Identity) Credentials(role Role) *IdentityCredentials {
	return &IdentityCredentials{identity: i, assumable: assumable{role: role}}
}

// RoleCredentials returns credentials of a role that the user is assigned to,
// in an account of 12 digits, through the AWS access portal (operation
// GetRoleCredentials). It sends nothing. The application needs the scope
// sso:account:access.
func (i *Identity) RoleCredentials(accountID, roleName string) *IdentityCredentials {
	return &IdentityCredentials{identity: i, assumable: assumable{portal: roleKey{accountID, roleName}}}
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
	e := c.identity.exchanger
	entry := e.identities.get(c.identity.subject, e.rules.now())
	if entry == nil {
		return aws.Credentials{}, err
	}
	r := find(entry.assumable(), c.assumable)
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
	fmt.Fprintf(f, "awsoidc.IdentityCredentials(%v, %s)", c.identity, wire.Redact(c.assumable.String()))
}

func (c *IdentityCredentials) get(ctx context.Context) (*assumableRole, *lease[aws.Credentials], error) {
	i, e := c.identity, c.identity.exchanger
	if entry := e.identities.get(i.subject, e.rules.now()); entry != nil {
		if r := find(entry.assumable(), c.assumable); r != nil {
			if l := r.credentials.fresh(); l != nil {
				e.counters.hits.Inc()
				return r, l, nil
			}
		}
	}
	if c.portal == (roleKey{}) {
		if err := c.role.check(); err != nil {
			return nil, nil, err
		}
	}
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
	entry *entry
	began atomic.Bool
}

// renewFailed implements renewer.
func (a *assumption) renewFailed(err error) {
	if !isCallersOwn(err) {
		a.identity.exchanger.warn("credentials of an identity not renewed; the present ones are still valid", a.identity.subject, err)
	}
}

// renew implements renewer. Where the identity's token turns out to be dead, it
// is replaced, once.
func (a *assumption) renew(ctx context.Context, _ *lease[aws.Credentials]) (*lease[aws.Credentials], error) {
	a.began.Store(true)
	ctx, cancel := context.WithTimeout(ctx, roleTimeout)
	defer cancel()
	for again := false; ; again = true {
		l, err := a.identity.obtain(ctx, a.entry)
		if err != nil {
			return nil, err
		}
		e := a.identity.exchanger
		start := e.rules.now()
		credentials, err := a.fetch(ctx, l.value)
		if a.entry.forgotten.Load() {
			return nil, errForgotten
		}
		a.identity.observe(ctx, Event{Rung: RungCredentials, Role: a.String(), Err: err, Duration: e.rules.now().since(start)})
		if err == nil {
			return leaseCredentials(credentials, e.rules.now()), nil
		}
		if !isDeadToken(err) || again || !a.entry.tokens.lapse(func(t *exchanged) bool { return t.accessToken == l.value.accessToken }) {
			return nil, a.explain(err)
		}
	}
}

func (a *assumption) fetch(ctx context.Context, t *exchanged) (aws.Credentials, error) {
	e := a.identity.exchanger
	if a.portal != (roleKey{}) {
		return e.portal.credentials(ctx, t.accessToken, a.portal, e.rules.now())
	}
	if t.identityContext == "" {
		return aws.Credentials{}, &failure{what: "the service gave no identity context",
			advice: "give the application the scope sts:identity_context"}
	}
	out, err := e.sts.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         &a.role.ARN,
		RoleSessionName: aws.String(a.role.sessionName(a.identity.subject)),
		DurationSeconds: a.role.seconds(),
		Policy:          optional(a.role.Policy),
		ExternalId:      optional(a.role.ExternalID),
		ProvidedContexts: []types.ProvidedContext{{
			ProviderArn:      aws.String("arn:" + e.partition + ":iam::aws:contextProvider/IdentityCenter"),
			ContextAssertion: aws.String(string(t.identityContext)),
		}},
	})
	if err != nil {
		return aws.Credentials{}, &sdkError{text: wire.Redact(err.Error(), t.identityContext), err: err}
	}
	return stsCredentials(out.Credentials, out.AssumedRoleUser, e.rules.now())
}

// stsCredentials checks and converts what STS gave.
func stsCredentials(c *types.Credentials, user *types.AssumedRoleUser, now instant) (aws.Credentials, error) {
	if c == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" || c.Expiration == nil {
		return aws.Credentials{}, errors.New("the answer of STS holds no credentials")
	}
	left := c.Expiration.Sub(now.time())
	if left <= 0 || left > wire.MaxExpiresIn {
		return aws.Credentials{}, fmt.Errorf("the credentials of STS expire at %v, which can't be right: check this machine's clock", c.Expiration)
	}
	out := aws.Credentials{
		AccessKeyID:     aws.ToString(c.AccessKeyId),
		SecretAccessKey: aws.ToString(c.SecretAccessKey),
		SessionToken:    aws.ToString(c.SessionToken),
		CanExpire:       true,
		Expires:         c.Expiration.UTC(),
		Source:          credentialsSource,
	}
	if user != nil {
		if a, err := arn.Parse(aws.ToString(user.Arn)); err == nil {
			out.AccountID = a.AccountID
		}
	}
	return out, nil
}

// isDeadToken reports whether the portal or STS refused an identity's token or
// context as such.
func isDeadToken(err error) bool {
	if isUnauthorized(err) {
		return true
	}
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && e.ErrorCode() == "ExpiredTokenException"
}

// explain says what a refusal of the role means, and what to do.
func (a *assumption) explain(err error) error {
	retry := a.identity.exchanger.rules.now().time().Add(denialPeriod)
	if a.portal != (roleKey{}) {
		return a.portal.explain(err, ErrReauthRequired, "let the user sign in again")
	}
	return explainSTS(a.role, err, retry,
		"check that the role's trust policy allows this program's own role sts:AssumeRole and sts:SetContext, that the role is not the program's own, and that the scope sts:identity_context is granted")
}

// explainSTS says what a refusal of STS means. A denial is remembered until
// retry.
func explainSTS(role Role, err error, retry time.Time, denied string) error {
	f := &failure{what: "no credentials for " + wire.Redact(role.ARN), cause: err, advice: "check the network, the region and the endpoint of STS"}
	if known, ok := errors.AsType[*failure](err); ok {
		remembered := *known
		remembered.retry = retry
		return &remembered
	}
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return f
	}
	switch e.ErrorCode() {
	case "AccessDenied", "AccessDeniedException":
		f.kind, f.retry, f.advice = ErrAccessDenied, retry, denied
	case "Throttling", "ThrottlingException", "RequestLimitExceeded":
		f.kind, f.retry, f.advice = ErrThrottled, retry, "STS is asked too often: try again later"
	case "ValidationError", "MalformedPolicyDocument", "PackedPolicyTooLarge", "InvalidParameterValue":
		f.retry, f.advice = retry, "check the Role: its session name, its duration (at most 1 hour where this program runs as a role), its policy"
	case "ExpiredToken", "ExpiredTokenException", "InvalidIdentityToken", "IDPRejectedClaim", "UnrecognizedClientException", "InvalidClientTokenId":
		f.advice = "check the credentials that this program itself runs with, and this machine's clock"
	case "RegionDisabledException":
		f.retry, f.advice = retry, "enable STS in that region, or choose another"
	}
	return f
}
