package awsoidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
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

const sessionNameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+=,.@-_"

func (r Role) check() error {
	a, err := arn.Parse(r.ARN)
	if err != nil || a.Service != "iam" || len(a.Resource) < 6 || a.Resource[:5] != "role/" {
		return badConfig("Role.ARN", r.ARN, "give the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME", nil)
	}
	if n := len(r.SessionName); n != 0 && (n < 2 || n > 64 || strings.Trim(r.SessionName, sessionNameCharacters) != "") {
		return badConfig("Role.SessionName", r.SessionName, "give 2 to 64 letters, digits and characters of +=,.@-_", nil)
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

// explainSTS says what a refusal of STS means. A denial is remembered until
// then.
func explainSTS(role Role, err error, until time.Time, denied string) error {
	f := &failure{what: "no credentials for " + wire.Redact(role.ARN), cause: err, advice: "check the network, the region and the endpoint of STS"}
	if known, ok := errors.AsType[*failure](err); ok {
		remembered := *known
		remembered.retry = until
		return &remembered
	}
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return f
	}
	if isSDKThrottle(err) {
		f.kind, f.retry, f.advice = ErrThrottled, until.Add(throttlePeriod-denialPeriod), "STS is asked too often: try again later"
		return f
	}
	switch e.ErrorCode() {
	case "AccessDenied", "AccessDeniedException":
		f.kind, f.retry, f.advice = ErrAccessDenied, until, denied
	case "ValidationError", "MalformedPolicyDocument", "PackedPolicyTooLarge", "InvalidParameterValue":
		f.retry, f.advice = until, "check the Role: its session name, its duration (at most 1 hour where this program runs as a role), its policy"
	case "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId":
		f.advice = "check the credentials that this program itself runs with, and this machine's clock"
	case "RegionDisabledException":
		f.retry, f.advice = until, "enable STS in that region, or choose another"
	}
	return f
}

// isRetryable reports whether a request to STS or the portal may be sent again
// after err, which does no harm there.
func isRetryable(ctx context.Context, err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return ctx.Err() == nil // it was the attempt's own
	}
	return retry.NewStandard().IsErrorRetryable(err)
}

// isSDKThrottle reports whether a service that the SDK asked says that it is
// asked too often.
func isSDKThrottle(err error) bool {
	if status(err) == http.StatusTooManyRequests {
		return true
	}
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	_, throttled := retry.DefaultThrottleErrorCodes[e.ErrorCode()]
	return throttled
}
