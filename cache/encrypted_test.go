package cache_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

func encryptionKey(t testing.TB, id string) cache.EncryptionKey {
	t.Helper()
	k, err := cache.NewEncryptionKey(id, bytes.Repeat([]byte(id[:1]), 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newEncrypted(t testing.TB, inner cache.Store, write cache.EncryptionKey, read ...cache.EncryptionKey) *cache.Encrypted {
	t.Helper()
	e, err := cache.NewEncrypted(inner, write, read...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEncryptedConformance(t *testing.T) {
	for name, inner := range map[string]func(t *testing.T) cache.Store{
		"LRU":   func(t *testing.T) cache.Store { return newLRU(t, 64, 4*cache.MaxRecordBytes) },
		"Dir":   func(t *testing.T) cache.Store { return newDir(t, t.TempDir()) },
		"Local": func(*testing.T) cache.Store { return cache.Local(newMapKV()) },
	} {
		t.Run(name, func(t *testing.T) {
			cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
				shared := inner(t)
				return newEncrypted(t, shared, encryptionKey(t, "a")), newEncrypted(t, shared, encryptionKey(t, "a"))
			})
		})
	}
}

const secretRecord = `{"refreshToken":"canary"}`

// raw returns what the inner store holds.
func raw(t *testing.T, s cache.Store, key string) []byte {
	t.Helper()
	record, err := s.Get(t.Context(), key)
	check(t, err)
	return record
}

// wantRefused fails the test unless both Get and Update refuse the record under
// key, and leave it alone.
func wantRefused(t *testing.T, e, inner cache.Store, key string, target error) {
	t.Helper()
	before, _ := inner.Get(t.Context(), key)
	got, err := e.Get(t.Context(), key)
	if got != nil {
		t.Fatalf("Get returned %d bytes along with %v", len(got), err)
	}
	wantError(t, err, target)
	err = e.Update(t.Context(), key, notCalled(t))
	wantError(t, err, target)
	if errors.Is(err, cache.ErrMiss) || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %q", err)
	}
	if after, _ := inner.Get(t.Context(), key); !bytes.Equal(before, after) {
		t.Error("the refused record was changed")
	}
}

func TestEncryptedShowsNothing(t *testing.T) {
	inner := newLRU(t, 10, 1<<20)
	key := encryptionKey(t, "k")
	e := newEncrypted(t, inner, key)
	put(t, e, "a", secretRecord)
	put(t, e, "b", secretRecord)
	a, b := raw(t, inner, "a"), raw(t, inner, "b")
	if bytes.Contains(a, []byte("canary")) || bytes.Equal(a, b) || !json.Valid(a) {
		t.Errorf("stored: %s and %s", a, b)
	}
	for _, v := range []any{e, struct{ Store cache.Store }{e}, key, &key, key.Wrapper} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if shown := fmt.Sprintf(verb, v); len(shown) > 60 {
				t.Errorf("%s of a %T shows %s", verb, v, shown)
			}
		}
	}
}

func TestEncryptedRefusesWhatWasTamperedWith(t *testing.T) {
	inner := newLRU(t, 100, 1<<20)
	e := newEncrypted(t, inner, encryptionKey(t, "k"))
	put(t, e, "a", secretRecord)
	put(t, e, "b", secretRecord)
	sealed := raw(t, inner, "a")
	plant := func(record []byte) {
		t.Helper()
		put(t, inner, "a", string(record))
		wantRefused(t, e, inner, "a", cache.ErrTampered)
		wantRefused(t, newEncrypted(t, inner, encryptionKey(t, "k")), inner, "a", cache.ErrTampered)
	}
	plant(raw(t, inner, "b")) // swapped
	for n := 1; n < len(sealed); n += 7 {
		plant(sealed[:n]) // truncated
	}
	plant([]byte(secretRecord)) // never sealed
	other, err := cache.NewEncryptionKey("k", bytes.Repeat([]byte("x"), 32))
	check(t, err)
	forger := newLRU(t, 10, 1<<20)
	put(t, newEncrypted(t, forger, other), "a", secretRecord)
	plant(raw(t, forger, "a"))                           // sealed by somebody without the key
	plant(append(sealed[:len(sealed):len(sealed)], ' ')) // padded
	for _, field := range []string{"dataKey", "box"} {
		var m map[string]any
		check(t, json.Unmarshal(sealed, &m))
		good := m[field].(string)
		for i := 0; i < len(good)-4; i += 5 {
			bad := []byte(good)
			bad[i] ^= 'A' ^ 'B'
			if s := string(bad); strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == "" {
				plant(bytes.Replace(sealed, []byte(good), bad, 1))
			}
		}
	}
	put(t, inner, "a", string(sealed))
	want(t, e, "a", secretRecord)
}

func TestEncryptedRefusesAnOlderVersion(t *testing.T) {
	inner := newLRU(t, 10, 1<<20)
	writer, reader := newEncrypted(t, inner, encryptionKey(t, "k")), newEncrypted(t, inner, encryptionKey(t, "k"))
	put(t, writer, "a", `{"n":1}`)
	first := string(raw(t, inner, "a"))
	put(t, writer, "a", `{"n":2}`)
	second := string(raw(t, inner, "a"))
	put(t, inner, "a", first)
	wantRefused(t, writer, inner, "a", cache.ErrTampered)
	want(t, reader, "a", `{"n":1}`) // a process that saw nothing newer can't tell
	put(t, inner, "a", second)
	want(t, writer, "a", `{"n":2}`)
	want(t, reader, "a", `{"n":2}`)
	put(t, inner, "a", first)
	wantRefused(t, reader, inner, "a", cache.ErrTampered)

	put(t, inner, "a", second)
	check(t, writer.Update(t.Context(), "a", deleting))
	put(t, inner, "a", second) // brought back after it was deleted
	wantRefused(t, writer, inner, "a", cache.ErrTampered)
	check(t, inner.Update(t.Context(), "a", deleting))
	put(t, writer, "a", `{"n":3}`)
	want(t, reader, "a", `{"n":3}`)
}

// Deployments that share an encryption key can't be given each other's records.
func TestEncryptedNamespaces(t *testing.T) {
	inner := newLRU(t, 10, 1<<20)
	in := func(id, namespace string) cache.EncryptionKey {
		key := encryptionKey(t, id)
		key.Namespace = namespace
		return key
	}
	stores := map[string]*cache.Encrypted{}
	for _, namespace := range []string{"", "blue", "green"} {
		stores[namespace] = newEncrypted(t, inner, in("k", namespace))
	}
	for writer, s := range stores {
		check(t, inner.Update(t.Context(), "a", deleting))
		put(t, s, "a", secretRecord)
		for reader := range stores {
			fresh := newEncrypted(t, inner, in("k", reader))
			if reader == writer {
				want(t, fresh, "a", secretRecord)
			} else {
				wantRefused(t, fresh, inner, "a", cache.ErrTampered)
			}
		}
		if bytes.Contains(raw(t, inner, "a"), []byte("blue")) {
			t.Error("the record shows its namespace")
		}
	}
	// Rotation leads from one namespace to another.
	put(t, stores["blue"], "b", secretRecord)
	want(t, newEncrypted(t, inner, in("new", "green"), in("k", "blue")), "b", secretRecord)
}

func TestEncryptedRotation(t *testing.T) {
	t.Log("fips140", fips140.Enabled())
	inner := newLRU(t, 10, 1<<20)
	before, after := encryptionKey(t, "before"), encryptionKey(t, "later")
	put(t, newEncrypted(t, inner, before), "a", `{"n":1}`)
	sealed := raw(t, inner, "a")

	wantRefused(t, newEncrypted(t, inner, after), inner, "a", cache.ErrSealed)
	wantRefused(t, newEncrypted(t, inner, after), inner, "a", cache.ErrNoKey)
	both := newEncrypted(t, inner, after, before)
	put(t, both, "a", `{"n":1}`) // as it is: nothing is written
	if !bytes.Equal(raw(t, inner, "a"), sealed) {
		t.Error("an equal record was written")
	}
	put(t, both, "a", `{"n":2}`)
	want(t, newEncrypted(t, inner, after), "a", `{"n":2}`)
	wantRefused(t, newEncrypted(t, inner, before), inner, "a", cache.ErrSealed)
}

// A process that changes its keys while it runs refuses what is older all the
// same.
func TestEncryptedWithKeysRefusesAnOlderVersion(t *testing.T) {
	inner := newLRU(t, 10, 1<<20)
	before := newEncrypted(t, inner, encryptionKey(t, "before"), encryptionKey(t, "later"))
	put(t, before, "a", `{"n":1}`)
	first := string(raw(t, inner, "a"))
	put(t, before, "a", `{"n":2}`)
	second := string(raw(t, inner, "a"))
	after, err := before.WithKeys(encryptionKey(t, "later"), encryptionKey(t, "before"))
	check(t, err)
	put(t, inner, "a", first)
	wantRefused(t, after, inner, "a", cache.ErrTampered)

	put(t, inner, "a", second)
	put(t, after, "a", `{"n":3}`)
	want(t, before, "a", `{"n":3}`)
	put(t, inner, "a", second)
	wantRefused(t, before, inner, "a", cache.ErrTampered)

	_, err = after.WithKeys(encryptionKey(t, "k"), encryptionKey(t, "k"))
	wantError(t, err, nil, "two encryption keys")
}

// wrapper is a KeyWrapper of a remote service that counts, and may be down.
type wrapper struct {
	cache.KeyWrapper
	down           error
	wraps, unwraps int
}

func (w *wrapper) Wrap(ctx context.Context, dataKey []byte) ([]byte, error) {
	if w.wraps++; w.down != nil {
		return nil, w.down
	}
	return w.KeyWrapper.Wrap(ctx, dataKey)
}

func (w *wrapper) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	if w.unwraps++; w.down != nil {
		return nil, w.down
	}
	return w.KeyWrapper.Unwrap(ctx, wrapped)
}

func TestEncryptedAsksForEachDataKeyOnce(t *testing.T) {
	inner := newLRU(t, 10, 1<<20)
	key := encryptionKey(t, "k")
	w := &wrapper{KeyWrapper: key.Wrapper}
	key.Wrapper = w
	writer, reader := newEncrypted(t, inner, key), newEncrypted(t, inner, key)
	for i := range 5 {
		name := fmt.Sprint(i)
		put(t, writer, name, `{"n":1}`)
		want(t, writer, name, `{"n":1}`)
		want(t, reader, name, `{"n":1}`)
	}
	if w.wraps != 1 || w.unwraps != 1 {
		t.Errorf("%d data keys wrapped and %d unwrapped; want 1 and 1", w.wraps, w.unwraps)
	}
}

func TestEncryptedWithoutItsKeyWrapper(t *testing.T) {
	inner := newLRU(t, 10, 1<<20)
	key := encryptionKey(t, "k")
	put(t, newEncrypted(t, inner, key), "a", `{"n":1}`)
	w := &wrapper{KeyWrapper: key.Wrapper, down: errors.New("the service is down")}
	key.Wrapper = w
	e := newEncrypted(t, inner, key)
	wantRefused(t, e, inner, "a", cache.ErrSealed)
	_, err := e.Get(t.Context(), "a")
	wantError(t, err, w.down)

	// The function is told, and its value is not lost where the service is back.
	for _, back := range []bool{false, true} {
		err := e.Update(t.Context(), "new", func(ctx context.Context, _ []byte) ([]byte, error) {
			if !errors.Is(cache.NotWritable(ctx), w.down) {
				t.Errorf("NotWritable: %v", cache.NotWritable(ctx))
			}
			if back {
				w.down = nil
			}
			return []byte(`{"n":2}`), nil
		})
		if !back {
			wantError(t, err, cache.ErrNotWritten)
			wantMiss(t, inner, "new")
		} else {
			check(t, err)
			want(t, e, "new", `{"n":2}`)
		}
	}
	want(t, e, "a", `{"n":1}`)
}

func TestNewEncryptedRefusesBadKeys(t *testing.T) {
	inner, good := newLRU(t, 1, 1), encryptionKey(t, "k")
	for _, keys := range [][]cache.EncryptionKey{
		{{}}, {{ID: "k"}}, {{Wrapper: good.Wrapper}}, {good, good}, {{ID: strings.Repeat("k", 257), Wrapper: good.Wrapper}},
		{{ID: "\xff", Wrapper: good.Wrapper}}, {good, {}},
	} {
		_, err := cache.NewEncrypted(inner, keys[0], keys[1:]...)
		wantError(t, err, nil)
	}
	_, err := cache.NewEncrypted(nil, good)
	wantError(t, err, nil, "Store")
	_, err = cache.NewEncryptionKey("k", make([]byte, 16))
	wantError(t, err, nil, "32")
}

// A process that may use FIPS 140-3 algorithms only can seal and open.
func TestEncryptedInFIPSMode(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestEncryptedRotation$")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestEncryptedRotation")) || !bytes.Contains(out, []byte("fips140 true")) {
		t.Fatalf("%v: %s", err, out)
	}
}

// Whatever the store holds, Get opens it only where it was sealed for this key.
func FuzzEncryptedOpen(f *testing.F) {
	kv := newMapKV()
	e := newEncrypted(f, cache.Local(kv), encryptionKey(f, "k"))
	if err := e.Update(f.Context(), "a", returning(secretRecord)); err != nil {
		f.Fatal(err)
	}
	sealed := bytes.Clone(kv.values["a"])
	f.Add(sealed)
	for _, seed := range []string{"", "{}", "null", `{"awsoidcSealed":1,"keyId":"k","dataKey":"AA==","box":"AA=="}`, `{"awsoidcSealed":2}`, secretRecord} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		kv.values["a"] = content
		got, err := e.Get(t.Context(), "a")
		switch {
		case bytes.Equal(content, sealed):
			if err != nil || string(got) != secretRecord {
				t.Fatalf("the sealed record: %q, %v", got, err)
			}
		case err == nil || got != nil:
			t.Fatalf("opened %q", content)
		case !errors.Is(err, cache.ErrSealed) && !errors.Is(err, cache.ErrTampered) && !errors.Is(err, cache.ErrMiss) && !errors.Is(err, cache.ErrUnsafe):
			t.Fatalf("error %v", err)
		}
	})
}
