//go:build unix && !aix && !solaris

package keyringcache_test

import (
	"os"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache/cachetest"
	"github.com/awsoidc/awsoidc/cache/keyringcache"
)

func TestLosesALock(t *testing.T) {
	cachetest.RunLosing(t, func(t *testing.T) cachetest.Losing {
		k, folder := &fakeKeyring{}, t.TempDir()
		a, b := k.open(t, folder, keyringcache.Options{}), k.open(t, folder, keyringcache.Options{})
		return cachetest.Losing{A: a, B: b, Lose: func(t *testing.T, key string) {
			if err := os.Remove(strings.TrimSuffix(a.Filename(key), ".json") + ".lock"); err != nil {
				t.Fatal(err)
			}
		}}
	})
}
