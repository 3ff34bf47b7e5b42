package awsoidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

func isSession(key string) bool { return strings.Contains(key, "session") }

// midRefresh runs meanwhile one second into a refresh of 3 s that somebody waits
// for, and returns what they get.
func midRefresh(srv *idctest.Server, src *awsoidc.TokenSource, meanwhile func()) error {
	srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 3 * time.Second})
	done := make(chan error, 1)
	go func() { _, err := src.Token(); done <- err }()
	time.Sleep(time.Second)
	meanwhile()
	err := <-done
	time.Sleep(5 * time.Second)
	return err
}

func TestManyAssertionsAtOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		ex := newExchanger(t, idctest.New())
		var wg sync.WaitGroup
		var failed atomic.Int32
		for i := range 100 {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint("user", i)}
			wg.Go(func() {
				_, err := ex.Identity(s, awsoidc.JWTFunc(func(context.Context) (string, error) {
					time.Sleep(100 * time.Millisecond) // the issuer answers
					return assertionOf(s, nil), nil
				})).Token()
				if errors.Is(err, awsoidc.ErrReauthRequired) {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		if n := failed.Load(); n > 0 {
			t.Errorf("%d of 100 users with good assertions were told to sign in again", n)
		}
	})
}

func TestUnsafeDuringRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		time.Sleep(2 * time.Hour)
		if err := midRefresh(srv, src, func() { os.Chmod(dir.Filename("corp"), 0o664) }); err != nil {
			t.Errorf("the refreshed session was thrown away: %v", err)
		}
		os.Chmod(dir.Filename("corp"), 0o600)
		time.Sleep(time.Minute)
		if _, err := src.Token(); err != nil {
			t.Errorf("and is lost: %v", err)
		}
	})
}

func TestOlderRecordDuringRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir := putIssued(t, srv, t.TempDir())
		older, _ := os.ReadFile(dir.Filename("corp")) // R1
		time.Sleep(45 * time.Minute)
		bearer(t, newSource(t, srv, withStore(dir))) // another process: R1 -> R2
		src := newSource(t, srv, withStore(dir))
		bearer(t, src) // knows R2 only
		time.Sleep(2 * time.Hour)
		midRefresh(srv, src, func() { os.WriteFile(dir.Filename("corp"), older, 0o600) }) // R2 -> R3, R1 is back
		time.Sleep(2 * time.Hour)
		if _, err := src.Token(); err != nil || srv.Reuses() > 0 {
			t.Errorf("%d reuses: %v", srv.Reuses(), err)
		}
	})
}

// unreadable is a store whose sessions can't be read or written while bad is set.
type unreadable struct {
	cache.Store
	bad atomic.Bool
}

func (s *unreadable) Get(ctx context.Context, key string) ([]byte, error) {
	if s.bad.Load() && isSession(key) {
		return nil, errors.New("input/output error")
	}
	return s.Store.Get(ctx, key)
}

func (s *unreadable) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		if s.bad.Load() && isSession(key) {
			old = []byte("{") // half written
		}
		return fn(ctx, old)
	})
}

func TestReadErrorIsNotASignOut(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		bad := &unreadable{Store: newLRU(t)}
		store := &hooked{Store: bad}
		src := signedIn(t, srv, withStore(store))
		time.Sleep(2 * time.Hour)
		store.change = refuseSession
		token := bearer(t, src) // refreshed, and not saved
		store.change = nil
		bad.bad.Store(true)
		err := src.Close()
		bad.bad.Store(false)
		if err != nil {
			return // it says so
		}
		if got, err := newSource(t, srv, withStore(store)).Bearer(t.Context()); got != token {
			t.Errorf("Close returned nil, and the session is lost: %v", err)
		}
	})
}

func TestUnsavedSignInIsNotUndoneByOwnRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store, refuse := refusingSessions(t)
		src := signedIn(t, srv, withStore(store)) // Alice
		time.Sleep(45 * time.Minute)
		srv.Inject(idctest.CreateTokenDeviceCode, idctest.Fault{LatencyAfter: 5 * time.Second})
		done := make(chan error, 1)
		go func() { done <- src.Login(context.Background()) }() // Bob: polled after 1 s, answered after 6 s
		time.Sleep(3 * time.Second)
		bearer(t, src) // Alice's is due, and refreshed meanwhile
		synctest.Wait()
		refuse.Store(true)
		t.Log(<-done) // "this process alone can use it"
		refuse.Store(false)
		bob := bearer(t, src)
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		if bearer(t, newSource(t, srv, withStore(store))) != bob {
			t.Error("Close returned nil, and the store has Alice's session, which Bob's sign-in replaced")
		}
	})
}

func TestUnsavedSignInIsNotDroppedInSilence(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t)}
		other := signedIn(t, srv, withStore(store)) // Alice
		src := newSource(t, srv, withStore(store))
		time.Sleep(20 * time.Minute)
		store.change = refuseSession
		t.Log(src.Login(t.Context())) // Bob
		store.change = nil
		bob := bearer(t, src)
		time.Sleep(25 * time.Minute)
		bearer(t, other) // refreshes Alice's
		synctest.Wait()
		if err := src.Close(); err == nil && bearer(t, newSource(t, srv, withStore(store))) != bob {
			t.Error("Close returned nil, and Bob's sign-in is lost")
		}
	})
}

func TestCloseOfASignInInMemory(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir := putIssued(t, srv, t.TempDir())
		os.Chmod(dir.Filename("corp"), 0o664)
		src := newSource(t, srv, withStore(dir))
		t.Log(src.Login(t.Context()))
		token := bearer(t, src)
		os.Chmod(dir.Filename("corp"), 0o600) // as the error says
		err := src.Close()
		if bearer(t, newSource(t, srv, withStore(dir))) != token && err == nil {
			t.Error("Close returned nil, and the sign-in is not saved")
		}
	})
}

func TestForeignStartURLDuringRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		time.Sleep(2 * time.Hour)
		b, _ := json.Marshal(srv.Issue("sso:account:access"))
		other := strings.Replace(string(b), "https://", "https://other-", 1)
		midRefresh(srv, src, func() { os.WriteFile(dir.Filename("corp"), []byte(other), 0o600) })
		after, _ := os.ReadFile(dir.Filename("corp"))
		if member(t, after, "startUrl") != member(t, []byte(other), "startUrl") {
			t.Error("a sign-in to another start URL under the same name was overwritten")
		}
	})
}

func TestHalfWrittenSignInDuringRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		time.Sleep(2 * time.Hour)
		other, _ := json.Marshal(srv.Issue("sso:account:access")) // aws sso login
		midRefresh(srv, src, func() {
			time.Sleep(1900 * time.Millisecond)
			f, _ := os.OpenFile(dir.Filename("corp"), os.O_WRONLY|os.O_TRUNC, 0o600)
			f.Write(other[:20])
			time.Sleep(400 * time.Millisecond) // the answer comes
			f.Write(other[20:])
			f.Close()
		})
		after, _ := os.ReadFile(dir.Filename("corp"))
		if member(t, after, "refreshToken") != member(t, other, "refreshToken") {
			t.Error("the CLI's sign-in, half written when the answer came, was overwritten")
		}
	})
}

type removable struct {
	cache.Store
	gone atomic.Bool // removed without the lock
}

func (s *removable) Get(ctx context.Context, key string) ([]byte, error) {
	if s.gone.Load() && isSession(key) {
		return nil, cache.ErrMiss
	}
	return s.Store.Get(ctx, key)
}

func (s *removable) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		if s.gone.Load() && isSession(key) {
			old = nil
		}
		v, err := fn(ctx, old)
		if v != nil && isSession(key) {
			s.gone.Store(false)
		}
		return v, err
	})
}

func TestUnsavedSignInAndAForeignSignOut(t *testing.T) {
	for _, during := range []bool{false, true} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			k := &removable{Store: newLRU(t)}
			store := &hooked{Store: k}
			signedIn(t, srv, withStore(store)) // Alice
			src := newSource(t, srv, withStore(store))
			bearer(t, src)
			store.change = refuseSession
			src.Login(t.Context()) // Bob, unsaved
			store.change = nil
			k.gone.Store(!during) // Alice signs out elsewhere, before ...
			time.Sleep(2 * time.Hour)
			if err := midRefresh(srv, src, func() { k.gone.Store(true) }); err != nil { // ... or meanwhile
				t.Errorf("during the refresh %v: Bob's session is gone: %v", during, err)
			}
		})
	}
}

func TestForeignExpiredRecordDuringRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		other, _ := json.Marshal(srv.Issue("sso:account:access")) // its refresh token is good
		time.Sleep(2 * time.Hour)
		if err := midRefresh(srv, src, func() { os.WriteFile(dir.Filename("corp"), other, 0o600) }); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusedRecordDuringRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		dead, _ := os.ReadFile(dir.Filename("corp"))
		srv.RevokeSessions()
		time.Sleep(2 * time.Hour)
		src.Token() // refused: this source knows that it is dead
		if err := src.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		midRefresh(srv, src, func() { os.WriteFile(dir.Filename("corp"), dead, 0o600) })
		if _, err := src.Token(); err != nil {
			t.Errorf("the live session was dropped for one that was refused before: %v", err)
		}
	})
}

func slowSave(t *testing.T) (store *hooked, release chan struct{}) {
	release = make(chan struct{})
	return &hooked{Store: newLRU(t), change: func(key string, v []byte, err error) ([]byte, error) {
		if v != nil && isSession(key) {
			<-release
		}
		return v, err
	}}, release
}

func TestLateSignInDoesNotReviveAnInvalidatedToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		store, release := slowSave(t)
		src := newSource(t, idctest.New(), withStore(store))
		done := make(chan error, 1)
		go func() { done <- src.Login(context.Background()) }()
		time.Sleep(8 * time.Second)
		token := bearer(t, src)
		if !src.Invalidate(token) {
			t.Fatal("not invalidated")
		}
		close(release)
		<-done
		if bearer(t, src) == token {
			t.Error("the invalidated token is back")
		}
	})
}

func TestRolesWhileASignInIsSaved(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store, release := slowSave(t)
		save := store.change
		store.change = nil
		src := signedIn(t, srv, withStore(store))
		role := src.RoleCredentials("123456789012", "ReadOnly")
		alice, _ := role.Current(t.Context())
		first := bearer(t, src)
		store.change = save
		done := make(chan error, 1)
		go func() { done <- src.Login(context.Background()) }()
		time.Sleep(8 * time.Second)
		c, _ := role.Current(t.Context())
		if bearer(t, src) != first && c.AccessKeyID == alice.AccessKeyID {
			t.Error("the token is Bob's, the role credentials are Alice's")
		}
		close(release)
		<-done
	})
}

// lostOnce is a store that loses exclusion once after an update function gave a
// record, and then calls after.
type lostOnce struct {
	cache.Store
	lost  atomic.Bool
	after func(key string)
}

func (s *lostOnce) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	lost := false
	err := s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		v, err := fn(ctx, old)
		if v != nil && s.lost.CompareAndSwap(true, false) {
			lost = true
			return nil, cache.ErrLost
		}
		return v, err
	})
	if lost && s.after != nil {
		s.after(key)
	}
	return err
}

func sharing(store cache.Store) func(*awsoidc.ExchangerConfig) {
	return func(c *awsoidc.ExchangerConfig) { c.Store = store }
}

func TestSaveAgainDoesNotReviveTheForgotten(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		lru := newLRU(t)
		other := newExchanger(t, srv, sharing(lru))
		store := &lostOnce{Store: lru, after: func(string) {
			time.Sleep(time.Second)
			if err := other.Forget(context.Background(), jane); err != nil {
				t.Error(err)
			}
		}}
		store.lost.Store(true)
		if _, err := newExchanger(t, srv, sharing(store)).Identity(jane, fresh(jane)).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
			t.Errorf("forgotten elsewhere meanwhile: %v", err)
		}
		if _, err := other.Identity(jane, awsoidc.Assertion{}).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
			t.Errorf("Forget returned nil, and the user is back in the store: %v", err)
		}
	})
}

func TestSpentMarkSurvivesLostExclusion(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		lru := newLRU(t)
		store := &lostOnce{Store: lru}
		store.lost.Store(true)
		a := awsoidc.JWT(assertionOf(jane, nil)) // with a jti
		srv.Inject(idctest.CreateTokenWithIAMJWTBearer, idctest.Fault{ResetAfter: true})
		newExchanger(t, srv, sharing(store)).Identity(jane, a).Token() // nobody knows whether it was taken
		n := exchanges(srv)
		newExchanger(t, srv, sharing(lru)).Identity(jane, a).Token()
		if exchanges(srv) != n {
			t.Error("an assertion that works once was sent again by another who shares the store")
		}
	})
}

func TestSaveAgainKeepsTheMarksOfOthers(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		lru := newLRU(t)
		b := awsoidc.JWT(assertionOf(jane, nil))
		store := &lostOnce{Store: lru, after: func(string) {
			srv.Inject(idctest.CreateTokenWithIAMJWTBearer, idctest.Fault{ResetAfter: true})
			newExchanger(t, srv, sharing(lru)).Identity(jane, b).Token() // marks b
		}}
		store.lost.Store(true)
		accessToken(t, newExchanger(t, srv, sharing(store)).Identity(jane, fresh(jane)))
		time.Sleep(2 * time.Hour)
		n := exchanges(srv)
		newExchanger(t, srv, sharing(lru)).Identity(jane, b).Token()
		if exchanges(srv) != n {
			t.Error("an assertion that works once was sent again by another who shares the store")
		}
	})
}

func TestLostExclusionHoldsUpNobody(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		lru := newLRU(t)
		store := &lostOnce{Store: lru, after: func(key string) {
			go lru.Update(context.Background(), key, func(context.Context, []byte) ([]byte, error) {
				time.Sleep(20 * time.Second) // whoever has the lock now
				return nil, errors.New("no")
			})
			time.Sleep(time.Millisecond)
		}}
		src := signedIn(t, srv, withStore(store))
		time.Sleep(2 * time.Hour)
		store.lost.Store(true)
		begin := time.Now()
		bearer(t, src)
		if d := time.Since(begin); d > 3*time.Second {
			t.Errorf("waited %v for the store with a token in hand", d)
		}
	})
}

type slowGet struct {
	cache.Store
	slow atomic.Bool
}

func (s *slowGet) Get(ctx context.Context, key string) ([]byte, error) {
	if s.slow.Load() && isSession(key) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Store.Get(ctx, key)
}

func TestSlowGetAfterTheAnswerHoldsUpNobody(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &slowGet{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		time.Sleep(2 * time.Hour)
		begin := time.Now()
		midRefresh(srv, src, func() { store.slow.Store(true) })
		if d := time.Since(begin) - 5*time.Second; d > 5*time.Second+time.Millisecond { // 3 s + saveGrace
			t.Errorf("waited %v, of which 3 s for the service", d)
		}
		store.slow.Store(false)
	})
}

func TestSignedOutStaysSignedOut(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		k := &keyed{Store: newLRU(t)}
		store := &hooked{Store: k}
		src := signedIn(t, srv, withStore(store))
		bearer(t, newSource(t, srv, withStore(store)))
		time.Sleep(2 * time.Hour)
		store.change = refuseSession
		bearer(t, src) // unsaved
		store.change = nil
		k.put(t, nil) // aws sso logout
		time.Sleep(2 * time.Hour)
		if _, err := src.Token(); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Fatal(err)
		}
		k.put(t, []byte(`{"half`)) // aws sso login, on a slow disk
		time.Sleep(5 * time.Second)
		src.Token()
		if string(k.read(t)) != `{"half` {
			t.Error("the session that was signed out is back, in the place of a sign-in that is being written")
		}
	})
}
