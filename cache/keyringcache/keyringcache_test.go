package keyringcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	zalando "github.com/zalando/go-keyring"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
	"github.com/awsoidc/awsoidc/cache/keyringcache"
)

// fakeKeyring is a keyring in memory.
type fakeKeyring struct {
	mu      sync.Mutex
	items   map[string]string
	asked   int
	sets    int
	fault   error
	panics  bool
	forgets bool          // what it is given
	hang    chan struct{} // until this is closed
}

func (k *fakeKeyring) begin() error {
	k.mu.Lock()
	k.asked++
	hang, fault, panics := k.hang, k.fault, k.panics
	k.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if panics {
		panic("what came over D-Bus is not what was expected")
	}
	return fault
}

func (k *fakeKeyring) get(service, account string) (string, error) {
	if err := k.begin(); err != nil {
		return "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if item, ok := k.items[service+"\n"+account]; ok {
		return item, nil
	}
	return "", zalando.ErrNotFound
}

func (k *fakeKeyring) set(service, account, item string) error {
	if err := k.begin(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sets++
	if k.items == nil {
		k.items = map[string]string{}
	}
	if !k.forgets {
		k.items[service+"\n"+account] = item
	}
	return nil
}

// reset makes every item another, or none.
func (k *fakeKeyring) reset(item string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range k.items {
		if k.items[name] = item; item == "" {
			delete(k.items, name)
		}
	}
}

func (k *fakeKeyring) open(t testing.TB, folder string, options keyringcache.Options) *keyringcache.Store {
	t.Helper()
	s, err := keyringcache.New(folder, options)
	if err != nil {
		t.Fatal(err)
	}
	s.SetKeyring(k.get, k.set)
	return s
}

func put(t *testing.T, s cache.Store, key, record string) {
	t.Helper()
	err := s.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return []byte(record), nil })
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func want(t *testing.T, s cache.Store, key, record string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); string(got) != record || err != nil {
		t.Fatalf("Get: %q, %v; want %q", got, err, record)
	}
}

// wantError fails the test unless err is one line that wraps target.
func wantError(t *testing.T, err, target error, words ...string) {
	t.Helper()
	if !errors.Is(err, target) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error %v; want one line that wraps %v", err, target)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q lacks %q", err, word)
		}
	}
}

func notCalled(t *testing.T) func(context.Context, []byte) ([]byte, error) {
	return func(context.Context, []byte) ([]byte, error) {
		t.Error("the update function ran")
		return nil, nil
	}
}

// content returns all that is in the files below a folder.
func content(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all.WriteString(entry.Name())
		all.Write(raw)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all.String()
}

func TestConformance(t *testing.T) {
	cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
		k, folder := &fakeKeyring{}, filepath.Join(t.TempDir(), "not", "yet")
		return k.open(t, folder, keyringcache.Options{}), k.open(t, folder, keyringcache.Options{})
	})
}

// With a folder for the AWS CLI beside it, it is the same store.
func TestConformanceWithExport(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Store {
		export, err := cache.NewDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return (&fakeKeyring{}).open(t, t.TempDir(), keyringcache.Options{Export: export, ExportFailed: func(err error) { t.Error(err) }})
	})
}

func TestNewChecksItsFolders(t *testing.T) {
	if _, err := keyringcache.New("", keyringcache.Options{}); err == nil {
		t.Error("no folder is taken")
	}
	folder := t.TempDir()
	export, err := cache.NewDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyringcache.New(folder, keyringcache.Options{Export: export}); err == nil {
		t.Error("plain and sealed records may be in one folder")
	}
}

// The folder shows no record and no key; nor does a format verb.
func TestFolderIsSealed(t *testing.T) {
	k, folder := &fakeKeyring{}, t.TempDir()
	s := k.open(t, folder, keyringcache.Options{})
	put(t, s, "key", `{"refreshToken":"canary"}`)
	var secret string
	for _, item := range k.items {
		secret = item[strings.LastIndex(item, ":")+1:]
	}
	shown := content(t, folder) + fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s)
	if len(secret) < 40 || strings.Contains(shown, "canary") || strings.Contains(shown, secret) {
		t.Errorf("a secret is shown, or the test does not know it: %s", shown)
	}
	if len(k.items) != 1 || k.sets != 1 {
		t.Errorf("the keyring has %d items, and was given %d", len(k.items), k.sets)
	}
	want(t, k.open(t, folder, keyringcache.Options{}), "key", `{"refreshToken":"canary"}`)
	other := k.open(t, t.TempDir(), keyringcache.Options{})
	put(t, other, "key", `{}`)
	want(t, s, "key", `{"refreshToken":"canary"}`)
	if len(k.items) != 2 {
		t.Error("two folders have one key")
	}
}

// Whoever has no session does not make a keyring ask a person for a password.
func TestMissDoesNotAskTheKeyring(t *testing.T) {
	k := &fakeKeyring{}
	s := k.open(t, t.TempDir(), keyringcache.Options{})
	if _, err := s.Get(t.Context(), "key"); !errors.Is(err, cache.ErrMiss) {
		t.Errorf("Get: %v", err)
	}
	if k.asked != 0 {
		t.Error("the keyring was asked")
	}
	put(t, s, "key", `{}`)
	k.asked = 0
	for range 10 {
		want(t, s, "key", `{}`)
		put(t, s, "key", `{"n":1}`)
		put(t, s, "key", `{}`)
	}
	if k.asked != 0 {
		t.Error("the keyring was asked again")
	}
}

// Without the keyring nothing is read, nothing saved, nothing changed; and all
// is well once it works.
func TestNoKeyring(t *testing.T) {
	locked := errors.New("the collection is locked")
	for name, breaks := range map[string]func(*fakeKeyring){
		"locked":  func(k *fakeKeyring) { k.fault = locked },
		"panics":  func(k *fakeKeyring) { k.panics = true },
		"strange": func(k *fakeKeyring) { k.reset("hunter2") },
	} {
		t.Run(name, func(t *testing.T) {
			k, folder := &fakeKeyring{}, t.TempDir()
			put(t, k.open(t, folder, keyringcache.Options{}), "key", `{"refreshToken":"canary"}`)
			before := content(t, folder)
			item := ""
			for _, item = range k.items {
			}
			breaks(k)
			s := k.open(t, folder, keyringcache.Options{})
			_, err := s.Get(t.Context(), "key")
			wantError(t, err, keyringcache.ErrKeyring, "keyringcache: ", "; ")
			wantError(t, err, cache.ErrSealed)
			for _, key := range []string{"key", "new"} {
				err := s.Update(t.Context(), key, notCalled(t))
				wantError(t, err, keyringcache.ErrKeyring)
				if strings.Contains(err.Error(), "hunter2") || name == "locked" && !errors.Is(err, locked) {
					t.Errorf("Update: %v", err)
				}
			}
			wantError(t, s.Unlock(t.Context()), keyringcache.ErrKeyring)
			if content(t, folder) != before {
				t.Error("the folder has changed")
			}
			k.fault, k.panics = nil, false
			k.reset(item)
			want(t, s, "key", `{"refreshToken":"canary"}`)
		})
	}
	t.Run("forgets", func(t *testing.T) {
		folder := t.TempDir()
		s := (&fakeKeyring{forgets: true}).open(t, folder, keyringcache.Options{})
		wantError(t, s.Update(t.Context(), "key", notCalled(t)), keyringcache.ErrKeyring, "keep")
		if strings.Contains(content(t, folder), "awsoidcSealed") {
			t.Error("a record was saved under a key that is lost")
		}
	})
}

// A hung keyring holds nobody longer than Timeout and the context allow, and
// one goroutine in all; what it answers later is not lost.
func TestHungKeyring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, folder := &fakeKeyring{}, t.TempDir()
		put(t, k.open(t, folder, keyringcache.Options{}), "key", `{"n":1}`)
		k.hang = make(chan struct{})
		s := k.open(t, folder, keyringcache.Options{Timeout: time.Minute})
		for _, test := range []struct{ timeout, took time.Duration }{
			{time.Second, time.Second}, {time.Hour, 59 * time.Second}, {time.Hour, time.Minute}, {5 * time.Second, 5 * time.Second},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
			begin := time.Now()
			_, err := s.Get(ctx, "key")
			wantError(t, err, keyringcache.ErrKeyring, "; ")
			wantError(t, err, context.DeadlineExceeded)
			if took := time.Since(begin); took != test.took {
				t.Errorf("Get took %v, want %v: %v", took, test.took, err)
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.Update(ctx, "key", notCalled(t))
		wantError(t, err, cache.ErrLockTimeout)
		wantError(t, err, keyringcache.ErrKeyring)
		time.Sleep(time.Hour)
		if n := goroutinesOfThePackage(); n != 1 {
			t.Errorf("%d goroutines wait for the keyring, want the one with the question", n)
		}

		// A person unlocks it.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.Get(ctx, "key")
		wantError(t, err, keyringcache.ErrKeyring, "answered")
		close(k.hang)
		synctest.Wait()
		asked := k.asked
		want(t, s, "key", `{"n":1}`)
		if k.asked > asked {
			t.Error("the late answer was lost")
		}
	})
}

// goroutinesOfThePackage returns how many goroutines were started by it and have
// not ended.
func goroutinesOfThePackage() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "created by github.com/awsoidc/awsoidc/cache/keyringcache.")
}

// Stores that make the key at a time agree on one.
func TestOneKeyForAll(t *testing.T) {
	const stores = 8
	k, folder := &fakeKeyring{}, t.TempDir()
	var arrived, all sync.WaitGroup
	arrived.Add(stores)
	for i := range stores {
		s := k.open(t, folder, keyringcache.Options{})
		wait := sync.OnceFunc(func() { arrived.Done(); arrived.Wait() })
		s.SetKeyring(func(service, account string) (string, error) {
			item, err := k.get(service, account)
			wait() // until all have seen that there is no key
			return item, err
		}, k.set)
		all.Go(func() { put(t, s, fmt.Sprint(i), fmt.Sprint(i)) })
	}
	all.Wait()
	if k.sets != 1 {
		t.Errorf("%d keys were made", k.sets)
	}
	s := k.open(t, folder, keyringcache.Options{})
	for i := range stores {
		want(t, s, fmt.Sprint(i), fmt.Sprint(i))
	}
}

// What was sealed with a key that the keyring has lost counts as missing, stays
// until it is replaced, and is replaced by all with the same new key.
func TestLostKey(t *testing.T) {
	k, folder := &fakeKeyring{}, t.TempDir()
	old := k.open(t, folder, keyringcache.Options{})
	put(t, old, "a", `{"n":1}`)
	put(t, old, "b", `{"n":1}`)
	before, _ := os.ReadFile(old.Filename("a"))
	item := ""
	for _, item = range k.items {
	}
	k.reset("")

	s := k.open(t, folder, keyringcache.Options{})
	_, err := s.Get(t.Context(), "a")
	wantError(t, err, keyringcache.ErrKeyLost)
	wantError(t, err, cache.ErrMiss)
	failed := errors.New("nobody signed in")
	err = s.Update(t.Context(), "a", func(_ context.Context, old []byte) ([]byte, error) {
		if old != nil {
			t.Errorf("the function got %q", old)
		}
		return nil, failed
	})
	wantError(t, err, failed)
	if err := s.Update(t.Context(), "a", func(context.Context, []byte) ([]byte, error) { return nil, nil }); err != nil {
		t.Errorf("Update to nothing: %v", err)
	}
	if after, _ := os.ReadFile(old.Filename("a")); !bytes.Equal(before, after) {
		t.Error("the record was removed before there was another")
	}
	// Had the keyring been another one for a while, all is as it was.
	first, _ := k.get("awsoidc", folder)
	k.reset(item)
	want(t, s, "a", `{"n":1}`)
	k.reset(first)

	put(t, s, "a", `{"n":2}`)
	want(t, s, "a", `{"n":2}`)

	// Who still has the old key finds the new one, and keeps what it could read.
	want(t, old, "a", `{"n":2}`)
	want(t, old, "b", `{"n":1}`)
	put(t, old, "b", `{"n":3}`)
	want(t, s, "b", `{"n":3}`)
	if k.sets != 2 {
		t.Errorf("%d keys were made, want the first and the second", k.sets)
	}
}

// An older record is refused, also once there is another key.
func TestOlderIsRefused(t *testing.T) {
	k, folder := &fakeKeyring{}, t.TempDir()
	s := k.open(t, folder, keyringcache.Options{})
	dir, err := cache.NewDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", `{"n":1}`)
	first, err := dir.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", `{"n":2}`)
	put(t, dir, "a", string(first))
	_, err = s.Get(t.Context(), "a")
	wantError(t, err, cache.ErrTampered)

	k.reset("")
	put(t, k.open(t, folder, keyringcache.Options{}), "b", `{"n":3}`)
	want(t, s, "b", `{"n":3}`) // with the other key
	_, err = s.Get(t.Context(), "a")
	wantError(t, err, cache.ErrTampered)
}

// A record that somebody forged, or that a newer program wrote, is not missing.
func TestRefusedIsNotLost(t *testing.T) {
	k, folder := &fakeKeyring{}, t.TempDir()
	s := k.open(t, folder, keyringcache.Options{})
	put(t, s, "a", `{"n":1}`)
	put(t, s, "b", `{"n":2}`)
	dir, err := cache.NewDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	b, err := dir.Get(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, "a", string(b))
	_, err = s.Get(t.Context(), "a")
	wantError(t, err, cache.ErrTampered)
	wantError(t, s.Update(t.Context(), "a", notCalled(t)), cache.ErrTampered)
	put(t, dir, "a", `{"awsoidcSealed":2}`)
	_, err = s.Get(t.Context(), "a")
	wantError(t, err, cache.ErrSealed)
	wantError(t, s.Update(t.Context(), "a", notCalled(t)), cache.ErrSealed)
}
