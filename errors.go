package awsoidc

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc/wire"
)

// Sentinel errors. Those that this package returns wrap one of them where it
// applies; test with errors.Is. Where the service answered, they also wrap its
// *wire.Error and an *oauth2.RetrieveError (without a body).
var (
	// ErrLoginRequired means that there is no session, or that it is over: a
	// person must sign in, by Login, or with the AWS CLI where they share the
	// store.
	ErrLoginRequired = errors.New("awsoidc: sign-in required")
	// ErrAccessDenied means that the person, or an administrator's policy,
	// refused the sign-in or the exchange.
	ErrAccessDenied = errors.New("awsoidc: access was denied")
	// ErrCodeExpired means that nobody approved the sign-in in time.
	ErrCodeExpired = errors.New("awsoidc: sign-in was not approved in time")
	// ErrNoPrompt means that Login was called without a Config.Prompt.
	ErrNoPrompt = errors.New("awsoidc: no prompt configured")
	// ErrNotAssigned means that the portal refuses role credentials: the
	// person is not assigned to that role in that account.
	ErrNotAssigned = errors.New("awsoidc: role not assigned")
	// ErrReauthRequired means that an Exchanger has nothing left to get an
	// identity's tokens with: the user must bring a new assertion.
	ErrReauthRequired = errors.New("awsoidc: the user must authenticate again")
	// ErrSubjectMismatch means that an assertion is not of the Subject that it
	// was given for. It was not sent.
	ErrSubjectMismatch = errors.New("awsoidc: the assertion is another user's")
	// ErrThrottled means that a service is asked too often. RetryAt tells when
	// to try again.
	ErrThrottled = errors.New("awsoidc: too many requests")
	// ErrConfig means that a Config, or another argument, can't be used as it
	// is, or that the service refuses the settings of an application.
	ErrConfig = errors.New("awsoidc: invalid configuration")
	// ErrClosed means that the TokenSource or the Exchanger was closed.
	ErrClosed = errors.New("awsoidc: closed")
)

// RetryAt returns when what failed with err may be tried again, where that is
// known: with ErrThrottled, and with a failure that is remembered for a while.
func RetryAt(err error) (at time.Time, ok bool) {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.retry.IsZero() {
		return time.Time{}, false
	}
	return f.retry, true
}

// failure is an error of this package: what happened, why, and what to do.
type failure struct {
	kind   error     // a sentinel above, or nil
	what   string    // what failed, where kind does not say it
	cause  error     // may be nil
	mute   bool      // the cause's text says what the rest says
	advice string    // what to do next
	retry  time.Time // when to try again, where that is known
	own    bool      // it is about what one caller brought
	asked  bool      // which the service was asked about
}

func (e *failure) Error() string {
	var b strings.Builder
	if e.kind != nil {
		b.WriteString(e.kind.Error())
		if e.what != "" {
			b.WriteString(": " + e.what)
		}
	} else {
		b.WriteString("awsoidc: " + e.what)
	}
	if e.cause != nil && !e.mute {
		b.WriteString(": " + e.cause.Error())
	}
	if e.advice != "" {
		b.WriteString("; " + e.advice)
	}
	return b.String()
}

func (e *failure) Unwrap() []error {
	var errs []error
	if e.kind != nil {
		errs = append(errs, e.kind)
	}
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	return errs
}

// As makes a failure with an HTTP answer an *oauth2.RetrieveError for those
// who look for one. Its Body is nil: bodies hold secrets.
func (e *failure) As(target any) bool {
	t, ok := target.(**oauth2.RetrieveError)
	if !ok || e.cause == nil {
		return false
	}
	answer, ok := errors.AsType[*wire.Error](e.cause)
	if !ok {
		return false
	}
	header := http.Header{}
	if answer.RequestID != "" {
		header.Set("X-Amzn-Requestid", answer.RequestID)
	}
	*t = &oauth2.RetrieveError{
		Response: &http.Response{
			StatusCode: answer.StatusCode,
			Status:     fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode)),
			Header:     header,
			Body:       http.NoBody,
		},
		ErrorCode:        answer.Code,
		ErrorDescription: answer.Description,
	}
	return true
}
