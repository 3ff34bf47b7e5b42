//go:build unix

package rediscache_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/rediscache"
)

// short are Options with a lease that tests can wait out.
var short = rediscache.Options{AllowPlaintext: true, Lease: 3 * time.Second}

// The lease is renewed for as long as the function runs.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a, b := newStore(t, s.client(t), short), newStore(t, s.client(t), short)
	err := a.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		waiting, cancel := context.WithTimeout(t.Context(), 2*short.Lease)
		defer cancel()
		err := b.Update(waiting, "key", func(context.Context, []byte) ([]byte, error) {
			t.Error("another one got the record meanwhile")
			return nil, nil
		})
		if !errors.Is(err, cache.ErrLockTimeout) {
			t.Errorf("Update of the other: %v, want ErrLockTimeout", err)
		}
		if ctx.Err() != nil {
			t.Errorf("the function's context has ended: %v", context.Cause(ctx))
		}
		return []byte("1"), nil
	})
	if err != nil {
		t.Errorf("Update: %v", err)
	}
}

// Whoever lost the lease is told, and its write refused, even if it comes late.
func TestLostLease(t *testing.T) {
	s := startServer(t)
	a, b := newStore(t, s.client(t), short), newStore(t, s.client(t), short)
	put(t, a, "key", "1")
	for name, lose := range map[string]func(){
		"flushed":    func() { check(t, s.client(t).FlushAll(t.Context()).Err()) },
		"taken":      func() { check(t, s.client(t).Del(t.Context(), "awsoidc:{key}:lease").Err()); put(t, b, "key", "2") },
		"held":       func() { check(t, s.client(t).HSet(t.Context(), "awsoidc:{key}:lease", "owner", "somebody").Err()) },
		"taken anew": func() { check(t, s.client(t).HSet(t.Context(), "awsoidc:{key}:lease", "grant", "later").Err()) },
	} {
		var before string
		err := a.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
			lose()
			raw, _ := b.Get(t.Context(), "key")
			before = string(raw)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
				t.Errorf("%s: the function's context goes on", name)
			}
			if !errors.Is(context.Cause(ctx), cache.ErrLost) {
				t.Errorf("%s: the cause is %v, want ErrLost", name, context.Cause(ctx))
			}
			return []byte("late"), nil
		})
		if !errors.Is(err, cache.ErrLost) {
			t.Errorf("%s: Update: %v, want ErrLost", name, err)
		}
		if raw, _ := b.Get(t.Context(), "key"); string(raw) != before {
			t.Errorf("%s: the record is %q, was %q", name, raw, before)
		}
		check(t, s.client(t).FlushAll(t.Context()).Err())
		put(t, a, "key", "1")
	}
}

// While the server stands still for longer than the lease, the function's
// context ends; the write succeeds all the same where nobody else had the
// record.
func TestPausedServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	a, b := newStore(t, s.client(t), short), newStore(t, s.client(t), short)
	other := make(chan error, 1)
	err := a.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		began := time.Now()
		go func() {
			other <- b.Update(t.Context(), "key", func(_ context.Context, old []byte) ([]byte, error) {
				if string(old) != "made" {
					t.Errorf("the other one finds %q", old)
				}
				return append(old, " and seen"...), nil
			})
		}()
		s.pause(2 * short.Lease)
		if ctx.Err() == nil || !errors.Is(context.Cause(ctx), cache.ErrLost) {
			t.Errorf("after %v without an answer the function's context has not ended: %v", time.Since(began), context.Cause(ctx))
		}
		return []byte("made"), nil
	})
	if err != nil {
		t.Errorf("Update: %v", err)
	}
	if err := <-other; err != nil {
		t.Errorf("Update of the other: %v", err)
	}
	if raw, err := b.Get(t.Context(), "key"); string(raw) != "made and seen" || err != nil {
		t.Errorf("the record is %q, %v", raw, err)
	}
}

// A write whose answer is lost, with the server, is found to be done.
func TestRestartDuringUpdate(t *testing.T) {
	s := startServer(t)
	a, b := newStore(t, s.client(t), short), newStore(t, s.client(t), short)
	err := a.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		s.restart()
		return []byte("made"), nil
	})
	if err != nil {
		t.Errorf("Update: %v", err)
	}
	if raw, err := b.Get(t.Context(), "key"); string(raw) != "made" || err != nil {
		t.Errorf("the record is %q, %v", raw, err)
	}
}

// commands counts the commands of a client.
type commands struct{ n atomic.Int64 }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Errors say what to do, and Redis that is down is not waited for again and
// again.
func TestServerIsDown(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var sent commands
	client := s.client(t)
	client.AddHook(&sent)
	store := newStore(t, client, short)
	put(t, store, "key", "1")
	s.kill()
	fn := func(context.Context, []byte) ([]byte, error) {
		t.Error("the function ran")
		return nil, nil
	}
	if _, err := store.Get(t.Context(), "key"); err == nil || errors.Is(err, cache.ErrMiss) || !contains(err.Error(), "see that Redis is up") {
		t.Errorf("Get: %v", err)
	}
	began, before := time.Now(), sent.n.Load()
	for range 100 {
		if err := store.Update(t.Context(), "key", fn); !errors.Is(err, cache.ErrLock) || !contains(err.Error(), "see that Redis is up") {
			t.Errorf("Update: %v, want ErrLock", err)
		}
	}
	if n, most := sent.n.Load()-before, 1+int64(time.Since(began)/time.Second); n > most {
		t.Errorf("Redis was asked %d times, want %d at most", n, most)
	}
	s.start()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		raw, err := store.Get(t.Context(), "key")
		if err == nil && string(raw) == "1" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Get of a server that is back: %q, %v", raw, err)
		}
	}
	put(t, store, "key", "2")
}

func TestErrorsSayWhatToDo(t *testing.T) {
	s := startServer(t)
	c := s.client(t)
	check(t, c.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">secret", "~*", "-@all", "+ping").Err())
	for _, test := range []struct{ user, password, want string }{
		{"app", "secret", "allow the user the commands"},
		{"app", "wrong", "give the client the user and password"},
	} {
		o := clientOptions(s.addr)
		o.Username, o.Password = test.user, test.password
		store := newStore(t, newClientOf(t, o), short)
		_, err := store.Get(t.Context(), "key")
		if err == nil || !contains(err.Error(), test.want) || contains(err.Error(), "secret") {
			t.Errorf("Get: %v, want %q", err, test.want)
		}
		err = store.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) { return nil, nil })
		if !errors.Is(err, cache.ErrLock) || !contains(err.Error(), test.want) {
			t.Errorf("Update: %v, want ErrLock, %q", err, test.want)
		}
	}
	check(t, c.ConfigSet(t.Context(), "maxmemory", "1").Err())
	err := newStore(t, c, short).Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	if !errors.Is(err, cache.ErrLock) || !contains(err.Error(), "Redis is full") {
		t.Errorf("Update: %v, want ErrLock", err)
	}
}
