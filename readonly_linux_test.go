package awsoidc_test

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// TestReadOnlyFolder has a source whose cache folder is mounted read-only, as
// containers have their user's, beside one that may write it.
func TestReadOnlyFolder(t *testing.T) {
	folder := t.TempDir()
	mounted, remount := mountAgain(t, folder)
	if mounted == "" {
		return // TestStoreThatCannotBeLocked is the case that needs no mount
	}
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		writer := newSource(t, srv, withStore(putIssued(t, srv, folder)))
		store, err := cache.NewDir(mounted)
		if err != nil {
			t.Fatal(err)
		}
		reader := newSource(t, srv, withStore(store))
		remount(syscall.MS_RDONLY)

		first := bearer(t, reader)
		servesWhileDue(t, reader, first)
		atOnce(t, "a process that starts now", func() {
			servesWhileDue(t, newSource(t, srv, withStore(store)), first)
		})
		failsOnceExpired(t, reader, mounted)
		if n := refreshes(srv); n != 0 {
			t.Errorf("%d refreshes that could not be saved", n)
		}
		if err := reader.Login(t.Context()); !errors.Is(err, cache.ErrLock) || srv.Count(idctest.StartDeviceAuthorization).Requests != 0 {
			t.Errorf("Login, which can't be saved: %v", err)
		}

		second := bearer(t, writer)
		time.Sleep(10 * time.Second) // longer than the reader's backoff
		if bearer(t, reader) != second || second == first {
			t.Error("the other's refresh was not taken over")
		}
		servesWhileDue(t, reader, second)
		failsOnceExpired(t, reader, mounted)

		remount(0)
		time.Sleep(10 * time.Second)
		third := bearer(t, reader)
		if third == second || bearer(t, writer) != third {
			t.Error("writable again, the session was not refreshed, or not saved")
		}
		if refreshes(srv) != 2 || srv.Reuses() != 0 {
			t.Errorf("%d refreshes, want 2; %d reuses", refreshes(srv), srv.Reuses())
		}
		remount(syscall.MS_RDONLY)
		if err := reader.Close(); err != nil { // there is nothing to save
			t.Error(err)
		}
	})
}

// servesWhileDue lets the token come due, and uses it until just before it
// expires.
func servesWhileDue(t *testing.T, src *awsoidc.TokenSource, token string) {
	t.Helper()
	held, err := src.RetrieveBearerToken(t.Context())
	if err != nil || held.Value != token {
		t.Fatalf("the valid token was not served: %v", err)
	}
	for end := held.Expires.Add(-time.Minute); time.Now().Before(end); time.Sleep(time.Minute) {
		atOnce(t, "a use", func() {
			if bearer(t, src) != token {
				t.Fatal("the valid token was not served")
			}
		})
	}
}

// failsOnceExpired uses the source past the expiry.
func failsOnceExpired(t *testing.T, src *awsoidc.TokenSource, folder string) {
	t.Helper()
	time.Sleep(5 * time.Minute)
	atOnce(t, "a use of an expired token", func() {
		_, err := src.Bearer(t.Context())
		if !errors.Is(err, cache.ErrLock) || !errors.Is(err, syscall.EROFS) || errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Fatalf("got %v", err)
		}
		if text := err.Error(); !strings.Contains(text, folder) || !strings.Contains(text, "writable") || strings.Contains(text, "\n") {
			t.Errorf("the error does not name the folder, or what to do: %s", text)
		}
	})
}

// mountAgain mounts folder at a second place too, where that is permitted.
// There, remount makes it read-only or, with 0, writable again.
func mountAgain(t *testing.T, folder string) (mounted string, remount func(flags uintptr)) {
	t.Helper()
	mounted = t.TempDir()
	mount := func(flags uintptr) error { return syscall.Mount(folder, mounted, "", syscall.MS_BIND|flags, "") }
	err := mount(0)
	if errors.Is(err, os.ErrPermission) {
		return "", nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(mounted, 0); err != nil {
			t.Error(err)
		}
	})
	return mounted, func(flags uintptr) {
		if err := mount(syscall.MS_REMOUNT | flags); err != nil {
			t.Fatal(err)
		}
	}
}
