package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// TestIdentity goes from a user's JWT to AWS credentials, and counts what that
// costs.
func TestIdentity(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv)
		user := ex.Identity(jane, fresh(jane))
		token := accessToken(t, user)
		if id, ok := srv.Identify(token); !ok || id.Subject != "jane" || id.Issuer != issuer {
			t.Errorf("the token is that of %v", id)
		}
		arn := callerOf(t, srv, user.Credentials(awsoidc.Role{ARN: accessRole}))
		if !strings.HasPrefix(arn, "arn:aws:sts::123456789012:assumed-role/Access/awsoidc-") {
			t.Errorf("STS takes it for %s", arn)
		}
		callerOf(t, srv, user.Credentials(awsoidc.Role{ARN: accessRole + "2", SessionName: "jane"}))
		for range 10 {
			accessToken(t, ex.Identity(jane, awsoidc.Assertion{}))
			callerOf(t, srv, ex.Identity(jane, awsoidc.Assertion{}).Credentials(awsoidc.Role{ARN: accessRole}))
		}
		if n := exchanges(srv); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
		if assumed := srv.AssumedRoles(); len(assumed) != 2 || assumed[0].Subject != "jane" || assumed[0].Issuer != issuer {
			t.Errorf("assumed %+v, want 2 roles on behalf of jane", assumed)
		}
	})
}

func TestIdentityIsRefreshedInTheBackground(t *testing.T) {
	for _, rotate := range []bool{false, true} {
		t.Run(fmt.Sprint("rotate=", rotate), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.JWTBearerRefreshTokens, srv.RotateRefreshTokens, srv.DetectReuse = true, rotate, true
				srv.SessionLifetime = 90 * 24 * time.Hour
				ex := newExchanger(t, srv)
				callerOf(t, srv, ex.Identity(jane, fresh(jane)).Credentials(awsoidc.Role{ARN: accessRole}))
				srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Times: idctest.Always, Latency: 100 * time.Millisecond})
				srv.Inject(idctest.AssumeRole, idctest.Fault{Times: idctest.Always, Latency: 100 * time.Millisecond})
				user := ex.Identity(jane, awsoidc.Assertion{})
				wrapped := oauth2.ReuseTokenSource(nil, user)
				for range 24 * 60 {
					time.Sleep(time.Minute)
					synctest.Wait()
					atOnce(t, "a call", func() {
						accessToken(t, user)
						if _, err := wrapped.Token(); err != nil {
							t.Error(err)
						}
						if _, err := user.Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context()); err != nil {
							t.Error(err)
						}
					})
				}
				if n := iamRefreshes(srv); n < 24 || n > 40 {
					t.Errorf("%d refreshes in a day", n)
				}
				if n := exchanges(srv) + srv.Reuses(); n != 1 {
					t.Errorf("%d exchanges and %d reuses, want 1 and 0", exchanges(srv), srv.Reuses())
				}
			})
		})
	}
}

func TestConcurrentCallersCostOneExchange(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Inject(idctest.AnyOperation, idctest.Fault{Times: idctest.Always, Latency: 50 * time.Millisecond})
		ex := newExchanger(t, srv)
		assertion := fresh(jane)
		var all sync.WaitGroup
		for n := range 100 {
			all.Go(func() {
				user := ex.Identity(jane, assertion)
				if n%2 == 0 {
					accessToken(t, user)
					return
				}
				if _, err := user.Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := exchanges(srv); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
		if n := len(srv.AssumedRoles()); n != 1 {
			t.Errorf("%d roles assumed, want 1", n)
		}
	})
}

// A caller whose own assertion is good does not share the failure of one whose
// assertion is not.
func TestGoodAssertionBesideSpentOnes(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.AccessTokenLifetime = time.Minute
		ex := newExchanger(t, srv)
		spent := fresh(jane)
		accessToken(t, ex.Identity(jane, spent))
		time.Sleep(time.Hour)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				slow := awsoidc.JWTFunc(func(ctx context.Context) (string, error) {
					time.Sleep(time.Second)
					return "", errors.New("no luck")
				})
				ex.Identity(jane, slow).Token()
			})
			all.Go(func() { ex.Identity(jane, spent).Token() })
			all.Go(func() { accessToken(t, ex.Identity(jane, fresh(jane))) })
		}
		all.Wait()
		if n := srv.Replays(); n != 0 {
			t.Errorf("%d assertions were sent twice", n)
		}
	})
}

func TestForgetWins(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprint("stored=", stored), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.JWTBearerRefreshTokens = true
				ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
					if stored {
						c.Store = newLRU(t)
					}
				})
				srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{LatencyAfter: time.Second})
				failed := make(chan error, 1)
				go func() {
					_, err := ex.Identity(jane, fresh(jane)).Token()
					failed <- err
				}()
				synctest.Wait()
				if err := ex.Forget(t.Context(), jane); err != nil {
					t.Fatal(err)
				}
				if err := <-failed; !errors.Is(err, awsoidc.ErrReauthRequired) {
					t.Errorf("what was under way ended with %v, want ErrReauthRequired", err)
				}
				if _, err := ex.Identity(jane, awsoidc.Assertion{}).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
					t.Errorf("afterwards: %v, want ErrReauthRequired", err)
				}
				accessToken(t, ex.Identity(jane, fresh(jane)))
				if err := ex.Forget(t.Context(), jane); err != nil {
					t.Fatal(err)
				}
				if _, err := ex.Identity(jane, awsoidc.Assertion{}).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
					t.Errorf("forgotten: %v, want ErrReauthRequired", err)
				}
			})
		})
	}
}

func TestIdentitiesShareAStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens, srv.RotateRefreshTokens, srv.DetectReuse = true, true, true
		srv.SessionLifetime = 90 * 24 * time.Hour
		store := newLRU(t)
		withStore := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		fleet := []*awsoidc.Exchanger{newExchanger(t, srv, withStore), newExchanger(t, srv, withStore), newExchanger(t, srv, withStore)}
		accessToken(t, fleet[0].Identity(jane, fresh(jane)))
		for range 100 {
			time.Sleep(10 * time.Minute)
			var all sync.WaitGroup
			for _, ex := range fleet {
				all.Go(func() { accessToken(t, ex.Identity(jane, awsoidc.Assertion{})) })
			}
			all.Wait()
			synctest.Wait()
		}
		if srv.Reuses() != 0 || exchanges(srv) != 1 {
			t.Errorf("%d reuses and %d exchanges, want 0 and 1", srv.Reuses(), exchanges(srv))
		}
		if n := iamRefreshes(srv); n > 30 {
			t.Errorf("%d refreshes in 1000 minutes, for all", n)
		}
	})
}

func TestEvictedIdentityIsInTheStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store, c.MaxIdentities = newLRU(t), 3 })
		for round := range 2 {
			for n := range 20 {
				s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n)}
				user := ex.Identity(s, fresh(s))
				if round > 0 {
					user = ex.Identity(s, awsoidc.Assertion{})
				}
				if id, _ := srv.Identify(accessToken(t, user)); id.Subject != s.ID {
					t.Errorf("the token of %s is that of %s", s.ID, id.Subject)
				}
			}
		}
		if n := ex.Stats().Identities; n != 3 {
			t.Errorf("%d identities in memory, want 3", n)
		}
		if n := exchanges(srv); n != 20 {
			t.Errorf("%d exchanges, want 20", n)
		}
	})
}
