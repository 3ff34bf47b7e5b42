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
