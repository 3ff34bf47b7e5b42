package awsoidc

import "errors"

// Sentinel errors. Those that this package returns wrap one of them where it
// applies; test with errors.Is. Where the service answered, they also wrap its
// *wire.Error and an *oauth2.RetrieveError (without a body).
var (
	// ErrLoginRequired means that there is no session, or that it is over: a
	// person must sign in, by Login, or with the AWS CLI where they share the
	// store.
	ErrLoginRequired = errors.New("awsoidc: sign-in required")
	// ErrAccessDenied means that the person, or an administrator's policy,
	// refused the sign-in.
	ErrAccessDenied = errors.New("awsoidc: sign-in was denied")
	// ErrCodeExpired means that nobody approved the sign-in in time.
	ErrCodeExpired = errors.New("awsoidc: sign-in was not approved in time")
	// ErrNoPrompt means that Login was called without a Config.Prompt.
	ErrNoPrompt = errors.New("awsoidc: no prompt configured")
	// ErrNotAssigned means that the portal refuses role credentials: the
	// person is not assigned to that role in that account.
	ErrNotAssigned = errors.New("awsoidc: role not assigned")
	// ErrConfig means that a Config can't be used as it is.
	ErrConfig = errors.New("awsoidc: invalid configuration")
	// ErrClosed means that the TokenSource was closed.
	ErrClosed = errors.New("awsoidc: token source is closed")
)
