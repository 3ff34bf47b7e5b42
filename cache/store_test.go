package cache_test

import (
	"testing"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

func TestLRUConformance(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Store {
		s, err := cache.NewLRU(1000, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestDirConformance(t *testing.T) {
	newDir := func(t *testing.T, path string) *cache.Dir {
		s, err := cache.NewDir(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
		p := t.TempDir()
		return newDir(t, p), newDir(t, p)
	})
}
