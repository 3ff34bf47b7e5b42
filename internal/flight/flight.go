// Package flight runs a function once for all who want its outcome.
package flight

import "context"

// A Call is one run of a function. Any number of goroutines may wait for it.
type Call[T any] struct {
	done  chan struct{}
	value T // written before done is closed
	err   error
}

// Start runs fn in a goroutine of its own, which ends when fn returns. fn's
// context has ctx's values and none of its cancellation, so that a caller who
// gives up does not take the outcome from the others: fn bounds itself.
func Start[T any](ctx context.Context, fn func(context.Context) (T, error)) *Call[T] {
	c := &Call[T]{done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer close(c.done)
		c.value, c.err = fn(ctx)
	}()
	return c
}

// Wait returns the function's outcome, or ctx's cause if that ends first.
func (c *Call[T]) Wait(ctx context.Context) (T, error) {
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}
