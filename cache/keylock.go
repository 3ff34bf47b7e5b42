package cache

import (
	"context"
	"fmt"
	"sync"
)

// keyLocks is one lock for each key, for as long as somebody holds it or waits
// for it. Waiters wait on a channel, first come first served, and honour their
// context. The zero value is ready to use.
type keyLocks struct {
	mu    sync.Mutex // held for an instant, never while waiting
	locks map[string]*keyLock
}

type keyLock struct {
	turn  chan struct{} // holds one value while the lock is held
	users int           // holder and waiters; guarded by keyLocks.mu
}

// lock waits for key's lock. The error wraps ErrLockTimeout.
func (k *keyLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrLockTimeout, contextError(ctx))
	}
	l := k.join(key)
	select {
	case l.turn <- struct{}{}:
		return func() {
			<-l.turn
			k.leave(key, l)
		}, nil
	case <-ctx.Done():
		k.leave(key, l)
		return nil, fmt.Errorf("%w: %w", ErrLockTimeout, contextError(ctx))
	}
}

func (k *keyLocks) join(key string) *keyLock {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.locks[key]
	if l == nil {
		l = &keyLock{turn: make(chan struct{}, 1)}
		if k.locks == nil {
			k.locks = make(map[string]*keyLock)
		}
		k.locks[key] = l
	}
	l.users++
	return l
}

func (k *keyLocks) leave(key string, l *keyLock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.locks, key)
	}
}
