package cachetest

import (
	"testing"
	"testing/synctest"

	"github.com/awsoidc/awsoidc/cache"
)

// RunVirtual is RunShared in virtual time: an operation that hangs is found at
// once.
func RunVirtual(t *testing.T, newStores func(t *testing.T) (a, b cache.Store)) {
	run(t, newStores, synctest.Test)
}

// RunLosingVirtual is RunLosing in virtual time.
func RunLosingVirtual(t *testing.T, newStore func(t *testing.T) Losing) {
	runTests(t, losingTests, newStore, synctest.Test)
}

// Tests returns the names of all subtests.
func Tests() (names []string) {
	for _, test := range storeTests {
		names = append(names, test.name)
	}
	for _, test := range losingTests {
		names = append(names, test.name)
	}
	return names
}
