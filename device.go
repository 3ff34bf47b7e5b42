package awsoidc

import (
	"context"
	"errors"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

const (
	// slowDown is what each slow_down adds to the polling interval for good
	// (RFC 8628 section 3.5).
	slowDown = 5 * time.Second
	// maxPollBackoff bounds what failures add to the polling interval for a
	// while.
	maxPollBackoff = 30 * time.Second
	// maxPollRetryAfter bounds how far a poll obeys Retry-After: a person waits,
	// and the code runs out.
	maxPollRetryAfter = time.Minute
	// pollGrace is how long a poll goes on after everybody gave the sign-in up.
	pollGrace = time.Second
)

// signInByDevice signs a person in by the device authorization grant (RFC
// 8628).
func (s *TokenSource) signInByDevice(ctx context.Context, reason string) error {
	client := &wire.RegisterClientInput{ClientName: s.cfg.ClientName, Scopes: s.cfg.Scopes}
	reg, err := s.registration(ctx, client)
	if err != nil {
		return err
	}
	auth, err := s.startDeviceAuthorization(ctx, reg)
	if isType(err, wire.TypeInvalidClient) {
		s.refuseClient(reg.clientID)
		if reg, err = s.registration(ctx, client); err != nil {
			return err
		}
		auth, err = s.startDeviceAuthorization(ctx, reg)
	}
	if err != nil {
		return s.signInFailed("sign-in could not be started", err)
	}
	complete := auth.VerificationURIComplete
	if complete == "" {
		complete = auth.VerificationURI
	}
	expires := s.rules.now().add(auth.ExpiresIn)
	finish, err := s.cfg.Prompt.Prompt(ctx, Verification{
		Grant:       GrantDevice,
		Reason:      reason,
		URI:         auth.VerificationURI,
		URIComplete: complete,
		UserCode:    auth.UserCode,
		ExpiresAt:   expires.time(),
		Session:     s.name(),
	})
	if err == nil {
		err = s.awaitApproval(ctx, reg, auth, expires)
	}
	if finish != nil {
		finish(err)
	}
	return err
}

func (s *TokenSource) startDeviceAuthorization(ctx context.Context, reg *registration) (out *wire.StartDeviceAuthorizationOutput, err error) {
	startURL, err := s.startURL(ctx)
	if err != nil {
		return nil, err
	}
	err = repeat(ctx, func(ctx context.Context) error {
		out, err = s.wire.StartDeviceAuthorization(ctx, &wire.StartDeviceAuthorizationInput{
			ClientID:     reg.clientID,
			ClientSecret: reg.clientSecret,
			StartURL:     startURL,
		})
		return err
	})
	return out, err
}

// awaitApproval polls until the person has decided, then saves the session.
func (s *TokenSource) awaitApproval(ctx context.Context, reg *registration, auth *wire.StartDeviceAuthorizationOutput, expires instant) error {
	interval, delay := auth.Interval, auth.Interval
	for {
		if err := pause(ctx, delay); err != nil {
			return err
		}
		if s.rules.now().reached(expires) {
			return s.codeExpired(nil)
		}
		v, err := s.poll(ctx, reg, auth.DeviceCode)
		switch {
		case err == nil:
			return s.saveSignIn(ctx, v)
		case isType(err, wire.TypeAuthorizationPending):
			delay = interval
		case isType(err, wire.TypeSlowDown):
			interval += slowDown
			delay = interval
		case isType(err, wire.TypeExpiredToken):
			return s.codeExpired(err)
		case isRefusal(err):
			return refused(err)
		case isType(err, wire.TypeInvalidClient):
			s.refuseClient(reg.clientID)
			return s.signInFailed("sign-in failed", err)
		case mayResend(err):
			// The device code stays valid whatever became of this poll.
			delay = min(2*delay, interval+maxPollBackoff)
			if e, ok := errors.AsType[*wire.Error](err); ok {
				delay = max(delay, min(e.RetryAfter, maxPollRetryAfter))
			}
		default:
			return s.signInFailed("sign-in failed", err)
		}
	}
}

// isRefusal reports whether err says that the person refused, and not that
// something else is in the way.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && e.Type == wire.TypeAccessDenied && e.Reason == ""
}

// poll asks once for the token. A poll that was sent is not abandoned at once,
// because its answer may be the token. But the person who gives up must not wait
// for a service that does not answer.
func (s *TokenSource) poll(ctx context.Context, reg *registration, deviceCode wire.Secret) (*session, error) {
	givenUp := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	defer context.AfterFunc(givenUp, func() { time.AfterFunc(pollGrace, cancel) })()
	sentAt := s.rules.now().time()
	answer, err := s.wire.CreateToken(ctx, &wire.CreateTokenInput{
		ClientID:     reg.clientID,
		ClientSecret: reg.clientSecret,
		GrantType:    wire.GrantDeviceCode,
		DeviceCode:   deviceCode,
	})
	if err != nil {
		return nil, err
	}
	return s.newSession(reg, answer, sentAt), nil
}
