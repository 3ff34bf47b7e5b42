package awsoidc_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

func TestExchangerForgetSlowStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		store := &hookStore{Store: newLRU(t)}
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store })
		accessToken(t, ex.Identity(jane, fresh(jane)))
		store.hook = func() { time.Sleep(100 * time.Millisecond) }
		done := make(chan error)
		go func() { done <- ex.Forget(context.Background(), jane) }()
		time.Sleep(50 * time.Millisecond)
		_, err := ex.Identity(jane, awsoidc.Assertion{}).Token() // a request of jane during Forget
		t.Logf("during: %v", err)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := ex.Identity(jane, awsoidc.Assertion{}).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
			t.Errorf("after Forget returned: %v, want ErrReauthRequired", err)
		}
	})
}

func TestExchangerHungStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hungStore{Store: newLRU(t)}
		store.hang.Store(true)
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store })
		a := fresh(jane)
		start := time.Now()
		_, err := ex.Identity(jane, a).Token()
		if err != nil {
			t.Errorf("hung store: %v after %v, requests %d", err, time.Since(start), exchanges(srv))
		}
		store.hang.Store(false)
		time.Sleep(time.Minute)
		_, err = ex.Identity(jane, a).Token()
		t.Logf("the same assertion afterwards: %v; requests %d", err, exchanges(srv))
	})
}

func TestExchangerDeadTokenStoreDown(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Applications = []idctest.Application{{ARN: applicationARN, Scopes: []string{"sso:account:access"}}}
		srv.Accounts = []idctest.Account{{ID: "123456789012", Roles: []string{"R"}}}
		store := &failing{Store: newLRU(t)}
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store })
		accessToken(t, ex.Identity(jane, fresh(jane)))
		srv.RevokeAccessTokens()
		store.fail.Store(true)
		_, err := ex.Identity(jane, fresh(jane)).RoleCredentials("123456789012", "R").Retrieve(t.Context())
		if err != nil {
			t.Errorf("dead token, store down, fresh assertion: %v", err)
		}
	})
}

func TestExchangerEventLost(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		var events atomic.Int64
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.Observe = func(_ context.Context, e awsoidc.Event) {
				if e.Rung == awsoidc.RungCredentials {
					events.Add(1)
				}
			}
		})
		srv.Inject(idctest.AssumeRole, idctest.Fault{Times: idctest.Always, LatencyAfter: time.Second})
		go ex.Identity(jane, fresh(jane)).Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(context.Background())
		time.Sleep(500 * time.Millisecond)
		ex.Forget(t.Context(), jane)
		time.Sleep(5 * time.Second)
		if events.Load() != int64(srv.Count(idctest.AssumeRole).Requests) {
			t.Errorf("%d events for %d AssumeRole; stats %+v", events.Load(), srv.Count(idctest.AssumeRole).Requests, ex.Stats())
		}
	})
}

func TestExchangerFarExpiry(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		w := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		a, b := newExchanger(t, srv, w), newExchanger(t, srv, w)
		jwt := assertionOf(jane, map[string]any{"exp": time.Now().Add(wire.MaxExpiresIn + 25*time.Hour).Unix()})
		accessToken(t, a.Identity(jane, awsoidc.JWT(jwt)))
		time.Sleep(8 * time.Hour)
		_, err := b.Identity(jane, awsoidc.JWT(jwt)).Token()
		if srv.Replays() != 0 {
			t.Errorf("replays %d, exchanges %d: %v (MaxExpiresIn=%v)", srv.Replays(), exchanges(srv), err, wire.MaxExpiresIn)
		}
	})
}

func TestExchangerManyMarks(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.AccessTokenLifetime = time.Hour
		store := newLRU(t)
		w := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		a := newExchanger(t, srv, w)
		first := fresh(jane)
		accessToken(t, a.Identity(jane, first))
		for range 17 {
			time.Sleep(61 * time.Minute)
			accessToken(t, a.Identity(jane, fresh(jane)))
		}
		a.Close()
		time.Sleep(61 * time.Minute)
		b := newExchanger(t, srv, w) // a restart
		_, err := b.Identity(jane, first).Token()
		if srv.Replays() != 0 {
			t.Errorf("replays %d: %v", srv.Replays(), err)
		}
	})
}

func TestExchangerGoodAmongStale(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hookStore{Store: newLRU(t)}
		store.hook = func() { time.Sleep(20 * time.Millisecond) }
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store })
		srv.AccessTokenLifetime = time.Minute
		stale := fresh(jane)
		accessToken(t, ex.Identity(jane, stale))
		time.Sleep(time.Hour)
		bad := 0
		for round := range 20 {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() { ex.Identity(jane, stale).Token() })
			}
			var err error
			all.Go(func() { time.Sleep(time.Millisecond); _, err = ex.Identity(jane, fresh(jane)).Token() })
			all.Wait()
			if err != nil {
				bad++
				if bad == 1 {
					t.Logf("%d: %v", round, err)
				}
			}
			time.Sleep(time.Hour)
		}
		if bad > 0 {
			t.Errorf("a fresh assertion failed %d times in 20; exchanges %d", bad, exchanges(srv))
		}
	})
}

func TestExchangerPreflightStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		w := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		a, b := newExchanger(t, srv, w), newExchanger(t, srv, w)
		first := fresh(jane)
		accessToken(t, a.Identity(jane, first))
		if err := b.Preflight(t.Context(), jane, first); err == nil {
			t.Error("Preflight passes an assertion that was used")
		}
	})
}

func TestExchangerJunkEvicts(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.MaxIdentities = 10 })
		first := fresh(jane)
		accessToken(t, ex.Identity(jane, first))
		for n := range 10 {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint("stranger", n)}
			ex.Identity(s, awsoidc.Assertion{}).Token()
		}
		_, err := ex.Identity(jane, first).Token()
		if err != nil {
			t.Errorf("jane was evicted by strangers who got nothing: %v, stats %+v", err, ex.Stats())
		}
	})
}

func TestExchangerForgetResurrected(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		srv.SessionLifetime = 90 * 24 * time.Hour
		store := newLRU(t)
		w := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		a, b := newExchanger(t, srv, w), newExchanger(t, srv, w)
		accessToken(t, a.Identity(jane, fresh(jane)))
		accessToken(t, b.Identity(jane, awsoidc.Assertion{}))
		if err := a.Forget(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		b.Identity(jane, awsoidc.Assertion{}).Token()
		synctest.Wait()
		_, err := a.Identity(jane, awsoidc.Assertion{}).Token()
		if err == nil {
			t.Error("forgotten at a, and back there without an assertion")
		}
	})
}

func TestExchangerPrefetchRefusalShared(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hookStore{Store: newLRU(t)}
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store; c.Limiter = noPrefetch{} })
		first, _ := ex.Identity(jane, fresh(jane)).Token()
		exp := first.Extra("expires_at").(time.Time)
		store.hook = func() { time.Sleep(2 * time.Second) }
		time.Sleep(time.Until(exp) - time.Second)
		if _, err := ex.Identity(jane, fresh(jane)).Token(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		if _, err := ex.Identity(jane, fresh(jane)).Token(); err != nil {
			t.Errorf("foreground: %v", err)
		}
	})
}

func TestExchangerPortalThrottle(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Applications = []idctest.Application{{ARN: applicationARN, Scopes: []string{"sso:account:access"}}}
		srv.Accounts = []idctest.Account{{ID: "123456789012", Roles: []string{"R"}}}
		ex := newExchanger(t, srv)
		srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Times: idctest.Always, Status: 429})
		_, err := ex.Identity(jane, fresh(jane)).RoleCredentials("123456789012", "R").Retrieve(t.Context())
		if _, ok := awsoidc.RetryAt(err); !ok {
			t.Errorf("%v: no RetryAt; requests %d; stats %+v", err, srv.Count(idctest.GetRoleCredentials).Requests, ex.Stats())
		}
	})
}

type hookStore struct {
	cache.Store
	hook func()
}

func (s *hookStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	if s.hook != nil {
		s.hook()
	}
	return s.Store.Update(ctx, key, fn)
}

type hungStore struct {
	hang atomic.Bool
	cache.Store
}

func (s *hungStore) Get(ctx context.Context, key string) ([]byte, error) {
	if s.hang.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Store.Get(ctx, key)
}

func (s *hungStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	if s.hang.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.Update(ctx, key, fn)
}

type noPrefetch struct{}

// Half a character is read differently by different readers: such a user is
// nobody.
func TestExchangerHalfCharacters(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv)
		encode := base64.RawURLEncoding.EncodeToString
		for _, sub := range []string{"u\xff", `u\ud800`, `u\udfff`, "u\ufffd"} {
			raw := fmt.Sprintf(`{"iss":%q,"sub":"%s","aud":"a","exp":%d}`, issuer, sub, time.Now().Add(time.Hour).Unix())
			token := encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(raw)) + "." + encode([]byte("x"))
			for _, id := range []string{"u\ufffd", "u\xff", "u"} {
				if _, err := ex.Identity(awsoidc.Subject{Issuer: issuer, ID: id}, awsoidc.JWT(token)).Token(); err == nil {
					t.Errorf("%q is taken for %q", sub, id)
				}
			}
		}
		if n := exchanges(srv); n != 0 {
			t.Errorf("%d exchanges", n)
		}
	})
}

// Whoever waits when a user is forgotten does nothing more on their behalf.
func TestExchangerForgetEndsTheWork(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv)
		srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{LatencyAfter: time.Second})
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				_, err := ex.Identity(jane, fresh(jane)).Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context())
				if !errors.Is(err, awsoidc.ErrReauthRequired) {
					t.Errorf("%v, want ErrReauthRequired", err)
				}
			})
		}
		synctest.Wait()
		if err := ex.Forget(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		if n := srv.Count(idctest.AssumeRole).Requests; n != 0 || exchanges(srv) != 1 {
			t.Errorf("%d roles were assumed on behalf of who is forgotten, and %d exchanges made", n, exchanges(srv))
		}
	})
}

// The portal is asked in the region where the application turned out to be.
func TestExchangerPortalAfterARedirect(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Applications = []idctest.Application{{ARN: applicationARN, Region: "eu-west-1", Scopes: []string{"sso:account:access"}}}
		ex := newExchanger(t, srv)
		if _, err := ex.Identity(jane, fresh(jane)).RoleCredentials(account, "ReadOnly").Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
		log := srv.Log()
		if host := log[len(log)-1].Host; host != "portal.sso.eu-west-1.amazonaws.com" {
			t.Errorf("the portal was asked at %s", host)
		}
	})
}

// Another partition is another world: no answer leads there.
func TestExchangerStaysInItsPartition(t *testing.T) {
	for _, region := range []string{"us-iso-east-1", "cn-north-1", "eu-west-1.evil.example", "eu-west-1/"} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Times: idctest.Always, Type: wire.TypeInvalidRequestRegion, Region: region})
			ex := newExchanger(t, srv)
			if _, err := ex.Identity(jane, fresh(jane)).Token(); !errors.Is(err, awsoidc.ErrConfig) {
				t.Errorf("%s: %v, want ErrConfig", region, err)
			}
			if n := exchanges(srv); n != 1 {
				t.Errorf("%s: %d requests, want 1", region, n)
			}
		})
	}
}

// Where each new token is refused at once, users who bring assertions do not
// use up the quota of the whole instance.
func TestExchangerPortalThatRefusesEachToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Applications = []idctest.Application{{ARN: applicationARN, Scopes: []string{"sso:account:access"}}}
		srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Times: idctest.Always, Status: 401, Type: "UnauthorizedException"})
		ex := newExchanger(t, srv)
		for range 600 {
			ex.Identity(jane, fresh(jane)).RoleCredentials(account, "ReadOnly").Retrieve(t.Context())
			time.Sleep(time.Second)
		}
		if n := exchanges(srv); n > 30 {
			t.Errorf("%d exchanges in 10 minutes", n)
		}
	})
}

// Nobody else's session is used, whatever of the configuration differs.
func TestExchangersOfAnotherConfigurationShareNothing(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		base := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		accessToken(t, newExchanger(t, srv, base).Identity(jane, fresh(jane)))
		tenant := jane
		tenant.Tenant = "a"
		for name, test := range map[string]struct {
			subject awsoidc.Subject
			change  func(*awsoidc.ExchangerConfig)
		}{
			"namespace":   {jane, func(c *awsoidc.ExchangerConfig) { c.Namespace = "x" }},
			"application": {jane, func(c *awsoidc.ExchangerConfig) { c.Application += "2" }},
			"scopes":      {jane, func(c *awsoidc.ExchangerConfig) { c.Scopes = []string{"openid"} }},
			"region":      {jane, func(c *awsoidc.ExchangerConfig) { c.Region = "eu-west-1" }},
			"tenant":      {tenant, func(*awsoidc.ExchangerConfig) {}},
			"issuer":      {awsoidc.Subject{Issuer: issuer + "/", ID: "jane"}, func(*awsoidc.ExchangerConfig) {}},
			"moved":       {awsoidc.Subject{Issuer: issuer + "j", ID: "ane"}, func(*awsoidc.ExchangerConfig) {}},
		} {
			ex := newExchanger(t, srv, base, test.change)
			if _, err := ex.Identity(test.subject, awsoidc.Assertion{}).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("another %s: %v, want ErrReauthRequired", name, err)
			}
		}
		accessToken(t, newExchanger(t, srv, base).Identity(jane, awsoidc.Assertion{}))
		roles := func(s awsoidc.Subject) string {
			ex := newExchanger(t, srv)
			return callerOf(t, srv, ex.Identity(s, fresh(s)).Credentials(awsoidc.Role{ARN: accessRole}))
		}
		if roles(jane) == roles(tenant) {
			t.Error("two tenants' users have one session name")
		}
	})
}

// A token source without a context that hangs holds up its own caller alone,
// for 10 s.
func TestExchangerBesideAHungTokenSource(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv)
		release := make(chan struct{})
		hung := oauth2TokenSource(func() (*oauth2.Token, error) { <-release; return nil, errors.New("released") })
		go ex.Identity(jane, awsoidc.IDTokenOf(hung)).Token()
		synctest.Wait()
		began := time.Now()
		accessToken(t, ex.Identity(jane, fresh(jane)))
		ex.Close()
		if d := time.Since(began); d > 11*time.Second {
			t.Errorf("a good assertion and Close waited %v", d)
		}
		close(release)
	})
}

func TestExchangerSavesAgainWhatItLost(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens, srv.RotateRefreshTokens, srv.DetectReuse = true, true, true
		srv.SessionLifetime = 90 * 24 * time.Hour
		store := &lostOnce{Store: newLRU(t)}
		with := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		a, b := newExchanger(t, srv, with), newExchanger(t, srv, with)
		store.lost.Store(true)
		first := fresh(jane)
		accessToken(t, a.Identity(jane, first))
		accessToken(t, b.Identity(jane, first))
		time.Sleep(2 * time.Hour)
		store.lost.Store(true)
		accessToken(t, a.Identity(jane, awsoidc.Assertion{}))
		accessToken(t, b.Identity(jane, awsoidc.Assertion{}))
		if srv.Replays() != 0 || srv.Reuses() != 0 || exchanges(srv) != 1 {
			t.Errorf("%d replays, %d reuses, %d exchanges", srv.Replays(), srv.Reuses(), exchanges(srv))
		}
	})
}

func (noPrefetch) Throttled(awsoidc.Budget, time.Duration) {}

func (noPrefetch) Wait(_ context.Context, b awsoidc.Budget, p bool) error {
	if p {
		return &awsoidc.LimitError{Budget: b, RetryAt: time.Now().Add(10 * time.Second)}
	}
	return nil
}
