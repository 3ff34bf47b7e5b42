package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

// mapKV is a KV in a map. What is in fail is returned instead, once each.
type mapKV struct {
	mu     sync.Mutex
	values map[string][]byte
	writes int
	fail   []error
	ctxErr error // of the last write's context
}

func (m *mapKV) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[key]
	if !ok {
		return nil, cache.ErrMiss
	}
	return value, nil
}

func (m *mapKV) Set(ctx context.Context, key string, value []byte) error {
	return m.write(ctx, func() { m.values[key] = value })
}

func (m *mapKV) Delete(ctx context.Context, key string) error {
	return m.write(ctx, func() { delete(m.values, key) })
}

func (m *mapKV) write(ctx context.Context, change func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	m.ctxErr = ctx.Err()
	if len(m.fail) > 0 {
		err := m.fail[0]
		m.fail = m.fail[1:]
		return err
	}
	change()
	return nil
}

func newMapKV() *mapKV { return &mapKV{values: map[string][]byte{}} }

func TestLocalConformance(t *testing.T) {
	cachetest.Run(t, func(*testing.T) cache.Store { return cache.Local(newMapKV()) })
}

func TestLocalWritesOnlyWhatChanged(t *testing.T) {
	kv := newMapKV()
	s := cache.Local(kv)
	put(t, s, "key", `{}`)
	put(t, s, "key", `{}`)
	if err := s.Update(t.Context(), "missing", deleting); err != nil {
		t.Fatal(err)
	}
	if kv.writes != 1 {
		t.Fatalf("%d writes, want 1", kv.writes)
	}
}

func TestLocalRepeatsAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errDown := errors.New("the database is down")
		kv := newMapKV()
		s := cache.Local(kv)
		kv.fail = []error{errDown, errDown, errDown}
		put(t, s, "key", `{"n":1}`)
		want(t, s, "key", `{"n":1}`)

		kv.fail = []error{errDown}
		if err := s.Update(t.Context(), "key", deleting); err != nil {
			t.Fatal(err)
		}
		wantMiss(t, s, "key")

		for range 1000 {
			kv.fail = append(kv.fail, errDown)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := s.Update(ctx, "key", returning(`{}`))
		wantError(t, err, cache.ErrNotWritten)
		wantError(t, err, errDown)
		if d := time.Since(start); d != time.Minute {
			t.Errorf("gave up after %v, want the context's minute", d)
		}
	})
}

// A key-value store that honours contexts must still take a record that was
// made just before the context ended.
func TestLocalWritesWithALivingContext(t *testing.T) {
	kv := newMapKV()
	ctx, cancel := context.WithCancel(t.Context())
	err := cache.Local(kv).Update(ctx, "key", func(context.Context, []byte) ([]byte, error) {
		cancel()
		return []byte(`{}`), nil
	})
	if err != nil || kv.ctxErr != nil {
		t.Fatalf("Update: %v; the write's context: %v", err, kv.ctxErr)
	}
}

// A write that hangs ends by itself, although its context does not end with the
// caller's.
func TestLocalBoundsAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := cache.Local(hungKV{newMapKV()}).Update(ctx, "key", returning(`{}`))
		wantError(t, err, cache.ErrNotWritten)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("gave up after %v, want 5s", d)
		}
	})
}

type hungKV struct{ *mapKV }

func (hungKV) Set(ctx context.Context, _ string, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

type brokenKV struct {
	*mapKV
	err error
}

func (b brokenKV) Get(context.Context, string) ([]byte, error) { return nil, b.err }

func TestLocalWhoseStoreFails(t *testing.T) {
	errDown := errors.New("the database is down")
	s := cache.Local(brokenKV{newMapKV(), errDown})
	_, err := s.Get(t.Context(), "key")
	wantError(t, err, errDown)
	wantError(t, s.Update(t.Context(), "key", notCalled(t)), errDown)

	kv := newMapKV()
	kv.values["long"] = []byte(strings.Repeat("x", cache.MaxRecordBytes+1))
	_, err = cache.Local(kv).Get(t.Context(), "long")
	wantError(t, err, cache.ErrUnsafe)
}
