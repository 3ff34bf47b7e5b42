package cachetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/cache"
)

// While one function runs, nobody else's does.
func testExclusion(t *testing.T, a, b cache.Store) {
	hold(t, a, "key").wantAlone(t, b, "key")
}

// That goes on until the function returns, even if its context ended before.
func testExclusionOutlastsContext(t *testing.T, a, b cache.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := holdWithin(ctx, t, a, "key")
	cancel()
	h.wantAlone(t, b, "key")
}

// Every increment of a counter counts, and its readers see whole records only.
func testNoUpdateIsLost(t *testing.T, a, b cache.Store) {
	const workers, each = 6, 10
	type counter struct {
		N   int    `json:"n"`
		Pad string `json:"pad"`
	}
	var inside, calls atomic.Int32
	increment := func(_ context.Context, old []byte) ([]byte, error) {
		calls.Add(1)
		if inside.Add(1) != 1 {
			t.Error("two functions run at a time")
		}
		defer inside.Add(-1)
		var c counter
		if old != nil {
			if err := json.Unmarshal(old, &c); err != nil {
				return nil, err
			}
		}
		runtime.Gosched()
		c.N++
		c.Pad = string(bytes.Repeat([]byte("x"), c.N*37%500))
		return json.Marshal(c)
	}
	if err := update(t, a, "key", increment); err != nil {
		t.Fatalf("Update: %v", err)
	}

	var writers, readers sync.WaitGroup
	for i := range workers {
		s := []cache.Store{a, b}[i%2]
		writers.Go(func() {
			for range each {
				if err := s.Update(t.Context(), "key", increment); err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	written := make(chan struct{})
	readers.Go(func() {
		for last := 0; ; {
			record, err := b.Get(t.Context(), "key")
			var c counter
			if err == nil {
				err = json.Unmarshal(record, &c)
			}
			if err != nil || c.N < last {
				t.Errorf("Get during updates: %s, %v; the last one was number %d", shorten(record), err, last)
				return
			}
			last = c.N
			select {
			case <-written:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	finished := make(chan struct{})
	go func() {
		writers.Wait()
		close(written)
		readers.Wait()
		close(finished)
	}()
	await(t, finished, "increments")
	record, err := b.Get(t.Context(), "key")
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	var c counter
	if err := json.Unmarshal(record, &c); err != nil {
		t.Fatal(err)
	}
	const updates = 1 + workers*each
	if c.N != updates || calls.Load() != updates {
		t.Errorf("after %d updates the counter is %d, and the function was called %d times", updates, c.N, calls.Load())
	}
}

// One record's function does not keep others from updating other records.
func testKeysAreIndependent(t *testing.T, a, b cache.Store) {
	h := hold(t, a, "key")
	for i := range 40 {
		put(t, b, fmt.Sprint("other", i), []byte(`{"n":1}`))
	}
	h.free(t)
}

// One record's function may update another record.
func testUpdateWithinUpdate(t *testing.T, a, b cache.Store) {
	err := update(t, a, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		return nil, a.Update(ctx, "other", func(context.Context, []byte) ([]byte, error) { return []byte(`{"n":2}`), nil })
	})
	if err != nil {
		t.Fatalf("Update within an update: %v", err)
	}
	want(t, b, "other", []byte(`{"n":2}`))
}

// Get does not wait for an update, and shows the old record until it is over.
func testGetDuringUpdate(t *testing.T, a, b cache.Store) {
	put(t, a, "key", []byte(`{"n":1}`))
	err := update(t, a, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		for _, s := range []cache.Store{a, b} {
			if got, err := s.Get(ctx, "key"); string(got) != `{"n":1}` || err != nil {
				t.Errorf("Get during an update: %s, %v", shorten(got), err)
			}
		}
		return []byte(`{"n":2}`), nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	want(t, b, "key", []byte(`{"n":2}`))
}

// A waiter gives up when its context ends, and leaves no trace.
func testWaitEndsWithContext(t *testing.T, a, b cache.Store) {
	h := hold(t, a, "key")
	var ran atomic.Bool
	wait := func(ctx context.Context, s cache.Store) <-chan error {
		done := make(chan error, 1)
		go func() {
			done <- s.Update(ctx, "key", func(context.Context, []byte) ([]byte, error) {
				ran.Store(true)
				return nil, nil
			})
		}()
		return done
	}
	for _, s := range []cache.Store{a, b} {
		ctx, cancel := context.WithCancel(t.Context())
		done := wait(ctx, s)
		runtime.Gosched() // most often it is waiting by now; it must not matter
		cancel()
		err := await(t, done, "Update whose context was cancelled")
		if !errors.Is(err, cache.ErrLockTimeout) || !errors.Is(err, context.Canceled) {
			t.Errorf("Update: %v, want an error that wraps ErrLockTimeout and context.Canceled", err)
		}

		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		err = await(t, wait(ctx, s), "Update with a deadline")
		if !errors.Is(err, cache.ErrLockTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update: %v, want an error that wraps ErrLockTimeout and context.DeadlineExceeded", err)
		}
	}
	if ran.Load() {
		t.Error("a function ran although another one did, or its context had ended")
	}
	h.free(t)
	put(t, b, "key", []byte(`{"n":2}`))
}

func testEndedContext(t *testing.T, a, _ cache.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := a.Update(ctx, "key", func(context.Context, []byte) ([]byte, error) {
		t.Error("the function ran although the context had ended")
		return nil, nil
	})
	if !errors.Is(err, cache.ErrLockTimeout) || !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v, want an error that wraps ErrLockTimeout and context.Canceled", err)
	}
}

// A Get that is too late says so, and not that there is no record.
func testGetWithEndedContext(t *testing.T, a, _ cache.Store) {
	put(t, a, "key", firstRecord)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := a.Get(ctx, "key")
	if err == nil && !bytes.Equal(got, firstRecord) || err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %s, error %v; want the record, or an error that wraps context.Canceled", shorten(got), err)
	}
}

// The function's context ends with the caller's, carries its values, and has
// not ended before.
func testFunctionsContext(t *testing.T, a, _ cache.Store) {
	type ctxKey struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
	defer cancel()
	err := a.Update(ctx, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		if ctx.Err() != nil {
			t.Errorf("the function's context has ended: %v", ctx.Err())
		}
		if ctx.Value(ctxKey{}) != "value" {
			t.Error("the function's context lacks the caller's values")
		}
		cancel()
		select {
		case <-ctx.Done():
		case <-time.After(hang):
			t.Error("the function's context did not end with the caller's")
		}
		return nil, errFunction
	})
	if !errors.Is(err, errFunction) {
		t.Errorf("Update: %v, want the function's error", err)
	}
}

// What a function made is written, even if its context ended while it ran.
func testWrittenAfterContextEnded(t *testing.T, a, b cache.Store) {
	for _, record := range [][]byte{[]byte(`{"n":1}`), []byte(`{"n":2}`), nil} {
		ctx, cancel := context.WithCancel(t.Context())
		err := a.Update(ctx, "key", func(context.Context, []byte) ([]byte, error) {
			cancel()
			return record, nil
		})
		if err != nil {
			t.Errorf("Update: %v", err)
		}
		want(t, b, "key", record)
	}
}

// A function that panics, or ends its goroutine, writes nothing, the panic goes
// on to the caller, and the next gets its turn.
func testPanicFreesTheRecord(t *testing.T, a, b cache.Store) {
	put(t, a, "key", firstRecord)
	for _, test := range []struct {
		leave func()
		value any
	}{{func() { panic("the update function's") }, "the update function's"}, {runtime.Goexit, nil}} {
		done := make(chan any, 1)
		go func() {
			returned := false
			defer func() {
				value := recover()
				if returned {
					value = "none: Update returned"
				}
				done <- value
			}()
			_ = a.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
				test.leave()
				return []byte(`{"n":2}`), nil
			})
			returned = true
		}()
		if value := await(t, done, "Update whose function panics"); value != test.value {
			t.Errorf("the caller saw the panic %v, want %v", value, test.value)
		}
		want(t, b, "key", firstRecord)
	}
	put(t, b, "key", []byte(`{"n":3}`))
	want(t, a, "key", []byte(`{"n":3}`))
}

// A holder is in the middle of an update until free is called.
type holder struct {
	release chan struct{}
	done    chan error
}

// wantAlone reports a function that s runs for the key while h's does, and frees
// h.
func (h *holder) wantAlone(t *testing.T, s cache.Store, key string) {
	t.Helper()
	second := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) {
			close(second)
			return nil, nil
		})
	}()
	select {
	case <-second:
		t.Error("a second function ran while the first did")
	case <-time.After(100 * time.Millisecond): // a window for a store that fails to exclude; one that excludes always lets it pass
	}
	h.free(t)
	if err := await(t, done, "Update of the second"); err != nil {
		t.Errorf("Update of the second: %v", err)
	}
}

func hold(t *testing.T, s cache.Store, key string) *holder {
	t.Helper()
	return holdWithin(t.Context(), t, s, key)
}

func holdWithin(ctx context.Context, t *testing.T, s cache.Store, key string) *holder {
	t.Helper()
	h := &holder{make(chan struct{}), make(chan error, 1)}
	entered := make(chan struct{})
	go func() {
		h.done <- s.Update(ctx, key, func(context.Context, []byte) ([]byte, error) {
			close(entered)
			<-h.release
			return nil, nil
		})
	}()
	await(t, entered, "Update of the holder")
	t.Cleanup(func() {
		select {
		case <-h.release:
		default:
			close(h.release) // the test failed before it came to free
		}
	})
	return h
}

func (h *holder) free(t *testing.T) {
	t.Helper()
	close(h.release)
	if err := await(t, h.done, "Update of the holder"); err != nil {
		t.Fatalf("Update of the holder: %v", err)
	}
}
