package idctest_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// TestConcurrentRefreshes lets many spend one token: exactly one succeeds, and
// the session is lost with the first of the others.
func TestConcurrentRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		s := srv.Issue("sso:account:access")
		srv.Inject(idctest.CreateToken, idctest.Fault{Latency: 50 * time.Millisecond, Times: idctest.Always})
		var succeeded atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := refreshSession(t, srv, s); err == nil {
					succeeded.Add(1)
				}
			})
		}
		wg.Wait()
		want := idctest.Counts{Requests: 100, Succeeded: 1, Failed: 99, Faulted: 100, MaxConcurrent: 100}
		if got := srv.Count(idctest.CreateTokenRefresh); got != want || succeeded.Load() != 1 || srv.Reuses() != 99 {
			t.Errorf("counts %+v, want %+v; %d succeeded, %d reuses", got, want, succeeded.Load(), srv.Reuses())
		}
	})
}

// TestConcurrentUse does everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	srv := idctest.New()
	srv.ApproveAfter(0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				s := srv.Issue("sso:account:access")
				refreshSession(t, srv, s)
				roleCredentials(t, srv, s.AccessToken)
				d := begin(t, srv, "sso:account:access")
				srv.Pending()
				srv.Approve(d.userCode)
				d.poll()
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			srv.Inject(idctest.AnyOperation, idctest.Fault{Latency: time.Microsecond}, idctest.Fault{LatencyAfter: 1})
			srv.RevokeAccessTokens()
			srv.RevokeSessions()
			srv.Log()
			srv.Count(idctest.AnyOperation)
			srv.Reuses()
			srv.PendingFaults(idctest.AnyOperation)
			srv.ClearFaults()
		}
	})
	wg.Wait()
	c := srv.Count(idctest.AnyOperation)
	if c.Requests != 8*20*5 || c.Requests != c.Succeeded+c.Failed {
		t.Errorf("counts %+v", c)
	}
}

// TestHangHoldsNothing checks that others are answered while a request hangs.
func TestHangHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		s := srv.Issue("sso:account:access")
		srv.Inject(idctest.CreateToken, idctest.Fault{Hang: true, Commit: true})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			post(ctx, srv.Transport(), "https://idc.example", refreshBody(t, s))
		})
		synctest.Wait()
		if _, err := roleCredentials(t, srv, s.AccessToken); err != nil {
			t.Error(err)
		}
		if got := srv.Count(idctest.CreateToken); got.Requests != 1 || got.Succeeded+got.Failed != 0 {
			t.Errorf("counts %+v, want one in progress", got)
		}
		cancel()
		wg.Wait()
	})
}

// TestForgetsTheOldest checks that what a server remembers is bounded.
func TestForgetsTheOldest(t *testing.T) {
	srv := idctest.New()
	var issued []idctest.Session
	for range 10_002 {
		issued = append(issued, srv.Issue("sso:account:access"))
	}
	for _, s := range issued[:2] {
		_, err := refreshSession(t, srv, s)
		wantException(t, err, "InvalidClientException")
	}
	for _, s := range []idctest.Session{issued[2], issued[3], issued[10_001]} {
		if _, err := refreshSession(t, srv, s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCountedBeforeAnswered checks that a client which has its answer, or
// knows that none comes, finds itself counted and logged.
func TestCountedBeforeAnswered(t *testing.T) {
	srv := idctest.New()
	srv.Inject(idctest.CreateToken, idctest.Fault{ResetBefore: true, Times: 200}, idctest.Fault{BodySize: 64 << 10, Times: 200})
	for n := 1; n <= 400; n++ {
		post(t.Context(), srv.Transport(), "https://idc.example", "{}")
		if got := srv.Count(idctest.CreateToken).Failed; got != n || len(srv.Log()) != n {
			t.Fatalf("after %d requests: %d counted, %d logged", n, got, len(srv.Log()))
		}
	}
}
