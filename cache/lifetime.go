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
	if l, ok := ctx.Value(lifetimeKey{}).(*Lifetime); ok {
		l.told.Store(int64(max(d, 0)) + 1)
	}
}

// Lifetime is what an update function told KeepFor.
type Lifetime struct{ told atomic.Int64 } // 0: nothing; otherwise one more than the lifetime

// WithLifetime returns the context that a Store hands to an update function,
// and what the function tells KeepFor with it.
func WithLifetime(ctx context.Context) (context.Context, *Lifetime) {
	l := new(Lifetime)
	return context.WithValue(ctx, lifetimeKey{}, l), l
}

// Told returns the lifetime, and whether the function told one.
func (l *Lifetime) Told() (d time.Duration, ok bool) {
	told := l.told.Load()
	return time.Duration(max(told-1, 0)), told > 0
}
