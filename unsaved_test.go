package awsoidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

func TestDeadTokenAfterBriefWait(t *testing.T) {
	for _, noBackground := range []bool{true, false} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			store := newLRU(t)
			tok, _ := signedIn(t, srv, withStore(store)).Token()
			expires := tok.Extra("expires_at").(time.Time)
			time.Sleep(time.Until(expires) - 2*time.Second)
			srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Hang: true})
			src := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.NoBackground = noBackground })
			b, err := src.RetrieveBearerToken(t.Context())
			if err == nil && !time.Now().Before(b.Expires) {
				t.Errorf("NoBackground %v: a token that expired %v ago was served", noBackground, time.Since(b.Expires))
			}
		})
	}
}

func TestForeignSignInDuringRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		time.Sleep(45 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 3 * time.Second})
		bearer(t, src) // starts the refresh
		time.Sleep(time.Second)
		other, _ := json.Marshal(srv.Issue("sso:account:access")) // aws sso login, perhaps as somebody else
		os.WriteFile(dir.Filename("corp"), other, 0o600)
		time.Sleep(5 * time.Second)
		after, _ := os.ReadFile(dir.Filename("corp"))
		if member(t, after, "refreshToken") != member(t, other, "refreshToken") {
			t.Error("the CLI's sign-in of a moment ago was overwritten by the refresh of the session before")
		}
	})
}

func TestForeignSignOutDuringRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		time.Sleep(45 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 3 * time.Second})
		bearer(t, src)
		time.Sleep(time.Second)
		os.Remove(dir.Filename("corp")) // aws sso logout
		time.Sleep(5 * time.Second)
		if _, err := os.Stat(dir.Filename("corp")); err == nil {
			t.Error("signed out, and the record is back")
		}
	})
}

type lateFailure struct {
	cache.Store
	fail atomic.Bool
}

func (s *lateFailure) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	fail := s.fail.Load() && strings.Contains(key, "session")
	var failed error
	err := s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		v, err := fn(ctx, old)
		if fail && v != nil {
			time.Sleep(3 * time.Second) // tries to write
			failed = errors.Join(cache.ErrNotWritten, syscall.EIO)
			return nil, failed
		}
		return v, err
	})
	if fail {
		time.Sleep(time.Millisecond) // whatever happens between unlock and return
	}
	return err
}

func TestSpentTokenSentAgain(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &lateFailure{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		time.Sleep(2 * time.Hour)
		store.fail.Store(true)
		token := bearer(t, src) // after saveGrace: refreshed, still being saved
		src.Invalidate(token)   // a 401
		_, err := src.Token()
		if srv.Reuses() != 0 {
			t.Errorf("%d reuses: the spent refresh token was sent again: %v", srv.Reuses(), err)
		}
	})
}

// A sign-in that the store did not take, and a later one elsewhere: that stands.
func TestUnsavedSignInAndALaterOne(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t)}
		signedIn(t, srv, withStore(store)) // Alice
		src := newSource(t, srv, withStore(store))
		time.Sleep(10 * time.Minute)
		store.change = refuseSession
		if src.Login(t.Context()) == nil { // Bob
			t.Error("Login did not say that the session is not saved")
		}
		store.change = nil
		time.Sleep(10 * time.Minute)
		carol := bearer(t, signedIn(t, srv, withStore(store)))
		if src.Close() == nil {
			t.Error("Close did not say that the sign-in is not saved")
		}
		if bearer(t, newSource(t, srv, withStore(store))) != carol {
			t.Error("the later sign-in was undone")
		}
	})
}

func TestUnsavedLegacySignIn(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t), change: refuseSession}
		legacy := func(c *awsoidc.Config) { c.SessionName = "" }
		src := newSource(t, srv, withStore(store), legacy)
		t.Log(src.Login(t.Context()))
		store.change = nil
		time.Sleep(time.Minute)
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := newSource(t, srv, withStore(store), legacy).Token(); err != nil {
			t.Errorf("Close said that all is saved: %v", err)
		}
	})
}

type hungGet struct {
	cache.Store
	hang atomic.Bool
	end  chan struct{}
}

func (s *hungGet) Get(ctx context.Context, key string) ([]byte, error) {
	if s.hang.Load() {
		select {
		case <-ctx.Done():
		case <-s.end:
		}
		return nil, errors.New("gone")
	}
	return s.Store.Get(ctx, key)
}

func TestHungGet(t *testing.T) {
	srv := idctest.New()
	virtual(t, func(t *testing.T) {
		store := &hungGet{Store: newLRU(t), end: make(chan struct{})}
		defer close(store.end)
		src := signedIn(t, srv, withStore(store))
		time.Sleep(45 * time.Minute)
		store.hang.Store(true)
		bearer(t, src)
		synctest.Wait()
		store.hang.Store(false) // well again
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		_, err := src.TokenContext(ctx)
		_ = err
		time.Sleep(16 * time.Minute)
		if _, err := src.TokenContext(ctx); err != nil {
			t.Errorf("store has been well for hours: %v", err)
		}
		go func() { done <- src.Close() }()
		select {
		case <-done:
		case <-time.After(24 * time.Hour):
			t.Error("Close hangs for a day")
		}
	})
}

func TestSpentRing(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.SessionLifetime = 90 * 24 * time.Hour
		store := &brokenStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		store.reserve, store.write = syscall.ENOSPC, syscall.ENOSPC
		for i := range 40 {
			time.Sleep(61 * time.Minute)
			if _, err := src.Token(); err != nil || srv.Reuses() > 0 {
				t.Fatalf("expiry %d: %d reuses: %v", i+1, srv.Reuses(), err)
			}
		}
	})
}

func TestSpentTokenAfterRefusal(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &brokenStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		store.write = syscall.EIO
		time.Sleep(2 * time.Hour)
		bearer(t, src) // R1 -> R2, unsaved
		time.Sleep(61 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: "InvalidGrantException"})
		_, err := src.Token()
		t.Log(err)
		time.Sleep(2 * time.Minute)
		_, err = src.Token()
		if srv.Reuses() > 0 {
			t.Errorf("a refresh token that was exchanged for another was sent again: %v", err)
		}
	})
}

func TestForeignMembersOfASupersededRecord(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		k := &keyed{Store: newLRU(t)}
		store := &hooked{Store: k}
		signedIn(t, srv, withStore(store))
		src := newSource(t, srv, withStore(store))
		bearer(t, src)
		store.change = refuseSession
		time.Sleep(2 * time.Hour)
		bearer(t, src)
		store.change = nil
		m := map[string]any{}
		json.Unmarshal(k.read(t), &m)
		m["theirs"] = "kept?"
		raw, _ := json.Marshal(m)
		k.put(t, raw)
		src.Close()
		if member(t, k.read(t), "theirs") == "" {
			t.Error("another tool's member is gone")
		}
	})
}

func TestTwoFirstUses(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		first := bearer(t, signedIn(t, srv, withStore(store)))
		time.Sleep(45 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 60 * time.Millisecond})
		src := newSource(t, srv, withStore(store))
		go src.Token() // a program that warms up
		synctest.Wait()
		if bearer(t, src) == first {
			t.Error("the program's main goroutine has its token at once and ends: the refresh dies half done")
		}
	})
}

func TestPromptCanceled(t *testing.T) {
	virtual(t, func(t *testing.T) {
		src := newSource(t, idctest.New(), func(c *awsoidc.Config) {
			c.Prompt = awsoidc.PromptFunc(func(context.Context, awsoidc.Verification) error { return context.Canceled })
		})
		if err := src.Login(t.Context()); errors.Is(err, awsoidc.ErrClosed) {
			t.Errorf("the person cancelled at the prompt: %v", err)
		}
	})
}
