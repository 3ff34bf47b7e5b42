package awsoidc_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
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

// TestLogoutOnAFullDisk has a store that can take no new record: removing one
// takes none.
func TestLogoutOnAFullDisk(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &brokenStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		store.reserve = syscall.ENOSPC
		if err := src.Logout(t.Context()); err != nil {
			t.Errorf("Logout: %v", err)
		}
		if _, err := newSource(t, srv, withStore(store)).Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("afterwards Bearer says %v", err)
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

// TestLogoutAtAHungPortal has nobody wait for the portal but who signs out.
func TestLogoutAtAHungPortal(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newLRU(t)
		src := signedIn(t, srv, withStore(store))
		srv.Inject(idctest.Logout, idctest.Fault{Times: idctest.Always, Hang: true})
		begin := time.Now()
		done := make(chan error)
		go func() { done <- src.Logout(t.Context()) }()
		synctest.Wait()
		other := newSource(t, srv, withStore(store))
		atOnce(t, "the error of another source", func() {
			if _, err := other.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
				t.Errorf("another source gets %v", err)
			}
		})
		if err := other.Login(t.Context()); err != nil {
			t.Fatalf("Login meanwhile: %v", err)
		}
		if d := time.Since(begin); d != time.Second { // the first poll
			t.Errorf("Login meanwhile took %v", d)
		}
		token := bearer(t, other)
		err := <-done
		if err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("got %v", err)
		}
		t.Log(err)
		if d := time.Since(begin); d > 30*time.Second {
			t.Errorf("Logout took %v", d)
		}
		if bearer(t, newSource(t, srv, withStore(store))) != token {
			t.Error("Logout ended the session that came after")
		}
	})
}

// TestLogoutInterrupted gives up at a hung portal. The record is gone: to sign
// out again would do nothing, so that the error has to say what is left.
func TestLogoutInterrupted(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newLRU(t)
		src := signedIn(t, srv, withStore(store))
		srv.Inject(idctest.Logout, idctest.Fault{Times: idctest.Always, Hang: true})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := src.Logout(ctx)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not confirm") {
			t.Errorf("got %v", err)
		}
		t.Log(err)
		if _, err := newSource(t, srv, withStore(store)).Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("the record is still there: %v", err)
		}
		if err := src.Logout(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

// TestLogoutRemovesRoles signs out where role credentials are kept.
func TestLogoutRemovesRoles(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, sessions := idctest.New(), newLRU(t)
		roles, path := newDir(t)
		src := signedIn(t, srv, sharingRoles(sessions, roles))
		admin(t, src)
		another := signedIn(t, srv, sharingRoles(sessions, roles), func(c *awsoidc.Config) { c.SessionName = "another" })
		admin(t, another)
		key := func(role, session string) string {
			return `{"accountId":"123456789012","roleName":"` + role + `","sessionName":"` + session + `"}`
		}
		theirs := `{"ProviderType": "sso", "Credentials": {"AccessKeyId": "ASIATHEIRS"}}`
		assumed := `{"ProviderType": "assume-role", "Credentials": {"AccessKeyId": "ASIAASSUMED"}}`
		for role, text := range map[string]string{"ReadOnly": theirs, "Assumed": assumed, "Broken": `{"ProviderType`} {
			if err := os.WriteFile(roles.Filename(key(role, "corp")), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			src.RoleCredentials(account, role)
		}
		src.RoleCredentials(account, "NeverAsked")
		if err := src.Logout(t.Context()); err != nil {
			t.Fatalf("Logout: %v", err)
		}
		for file, kept := range map[string]bool{
			key("Admin", "corp"): false, key("ReadOnly", "corp"): false,
			key("Admin", "another"): true, key("Assumed", "corp"): true, key("Broken", "corp"): true,
		} {
			if _, err := os.Stat(roles.Filename(file)); (err == nil) != kept {
				t.Errorf("%s: %v, kept should be %v", file, err, kept)
			}
		}
		if left, err := filepath.Glob(filepath.Join(path, "*.json")); err != nil || len(left) != 3 {
			t.Errorf("left are %v", left)
		}
		admin(t, another)
	})
}

// TestLogoutCannotRemoveRoles has a link in the place of kept credentials.
func TestLogoutCannotRemoveRoles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need rights there")
	}
	virtual(t, func(t *testing.T) {
		srv, sessions := idctest.New(), newLRU(t)
		roles, path := newDir(t)
		src := signedIn(t, srv, sharingRoles(sessions, roles))
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, roles.Filename(`{"accountId":"123456789012","roleName":"Admin","sessionName":"corp"}`)); err != nil {
			t.Fatal(err)
		}
		src.RoleCredentials(account, "Admin")
		err := src.Logout(t.Context())
		if !errors.Is(err, cache.ErrUnsafe) || !strings.Contains(err.Error(), "signed out, but") {
			t.Errorf("got %v", err)
		}
		t.Log(err)
		if n := srv.Count(idctest.Logout).Succeeded; n != 1 {
			t.Error("the session was not ended")
		}
	})
}
