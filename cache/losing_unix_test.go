//go:build unix && !aix && !solaris

package cache_test

import (
	"os"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

// losingDir is a folder whose locks somebody removes.
func losingDir(t *testing.T) cachetest.Losing {
	folder := t.TempDir()
	a, b := newDir(t, folder), newDir(t, folder)
	return cachetest.Losing{A: a, B: b, Lose: func(t *testing.T, key string) {
		check(t, os.Remove(strings.TrimSuffix(a.Filename(key), ".json")+".lock"))
	}}
}

func TestDirLosesALock(t *testing.T) { cachetest.RunLosing(t, losingDir) }

func TestTieredLosesALock(t *testing.T) {
	cachetest.RunLosing(t, func(t *testing.T) cachetest.Losing {
		s := losingDir(t)
		s.A, s.B = newTiered(t, s.A, cache.TieredOptions{MaxAge: 1}), newTiered(t, s.B, cache.TieredOptions{MaxAge: 1})
		return s
	})
}

func TestEncryptedLosesALock(t *testing.T) {
	cachetest.RunLosing(t, func(t *testing.T) cachetest.Losing {
		s := losingDir(t)
		s.A, s.B = newEncrypted(t, s.A, encryptionKey(t, "k")), newEncrypted(t, s.B, encryptionKey(t, "k"))
		return s
	})
}
