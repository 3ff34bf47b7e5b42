package cache

import (
	"context"
	"sync/atomic"
	"time"
)

type lifetimeKey struct{}

// KeepFor tells the store, inside an update function, for how long the record
// that the function returns is worth keeping, so that a store that forgets
// records by itself forgets neither too early nor never. Less than 0 counts as 0;
// the last call counts. Without one the store decides. A store that keeps records
// until they are deleted takes no notice.
func KeepFor(ctx context.Context, d time.Duration) {
	if told, ok := ctx.Value(lifetimeKey{}).(*atomic.Pointer[time.Duration]); ok {
		d = max(d, 0)
		told.Store(&d)
	}
}

// WithLifetime returns the context that a Store hands to an update function, and
// a function that returns what the update function told KeepFor with it, and
// whether it told anything.
func WithLifetime(ctx context.Context) (_ context.Context, lifetime func() (d time.Duration, ok bool)) {
	told := new(atomic.Pointer[time.Duration])
	return context.WithValue(ctx, lifetimeKey{}, told), func() (time.Duration, bool) {
		if d := told.Load(); d != nil {
			return *d, true
		}
		return 0, false
	}
}
