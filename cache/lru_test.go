package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

func newLRU(t *testing.T, entries int, bytes int64) *cache.LRU {
	t.Helper()
	l, err := cache.NewLRU(entries, bytes)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLRUConformance(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Store { return newLRU(t, 64, 4*cache.MaxRecordBytes) })
}

func TestNewLRUNeedsBounds(t *testing.T) {
	for _, bounds := range [][2]int{{0, 1}, {1, 0}, {-1, 1}, {1, -1}} {
		_, err := cache.NewLRU(bounds[0], int64(bounds[1]))
		wantError(t, err, nil, "positive")
	}
}

func TestLRUForgetsTheLeastRecentlyUsed(t *testing.T) {
	l := newLRU(t, 3, 1<<20)
	for _, key := range []string{"a", "b", "c"} {
		put(t, l, key, `{}`)
	}
	want(t, l, "a", `{}`)     // used by Get
	put(t, l, "b", `{"n":1}`) // used by Update
	put(t, l, "d", `{}`)
	wantMiss(t, l, "c")
	for _, key := range []string{"a", "d"} {
		want(t, l, key, `{}`)
	}
	want(t, l, "b", `{"n":1}`)
}

func TestLRUKeepsItsByteBudget(t *testing.T) {
	record := strings.Repeat("x", 90)
	l := newLRU(t, 1000, 1000) // ten records of 90 bytes with keys of 10
	key := func(i int) string { return fmt.Sprintf("key%07d", i) }
	held := func(until int) (n int) {
		for i := range until {
			if _, err := l.Get(t.Context(), key(i)); err == nil {
				n++
			}
		}
		return n
	}
	for i := range 25 {
		put(t, l, key(i), record)
	}
	if n := held(25); n != 10 {
		t.Fatalf("%d records held, want 10", n)
	}
	// Smaller records, and deleted ones, give their share back.
	for i := 15; i < 25; i++ {
		put(t, l, key(i), record[:40])
	}
	for i := 25; i < 35; i++ {
		put(t, l, key(i), record[:40])
	}
	if n := held(35); n != 20 {
		t.Fatalf("%d records held, want 20", n)
	}
	for i := range 30 {
		if err := l.Update(t.Context(), key(i), deleting); err != nil {
			t.Fatal(err)
		}
	}
	for i := 35; i < 50; i++ {
		put(t, l, key(i), record[:40])
	}
	if n := held(50); n != 20 {
		t.Fatalf("%d records held, want 20", n)
	}
	// One that exceeds the budget alone is kept, alone.
	put(t, l, key(50), strings.Repeat("x", 2000))
	if n := held(51); n != 1 {
		t.Fatalf("%d records held, want 1", n)
	}
	want(t, l, key(50), strings.Repeat("x", 2000))
}

func TestLRUForgetsItsLocks(t *testing.T) {
	l := newLRU(t, 4, 1<<20)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { put(t, l, fmt.Sprint("key", i%10), `{}`) })
	}
	all.Wait()
	ended, cancel := context.WithCancel(t.Context())
	err := l.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
		if n := l.HeldKeys(); n != 1 {
			t.Errorf("%d keys held, want 1", n)
		}
		waited := make(chan error)
		go func() { waited <- l.Update(ended, "key", notCalled(t)) }()
		cancel()
		return nil, <-waited
	})
	wantError(t, err, cache.ErrLockTimeout)
	if n := l.HeldKeys(); n != 0 {
		t.Errorf("%d keys still held", n)
	}
}

// Waiters wait on channels, so that virtual time passes meanwhile.
func TestLRUInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLRU(t, 4, 1<<20)
		start := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				err := l.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
					time.Sleep(time.Minute)
					return []byte(`{}`), nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute/2)
		defer cancel()
		err := l.Update(ctx, "key", notCalled(t))
		wantError(t, err, cache.ErrLockTimeout)
		wantError(t, err, context.DeadlineExceeded)
		all.Wait()
		if d := time.Since(start); d != 10*time.Minute {
			t.Errorf("ten updates of a minute took %v", d)
		}
	})
}

// Whoever ended the context said why, and so does the error.
func TestLockTimeoutNamesTheCause(t *testing.T) {
	cause := errors.New("waited long enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	err := newLRU(t, 1, 1).Update(ctx, "key", notCalled(t))
	for _, target := range []error{cache.ErrLockTimeout, context.Canceled, cause} {
		wantError(t, err, target)
	}
}
