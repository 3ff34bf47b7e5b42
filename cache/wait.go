package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// pause waits between half of d and d, so that processes that wait for the
// same thing do not stay in step.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// contextError returns why an ended ctx ended: its error, and the cause where
// that says more.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// Pauses between attempts to write a record.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// persist calls write until it succeeds, exclusion is lost, or ctx has ended, but
// at least once. Its error wraps ErrLost or ErrNotWritten.
func persist(ctx context.Context, write func() error) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := write()
		if err == nil || errors.Is(err, ErrLost) {
			return err
		}
		if pause(ctx, wait) != nil {
			return fmt.Errorf("%w: %w", ErrNotWritten, err)
		}
	}
}
