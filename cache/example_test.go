package cache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/awsoidc/awsoidc/cache"
)

// A counter that all who share the store may increment.
func ExampleStore() {
	store := cache.Local(table{}) // or a *cache.Dir, or a *cache.LRU
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	count := func(ctx context.Context, old []byte) ([]byte, error) {
		n := 0
		if old != nil {
			if _, err := fmt.Sscan(string(old), &n); err != nil {
				return nil, err // nothing is written
			}
		}
		return fmt.Append(nil, n+1), nil
	}
	for range 3 {
		if err := store.Update(ctx, "visits", count); err != nil {
			fmt.Println(err)
		}
	}
	record, err := store.Get(ctx, "visits")
	fmt.Println(string(record), err)
	// Output: 3 <nil>
}

// Work that must be done once: whoever gets the record second finds it done.
func ExampleStore_update() {
	store, err := cache.NewLRU(1000, 1<<20)
	if err != nil {
		fmt.Println(err)
		return
	}
	renew := func(ctx context.Context, old []byte) ([]byte, error) {
		if old != nil {
			return old, nil // adopted: nothing is written
		}
		if err := cache.NotWritable(ctx); err != nil {
			return nil, err // the result would be lost, so don't begin
		}
		fmt.Println("renewing")
		return []byte(`{"token":"…"}`), nil
	}
	for range 2 {
		if err := store.Update(context.Background(), "session", renew); err != nil {
			fmt.Println(err)
		}
	}
	// Output: renewing
}

func ExampleNewLRU() {
	store, err := cache.NewLRU(100_000, 256<<20) // 100,000 records, 256 MiB
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_, err = store.Get(ctx, "user 1")
	fmt.Println(errors.Is(err, cache.ErrMiss))

	err = store.Update(ctx, "user 1", func(ctx context.Context, old []byte) ([]byte, error) {
		return []byte("opaque bytes"), nil
	})
	if err != nil {
		fmt.Println(err)
	}
	record, err := store.Get(ctx, "user 1")
	fmt.Println(string(record), err)
	// Output:
	// true
	// opaque bytes <nil>
}

func ExampleNewDir() {
	home, err := os.MkdirTemp("", "home") // os.UserHomeDir() in a program
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	store, err := cache.NewDir(filepath.Join(home, ".aws", "sso", "cache"))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = store.Update(context.Background(), "my-sso", func(ctx context.Context, old []byte) ([]byte, error) {
		return []byte(`{"startUrl":"https://d-1234567890.awsapps.com/start"}`), nil
	})
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(filepath.Base(store.Filename("my-sso"))) // where the AWS CLI looks for it
	// Output: 0ad374308c5a4e22f723adf10145eafad7c4031c.json
}

// table is a key-value store without a lock, such as a table of an embedded
// database.
type table map[string][]byte

func (t table) Get(_ context.Context, key string) ([]byte, error) {
	if value, ok := t[key]; ok {
		return value, nil
	}
	return nil, cache.ErrMiss
}

func (t table) Set(_ context.Context, key string, value []byte) error {
	t[key] = value
	return nil
}

func (t table) Delete(_ context.Context, key string) error {
	delete(t, key)
	return nil
}

func ExampleLocal() {
	store := cache.Local(table{})
	err := store.Update(context.Background(), "key", func(ctx context.Context, old []byte) ([]byte, error) {
		return []byte("value"), nil
	})
	if err != nil {
		fmt.Println(err)
	}
	record, err := store.Get(context.Background(), "key")
	fmt.Println(string(record), err)
	// Output: value <nil>
}

// Two processes keep the records of one store in memory, for a minute.
func ExampleNewTiered() {
	shared := cache.Local(table{}) // a database that they share
	options := cache.TieredOptions{MaxAge: time.Minute, MaxOutage: time.Hour}
	here, err := cache.NewTiered(shared, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	there, err := cache.NewTiered(shared, options)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	for _, record := range []string{"one", "two"} {
		err := here.Update(ctx, "key", func(context.Context, []byte) ([]byte, error) { return []byte(record), nil })
		if err != nil {
			fmt.Println(err)
		}
		mine, _ := here.Get(ctx, "key")
		theirs, _ := there.Get(ctx, "key")
		fmt.Printf("here %s, there %s\n", mine, theirs)
	}
	// Output:
	// here one, there one
	// here two, there one
}
