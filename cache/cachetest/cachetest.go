// Package cachetest is the suite that every cache.Store must pass.
//
//	func TestMyStore(t *testing.T) {
//		cachetest.Run(t, func(t *testing.T) cache.Store { return NewMyStore(t.TempDir()) })
//	}
//
// Run it with -race. A store that several processes share also runs RunShared,
// and one whose exclusion can be lost, as with a lease, RunLosing.
//
// The records are JSON, which every store takes; of other bytes a store may
// refuse those that it can't keep. The suite needs room for 64 of them and for
// two of cache.MaxRecordBytes, or of as many bytes as the store's method
// MaxRecordBytes() int returns, where it has one.
//
// No function of the suite runs for longer than a moment: that a lease is renewed
// in time is for the store's own tests.
package cachetest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/cache"
)

// Run tests a Store that has one handle, such as one in memory. newStore
// returns an empty store, and is called once for each subtest; it can clean up
// with t.Cleanup.
func Run(t *testing.T, newStore func(t *testing.T) cache.Store) {
	RunShared(t, func(t *testing.T) (a, b cache.Store) {
		s := newStore(t)
		return s, s
	})
}

// RunShared tests a Store through two handles on the same records, as two
// processes have them. newStores returns both, empty, and is called once for
// each subtest; it can clean up with t.Cleanup.
func RunShared(t *testing.T, newStores func(t *testing.T) (a, b cache.Store)) {
	run(t, newStores, func(t *testing.T, test func(*testing.T)) { test(t) })
}

// pair is two handles on the same records.
type pair struct{ a, b cache.Store }

// run runs the suite of RunShared, every test inside within.
func run(t *testing.T, newStores func(t *testing.T) (a, b cache.Store), within func(*testing.T, func(*testing.T))) {
	runTests(t, storeTests, func(t *testing.T) pair {
		a, b := newStores(t)
		return pair{a, b}
	}, within)
}

// test is a subtest of a suite for stores S.
type test[S any] struct {
	name string
	run  func(t *testing.T, stores S)
}

func runTests[S any](t *testing.T, tests []test[S], newStores func(t *testing.T) S, within func(*testing.T, func(*testing.T))) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			within(t, func(t *testing.T) { test.run(t, newStores(t)) })
		})
	}
}

var storeTests = []test[pair]{
	{"Miss", on(testMiss)},
	{"RoundTrip", on(testRoundTrip)},
	{"AnyBytes", on(testAnyBytes)},
	{"Delete", on(testDelete)},
	{"EqualRecord", on(testEqualRecord)},
	{"ChangedInPlace", on(testChangedInPlace)},
	{"ValueWithError", on(testValueWithError)},
	{"NilWithError", on(testNilWithError)},
	{"EmptyKey", on(testEmptyKey)},
	{"LookalikeKeys", on(testLookalikeKeys)},
	{"NoSharedSlices", on(testNoSharedSlices)},
	{"LargestRecord", on(testLargestRecord)},
	{"NotWritableIsNotInherited", on(testNotWritableIsNotInherited)},
	{"Exclusion", on(testExclusion)},
	{"ExclusionOutlastsContext", on(testExclusionOutlastsContext)},
	{"NoUpdateIsLost", on(testNoUpdateIsLost)},
	{"KeysAreIndependent", on(testKeysAreIndependent)},
	{"UpdateWithinUpdate", on(testUpdateWithinUpdate)},
	{"GetDuringUpdate", on(testGetDuringUpdate)},
	{"WaitEndsWithContext", on(testWaitEndsWithContext)},
	{"EndedContext", on(testEndedContext)},
	{"GetWithEndedContext", on(testGetWithEndedContext)},
	{"FunctionsContext", on(testFunctionsContext)},
	{"WrittenAfterContextEnded", on(testWrittenAfterContextEnded)},
	{"PanicFreesTheRecord", on(testPanicFreesTheRecord)},
}

func on(f func(t *testing.T, a, b cache.Store)) func(*testing.T, pair) {
	return func(t *testing.T, p pair) { f(t, p.a, p.b) }
}

// hang is how long an operation may take before it counts as hung.
const hang = 20 * time.Second

// await returns what comes from c, and fails the test where nothing does.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(hang):
		t.Fatalf("%s: still waiting after %v", what, hang)
		panic("unreachable")
	}
}

// update calls s.Update with a bound, and returns its error.
func update(t *testing.T, s cache.Store, key string, fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Update(t.Context(), key, fn) }()
	return await(t, done, "Update")
}

// put makes record the key's record; nil deletes it.
func put(t *testing.T, s cache.Store, key string, record []byte) {
	t.Helper()
	err := update(t, s, key, func(context.Context, []byte) ([]byte, error) { return record, nil })
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
}

// want fails the test where the key's record differs; nil stands for none.
func want(t *testing.T, s cache.Store, key string, record []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	switch {
	case record == nil && !errors.Is(err, cache.ErrMiss):
		t.Fatalf("Get: %s, error %v; want an error that wraps ErrMiss", shorten(got), err)
	case record == nil && got != nil:
		t.Fatalf("Get: %s along with the error", shorten(got))
	case record != nil && err != nil:
		t.Fatalf("Get: error %v, want %s", err, shorten(record))
	case !bytes.Equal(got, record):
		t.Fatalf("Get: %s, want %s", shorten(got), shorten(record))
	}
}

func shorten(record []byte) string {
	if len(record) > 100 {
		return string(record[:100]) + "…"
	}
	return string(record)
}
