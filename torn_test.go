package awsoidc_test

import (
	"context"
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

func TestStaleMemoryIsPutInPlaceOfATornRecord(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir := putIssued(t, srv, t.TempDir())
		a, b := newSource(t, srv, withStore(dir)), newSource(t, srv, withStore(dir))
		bearer(t, a)
		bearer(t, b)
		time.Sleep(45 * time.Minute)
		bearer(t, a) // refreshes: b's refresh token is spent
		time.Sleep(time.Second)
		good, _ := os.ReadFile(dir.Filename("corp"))
		os.WriteFile(dir.Filename("corp"), nil, 0o600) // a tool that truncates in place, and is stopped there for a second
		bearer(t, b)                                   // due; its token is still valid
		time.Sleep(time.Second)
		os.WriteFile(dir.Filename("corp"), good, 0o600)
		time.Sleep(time.Hour)
		_, err := a.Token()
		if srv.Reuses() > 0 || err != nil {
			t.Errorf("%d reuses: %v", srv.Reuses(), err)
		}
	})
}

func TestValidTokenInTheStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		a := signedIn(t, srv, withStore(store))
		b := newSource(t, srv, withStore(store))
		bearer(t, b)
		time.Sleep(45 * time.Minute)
		bearer(t, a)
		time.Sleep(50 * time.Minute) // what a has is due, and valid for 10 minutes
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Status: 503, Times: idctest.Always})
		bearer(t, a)
		time.Sleep(5 * time.Second)
		begin := time.Now()
		if _, err := b.Token(); err != nil {
			t.Errorf("a valid token is in the store, and b gets, after %v: %v", time.Since(begin), err)
		}
		c := newSource(t, srv, withStore(store))
		if _, err := c.Token(); err != nil {
			t.Errorf("c: %v", err)
		}
	})
}

func TestValidTokenOnAReadOnlyMount(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		host := signedIn(t, srv, withStore(store))
		src := newSource(t, srv, withStore(unlockable{store}))
		bearer(t, src)
		time.Sleep(45 * time.Minute)
		bearer(t, host)
		time.Sleep(50 * time.Minute)
		if _, err := src.Token(); err != nil {
			t.Errorf("a valid token is in the folder: %v", err)
		}
	})
}

func TestLateFailureToSave(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.SessionLifetime = 48 * time.Hour
		k := newLRU(t)
		var fail atomic.Bool
		store := &hooked{Store: k, change: func(key string, v []byte, err error) ([]byte, error) {
			if v != nil && fail.Load() && strings.Contains(key, "session") {
				time.Sleep(4 * time.Second)
				return nil, errors.Join(cache.ErrNotWritten, syscall.EIO)
			}
			return v, err
		}}
		src := signedIn(t, srv, withStore(store))
		first := bearer(t, src)
		time.Sleep(45 * time.Minute)
		fail.Store(true)
		bearer(t, src)
		time.Sleep(3 * time.Second)
		second := bearer(t, src)
		if second == first {
			t.Fatal("not refreshed")
		}
		src.Invalidate(second)
		if bearer(t, src) == first {
			t.Log("back to the first")
		}
		fail.Store(false)
		time.Sleep(2 * time.Hour)
		_, err := src.Token()
		if srv.Reuses() > 0 || err != nil {
			t.Errorf("%d reuses: %v", srv.Reuses(), err)
		}
	})
}

func TestCloseRaces(t *testing.T) {
	for range scale(20, 100) {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			srv.AccessTokenLifetime = 20 * time.Second
			store := newLRU(t)
			signedIn(t, srv, withStore(store))
			src := newSource(t, srv, withStore(store))
			for i := range 8 {
				go func() {
					for {
						time.Sleep(time.Duration(1+i) * 100 * time.Millisecond)
						token, err := src.Bearer(context.Background())
						if errors.Is(err, awsoidc.ErrClosed) {
							return
						}
						if i == 0 {
							src.Invalidate(token)
						}
						src.RoleCredentials(account, "ReadOnly").Retrieve(context.Background())
						if i == 1 {
							src.Login(context.Background())
						}
					}
				}()
			}
			time.Sleep(40 * time.Second)
			src.Close()
			n := srv.Count(idctest.AnyOperation).Requests
			synctest.Wait()
			time.Sleep(time.Minute)
			if m := srv.Count(idctest.AnyOperation).Requests; m != n {
				t.Errorf("%d requests after Close", m-n)
			}
			if srv.Reuses() > 0 {
				t.Error("reuses")
			}
		})
	}
}
