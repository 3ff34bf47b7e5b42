package awsoidc_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

func tiered(t *testing.T, shared cache.Store, options cache.TieredOptions) cache.Store {
	t.Helper()
	s, err := cache.NewTiered(shared, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Processes that each have a memory over one store refresh once for all, live
// through an outage of the store, and notice the end of the session.
func TestTokenSourcesOverTieredStores(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RotateRefreshTokens, srv.DetectReuse = true, true
		srv.SessionLifetime = 30 * 24 * time.Hour
		shared := &failing{Store: newLRU(t)}
		open := func() *awsoidc.TokenSource {
			return newSource(t, srv, withStore(tiered(t, shared, cache.TieredOptions{MaxAge: time.Minute, MaxOutage: time.Hour})))
		}
		sources := []*awsoidc.TokenSource{open(), open(), open()}
		if err := sources[0].Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		for n := range 5 {
			first := bearer(t, sources[n%3])
			for _, src := range sources {
				if bearer(t, src) != first {
					t.Error("processes have different sessions")
				}
			}
			time.Sleep(2 * time.Hour)
		}
		for _, src := range sources {
			bearer(t, src)
		}
		if refreshes(srv) != 5 || srv.Reuses() != 0 {
			t.Errorf("%d refreshes for 5 expiries, %d reuses", refreshes(srv), srv.Reuses())
		}

		shared.fail.Store(true)
		late := bearer(t, sources[1])
		time.Sleep(50 * time.Minute) // due
		if bearer(t, sources[1]) != late {
			t.Error("a valid token is not served while the store is down")
		}
		time.Sleep(time.Hour)
		if _, err := sources[1].Bearer(t.Context()); err == nil || errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("an expired token, and the store down: %v", err)
		}
		shared.fail.Store(false)
		time.Sleep(2 * time.Minute)
		bearer(t, sources[1])

		if err := sources[1].Logout(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		for _, src := range sources {
			if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
				t.Errorf("after Logout elsewhere: %v", err)
			}
		}
		if srv.Reuses() != 0 {
			t.Errorf("%d reuses", srv.Reuses())
		}
	})
}

// What one replica forgets, the memory of another one's store has for MaxAge.
func TestForgetOverTieredStores(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		shared := newLRU(t)
		open := func() *awsoidc.Exchanger {
			return newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
				c.Store = tiered(t, shared, cache.TieredOptions{MaxAge: time.Minute})
				c.MaxIdentities = 1
			})
		}
		here, there := open(), open()
		token := accessToken(t, here.Identity(jane, fresh(jane)))
		if accessToken(t, there.Identity(jane, awsoidc.Assertion{})) != token || exchanges(srv) != 1 {
			t.Error("each replica has exchanged the assertion")
		}
		john := awsoidc.Subject{Issuer: issuer, ID: "john"}
		accessToken(t, there.Identity(john, fresh(john))) // its memory is full: jane's tokens are in the store's alone
		if err := here.Forget(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		for _, e := range []*awsoidc.Exchanger{here, there} {
			if _, err := e.Identity(jane, awsoidc.Assertion{}).TokenContext(t.Context()); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("after Forget: %v, want ErrReauthRequired", err)
			}
		}
	})
}

// What memory still has of a user whom another replica has forgotten is not
// taken up again after that was obeyed.
func TestForgottenStayForgottenOverTieredStores(t *testing.T) {
	for name, others := range map[string]int{"listed": 0, "more than are listed": 300} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				const maxAge, second = time.Minute, time.Second
				srv := idctest.New()
				shared, err := cache.NewLRU(1000, 64<<20)
				if err != nil {
					t.Fatal(err)
				}
				open := func() *awsoidc.Exchanger {
					return newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
						c.Store = tiered(t, shared, cache.TieredOptions{MaxAge: maxAge})
					})
				}
				here, there := open(), open()
				forget := func(id string) {
					t.Helper()
					if err := here.Forget(t.Context(), awsoidc.Subject{Issuer: issuer, ID: id}); err != nil {
						t.Fatal(err)
					}
				}
				forget("nobody")
				accessToken(t, here.Identity(jane, fresh(jane)))
				john := awsoidc.Subject{Issuer: issuer, ID: "john"}
				accessToken(t, there.Identity(john, fresh(john))) // reads whom others have forgotten
				time.Sleep(maxAge - 10*second)
				accessToken(t, there.Identity(jane, awsoidc.Assertion{})) // later than that
				time.Sleep(second)
				forget(jane.ID)
				for i := range others {
					forget(fmt.Sprint(i))
				}
				known := 0 * second
				for began := time.Now(); time.Since(began) < 3*maxAge; time.Sleep(second) {
					if _, err := there.Identity(jane, awsoidc.Assertion{}).TokenContext(t.Context()); err == nil {
						known = time.Since(began)
					}
				}
				if known > maxAge+maxStale {
					t.Errorf("the user was known for %v, or more", known)
				}
			})
		})
	}
}
