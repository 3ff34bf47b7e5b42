package awsoidc_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

func TestReadDuringTheSavingOfALogin(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		lru := newLRU(t)
		alice := bearer(t, signedIn(t, srv, withStore(lru)))
		saving := make(chan struct{})
		store := &hooked{Store: lru}
		src := newSource(t, srv, withStore(store))
		store.change = func(key string, v []byte, err error) ([]byte, error) {
			if v != nil && strings.Contains(key, "session") {
				close(saving)
				time.Sleep(time.Second) // a slow disk
			}
			return v, err
		}
		done := make(chan error, 1)
		go func() { done <- src.Login(context.Background()) }() // as Bob
		<-saving
		bearer(t, src) // another goroutine's use meanwhile: Alice's token, fair enough
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if bearer(t, src) == alice {
			t.Error("10 minutes after Login returned nil, the source serves the session that it replaced")
		}
	})
}

func TestInvalidatedTokenAfterBriefWait(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, func(c *awsoidc.Config) { c.NoBackground = true })
		first := bearer(t, src)
		time.Sleep(45 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Hang: true})
		var got string
		go func() { got, _ = src.Bearer(context.Background()) }()
		synctest.Wait()
		if !src.Invalidate(first) {
			t.Fatal()
		}
		time.Sleep(6 * time.Second)
		if got == first {
			t.Error("an invalidated token was handed out")
		}
	})
}

func TestDeadRoleCredentials(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, func(c *awsoidc.Config) { c.NoBackground = true })
		role := src.RoleCredentials(account, "ReadOnly")
		c, _ := role.Current(t.Context())
		time.Sleep(time.Until(c.Expires) - time.Second)
		srv.Inject(idctest.AnyOperation, idctest.Fault{Times: idctest.Always, Hang: true})
		d, err := role.Current(t.Context())
		if err == nil && !time.Now().Before(d.Expires) {
			t.Errorf("expired %v ago", time.Since(d.Expires))
		}
	})
}
