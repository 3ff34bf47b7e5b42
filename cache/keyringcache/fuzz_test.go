package keyringcache_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache/keyringcache"
)

// Whatever the keyring holds, it is a key or ErrKeyring, which does not show it.
func FuzzKeyringItem(f *testing.F) {
	for _, seed := range []string{
		"", "hunter2", "awsoidc1:keyring 00:AAAA", "awsoidc1::" + strings.Repeat("A", 43) + "=", "awsoidc2:a:" + strings.Repeat("A", 43) + "=",
		"awsoidc1:keyring 0123456789abcdef:" + strings.Repeat("A", 43) + "=", "awsoidc1:\xff:" + strings.Repeat("A", 43) + "=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, item string) {
		s, err := keyringcache.New(t.TempDir(), keyringcache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.SetKeyring(func(string, string) (string, error) { return item, nil }, nil)
		err = s.Unlock(t.Context())
		if err != nil && (!errors.Is(err, keyringcache.ErrKeyring) || len(item) > 40 && strings.Contains(err.Error(), item)) {
			t.Errorf("error %v", err)
		}
	})
}
