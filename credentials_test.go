package awsoidc_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

const account = "123456789012"

func TestRoleCredentials(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		role := src.RoleCredentials(account, "ReadOnly")
		if src.RoleCredentials(account, "ReadOnly") != role {
			t.Error("the same role gave another provider, with a cache of its own")
		}
		c, err := role.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !c.HasKeys() || c.SessionToken == "" || !c.CanExpire || c.AccountID != account || c.Source == "" {
			t.Errorf("incomplete credentials of source %q, account %q", c.Source, c.AccountID)
		}
		now, err := role.Current(t.Context())
		if err != nil || now.AccessKeyID != c.AccessKeyID {
			t.Fatalf("Current differs: %v", err)
		}
		if d := now.Expires.Sub(c.Expires); d < 19*time.Minute || d > 23*time.Minute {
			t.Errorf("asks to be refreshed %v before the expiry", d)
		}
	})
}

func TestRoleCredentialsBehindTheSDKsCacheNeverBlock(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 30 * time.Second} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			srv.SessionLifetime = 48 * time.Hour
			src := signedIn(t, srv)
			slow := idctest.Fault{Times: idctest.Always, Latency: 300 * time.Millisecond}
			cached := aws.NewCredentialsCache(src.RoleCredentials(account, "ReadOnly"))
			if _, err := cached.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
			srv.Inject(idctest.CreateTokenRefresh, slow)
			srv.Inject(idctest.GetRoleCredentials, slow)
			blocked := 0
			for begin := time.Now(); time.Since(begin) < 24*time.Hour; time.Sleep(every) {
				before := time.Now()
				c, err := cached.Retrieve(t.Context())
				if err != nil || c.Expired() {
					t.Fatalf("expired or failed: %v", err)
				}
				if time.Since(before) > 0 {
					blocked++
				}
			}
			if blocked > 0 {
				t.Errorf("%d calls were blocked", blocked)
			}
			if n := srv.Count(idctest.GetRoleCredentials).Requests; n > 45 {
				t.Errorf("%d requests in a day", n)
			}
		})
	}
}

func TestRoleCredentialsOnceForAll(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		role := signedIn(t, srv).RoleCredentials(account, "Admin")
		var users sync.WaitGroup
		for range 1000 {
			users.Go(func() {
				if _, err := role.Retrieve(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		users.Wait()
		if n := srv.Count(idctest.GetRoleCredentials).Requests; n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestPortalRefusesTheToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		first := bearer(t, src)
		srv.RevokeAccessTokens()
		if _, err := src.RoleCredentials(account, "ReadOnly").Retrieve(t.Context()); err != nil {
			t.Errorf("a revoked access token was not replaced: %v", err)
		}
		if bearer(t, src) == first || refreshes(srv) != 1 {
			t.Errorf("%d refreshes", refreshes(srv))
		}
	})
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		srv.RevokeSessions()
		_, err := src.RoleCredentials(account, "ReadOnly").Retrieve(t.Context())
		if !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired", err)
		}
	})
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Status: 401, Type: "UnauthorizedException", Times: idctest.Always})
		for range 100 {
			_, err := src.RoleCredentials(account, "ReadOnly").Retrieve(t.Context())
			if !errors.Is(err, awsoidc.ErrLoginRequired) {
				t.Fatalf("got %v, want ErrLoginRequired", err)
			}
		}
		if n := refreshes(srv); n != 1 {
			t.Errorf("%d refreshes for a portal that refuses every token, want 1", n)
		}
	})
}

func TestRoleNotAssigned(t *testing.T) {
	virtual(t, func(t *testing.T) {
		role := signedIn(t, idctest.New()).RoleCredentials(account, "Root")
		_, err := role.Retrieve(t.Context())
		if !errors.Is(err, awsoidc.ErrNotAssigned) {
			t.Fatalf("got %v, want ErrNotAssigned", err)
		}
		for _, part := range []string{"Root", account, "assigned", "403"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error does not mention %q: %v", part, err)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("more than one line: %v", err)
		}
	})
}

func TestRoleCredentialsWithoutSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		role := newSource(t, idctest.New()).RoleCredentials(account, "ReadOnly")
		if _, err := role.Retrieve(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired", err)
		}
		if got := fmt.Sprintf("%+v", role); got != "awsoidc.RoleCredentials(123456789012, ReadOnly)" {
			t.Errorf("prints as %s", got)
		}
	})
}

// TestCredentialsCacheWithAWindow has a window that is longer than the
// credentials live.
func TestCredentialsCacheWithAWindow(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		cached := aws.NewCredentialsCache(signedIn(t, srv).RoleCredentials(account, "ReadOnly"), func(o *aws.CredentialsCacheOptions) {
			o.ExpiryWindow = 2 * time.Hour
		})
		for range 101 {
			if _, err := cached.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := srv.Count(idctest.GetRoleCredentials).Requests; n != 1 {
			t.Errorf("%d requests for 101 calls", n)
		}
	})
}

// TestRoleCredentialsInAnOutage has credentials that are due, and a portal that
// is out of order until just before they expire.
func TestRoleCredentialsInAnOutage(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.SessionLifetime = 48 * time.Hour
		cached := aws.NewCredentialsCache(signedIn(t, srv).RoleCredentials(account, "ReadOnly"))
		first, err := cached.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		srv.Inject(idctest.AnyOperation, idctest.Fault{Status: 503, Times: idctest.Always})
		for begin := time.Now(); time.Since(begin) < 59*time.Minute; time.Sleep(time.Second) {
			before := time.Now()
			c, err := cached.Retrieve(t.Context())
			if err != nil || c.AccessKeyID != first.AccessKeyID || time.Since(before) > 0 {
				t.Fatalf("after %v: %v, waited %v", time.Since(begin), err, time.Since(before))
			}
		}
		srv.ClearFaults()
		time.Sleep(2 * time.Minute)
		if c, err := cached.Retrieve(t.Context()); err != nil || c.AccessKeyID == first.AccessKeyID {
			t.Errorf("not replaced after the outage: %v", err)
		}
	})
}
