package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

func newTiered(t *testing.T, shared cache.Store, options cache.TieredOptions) *cache.Tiered {
	t.Helper()
	s, err := cache.NewTiered(shared, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// remote is a shared store that counts its reads, and can fail, refuse, hang
// and be slow.
type remote struct {
	cache.Store
	reads atomic.Int32
	fault atomic.Pointer[error]
	hang  atomic.Bool  // Get, until its context ends
	slow  atomic.Int64 // how long Get takes, after it has read
}

func newRemote(t *testing.T) *remote { return &remote{Store: newLRU(t, 1000, 1<<24)} }

func (r *remote) Get(ctx context.Context, key string) ([]byte, error) {
	r.reads.Add(1)
	if r.hang.Load() {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if err := r.fault.Load(); err != nil {
		return nil, *err
	}
	record, err := r.Store.Get(ctx, key)
	time.Sleep(time.Duration(r.slow.Load()))
	return record, err
}

func (r *remote) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	if err := r.fault.Load(); err != nil {
		return *err
	}
	return r.Store.Update(ctx, key, fn)
}

func (r *remote) fail(err error) { r.fault.Store(&err) }

// wantReads fails the test unless the shared store was read n times since the
// last call.
func (r *remote) wantReads(t *testing.T, n int32) {
	t.Helper()
	if got := r.reads.Swap(0); got != n {
		t.Errorf("%d reads of the shared store, want %d", got, n)
	}
}

func TestTieredConformance(t *testing.T) {
	hour := cache.TieredOptions{MaxAge: time.Hour, MaxOutage: time.Hour}
	instant := cache.TieredOptions{MaxAge: 1}
	t.Run("OneProcess", func(t *testing.T) {
		cachetest.Run(t, func(t *testing.T) cache.Store {
			return newTiered(t, newLRU(t, 64, 4*cache.MaxRecordBytes), hour)
		})
	})
	t.Run("TwoProcesses", func(t *testing.T) {
		cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
			shared := newLRU(t, 64, 4*cache.MaxRecordBytes)
			return newTiered(t, shared, instant), newTiered(t, shared, instant)
		})
	})
	t.Run("OverEncrypted", func(t *testing.T) {
		cachetest.Run(t, func(t *testing.T) cache.Store {
			return newTiered(t, newEncrypted(t, newLRU(t, 64, 4*cache.MaxRecordBytes), encryptionKey(t, "k")), hour)
		})
	})
	t.Run("UnderEncrypted", func(t *testing.T) {
		cachetest.Run(t, func(t *testing.T) cache.Store {
			return newEncrypted(t, newTiered(t, newLRU(t, 64, 4*cache.MaxRecordBytes), hour), encryptionKey(t, "k"))
		})
	})
}

func TestNewTieredChecksItsOptions(t *testing.T) {
	shared := newLRU(t, 1, 1)
	for _, options := range []cache.TieredOptions{
		{}, {MaxAge: -1}, {MaxAge: 1, MaxOutage: -1}, {MaxAge: 1, MaxEntries: -1}, {MaxAge: 1, MaxBytes: -1},
	} {
		_, err := cache.NewTiered(shared, options)
		wantError(t, err, nil, "MaxAge")
	}
	_, err := cache.NewTiered(nil, cache.TieredOptions{MaxAge: 1})
	wantError(t, err, nil, "shared")
	if newTiered(t, shared, cache.TieredOptions{MaxAge: 1}).AWSCLI() || !newTiered(t, newDir(t, t.TempDir()), cache.TieredOptions{MaxAge: 1}).AWSCLI() {
		t.Error("AWSCLI is not that of the shared store")
	}
}

// What another process has changed or deleted is noticed within MaxAge, and not
// asked for all the time.
func TestTieredStaleness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote(t)
		options := cache.TieredOptions{MaxAge: time.Minute}
		here, there := newTiered(t, shared, options), newTiered(t, shared, options)
		put(t, there, "key", `{"n":1}`)
		want(t, here, "key", `{"n":1}`)
		shared.wantReads(t, 1)
		for range 50 {
			want(t, here, "key", `{"n":1}`)
			want(t, there, "key", `{"n":1}`)
			time.Sleep(time.Second)
		}
		shared.wantReads(t, 0)
		put(t, there, "key", `{"n":2}`)
		want(t, there, "key", `{"n":2}`)
		time.Sleep(10 * time.Second)
		want(t, here, "key", `{"n":2}`)

		check(t, there.Update(t.Context(), "key", deleting))
		wantMiss(t, there, "key")
		want(t, here, "key", `{"n":2}`)
		time.Sleep(time.Minute)
		wantMiss(t, here, "key")

		put(t, there, "key", `{"n":3}`) // that there was none is not remembered
		want(t, here, "key", `{"n":3}`)

		// The age of what took long to read counts from when the read began.
		time.Sleep(time.Minute)
		shared.slow.Store(int64(time.Minute))
		shared.reads.Store(0)
		want(t, here, "key", `{"n":3}`)
		shared.slow.Store(0)
		want(t, here, "key", `{"n":3}`)
		shared.wantReads(t, 2)
	})
}

// While the shared store is down, what is known is served for as long as was
// allowed, and the store is asked once a second at most.
func TestTieredOutage(t *testing.T) {
	down := errors.New("connection refused")
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote(t)
		s := newTiered(t, shared, cache.TieredOptions{MaxAge: time.Minute, MaxOutage: 10 * time.Minute})
		put(t, s, "key", `{"n":1}`)
		shared.fail(down)
		time.Sleep(time.Minute)
		shared.wantReads(t, 0)
		for range 10 * 60 * 10 {
			if _, err := s.Get(t.Context(), "key"); err != nil {
				t.Fatalf("Get in an outage: %v", err)
			}
			time.Sleep(99 * time.Millisecond)
		}
		if n := shared.reads.Swap(0); n < 400 || n > 600 {
			t.Errorf("the shared store was asked %d times in 600 s", n)
		}
		time.Sleep(7 * time.Second)
		if _, err := s.Get(t.Context(), "key"); !errors.Is(err, down) {
			t.Errorf("Get after the longest outage: %v", err)
		}
		if _, err := s.Get(t.Context(), "unknown"); !errors.Is(err, down) || errors.Is(err, cache.ErrMiss) {
			t.Errorf("Get of a record that memory does not have: %v", err)
		}
		shared.fault.Store(nil)
		want(t, s, "key", `{"n":1}`)

		none := newTiered(t, shared, cache.TieredOptions{MaxAge: time.Minute})
		want(t, none, "key", `{"n":1}`)
		shared.fail(down)
		time.Sleep(time.Minute)
		if _, err := none.Get(t.Context(), "key"); !errors.Is(err, down) {
			t.Errorf("Get without MaxOutage: %v", err)
		}
	})
}

// A shared store that hangs holds nobody longer than their context allows, nor
// than 5 seconds, and what is known is served all the same.
func TestTieredHungStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote(t)
		s := newTiered(t, shared, cache.TieredOptions{MaxAge: time.Minute, MaxOutage: time.Hour})
		put(t, s, "key", `{"n":1}`)
		time.Sleep(2 * time.Minute)
		shared.hang.Store(true)
		get := func(key string, timeout, took time.Duration) error {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			begin := time.Now()
			_, err := s.Get(ctx, key)
			if d := time.Since(begin); d != took {
				t.Errorf("Get took %v, want %v", d, took)
			}
			return err
		}
		check(t, get("key", time.Second, time.Second))
		check(t, get("key", time.Minute, 4*time.Second)) // the same read
		check(t, get("key", time.Minute, 0))
		shared.wantReads(t, 1)
		wantError(t, get("unknown", time.Second, time.Second), context.DeadlineExceeded)
		wantError(t, get("unknown", time.Minute, 4*time.Second), context.DeadlineExceeded)
		shared.wantReads(t, 1)
	})
}

// All who want a record at a time share one read, and the records that many
// processes have read together are not read again together.
func TestTieredIsNoHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote(t)
		s := newTiered(t, shared, cache.TieredOptions{MaxAge: time.Minute})
		put(t, shared, "key", `{"n":1}`)
		shared.slow.Store(int64(time.Second))
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if got, err := s.Get(t.Context(), "key"); string(got) != `{"n":1}` || err != nil {
					t.Errorf("Get: %s, %v", got, err)
				}
			})
		}
		all.Wait()
		shared.wantReads(t, 1)
		shared.slow.Store(0)

		for i := range 300 {
			put(t, shared, fmt.Sprint(i), `{}`)
			want(t, s, fmt.Sprint(i), `{}`)
		}
		shared.wantReads(t, 300)
		most := int32(0)
		for range 60 {
			time.Sleep(time.Second)
			for i := range 300 {
				want(t, s, fmt.Sprint(i), `{}`)
			}
			most = max(most, shared.reads.Swap(0))
		}
		if most > 150 {
			t.Errorf("%d of 300 records were read again within a second", most)
		}
	})
}

// That the shared store refuses a record is no outage.
func TestTieredServesNothingThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote(t)
		s := newTiered(t, shared, cache.TieredOptions{MaxAge: time.Minute, MaxOutage: time.Hour})
		put(t, s, "key", `{"n":1}`)
		time.Sleep(2 * time.Minute)
		for _, refusal := range []error{cache.ErrTampered, cache.ErrUnsafe} {
			shared.fail(refusal)
			_, err := s.Get(t.Context(), "key")
			wantError(t, err, refusal)
		}
		down := errors.New("connection refused")
		shared.fail(down)
		if _, err := s.Get(t.Context(), "key"); err == nil {
			t.Error("what was refused before is served in an outage")
		}

		for _, fault := range []error{down, cache.ErrTampered} {
			shared.fault.Store(nil)
			put(t, s, "key", `{"n":1}`)
			shared.fail(fault)
			if err := s.Update(t.Context(), "key", notCalled(t)); !errors.Is(err, fault) {
				t.Errorf("Update: %v", err)
			}
			if _, err := s.Get(t.Context(), "key"); errors.Is(fault, cache.ErrTampered) != (err != nil) {
				t.Errorf("Get after an update that failed with %v: %v", fault, err)
			}
		}
	})
}

// A function sees what is stored now, not what memory has of it.
func TestTieredGetWithinAnUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote(t)
		s := newTiered(t, shared, cache.TieredOptions{MaxAge: time.Hour})
		put(t, s, "key", `{"n":1}`)
		put(t, s, "other", `{"n":1}`)
		check(t, s.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
			shared.wantReads(t, 0)
			for range 2 {
				want(t, contextual{s, ctx}, "key", `{"n":1}`)
			}
			shared.wantReads(t, 2)
			want(t, contextual{s, ctx}, "other", `{"n":1}`)
			shared.wantReads(t, 0)
			return []byte(`{"n":2}`), nil
		}))
		want(t, s, "key", `{"n":2}`)
		shared.wantReads(t, 0)
	})
}

// contextual is a store that is called with a context of its own.
type contextual struct {
	cache.Store
	ctx context.Context
}

func (c contextual) Get(_ context.Context, key string) ([]byte, error) {
	return c.Store.Get(c.ctx, key)
}

// A read that began before a record was deleted does not bring it back, nor does
// one that is late overwrite what is newer.
func TestTieredLateRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote(t)
		s := newTiered(t, shared, cache.TieredOptions{MaxAge: time.Hour, MaxOutage: time.Hour})
		for _, change := range []func(context.Context, []byte) ([]byte, error){
			deleting,
			returning(`{"n":2}`),
			func(context.Context, []byte) ([]byte, error) { return []byte(`{"n":2}`), errors.New("and an error") },
		} {
			put(t, shared, "key", `{"n":1}`)
			shared.slow.Store(int64(time.Second))
			done := make(chan struct{})
			go func() {
				defer close(done)
				want(t, s, "key", `{"n":1}`)
			}()
			synctest.Wait()
			_ = s.Update(t.Context(), "key", change)
			<-done
			shared.slow.Store(0)
			record, _ := shared.Store.Get(t.Context(), "key")
			if got, _ := s.Get(t.Context(), "key"); string(got) != string(record) {
				t.Errorf("Get: %s, where %q is stored", got, record)
			}
			check(t, s.Update(t.Context(), "key", deleting))
		}
	})
}

// After an update that may have failed, memory knows nothing; where it did not
// run, what memory has stays.
func TestTieredFailedUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote(t)
		s := newTiered(t, shared, cache.TieredOptions{MaxAge: time.Hour})
		put(t, s, "key", `{"n":1}`)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		wantError(t, s.Update(ended, "key", notCalled(t)), cache.ErrLockTimeout)
		want(t, s, "key", `{"n":1}`)
		shared.wantReads(t, 0)
		tooLarge := make([]byte, cache.MaxRecordBytes+1)
		wantError(t, s.Update(t.Context(), "key", returning(string(tooLarge))), cache.ErrNotWritten)
		want(t, s, "key", `{"n":1}`)
		shared.wantReads(t, 1)
	})
}

// Memory is bounded.
func TestTieredBounds(t *testing.T) {
	for _, options := range []cache.TieredOptions{
		{MaxAge: time.Hour, MaxEntries: 2}, {MaxAge: time.Hour, MaxBytes: 2 * 8},
	} {
		shared := newRemote(t)
		s := newTiered(t, shared, options)
		for _, key := range []string{"a", "b", "c"} {
			put(t, s, key, `{"n":1}`)
		}
		want(t, s, "b", `{"n":1}`)
		want(t, s, "c", `{"n":1}`)
		shared.wantReads(t, 0)
		want(t, s, "a", `{"n":1}`)
		shared.wantReads(t, 1)
	}
}

// A record ages while the machine is suspended, which the monotonic clock does
// not see, and when the wall clock is set back.
func TestTieredAge(t *testing.T) {
	asOf := time.Now()
	later := asOf.Add(time.Hour)
	suspended := later.Round(0) // the wall clock alone has gone on
	if age := cache.TieredAge(asOf, suspended); age < time.Hour {
		t.Errorf("after a suspension of an hour the age is %v", age)
	}
	if age := cache.TieredAge(asOf, later); age != time.Hour {
		t.Errorf("after an hour the age is %v", age)
	}
}

// An update that gets back late from the shared store does not put its record in
// place of one that another has written since.
func TestTieredKeepsTheLastOfTwoUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTiered(t, &late{Store: newLRU(t, 8, 1<<20)}, cache.TieredOptions{MaxAge: time.Hour})
		write := func(record string) {
			err := s.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) { return []byte(record), nil })
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		}
		for range 2 {
			var first sync.WaitGroup
			first.Go(func() { write("first") })
			synctest.Wait()
			write("second")
			for range 2 {
				if record, err := s.Get(t.Context(), "key"); string(record) != "second" || err != nil {
					t.Errorf("Get returned %q, %v; want the second", record, err)
				}
				first.Wait()
			}
		}
	})
}

// late is a shared store where the answer to every second Update takes a minute.
type late struct {
	cache.Store
	updates atomic.Int32
}

func (s *late) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	err := s.Store.Update(ctx, key, fn)
	if s.updates.Add(1)%2 == 1 {
		time.Sleep(time.Minute)
	}
	return err
}
