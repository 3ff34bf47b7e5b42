package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/sso/types"
	"github.com/aws/smithy-go"

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
		return aws.Credentials{}, newSDKError(err, accessToken)
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
	f := explainPortal("no credentials for "+k.String(), err, unauthorized, advice)
	switch status(err) {
	case http.StatusForbidden:
		f.advice = "check the account and the role's name; if they are right, ask an administrator to assign the role"
	case http.StatusBadRequest:
		f.advice = "check the account, of 12 digits, and the role's name"
	}
	return f
}

// explainPortal is explain for any request to the portal.
func explainPortal(what string, err, unauthorized error, advice string) *failure {
	f := &failure{what: what, cause: err, advice: "check the network, the region and the endpoint"}
	switch status(err) {
	case http.StatusUnauthorized:
		f.kind, f.advice = unauthorized, "the session was ended or belongs to another region; "+advice
	case http.StatusForbidden:
		f.kind = ErrNotAssigned
	case http.StatusTooManyRequests:
		f.kind, f.advice = ErrThrottled, "the portal is asked too often: try again later"
	default:
		if status(err) >= 500 {
			f.advice = "the portal is in trouble: try again later"
		}
	}
	return f
}

// The portal takes 20 requests a second. A source asks less often: others use
// the portal too, and a burst must not add up to more within a second.
const (
	portalRate  = 15
	portalBurst = 5
)

// portalSends bounds how often a request is sent. It may be sent again: all
// that the portal is asked here is to read.
const portalSends = 5

// askPortal sends a request to the portal with the session's token. One that
// the portal refuses is dropped and replaced, once.
func (s *TokenSource) askPortal(ctx context.Context, send func(ctx context.Context, token wire.Secret) error, explain func(error) error) error {
	l, err := s.tokens.get(ctx, s)
	if err != nil {
		return err
	}
	token := l.value.accessToken
	err = s.sendToPortal(ctx, token, send)
	if isUnauthorized(err) {
		s.Invalidate(string(token))
		if l, err := s.tokens.get(ctx, s); err != nil {
			return err
		} else if l.value.accessToken != token {
			token = l.value.accessToken
			if err := s.sendToPortal(ctx, token, send); err != nil {
				return explain(err)
			}
			return nil
		}
	}
	if err != nil && ctx.Err() == nil {
		return explain(err)
	}
	return err
}

// sendToPortal sends a request within the portal's rate, and again where the
// portal is asked too often or in trouble.
func (s *TokenSource) sendToPortal(ctx context.Context, token wire.Secret, send func(context.Context, wire.Secret) error) error {
	for sends := 1; ; sends++ {
		if err := s.portalRate.Wait(ctx); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return &failure{kind: ErrThrottled, what: "too many requests to the portal wait already", advice: "ask for fewer things at the same time"}
		}
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, sendTimeout)
			defer cancel()
			return send(ctx, token)
		}()
		if err == nil {
			return nil
		}
		if _, known := errors.AsType[*sdkError](err); !known {
			err = newSDKError(err, token)
		}
		again := isRetryable(ctx, err) && sends < maxSends || isSDKThrottle(err) && sends < portalSends
		if !again || pause(ctx, resendDelay(sends, err)) != nil {
			return err
		}
	}
}

// sdkError is an error of the SDK, without what its text should not show.
type sdkError struct {
	text string
	err  error
}

func newSDKError(err error, secrets ...wire.Secret) *sdkError {
	return &sdkError{text: wire.Redact(sdkText(err), secrets...), err: err}
}

// sdkText says what an error of the SDK is about, in the words of wire: the
// SDK's own text names its layers.
func sdkText(err error) string {
	op, ok := errors.AsType[*smithy.OperationError](err)
	if !ok {
		return err.Error()
	}
	answer, _ := errors.AsType[*awshttp.ResponseError](err)
	api, isAPI := errors.AsType[smithy.APIError](err)
	cut, isCut := errors.AsType[*smithy.CanceledError](err)
	send, isSend := errors.AsType[*url.Error](err)
	switch code := status(err); {
	case code >= 300 || code != 0 && isAPI:
		text := fmt.Sprintf("%s: HTTP %d", op.Operation(), code)
		if isAPI {
			text += " " + strings.TrimSuffix(api.ErrorCode()+": "+api.ErrorMessage(), ": ")
		}
		if id := answer.ServiceRequestID(); id != "" {
			text += " (request ID " + id + ")"
		}
		return text
	case code == 0 && isCut:
		return op.Operation() + ": no answer: " + cut.Err.Error()
	case code == 0 && isSend:
		return op.Operation() + ": no answer: " + send.Err.Error()
	}
	return op.Operation() + ": " + op.Unwrap().Error()
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
