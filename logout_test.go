package awsoidc_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

func TestLogout(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), &keyed{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		bearer(t, newSource(t, srv, withStore(store)))
		stolen := store.read(t)
		other := signedIn(t, srv, withStore(store), func(c *awsoidc.Config) { c.SessionName = "another" })
		if err := src.Logout(t.Context()); err != nil {
			t.Fatalf("Logout: %v", err)
		}
		if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("after Logout Bearer says %v", err)
		}
		if _, err := newSource(t, srv, withStore(store)).Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("another source that shares the store gets %v", err)
		}
		if n := srv.Count(idctest.Logout).Requests; n != 1 {
			t.Errorf("the portal was asked %d times to end the session", n)
		}
		bearer(t, other)
		if err := src.Logout(t.Context()); err != nil {
			t.Errorf("the second Logout: %v", err)
		}
		if err := src.Login(t.Context()); err != nil {
			t.Fatalf("Login after Logout: %v", err)
		}
		bearer(t, src)
		if n := srv.Count(idctest.RegisterClient).Requests; n != 2 {
			t.Errorf("%d clients were registered for two sessions: a registration must outlive Logout", n)
		}
		store.put(t, stolen)
		time.Sleep(2 * time.Hour)
		if _, err := newSource(t, srv, withStore(store)).Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("a copy of the session can still be refreshed: %v", err)
		}
	})
}

func TestLogoutOfAnExpiredToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		time.Sleep(2 * time.Hour)
		if err := src.Logout(t.Context()); err != nil {
			t.Fatalf("Logout: %v", err)
		}
		if n := srv.Count(idctest.Logout).Requests; n != 1 {
			t.Errorf("the portal was asked %d times to end the session", n)
		}
	})
}

func TestLogoutWithoutThePortal(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newLRU(t)
		src := signedIn(t, srv, withStore(store))
		srv.Inject(idctest.Logout, idctest.Fault{Times: idctest.Always, Status: http.StatusInternalServerError})
		err := src.Logout(t.Context())
		if err == nil {
			t.Fatal("Logout hides that the session was not ended")
		}
		t.Log(err)
		if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("after Logout Bearer says %v", err)
		}
		if _, err := newSource(t, srv, withStore(store)).Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("the record is still there: %v", err)
		}
	})
}

func TestLogoutLeavesAnotherConfigurationsSession(t *testing.T) {
	srv := idctest.New()
	dir := putIssued(t, srv, t.TempDir())
	src := newSource(t, srv, withStore(dir), func(c *awsoidc.Config) { c.StartURL = "https://other.awsapps.com/start" })
	if err := src.Logout(t.Context()); err != nil {
		t.Fatalf("Logout: %v", err)
	}
	bearer(t, newSource(t, srv, withStore(dir)))
}

// TestRefreshDoesNotUndoLogout has somebody sign out while a refresh is under
// way.
func TestRefreshDoesNotUndoLogout(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newLRU(t)
		src := signedIn(t, srv, withStore(store))
		time.Sleep(50 * time.Minute) // due
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: 1, Latency: 2 * time.Second})
		bearer(t, src) // begins it
		if err := src.Logout(t.Context()); err != nil {
			t.Fatalf("Logout: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("after Logout Bearer says %v", err)
		}
	})
}

func TestLogoutAfterClose(t *testing.T) {
	src := newSource(t, idctest.New())
	src.Close()
	if err := src.Logout(t.Context()); !errors.Is(err, awsoidc.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}
