package cachetest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

func TestStoreThatKeepsTheContract(t *testing.T) {
	open := func(*testing.T) (a, b cache.Store) { return newStores(faults{}) }
	losing := func(*testing.T) cachetest.Losing { return newLosing(faults{}) }
	t.Run("Losing", func(t *testing.T) { cachetest.RunLosing(t, losing) })
	t.Run("LosingVirtual", func(t *testing.T) { cachetest.RunLosingVirtual(t, losing) })
	t.Run("Shared", func(t *testing.T) { cachetest.RunShared(t, open) })
	t.Run("Virtual", func(t *testing.T) { cachetest.RunVirtual(t, open) })
	t.Run("OneHandle", func(t *testing.T) {
		cachetest.Run(t, func(*testing.T) cache.Store {
			a, _ := newStores(faults{})
			return a
		})
	})
}

// brokenStores names, for each broken store, the subtest that must fail for it.
func brokenStores() map[string]struct {
	test   string
	faults faults
} {
	return map[string]struct {
		test   string
		faults faults
	}{
		"no exclusion":                {"Exclusion", faults{noExclusion: true}},
		"exclusion until the context": {"ExclusionOutlastsContext", faults{contextEndsIt: true}},
		"lost updates":                {"NoUpdateIsLost", faults{noExclusion: true}},
		"function runs twice":         {"NoUpdateIsLost", faults{runTwice: true}},
		"wait without context":        {"WaitEndsWithContext", faults{ignoreContext: true}},
		"wait without ErrLockTimeout": {"WaitEndsWithContext", faults{noTimeoutError: true}},
		"ended context":               {"EndedContext", faults{runEnded: true}},
		"panic":                       {"PanicFreesTheRecord", faults{keepAfterPanic: true}},
		"panic deletes":               {"PanicFreesTheRecord", faults{writeAfterPanic: true}},
		"panic swallowed":             {"PanicFreesTheRecord", faults{swallowPanic: true}},
		"one lock for all":            {"KeysAreIndependent", faults{oneLock: true}},
		"no update within an update":  {"UpdateWithinUpdate", faults{lockedStore: true}},
		"Get waits":                   {"GetDuringUpdate", faults{lockedGet: true}},
		"written early":               {"GetDuringUpdate", faults{writeEarly: true}},
		"another context":             {"FunctionsContext", faults{ownContext: true}},
		"context without end":         {"FunctionsContext", faults{endlessContext: true}},
		"Get too late is a miss":      {"GetWithEndedContext", faults{contextMiss: true}},
		"inherited NotWritable":       {"NotWritableIsNotInherited", faults{inheritContext: true}},
		"own slice returned":          {"NoSharedSlices", faults{shareOut: true}},
		"own slice passed":            {"NoSharedSlices", faults{shareOld: true}},
		"caller's slice kept":         {"NoSharedSlices", faults{shareIn: true}},
		"compared in place":           {"ChangedInPlace", faults{compareInPlace: true}},
		"reformatted":                 {"RoundTrip", faults{reformat: true}},
		"not binary":                  {"AnyBytes", faults{onlyUTF8: true}},
		"a handle's own view":         {"RoundTrip", faults{staleGet: true}},
		"empty in place of none":      {"Miss", faults{emptyOld: true}},
		"no ErrMiss":                  {"Miss", faults{missIsNil: true}},
		"nil does not delete":         {"Delete", faults{noDelete: true}},
		"deleted record passed":       {"Delete", faults{oldAfterDelete: true}},
		"empty does not delete":       {"Delete", faults{emptyIsRecord: true}},
		"value with error dropped":    {"ValueWithError", faults{dropWithError: true}},
		"error forgotten":             {"EqualRecord", faults{forgetError: true}},
		"nil with error deletes":      {"NilWithError", faults{deleteWithError: true}},
		"late value dropped":          {"WrittenAfterContextEnded", faults{dropAfterContext: true}},
		"no size limit":               {"LargestRecord", faults{noLimit: true}},
		"small size limit":            {"LargestRecord", faults{smallLimit: true}},
		"size error hides the other":  {"LargestRecord", faults{forgetErrorAtSize: true}},
		"empty key":                   {"EmptyKey", faults{emptyKey: true}},
		"keys without case":           {"LookalikeKeys", faults{foldKeys: true}},
		"keys cut":                    {"LookalikeKeys", faults{cutKeys: true}},
		"written after the loss":      {"LostWriteIsRefused", faults{writeLost: true}},
		"loss hides the error":        {"LostWithError", faults{forgetLostError: true}},
		"compare and swap":            {"LostWriteIsRefusedThoughUnchanged", faults{compareAndSwap: true}},
		"equal record written":        {"LostAdoptionWritesNothing", faults{writeEqual: true}},
		"loser frees the winner":      {"LoserFreesNobody", faults{freeOthers: true}},
		"no update after a loss":      {"UpdateAfterLoss", faults{keepLost: true}},
		"loss not noticed":            {"LossEndsContext", faults{unnoticedLoss: true}},
		"loss not named":              {"LossEndsContext", faults{plainLoss: true}},
	}
}

// No subtest is idle: each fails for a broken store.
func TestEachSubtestFailsForABrokenStore(t *testing.T) {
	needed := map[string]bool{}
	for _, broken := range brokenStores() {
		needed[broken.test] = true
	}
	for _, name := range cachetest.Tests() {
		if !needed[name] {
			t.Errorf("no broken store fails %s", name)
		}
	}
}

// brokenStore names, in the environment, the broken store for a child process.
const brokenStore = "CACHETEST_BROKEN_STORE"

func TestBrokenStoresFail(t *testing.T) {
	if name := os.Getenv(brokenStore); name != "" {
		f := brokenStores()[name].faults
		cachetest.RunVirtual(t, func(*testing.T) (a, b cache.Store) { return newStores(f) })
		cachetest.RunLosingVirtual(t, func(*testing.T) cachetest.Losing { return newLosing(f) })
		return
	}
	for name, broken := range brokenStores() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestBrokenStoresFail$/^"+broken.test+"$")
			cmd.Env = append(os.Environ(), brokenStore+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestBrokenStoresFail/"+broken.test) {
				t.Errorf("the suite does not notice it: %v\n%s", err, out)
			}
		})
	}
}
