package keyringcache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	zalando "github.com/zalando/go-keyring"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/keyringcache"
)

// A session is kept under a key in the keyring; the AWS CLI may use its access
// token. Give the store to profile.Options.Store or awsoidc.Config.Store.
func ExampleNew() {
	zalando.MockInit() // a keyring in memory; leave it out in a program
	home, err := os.MkdirTemp("", "home")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	awscli, err := cache.NewDir(filepath.Join(home, ".aws", "sso", "cache"))
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := keyringcache.New(filepath.Join(home, ".config", "awsoidc"), keyringcache.Options{
		Export: awscli, // in plain text: leave it out to keep the keyring's protection
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := store.Unlock(ctx); errors.Is(err, keyringcache.ErrKeyring) {
		fmt.Println(err) // it says what to do
		return
	}
	err = store.Update(ctx, "my-sso", func(ctx context.Context, old []byte) ([]byte, error) {
		return []byte(`{"startUrl":"https://d-1234567890.awsapps.com/start","region":"us-east-1",` +
			`"accessToken":"secret","expiresAt":"2030-01-01T00:00:00Z","refreshToken":"secret too"}`), nil
	})
	if err != nil {
		fmt.Println(err)
	}
	exported, err := awscli.Get(ctx, "my-sso")
	fmt.Println(string(exported), err)
	// Output: {"startUrl":"https://d-1234567890.awsapps.com/start","region":"us-east-1","accessToken":"secret","expiresAt":"2030-01-01T00:00:00Z"} <nil>
}
