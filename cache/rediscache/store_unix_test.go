//go:build unix

package rediscache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
	"github.com/awsoidc/awsoidc/cache/rediscache"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

var prefixes atomic.Int64

// ownPrefix returns Options whose Store shares nothing with others.
func ownPrefix(o rediscache.Options) rediscache.Options {
	o.Prefix = fmt.Sprint("test", prefixes.Add(1), ":")
	return o
}

func encrypted(t testing.TB, inner cache.Store) cache.Store {
	t.Helper()
	store, err := sealedStore(inner)
	check(t, err)
	return store
}

func sealedStore(inner cache.Store) (cache.Store, error) {
	key, err := cache.NewEncryptionKey("2026", bytes.Repeat([]byte("k"), 32))
	if err != nil {
		return nil, err
	}
	return cache.NewEncrypted(inner, key)
}

func TestConformance(t *testing.T) {
	s := startServer(t)
	// What the documentation says that a user must be allowed.
	check(t, s.client(t).Do(t.Context(), append([]any{"ACL", "SETUSER", "app", "on", ">secret", "resetkeys", "~test*", "resetchannels", "-@all"}, documentedCommands(t)...)...).Err())
	restricted := func(t *testing.T) redis.UniversalClient {
		o := clientOptions(s.addr)
		o.Username, o.Password = "app", "secret"
		return newClientOf(t, o)
	}
	t.Run("Plain", func(t *testing.T) {
		cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
			o := ownPrefix(rediscache.Options{AllowPlaintext: true})
			return newStore(t, restricted(t), o), newStore(t, restricted(t), o)
		})
	})
	t.Run("Encrypted", func(t *testing.T) {
		cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
			o := ownPrefix(rediscache.Options{})
			return encrypted(t, newStore(t, restricted(t), o)), encrypted(t, newStore(t, restricted(t), o))
		})
	})
}

// A lease that is gone from the server is lost, as one is that another got.
func TestLosesALease(t *testing.T) {
	s := startServer(t)
	cachetest.RunLosing(t, func(t *testing.T) cachetest.Losing {
		o := ownPrefix(rediscache.Options{AllowPlaintext: true})
		c := s.client(t)
		return cachetest.Losing{
			A: newStore(t, c, o), B: newStore(t, s.client(t), o),
			Lose: func(t *testing.T, _ string) {
				leases, err := c.Keys(t.Context(), o.Prefix+"*:lease").Result()
				if err != nil || len(leases) != 1 {
					t.Fatalf("leases %v, %v; want one", leases, err)
				}
				if err := c.Del(t.Context(), leases[0]).Err(); err != nil {
					t.Fatal(err)
				}
			},
			Watched: true,
		}
	})
}

func TestClusterConformance(t *testing.T) {
	servers, addrs := startCluster(t)
	cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
		o := ownPrefix(rediscache.Options{AllowPlaintext: true})
		open := func() cache.Store {
			c := universalClient(addrs)
			t.Cleanup(func() { c.Close() })
			return newStore(t, c, o)
		}
		return open(), open()
	})
	for _, s := range servers {
		if n, err := s.client(t).DBSize(t.Context()).Result(); err != nil || n == 0 {
			t.Errorf("%d keys on %s, %v; want some on every server", n, s.addr, err)
		}
	}
	t.Run("SlotMoves", func(t *testing.T) { testSlotMoves(t, servers, addrs) })
}

// While a record moves from one server to another, an update waits for it.
func testSlotMoves(t *testing.T, servers []*server, addrs []string) {
	const key = "awsoidc:{moves}"
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true, MaxRedirects: 2})
	defer client.Close()
	var sent commands
	client.AddHook(&sent)
	store := newStore(t, client, rediscache.Options{AllowPlaintext: true})
	put(t, store, "moves", "1")

	slot := client.ClusterKeySlot(t.Context(), key).Val()
	var from, to *redis.Client
	for _, s := range servers {
		c := s.client(t)
		if c.ClusterCountKeysInSlot(t.Context(), int(slot)).Val() > 0 {
			from = c
		} else {
			to = c
		}
	}
	setSlot := func(c *redis.Client, state string, node *redis.Client) {
		t.Helper()
		id := node.ClusterMyID(t.Context()).Val()
		check(t, c.Do(t.Context(), "CLUSTER", "SETSLOT", slot, state, id).Err())
	}
	setSlot(to, "IMPORTING", from)
	setSlot(from, "MIGRATING", to)
	host, port, err := net.SplitHostPort(to.Options().Addr)
	check(t, err)
	check(t, from.Migrate(t.Context(), host, port, key, 0, 5*time.Second).Err())

	before, done := sent.n.Load(), make(chan error, 1)
	go func() {
		done <- store.Update(t.Context(), "moves", func(_ context.Context, old []byte) ([]byte, error) {
			return append(old, '2'), nil
		})
	}()
	for sent.n.Load() < before+2 && len(done) == 0 { // it asks again
		time.Sleep(time.Millisecond)
	}
	setSlot(to, "NODE", to)
	setSlot(from, "NODE", to)
	check(t, <-done)
	if raw, err := store.Get(t.Context(), "moves"); string(raw) != "12" || err != nil {
		t.Errorf("the record is %q, %v", raw, err)
	}
}

func TestPlaintextIsRefused(t *testing.T) {
	s := startServer(t)
	store := newStore(t, s.client(t), rediscache.Options{})
	err := store.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
		t.Error("the function ran: it could spend what can't be saved")
		return []byte(`{"refreshToken":"canary"}`), nil
	})
	if !errors.Is(err, rediscache.ErrPlaintext) {
		t.Errorf("Update: %v, want ErrPlaintext", err)
	}
	put(t, newStore(t, s.client(t), rediscache.Options{AllowPlaintext: true}), "key", `{"refreshToken":"canary"}`)
	if raw, err := store.Get(t.Context(), "key"); !errors.Is(err, rediscache.ErrPlaintext) || !errors.Is(err, cache.ErrUnsafe) || raw != nil {
		t.Errorf("Get of a plain record: %q, %v, want ErrPlaintext", raw, err)
	}
	if _, err := encrypted(t, store).Get(t.Context(), "key"); !errors.Is(err, cache.ErrUnsafe) {
		t.Errorf("Get of a planted record: %v", err)
	}
	sealed := encrypted(t, store)
	put(t, sealed, "other", "canary")
	if raw, err := sealed.Get(t.Context(), "other"); string(raw) != "canary" || err != nil {
		t.Errorf("Get of a sealed record: %q, %v", raw, err)
	}
}

func TestLifetimes(t *testing.T) {
	s := startServer(t)
	c := s.client(t)
	const day = 24 * time.Hour
	store := newStore(t, c, rediscache.Options{AllowPlaintext: true})
	for _, test := range []struct {
		told []time.Duration
		want time.Duration
	}{
		{nil, 90 * day},
		{[]time.Duration{time.Hour}, time.Hour},
		{[]time.Duration{time.Hour, 2 * time.Hour}, 2 * time.Hour},
		{[]time.Duration{-time.Hour}, time.Minute},
		{[]time.Duration{0}, time.Minute},
		{[]time.Duration{1000 * day}, 90 * day},
	} {
		n := 0
		err := store.Update(t.Context(), "key", func(ctx context.Context, old []byte) ([]byte, error) {
			for _, d := range test.told {
				cache.KeepFor(ctx, d)
			}
			n++
			return fmt.Appendf(old, "%d", n), nil
		})
		check(t, err)
		left, err := c.PTTL(t.Context(), "awsoidc:{key}").Result()
		if err != nil || left > test.want || left < test.want-30*time.Second {
			t.Errorf("told %v it is kept for %v, %v, want %v", test.told, left, err, test.want)
		}
	}
}

// What is refused when a Store is made.
func TestNewRefuses(t *testing.T) {
	good := &redis.Options{ContextTimeoutEnabled: true}
	for name, open := range map[string]func() (*rediscache.Store, error){
		"ContextTimeoutEnabled": func() (*rediscache.Store, error) {
			return rediscache.New(redis.NewClient(&redis.Options{}), rediscache.Options{})
		},
		"ReadOnly": func() (*rediscache.Store, error) {
			return rediscache.New(redis.NewClusterClient(&redis.ClusterOptions{ContextTimeoutEnabled: true, RouteByLatency: true}), rediscache.Options{})
		},
		"*redis.Ring": func() (*rediscache.Store, error) {
			return rediscache.New(redis.NewRing(&redis.RingOptions{ContextTimeoutEnabled: true}), rediscache.Options{})
		},
		"nil": func() (*rediscache.Store, error) { return rediscache.New((*redis.Client)(nil), rediscache.Options{}) },
		"braces": func() (*rediscache.Store, error) {
			return rediscache.New(redis.NewClient(good), rediscache.Options{Prefix: "{a}"})
		},
		"Lease": func() (*rediscache.Store, error) {
			return rediscache.New(redis.NewClient(good), rediscache.Options{Lease: time.Millisecond})
		},
	} {
		if _, err := open(); err == nil || !strings.HasPrefix(err.Error(), "rediscache: ") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// documentedCommands returns what the package's documentation says that a user
// of Redis must be allowed.
func documentedCommands(t *testing.T) (rules []any) {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	check(t, err)
	for line := range strings.Lines(string(doc)) {
		if list, ok := strings.CutPrefix(line, "//	+"); ok {
			for _, rule := range strings.Fields("+" + list) {
				rules = append(rules, rule)
			}
		}
	}
	if len(rules) == 0 {
		t.Fatal("doc.go lists no commands")
	}
	return rules
}
