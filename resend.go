package awsoidc

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// mayResend reports whether a refresh that failed with err may be sent again.
func mayResend(err error) bool {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return isThrottle(err) || e.StatusCode >= 500 || errors.Is(e, io.ErrUnexpectedEOF) || errors.Is(e, wire.ErrResponse) && e.StatusCode < 300
	}
	_, sent := errors.AsType[*wire.SendError](err)
	return sent
}

// isThrottle reports whether the service says that it is asked too often.
func isThrottle(err error) bool {
	e, ok := errors.AsType[*wire.Error](err)
	return ok && (e.Type == wire.TypeSlowDown || e.StatusCode == 429)
}

func resendDelay(sends int, err error) time.Duration {
	d := 250 * time.Millisecond << sends
	d -= rand.N(d / 2)
	if e, ok := errors.AsType[*wire.Error](err); ok {
		d = max(d, e.RetryAfter)
		if e.Type == wire.TypeSlowDown {
			d = max(d, slowDown)
		}
	}
	return d
}

func serviceAdvice(err error) string {
	switch e, ok := errors.AsType[*wire.Error](err); {
	case !ok:
		return "check the network, the region and the endpoint"
	case e.Reason != "":
		return "an administrator must look at the AWS KMS key of the Identity Center instance"
	case errors.Is(err, wire.ErrResponse) && e.StatusCode < 400 && !errors.Is(err, io.ErrUnexpectedEOF):
		return "check the endpoint: something else answers there, perhaps a proxy"
	case mayResend(err):
		return "the service is in trouble, or asked too often: try again later"
	case errors.Is(err, wire.ErrResponse):
		return "check the endpoint: something else answers there, perhaps a proxy"
	}
	return "check the configuration of the session"
}

// isType reports whether the service answered with one of the exception types.
func isType(err error, types ...string) bool {
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		return false
	}
	for _, t := range types {
		if e.Type == t {
			return true
		}
	}
	return false
}

// pause waits for d, or fails at once if ctx ends before.
func pause(ctx context.Context, d time.Duration) error { return pauseUnless(ctx, d, nil) }

// pauseUnless is pause that ends when something comes from the channel.
func pauseUnless(ctx context.Context, d time.Duration, end <-chan struct{}) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return context.DeadlineExceeded
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-end:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// withTimeoutOnly returns a context that has ctx's values and deadline, or d
// if that is sooner, and that no caller can cancel.
func withTimeoutOnly(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d)
	if !ok {
		return ctx, cancel
	}
	ctx, cancelEarlier := context.WithDeadline(ctx, deadline)
	return ctx, func() { cancelEarlier(); cancel() }
}
