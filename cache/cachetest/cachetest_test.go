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
		"lost updates":                {"NoUpdateIsLost", faults{noExclusion: true}},
		"function runs twice":         {"NoUpdateIsLost", faults{runTwice: true}},
		"wait without context":        {"WaitEndsWithContext", faults{ignoreContext: true}},
		"wait without ErrLockTimeout": {"WaitEndsWithContext", faults{noTimeoutError: true}},
		"ended context":               {"EndedContext", faults{runEnded: true}},
		"panic":                       {"PanicFreesTheRecord", faults{keepAfterPanic: true}},
		"one lock for all":            {"KeysAreIndependent", faults{oneLock: true}},
		"Get waits":                   {"GetDuringUpdate", faults{lockedGet: true}},
		"written early":               {"GetDuringUpdate", faults{writeEarly: true}},
		"another context":             {"FunctionsContext", faults{ownContext: true}},
		"inherited NotWritable":       {"NotWritableIsNotInherited", faults{inheritContext: true}},
		"own slice returned":          {"NoSharedSlices", faults{shareOut: true}},
		"own slice passed":            {"NoSharedSlices", faults{shareOld: true}},
		"caller's slice kept":         {"NoSharedSlices", faults{shareIn: true}},
		"compared in place":           {"ChangedInPlace", faults{compareInPlace: true}},
		"reformatted":                 {"RoundTrip", faults{reformat: true}},
		"no ErrMiss":                  {"Miss", faults{missIsNil: true}},
		"nil does not delete":         {"Delete", faults{noDelete: true}},
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
	}
}

// brokenStore names, in the environment, the broken store for a child process.
const brokenStore = "CACHETEST_BROKEN_STORE"

func TestBrokenStoresFail(t *testing.T) {
	if name := os.Getenv(brokenStore); name != "" {
		cachetest.RunVirtual(t, func(*testing.T) (a, b cache.Store) { return newStores(brokenStores()[name].faults) })
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
