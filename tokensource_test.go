package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	bearercache "github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

func TestTokenWithoutSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := newSource(t, srv, func(c *awsoidc.Config) { c.LoginHint = "run the login program" })
		_, err := src.Token()
		if !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Fatalf("got %v, want ErrLoginRequired", err)
		}
		want := "awsoidc: sign-in required: there is no session in the store; to sign in, run the login program"
		if err.Error() != want {
			t.Errorf("got  %q\nwant %q", err, want)
		}
		if n := srv.Count(idctest.AnyOperation).Requests; n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

func TestTokenAfterLogin(t *testing.T) {
	virtual(t, func(t *testing.T) {
		src := signedIn(t, idctest.New())
		issued := time.Now()
		token, err := src.Token()
		if err != nil {
			t.Fatal(err)
		}
		if token.AccessToken == "" || token.Type() != "Bearer" || token.RefreshToken != "" || !token.Valid() {
			t.Errorf("unexpected token of type %q, valid %v", token.Type(), token.Valid())
		}
		expires, _ := token.Extra("expires_at").(time.Time)
		if d := expires.Sub(issued); d > time.Hour || d < time.Hour-2*time.Second {
			t.Errorf("expires in %v, want about an hour", d)
		}
		if lead := expires.Sub(token.Expiry); lead < 19*time.Minute || lead > 23*time.Minute {
			t.Errorf("asks to be refreshed %v before its expiry", lead)
		}
		if got := token.Extra("scope"); got != "sso:account:access" {
			t.Errorf("scope is %v", got)
		}
		b, err := src.RetrieveBearerToken(t.Context())
		if err != nil || b.Value != token.AccessToken || !b.CanExpire || !b.Expires.Equal(expires) {
			t.Errorf("bearer token differs: expires %v, %v", b.Expires, err)
		}
		token.AccessToken = "mine"
		if again, _ := src.Token(); again.AccessToken == "mine" {
			t.Error("the caller's change reached the source")
		}
	})
}

func TestNothingIsSentBeforeTheRefreshTime(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		before := srv.Count(idctest.AnyOperation).Requests
		first := bearer(t, src)
		for range 37 {
			time.Sleep(time.Minute)
			if bearer(t, src) != first {
				t.Fatal("the token changed")
			}
		}
		if n := srv.Count(idctest.AnyOperation).Requests - before; n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

func TestDueTokenIsRefreshedBehindItsUsers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 3 * time.Second})
		first := bearer(t, src)
		time.Sleep(41 * time.Minute)
		var users sync.WaitGroup
		for range 1000 {
			users.Go(func() {
				atOnce(t, "a use of a due token", func() {
					if bearer(t, src) != first {
						t.Error("a due token was not served")
					}
				})
			})
		}
		users.Wait()
		time.Sleep(4 * time.Second)
		if bearer(t, src) == first {
			t.Error("the token was not refreshed")
		}
		if n := refreshes(srv); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

func TestExpiredTokenIsRefreshedOnceForAll(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		first := bearer(t, src)
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 50 * time.Millisecond})
		var users sync.WaitGroup
		begin := time.Now()
		for range 10_000 {
			users.Go(func() {
				if bearer(t, src) == first {
					t.Error("an expired token was served")
				}
				if d := time.Since(begin); d != 50*time.Millisecond {
					t.Errorf("waited %v", d)
				}
			})
		}
		users.Wait()
		if n := refreshes(srv); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

func TestWaiterHonoursItsContext(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 500 * time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if _, err := src.Bearer(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if d := time.Since(begin); d != 50*time.Millisecond {
			t.Errorf("waited %v", d)
		}
		time.Sleep(time.Second)
		atOnce(t, "the next use", func() { bearer(t, src) })
		if n := refreshes(srv); n != 1 {
			t.Errorf("%d refreshes, want 1: the refresh must go on without its waiter", n)
		}
	})
}

func TestFailureIsSharedAndRemembered(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Status: 503})
		errs := make([]error, 200)
		var users sync.WaitGroup
		for i := range errs {
			users.Go(func() { _, errs[i] = src.Bearer(t.Context()) })
		}
		users.Wait()
		for _, err := range errs {
			if err == nil || err != errs[0] {
				t.Fatalf("errors differ: %v and %v", err, errs[0])
			}
		}
		if n := refreshes(srv); n > 3 {
			t.Errorf("%d requests, want at most 3", n)
		}
		sent := refreshes(srv)
		atOnce(t, "a call during the backoff", func() {
			if _, err := src.Bearer(t.Context()); err != errs[0] {
				t.Errorf("got %v, want the remembered error", err)
			}
		})
		if n := refreshes(srv); n != sent {
			t.Errorf("%d requests during the backoff", n-sent)
		}
		answer, ok := errors.AsType[*wire.Error](errs[0])
		if !ok || answer.StatusCode != 503 {
			t.Errorf("the error wraps no *wire.Error of status 503: %v", errs[0])
		}
		retrieve, ok := errors.AsType[*oauth2.RetrieveError](errs[0])
		if !ok || retrieve.Response.StatusCode != 503 || retrieve.Body != nil {
			t.Errorf("the error is no *oauth2.RetrieveError of status 503: %v", errs[0])
		}
		_ = retrieve.Error() // panics without a Response

		srv.ClearFaults(idctest.CreateTokenRefresh)
		time.Sleep(6 * time.Second)
		bearer(t, src)
	})
}

func TestOutageWithAValidToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		first := bearer(t, src)
		time.Sleep(41 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Status: 503})
		for range 600 { // a call a second for ten minutes
			atOnce(t, "a use during the outage", func() {
				if bearer(t, src) != first {
					t.Error("the valid token was not served")
				}
			})
			time.Sleep(time.Second)
		}
		if n := refreshes(srv); n < 3*20 || n > 3*60 {
			t.Errorf("%d requests in ten minutes, want three a step of backoff", n)
		}
		srv.ClearFaults(idctest.CreateTokenRefresh)
		for range 40 {
			bearer(t, src)
			time.Sleep(time.Second)
		}
		if bearer(t, src) == first {
			t.Error("not refreshed after the outage")
		}
	})
}

func TestStoredTokenThatIsDueIsRefreshedInTheForeground(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		first := bearer(t, signedIn(t, srv, withStore(store)))
		time.Sleep(45 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 60 * time.Millisecond})

		src := newSource(t, srv, withStore(store))
		begin := time.Now()
		if bearer(t, src) == first {
			t.Error("a token already due was not refreshed at its first use")
		}
		if d := time.Since(begin); d != 60*time.Millisecond {
			t.Errorf("waited %v", d)
		}
	})
}

func TestStoredTokenThatIsDueIsServedWhenTheServiceHangs(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		first := bearer(t, signedIn(t, srv, withStore(store)))
		time.Sleep(45 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Hang: true})

		src := newSource(t, srv, withStore(store))
		begin := time.Now()
		if bearer(t, src) != first {
			t.Error("the valid token was not served")
		}
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("waited %v, want 5s", d)
		}
		atOnce(t, "the next use", func() { bearer(t, src) })
	})
}

func TestNoBackground(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, func(c *awsoidc.Config) { c.NoBackground = true })
		for range 5 {
			first := bearer(t, src)
			time.Sleep(45 * time.Minute)
			if bearer(t, src) == first {
				t.Error("a due token was not refreshed by its user")
			}
		}
	})
}

func TestSourcesThatShareAStoreRefreshOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.SessionLifetime = 48 * time.Hour
		store := newLRU(t)
		signedIn(t, srv, withStore(store))
		var sources []*awsoidc.TokenSource
		for range 16 {
			sources = append(sources, newSource(t, srv, withStore(store)))
		}
		for range 20 {
			time.Sleep(61 * time.Minute)
			srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 50 * time.Millisecond})
			var users sync.WaitGroup
			tokens := make([]string, len(sources))
			for i, src := range sources {
				users.Go(func() { tokens[i] = bearer(t, src) })
			}
			users.Wait()
			for _, token := range tokens {
				if token != tokens[0] {
					t.Error("sources hold different tokens")
				}
			}
		}
		if srv.Reuses() != 0 || refreshes(srv) != 20 {
			t.Errorf("%d refreshes for 20 expiries, %d reuses", refreshes(srv), srv.Reuses())
		}
	})
}

func TestShortLifetime(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.AccessTokenLifetime = 3 * time.Second
		src := signedIn(t, srv)
		for range 1000 { // ten calls a second
			bearer(t, src)
			time.Sleep(100 * time.Millisecond)
		}
		if n := refreshes(srv); n > 60 {
			t.Errorf("%d refreshes in 100 s of a token that lives for 3 s", n)
		}
	})
}

// A skewed wall clock: what the test adds to it, the monotonic one has not.
type skew struct {
	mu sync.Mutex
	by time.Duration
}

func (s *skew) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.by)
}

func (s *skew) jump(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by += by
}

func TestWallClockJumps(t *testing.T) {
	for _, test := range []struct {
		name        string
		jump, sleep time.Duration
	}{
		{"set back an hour", -time.Hour, 61 * time.Minute},
		{"set back a year", -365 * 24 * time.Hour, 61 * time.Minute},
		{"suspended for two hours", 2 * time.Hour, 0},
		{"set forward a year", 365 * 24 * time.Hour, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.SessionLifetime = 10 * 365 * 24 * time.Hour
				srv.RegistrationLifetime = 10 * 365 * 24 * time.Hour
				var wall skew
				src := signedIn(t, srv, func(c *awsoidc.Config) { c.Now = wall.now })
				first := bearer(t, src)
				wall.jump(test.jump)
				time.Sleep(test.sleep)
				if bearer(t, src) == first {
					t.Error("a dead token was served")
				}
				if n := refreshes(srv); n != 1 {
					t.Errorf("%d refreshes", n)
				}
			})
		})
	}
}

func TestInvalidate(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		first := bearer(t, src)
		if src.Invalidate("another token") {
			t.Error("a token that is not the present one was invalidated")
		}
		if !src.Invalidate(first) {
			t.Error("the present token was not invalidated")
		}
		if src.Invalidate(first) {
			t.Error("invalidated twice")
		}
		second := bearer(t, src)
		if second == first {
			t.Error("the invalidated token was taken from the store again")
		}
		for range 98 {
			if src.Invalidate(second) {
				t.Fatal("a second refresh within a minute")
			}
			bearer(t, src)
		}
		time.Sleep(61 * time.Second)
		if !src.Invalidate(second) || bearer(t, src) == second {
			t.Error("not invalidated after a minute")
		}
		if n := refreshes(srv); n != 2 {
			t.Errorf("%d refreshes, want 2", n)
		}
	})
}

func TestClose(t *testing.T) {
	t.Run("waits for a refresh and saves it", func(t *testing.T) {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			store := newLRU(t)
			src := signedIn(t, srv, withStore(store))
			first := bearer(t, src)
			time.Sleep(45 * time.Minute)
			srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 3 * time.Second})
			bearer(t, src) // starts the refresh
			synctest.Wait()
			if err := src.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
			if bearer(t, newSource(t, srv, withStore(store))) == first || refreshes(srv) != 1 {
				t.Error("the refresh was lost")
			}
		})
	})
	t.Run("cancels a sign-in", func(t *testing.T) {
		virtual(t, func(t *testing.T) {
			src := newSource(t, idctest.New(), func(c *awsoidc.Config) {
				c.Prompt = awsoidc.PromptFunc(func(context.Context, awsoidc.Verification) error { return nil })
			})
			result := make(chan error)
			go func() { result <- src.Login(context.Background()) }()
			time.Sleep(10 * time.Second)
			src.Close()
			if err := <-result; err == nil {
				t.Error("Login succeeded")
			}
			if err := src.Login(t.Context()); !errors.Is(err, awsoidc.ErrClosed) {
				t.Errorf("Login after Close: %v", err)
			}
		})
	})
}

// TestCachesAboveNeverBlock calls a source for a day through the caches that
// oauth2.NewClient and the AWS SDK put on top of it.
func TestCachesAboveNeverBlock(t *testing.T) {
	for name, wrap := range map[string]func(*awsoidc.TokenSource) func() error{
		"oauth2.ReuseTokenSource": func(src *awsoidc.TokenSource) func() error {
			reuse := oauth2.ReuseTokenSource(nil, src)
			return func() error { _, err := reuse.Token(); return err }
		},
		"bearer.TokenCache": func(src *awsoidc.TokenSource) func() error {
			cached := bearercache.NewTokenCache(src, func(o *bearercache.TokenCacheOptions) {
				o.RefreshBeforeExpires = 5 * time.Minute // as the SDK's config package has it
			})
			return func() error { _, err := cached.RetrieveBearerToken(context.Background()); return err }
		},
	} {
		for _, every := range []time.Duration{time.Second, 30 * time.Second} {
			t.Run(fmt.Sprint(name, every), func(t *testing.T) { testNeverBlocks(t, wrap, every) })
		}
	}
}

func testNeverBlocks(t *testing.T, wrap func(*awsoidc.TokenSource) func() error, every time.Duration) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.SessionLifetime = 48 * time.Hour
		src := signedIn(t, srv)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Latency: 200 * time.Millisecond})
		call := wrap(src)
		if err := call(); err != nil {
			t.Fatal(err)
		}
		blocked := 0
		for begin := time.Now(); time.Since(begin) < 24*time.Hour; time.Sleep(every) {
			before := time.Now()
			if err := call(); err != nil {
				t.Fatal(err)
			}
			if time.Since(before) > 0 {
				blocked++
			}
		}
		if blocked > 0 {
			t.Errorf("%d calls were blocked", blocked)
		}
		if n := refreshes(srv); n < 23 || n > 45 {
			t.Errorf("%d refreshes in a day", n)
		}
	})
}
