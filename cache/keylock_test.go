package cache_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/awsoidc/awsoidc/cache"
)

// Exclusion lasts as long as it is held: whoever else waited, gave up or was
// first, and whatever happens to other keys.
func TestLRUExclusionAmongThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLRU(t, 64, 1<<20)
		inside := 0 // with the exclusive right to the key
		update := func(ctx context.Context) (leave chan struct{}, done chan error) {
			leave, done = make(chan struct{}), make(chan error, 1)
			go func() {
				done <- l.Update(ctx, "key", func(context.Context, []byte) ([]byte, error) {
					if inside++; inside > 1 {
						t.Error("two hold the exclusive right to one key")
					}
					<-leave
					inside--
					return []byte(`{}`), nil
				})
			}()
			synctest.Wait()
			return leave, done
		}
		first, firstDone := update(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		_, gaveUp := update(ctx)
		cancel()
		if err := <-gaveUp; !errors.Is(err, cache.ErrLockTimeout) {
			t.Errorf("%v, want ErrLockTimeout", err)
		}
		put(t, l, "other", `{}`)
		second, secondDone := update(t.Context())
		close(first)
		check(t, <-firstDone)
		synctest.Wait()
		third, thirdDone := update(t.Context())
		close(second)
		check(t, <-secondDone)
		close(third)
		check(t, <-thirdDone)
	})
}

// A lock takes memory for as long as somebody holds it or waits for it.
func TestLRUExclusionLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLRU(t, 8, 1<<20)
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		const keys = 10_000
		before := heap()
		for n := range keys {
			key := strconv.Itoa(n)
			check(t, l.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) {
				ctx, cancel := context.WithCancel(t.Context())
				gaveUp := make(chan error)
				go func() { gaveUp <- l.Update(ctx, key, notCalled(t)) }()
				synctest.Wait()
				cancel()
				if err := <-gaveUp; !errors.Is(err, cache.ErrLockTimeout) {
					t.Errorf("%v, want ErrLockTimeout", err)
				}
				return []byte(`{}`), nil
			}))
		}
		if grown := heap() - before; grown > keys*50 {
			t.Errorf("%d bytes are left of %d keys", grown, keys)
		}
		runtime.KeepAlive(l)
	})
}
