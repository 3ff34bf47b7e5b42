package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// forgetStore is a store that counts how often the record of forgotten users is
// read, and may fail or hang then.
type forgetStore struct {
	cache.Store
	reads atomic.Int64
	fail  atomic.Bool
}

func (s *forgetStore) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, "awsoidc-forgotten-") {
		s.reads.Add(1)
		if s.fail.Load() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	return s.Store.Get(ctx, key)
}

// replicas returns Exchangers that share a store.
func replicas(t *testing.T, srv *idctest.Server, n int) (*forgetStore, []*awsoidc.Exchanger) {
	t.Helper()
	store := &forgetStore{Store: newLRU(t)}
	var all []*awsoidc.Exchanger
	for range n {
		all = append(all, newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store }))
	}
	return store, all
}

// gone reports whether a replica has nothing of a user any more.
func gone(t *testing.T, e *awsoidc.Exchanger, s awsoidc.Subject) bool {
	t.Helper()
	_, tokenErr := e.Identity(s, awsoidc.Assertion{}).TokenContext(t.Context())
	_, roleErr := e.Identity(s, awsoidc.Assertion{}).Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context())
	for _, err := range []error{tokenErr, roleErr} {
		if err != nil && !errors.Is(err, awsoidc.ErrReauthRequired) {
			t.Errorf("%v, want ErrReauthRequired", err)
		}
	}
	return tokenErr != nil && roleErr != nil
}

const maxStale = 10 * time.Second // the default

// Whom one replica forgets, the others forget within MaxStale, whether they are
// asked all the time, now and then, or for the first time in hours; and nobody
// waits for that.
func TestForgetReachesOtherReplicas(t *testing.T) {
	for _, every := range []time.Duration{100 * time.Millisecond, 900 * time.Millisecond, 3 * time.Second, maxStale, 15 * time.Minute} {
		t.Run(every.String(), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.JWTBearerRefreshTokens = true
				store, all := replicas(t, srv, 4)
				accessToken(t, all[0].Identity(jane, fresh(jane)))
				use := func() (left int) {
					for _, e := range all[1:] {
						if !gone(t, e, jane) {
							left++
						}
					}
					return left
				}
				for range 10 {
					atOnce(t, "a use", func() { use() })
					time.Sleep(every)
				}
				reads := store.reads.Load()
				if uses := int64(3 * 10 * 2); every < maxStale/2 && reads > 3*int64(10*every/(maxStale/2)+2) || reads > uses {
					t.Errorf("%d readings", reads)
				}
				if err := all[0].Forget(t.Context(), jane); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for time.Since(began) < maxStale {
					time.Sleep(every)
					use()
				}
				if left := use(); left > 0 {
					t.Errorf("%d replicas use what they have of the user after %v", left, time.Since(began))
				}
				if n := exchanges(srv); n != 1 {
					t.Errorf("%d exchanges", n)
				}
			})
		})
	}
}

// Who is listed is forgotten, also in a record that took the place of one that was
// lost, and all are where it lists too few. A record of something else is not obeyed.
func TestRecordOfTheForgotten(t *testing.T) {
	for _, test := range []struct {
		logs     []string
		obtained int // how often the credentials of two users were, which are not in the store
	}{
		{[]string{`{"key":%q,"id":"x","n":1,"last":[%s]}`}, 2 + 1},
		{[]string{`{"key":%q,"id":"x","n":0,"last":[%s]}`}, 2},
		{[]string{`{"key":"not %s","id":"x","n":1,"last":[%s]}`}, 2},
		{[]string{`{"key":%q,"id":"lost","n":2,"last":[]}`, `{"key":%q,"id":"x","n":1,"last":[%s]}`}, 2 + 2 + 1},
	} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			srv.JWTBearerRefreshTokens = true
			store := &forgetLog{Store: newLRU(t)}
			ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store })
			use := func() {
				for _, s := range []awsoidc.Subject{jane, {Issuer: issuer, ID: "joe"}} {
					if _, err := ex.Identity(s, fresh(s)).Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
			use()
			for _, log := range test.logs {
				store.log.Store(log)
				for range 20 {
					time.Sleep(time.Second)
					use()
				}
			}
			if n := int(ex.Stats().Credentials); n != test.obtained {
				t.Errorf("%s: credentials were obtained %d times, want %d", test.logs, n, test.obtained)
			}
		})
	}
}

// Who was forgotten before, or among too many to list, and is just signing in
// again, does.
func TestForgetSparesASignIn(t *testing.T) {
	for _, log := range []string{`{"key":%q,"id":"x","n":1,"last":[%s]}`, `{"key":%q,"id":"x","n":2,"last":[]}`} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			store := &forgetLog{Store: newLRU(t)}
			ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store })
			joe := awsoidc.Subject{Issuer: issuer, ID: "joe"}
			accessToken(t, ex.Identity(joe, fresh(joe)))
			srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Latency: 7 * time.Second})
			store.log.Store(log)
			go func() {
				time.Sleep(6 * time.Second)
				ex.Identity(joe, fresh(joe)).Token() // looks whom others have forgotten
			}()
			accessToken(t, ex.Identity(jane, fresh(jane)))
			if n := exchanges(srv); n < 2 || n > 3 {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}

// forgetLog is a store with a record of forgotten users in the format log, for its
// key and an entry of jane, who was forgotten after all that was issued.
type forgetLog struct {
	cache.Store
	log atomic.Value
}

func (s *forgetLog) Get(ctx context.Context, key string) ([]byte, error) {
	if log, ok := s.log.Load().(string); ok && strings.HasPrefix(key, "awsoidc-forgotten-") {
		args := []any{key, `{"issuer":"` + issuer + `","id":"jane","at":"2100-01-01T00:00:00Z"}`}
		return fmt.Appendf(nil, log, args[:strings.Count(log, "%")]...), nil
	}
	return s.Store.Get(ctx, key)
}

// Whom one replica forgets costs the others nothing of other users.
func TestForgetLeavesOthers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		_, all := replicas(t, srv, 2)
		joe := awsoidc.Subject{Issuer: issuer, ID: "joe"}
		use := func() {
			if gone(t, all[1], joe) {
				t.Error("the other user is forgotten")
			}
		}
		accessToken(t, all[0].Identity(jane, fresh(jane)))
		accessToken(t, all[0].Identity(joe, fresh(joe)))
		use()
		time.Sleep(time.Second)
		if err := all[0].Forget(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			time.Sleep(time.Second)
			use()
		}
		if n := all[1].Stats().Credentials; n != 1 {
			t.Errorf("the other user's credentials were obtained %d times, want once", n)
		}
	})
}

// A user who signs in again stays signed in everywhere.
func TestForgottenUserSignsInAgain(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		_, all := replicas(t, srv, 2)
		first := accessToken(t, all[0].Identity(jane, fresh(jane)))
		if accessToken(t, all[1].Identity(jane, awsoidc.Assertion{})) != first {
			t.Error("the replicas do not share the token")
		}
		time.Sleep(time.Second)
		if err := all[0].Forget(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		second := accessToken(t, all[0].Identity(jane, fresh(jane)))
		for range 30 {
			time.Sleep(time.Second)
			accessToken(t, all[1].Identity(jane, awsoidc.Assertion{}))
			if accessToken(t, all[0].Identity(jane, awsoidc.Assertion{})) != second {
				t.Fatal("the sign-in was forgotten too")
			}
		}
		if accessToken(t, all[1].Identity(jane, awsoidc.Assertion{})) != second || exchanges(srv) != 2 {
			t.Errorf("the other replica has another token, or %d exchanges were made", exchanges(srv))
		}
	})
}

// More users than the record lists, all of whom are forgotten.
func TestForgetMany(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		large, err := cache.NewLRU(10_000, 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		share := func(c *awsoidc.ExchangerConfig) { c.Store = large }
		a, b := newExchanger(t, srv, share), newExchanger(t, srv, share)
		accessToken(t, a.Identity(jane, fresh(jane)))
		if gone(t, b, jane) {
			t.Fatal("the replicas do not share the token")
		}
		if err := a.Forget(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			if err := a.Forget(t.Context(), awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(maxStale)
		if !gone(t, b, jane) {
			t.Error("the user is still known")
		}
		accessToken(t, a.Identity(jane, fresh(jane)))
		if gone(t, b, jane) {
			t.Fatal("the replicas do not share the token")
		}
		if err := a.Forget(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		long := awsoidc.Subject{Issuer: issuer, ID: strings.Repeat("x", 2048), Tenant: strings.Repeat("y", 2048)}
		for range 30 { // the record has no room for all
			if err := a.Forget(t.Context(), long); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(maxStale)
		if !gone(t, b, jane) {
			t.Error("the user is still known")
		}
	})
}

// A store that does not answer costs nobody but the first a wait, and no token.
func TestForgetsCannotBeRead(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store, all := replicas(t, srv, 1)
		id := all[0].Identity(jane, fresh(jane))
		token := accessToken(t, id)
		store.fail.Store(true)
		time.Sleep(time.Minute)
		before := time.Now()
		if accessToken(t, id) != token || time.Since(before) > 2*time.Second {
			t.Errorf("the first use took %v", time.Since(before))
		}
		for range 60 {
			atOnce(t, "a use during an outage", func() {
				if accessToken(t, id) != token {
					t.Error("another token")
				}
			})
			time.Sleep(time.Second)
		}
		store.fail.Store(false)
		time.Sleep(maxStale)
		accessToken(t, id)
	})
}

func TestMaxStaleIsChecked(t *testing.T) {
	_, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{Application: applicationARN, AWS: awsConfig(idctest.New()), MaxStale: time.Second})
	if !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), "MaxStale") {
		t.Errorf("%v, want ErrConfig", err)
	}
}
