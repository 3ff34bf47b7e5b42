package awsoidc_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// The service says when it wants to be asked again; that is obeyed for 5
// minutes at most.
func TestRetryAfterIsObeyed(t *testing.T) {
	for _, test := range []struct {
		header string
		want   time.Duration
	}{{"120", 2 * time.Minute}, {"3600", 5 * time.Minute}} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			src := signedIn(t, srv)
			time.Sleep(2 * time.Hour)
			srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Status: 429, Header: http.Header{"Retry-After": {test.header}}})
			if _, err := src.Token(); err == nil {
				t.Fatal("no error")
			}
			asked := refreshes(srv)
			for begin := time.Now(); time.Since(begin) < test.want-10*time.Second; time.Sleep(time.Second) {
				src.Token()
			}
			if n := refreshes(srv) - asked; n != 0 {
				t.Errorf("Retry-After %s: asked %d times before %v", test.header, n, test.want)
			}
			srv.ClearFaults()
			time.Sleep(20 * time.Second)
			bearer(t, src)
		})
	}
}

// Without background work each caller of a token that is due waits for its
// successor.
func TestNoBackgroundWaits(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, func(c *awsoidc.Config) { c.NoBackground = true })
		old := bearer(t, src)
		time.Sleep(50 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: time.Second})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if bearer(t, src) == old {
					t.Error("a caller did not wait for the refresh")
				}
			})
		}
		all.Wait()
		if n := refreshes(srv); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// While a refresh fails, a token's Expiry says when its backoff ends: caches
// above do not ask in vain.
func TestExpiryDuringABackoff(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		time.Sleep(50 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Status: 429, Header: http.Header{"Retry-After": {"60"}}})
		bearer(t, src)
		time.Sleep(30 * time.Second)
		token, err := src.Token()
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Until(token.Expiry); d < 20*time.Second || d > time.Minute+10*time.Second {
			t.Errorf("asks again in %v, want the end of the backoff", d)
		}
	})
}
