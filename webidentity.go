package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"golang.org/x/oauth2"
)

// WebIdentityCredentials yields credentials of an IAM role for the ID tokens
// of an identity provider that IAM itself trusts, without Identity Center: STS
// AssumeRoleWithWebIdentity. It is an aws.CredentialsProvider that keeps them
// fresh as a TokenSource keeps tokens, and safe for concurrent use. Printing
// it, with any verb, shows the role only.
type WebIdentityCredentials struct {
	role        Role
	idToken     Assertion
	sts         *sts.Client
	sources     lingering
	rules       rules
	credentials renewal[aws.Credentials]
}

// NewWebIdentityCredentials returns credentials of the role for whom the token
// source's "id_token" extra names. Of cfg, Region is required, and no
// credentials are used. Role.ExternalID has no place here. It sends nothing.
// The error wraps ErrConfig.
func NewWebIdentityCredentials(cfg aws.Config, src oauth2.TokenSource, role Role) (*WebIdentityCredentials, error) {
	switch {
	case cfg.Region == "":
		return nil, badConfig("Region", "", "give the region of STS, such as us-east-1", nil)
	case src == nil:
		return nil, badConfig("the token source", "", "give one whose tokens have the extra id_token", nil)
	case role.ExternalID != "":
		return nil, badConfig("Role.ExternalID", role.ExternalID, "leave it empty: AssumeRoleWithWebIdentity takes none", nil)
	}
	if err := role.check(); err != nil {
		return nil, err
	}
	cfg.Credentials = aws.AnonymousCredentials{}
	w := &WebIdentityCredentials{role: role, idToken: IDTokenOf(src), sts: sts.NewFromConfig(cfg)}
	w.rules.init(nil)
	w.credentials.rules = &w.rules
	return w, nil
}

// Retrieve returns valid credentials. Their Expires is when to ask again, which
// is before they expire.
//
// Errors wrap ErrReauthRequired where the token source gives no valid ID token,
// and ErrAccessDenied where STS refuses it. If ctx ends first, the error is its
// cause.
func (w *WebIdentityCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	l, err := w.credentials.get(ctx, w)
	if err != nil {
		return aws.Credentials{}, err
	}
	return toAskAgain(&w.credentials, l), nil
}

// Current returns what Retrieve does, but with the true expiry.
func (w *WebIdentityCredentials) Current(ctx context.Context) (aws.Credentials, error) {
	l, err := w.credentials.get(ctx, w)
	if err != nil {
		return aws.Credentials{}, err
	}
	return l.value, nil
}

// HandleFailToRefresh lets an aws.CredentialsCache keep credentials that have
// not expired yet. It implements aws.HandleFailRefreshCredentialsCacheStrategy.
func (w *WebIdentityCredentials) HandleFailToRefresh(_ context.Context, previous aws.Credentials, err error) (aws.Credentials, error) {
	return stillValid(&w.credentials, previous, err)
}

// AdjustExpiresBy keeps Expires as it is, whatever the ExpiryWindow of the
// aws.CredentialsCache: it is early enough already. It implements
// aws.AdjustExpiresByCredentialsCacheStrategy.
func (w *WebIdentityCredentials) AdjustExpiresBy(c aws.Credentials, _ time.Duration) (aws.Credentials, error) {
	return c, nil
}

// ProviderSources tells the SDK what the credentials come from, for its
// user-agent metrics (aws.CredentialProviderSource).
func (w *WebIdentityCredentials) ProviderSources() []aws.CredentialSource {
	return []aws.CredentialSource{aws.CredentialSourceSTSAssumeRoleWebID}
}

// Close waits until nothing runs any more on behalf of w. Later calls fail with
// ErrClosed.
func (w *WebIdentityCredentials) Close() error {
	w.rules.close()
	w.credentials.clear()
	return nil
}

// Format writes the role, whatever the verb and flags.
func (w *WebIdentityCredentials) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "awsoidc.WebIdentityCredentials(%s)", w.role.ARN)
}

// renewFailed implements renewer: who holds valid credentials is not told.
func (w *WebIdentityCredentials) renewFailed(error) {}

// renew implements renewer.
func (w *WebIdentityCredentials) renew(ctx context.Context, _ *lease[aws.Credentials]) (*lease[aws.Credentials], error) {
	ctx, cancel := context.WithTimeout(ctx, roleTimeout)
	defer cancel()
	token, err := w.sources.run(ctx, w.idToken.fetch)
	if err != nil {
		return nil, reauth("the ID token could not be had", &hiddenError{err})
	}
	c, err := readClaims(token)
	if err != nil {
		return nil, reauth("the ID token "+err.Error(), nil)
	}
	now, subject := w.rules.now(), Subject{Issuer: c.issuer, ID: c.subject}
	if err := c.check(subject, nil, now.time()); err != nil {
		return nil, err
	}
	out, err := w.sts.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
		RoleArn:          &w.role.ARN,
		RoleSessionName:  aws.String(w.role.sessionName(subject)),
		WebIdentityToken: aws.String(string(token)),
		DurationSeconds:  w.role.seconds(),
		Policy:           optional(w.role.Policy),
	})
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		switch e.ErrorCode() {
		case "InvalidIdentityToken", "IDPRejectedClaim", "ExpiredTokenException":
			f := reauth("STS does not take the ID token", newSDKError(err, token))
			f.advice = "check that IAM trusts its issuer and audience; otherwise let the user sign in again"
			return nil, f
		}
	}
	if err != nil {
		return nil, explainSTS(w.role, newSDKError(err, token), now.time().Add(denialPeriod),
			"check that IAM trusts the issuer, and that the role's trust policy names it and the token's audience")
	}
	credentials, err := stsCredentials(out.Credentials, out.AssumedRoleUser, w.rules.now())
	if err != nil {
		return nil, explainSTS(w.role, err, time.Time{}, "")
	}
	return leaseCredentials(credentials, w.rules.now()), nil
}
