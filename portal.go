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

// roleKey is a role of the portal.
type roleKey struct{ accountID, roleName string }

// portal is the AWS access portal.
type portal struct{ *sso.Client }

// newPortal returns the portal of a region, at its own endpoint unless another
// is given.
func newPortal(region, endpoint string, client *http.Client, optFns ...func(*sso.Options)) portal {
	options := sso.Options{Region: region, HTTPClient: client}
	if endpoint != "" {
		options.BaseEndpoint = &endpoint
	}
	return portal{sso.New(options, optFns...)}
}

// once makes the SDK try once: its caller tries again.
func once(o *sso.Options) { o.RetryMaxAttempts = 1 }

// credentials asks for those of a role (operation GetRoleCredentials).
func (p portal) credentials(ctx context.Context, accessToken wire.Secret, role roleKey, now instant) (aws.Credentials, error) {
	token := string(accessToken)
	out, err := p.GetRoleCredentials(ctx, &sso.GetRoleCredentialsInput{
		AccessToken: &token,
		AccountId:   &role.accountID,
		RoleName:    &role.roleName,
	})
	if err != nil {
		return aws.Credentials{}, &sdkError{text: wire.Redact(err.Error(), accessToken), err: err}
	}
	c := out.RoleCredentials
	if c == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" {
		return aws.Credentials{}, errors.New("the portal's answer holds no credentials")
	}
	expires := time.UnixMilli(c.Expiration).UTC()
	left := expires.Sub(now.time())
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
		AccountID:       role.accountID,
	}, nil
}

// String returns the role for people.
func (k roleKey) String() string {
	return fmt.Sprintf("role %s in account %s", wire.Redact(k.roleName), wire.Redact(k.accountID))
}

// explain says what a refusal of the portal means, and what to do: where the
// token was refused, it is an error of the given kind and advice.
func (k roleKey) explain(err, unauthorized error, advice string) *failure {
	f := &failure{
		what:   "no credentials for " + k.String(),
		cause:  err,
		advice: "check the network, the region and the endpoint",
	}
	switch status(err) {
	case http.StatusUnauthorized:
		f.kind, f.advice = unauthorized, "the session was ended or belongs to another region; "+advice
	case http.StatusForbidden:
		f.kind, f.advice = ErrNotAssigned, "check the role's name and the account, and that the person is assigned to it"
	case http.StatusBadRequest:
		f.advice = "check the account, of 12 digits, and the role's name"
	case http.StatusTooManyRequests:
		f.kind, f.advice = ErrThrottled, "the portal is asked too often: try again later"
	}
	return f
}

// sdkError is an error of the SDK, without what its text should not show.
type sdkError struct {
	text string
	err  error
}

func (e *sdkError) Error() string { return e.text }
func (e *sdkError) Unwrap() error { return e.err }

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
