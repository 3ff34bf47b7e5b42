package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
)

var errFunction = errors.New("the update function's error")

func testMiss(t *testing.T, a, b cache.Store) {
	want(t, a, "key", nil)
	err := update(t, a, "key", func(_ context.Context, old []byte) ([]byte, error) {
		if old != nil {
			t.Errorf("the function got %q, want nil", old)
		}
		return nil, nil
	})
	if err != nil {
		t.Fatalf("Update of nothing to nothing: %v", err)
	}
	want(t, b, "key", nil)
}

func testRoundTrip(t *testing.T, a, b cache.Store) {
	var old []byte
	for _, record := range []string{`{"n":1}`, `{"n":22222}`, `1`, ` { "n" : "ü\u0000" } `, `{}`} {
		err := update(t, a, "key", func(_ context.Context, got []byte) ([]byte, error) {
			if !bytes.Equal(got, old) {
				t.Errorf("the function got %q, want %q", got, old)
			}
			return []byte(record), nil
		})
		if err != nil {
			t.Fatalf("Update: %v", err)
		}
		old = []byte(record)
		want(t, a, "key", old)
		want(t, b, "key", old)
		a, b = b, a
	}
}

// A record is kept as it is, or refused as a whole.
func testAnyBytes(t *testing.T, a, b cache.Store) {
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	kept := []byte(`{"n":1}`)
	put(t, a, "key", kept)
	for _, record := range []string{"\x00", "\xff\xfe", "\n", " ", "null", `"`, `""`, "0", "{}\r\n", string(all), "\ufeff{}", "e\u0301"} {
		err := update(t, a, "key", func(context.Context, []byte) ([]byte, error) { return []byte(record), nil })
		switch {
		case err == nil:
			kept = []byte(record)
		case !errors.Is(err, cache.ErrNotWritten):
			t.Errorf("Update to %q: %v, want none or one that wraps ErrNotWritten", record, err)
		}
		want(t, a, "key", kept)
		want(t, b, "key", kept)
	}
}

func testDelete(t *testing.T, a, b cache.Store) {
	for _, nothing := range [][]byte{nil, {}} {
		put(t, a, "key", []byte(`{"n":1}`))
		put(t, a, "other", []byte(`{"n":2}`))
		for i, s := range []cache.Store{a, b, a} { // but for the first time there is nothing to delete
			err := update(t, s, "key", func(_ context.Context, old []byte) ([]byte, error) {
				if i > 0 && old != nil {
					t.Errorf("the function got %q, which was deleted", old)
				}
				return nothing, nil
			})
			if err != nil {
				t.Fatalf("Update: %v", err)
			}
			want(t, a, "key", nil)
			want(t, b, "key", nil)
		}
		want(t, b, "other", []byte(`{"n":2}`))
	}
	put(t, b, "key", []byte(`{"n":3}`))
	want(t, a, "key", []byte(`{"n":3}`))
}

func testEqualRecord(t *testing.T, a, b cache.Store) {
	record := []byte(`{"n":1}`)
	put(t, a, "key", record)
	for _, fnErr := range []error{nil, errFunction} {
		err := update(t, a, "key", func(_ context.Context, old []byte) ([]byte, error) { return old, fnErr })
		if !errors.Is(err, fnErr) || fnErr == nil && err != nil {
			t.Fatalf("Update: %v, want %v", err, fnErr)
		}
		want(t, b, "key", record)
	}
}

// A function may use the slice that it got to build the new record.
func testChangedInPlace(t *testing.T, a, b cache.Store) {
	put(t, a, "key", []byte(`{"n":1}`))
	err := update(t, a, "key", func(_ context.Context, old []byte) ([]byte, error) {
		if len(old) < 6 {
			return nil, errFunction
		}
		old[5] = '2'
		return old, nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	want(t, a, "key", []byte(`{"n":2}`))
	want(t, b, "key", []byte(`{"n":2}`))
}

func testValueWithError(t *testing.T, a, b cache.Store) {
	for _, record := range []string{`{"n":1}`, `{"n":2}`} {
		err := update(t, a, "key", func(context.Context, []byte) ([]byte, error) { return []byte(record), errFunction })
		if !errors.Is(err, errFunction) {
			t.Fatalf("Update: %v, want the function's error", err)
		}
		want(t, b, "key", []byte(record))
	}
}

func testNilWithError(t *testing.T, a, b cache.Store) {
	for _, record := range [][]byte{nil, []byte(`{"n":1}`)} {
		put(t, a, "key", record)
		for _, nothing := range [][]byte{nil, {}} {
			err := update(t, a, "key", func(context.Context, []byte) ([]byte, error) { return nothing, errFunction })
			if !errors.Is(err, errFunction) {
				t.Fatalf("Update: %v, want the function's error", err)
			}
			want(t, b, "key", record)
		}
	}
}

func testEmptyKey(t *testing.T, a, _ cache.Store) {
	if got, err := a.Get(t.Context(), ""); err == nil || errors.Is(err, cache.ErrMiss) {
		t.Errorf("Get of the empty key: %q, error %v; want an error other than ErrMiss", got, err)
	}
	err := update(t, a, "", func(context.Context, []byte) ([]byte, error) {
		t.Error("the function ran for the empty key")
		return nil, nil
	})
	if err == nil {
		t.Error("Update of the empty key: no error")
	}
}

func testLookalikeKeys(t *testing.T, a, b cache.Store) {
	keys := []string{
		"a", "A", " a", "a ", "a\n", "a\x00", "\x00a", "a/b", "a\\b", "a:b", "a|b", "ab", "/a", "../a", "./a", ".", "..",
		"a.json", "a.lock", "a*", "a%00", "a%2fb", "é", "e\u0301", "\xff", "\xfe", "\ufffd", "con", "nul", "-a", "$a", "{a}",
		strings.Repeat("k", 255), strings.Repeat("k", 256), strings.Repeat("k", 10_000), "https://example.com/start", "https://example.com/start/",
	}
	record := func(i int) []byte { return fmt.Appendf(nil, `{"n":%d}`, i) }
	for i, key := range keys {
		want(t, a, key, nil)
		put(t, a, key, record(i))
	}
	for i, key := range keys {
		want(t, b, key, record(i))
	}
}

// The store and its callers may each change the slices they have.
func testNoSharedSlices(t *testing.T, a, b cache.Store) {
	record := []byte(`{"n":1}`)
	spoil := func(slice []byte) {
		slice = slice[:cap(slice)]
		for i := range slice {
			slice[i] = 'x'
		}
	}
	passed := bytes.Clone(record)
	put(t, a, "key", passed)
	spoil(passed)
	want(t, a, "key", record)
	want(t, b, "key", record)

	got, err := a.Get(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	spoil(got)
	want(t, a, "key", record)

	err = update(t, a, "key", func(_ context.Context, old []byte) ([]byte, error) {
		spoil(old)
		return nil, errFunction
	})
	if !errors.Is(err, errFunction) {
		t.Fatalf("Update: %v, want the function's error", err)
	}
	want(t, a, "key", record)
}

func testLargestRecord(t *testing.T, a, b cache.Store) {
	limit := cache.MaxRecordBytes
	if l, ok := a.(interface{ MaxRecordBytes() int }); ok {
		limit = l.MaxRecordBytes()
	}
	largest := []byte(`{"n":"` + strings.Repeat("x", limit-len(`{"n":""}`)) + `"}`)
	put(t, a, "key", largest)
	want(t, b, "key", largest)
	for _, fnErr := range []error{nil, errFunction} {
		err := update(t, a, "key", func(context.Context, []byte) ([]byte, error) { return append(largest, ' '), fnErr })
		if !errors.Is(err, cache.ErrNotWritten) {
			t.Errorf("Update with a record over the limit: %v, want an error that wraps ErrNotWritten", err)
		}
		if fnErr != nil && !errors.Is(err, fnErr) {
			t.Errorf("Update with a record over the limit: %v, want an error that wraps the function's too", err)
		}
		want(t, b, "key", largest)
	}
}

// An update function may update another record with the context it got.
func testNotWritableIsNotInherited(t *testing.T, a, _ cache.Store) {
	ctx := cache.WithNotWritable(t.Context(), errors.New("another store is full"))
	err := a.Update(ctx, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		if err := cache.NotWritable(ctx); err != nil {
			t.Errorf("NotWritable: %v, which is what the caller's context says of another record", err)
		}
		return []byte(`{"n":1}`), nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
}
