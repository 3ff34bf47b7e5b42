package awsoidc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// expired returns a folder with a session that has expired, and can be refreshed.
func expired(t *testing.T, srv *idctest.Server) (*cache.Dir, string) {
	t.Helper()
	dir, src := inFolder(t, srv)
	bearer(t, src)
	time.Sleep(2 * time.Hour)
	raw, err := dir.Get(t.Context(), "corp")
	if err != nil {
		t.Fatal(err)
	}
	return dir, member(t, raw, "refreshToken")
}

// One process is told that the session is over. Others believe it for a minute.
func TestOthersBelieveThatTheSessionIsOver(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, _ := expired(t, srv)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: wire.TypeInvalidGrant, Times: idctest.Always})
		for _, test := range []struct {
			after time.Duration
			sent  int
		}{{0, 1}, {0, 1}, {50 * time.Second, 1}, {15 * time.Second, 2}} {
			time.Sleep(test.after)
			_, err := newSource(t, srv, withStore(dir)).Token()
			if n := refreshes(srv); n != test.sent || !errors.Is(err, awsoidc.ErrLoginRequired) {
				t.Errorf("%v later: %d requests, want %d; %v, want ErrLoginRequired", test.after, n, test.sent, err)
			}
		}
	})
}

// One process after the other fails: they ask the service less and less often.
func TestOthersCountFailures(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, _ := expired(t, srv)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: wire.TypeInvalidScope, Times: idctest.Always})
		ask := func() {
			if _, err := newSource(t, srv, withStore(dir)).Token(); err == nil || !strings.Contains(err.Error(), wire.TypeInvalidScope) {
				t.Fatalf("%v, want one that names what the service said", err)
			}
		}
		again := func(sent int) { // after one failure, after a second at most
			ask()
			time.Sleep(time.Second)
			ask()
			if n := refreshes(srv) - sent; n != 2 {
				t.Errorf("%d requests within a second after a failure, want 2", n)
			}
		}
		again(0)
		for range 300 {
			ask()
			time.Sleep(200 * time.Millisecond)
		}
		if n := refreshes(srv); n < 10 || n > 35 { // every 2.5 to 5 s, after the first few
			t.Errorf("%d requests in a minute", n)
		}
		time.Sleep(10 * time.Minute) // long enough to begin anew
		again(refreshes(srv))
	})
}

// While the token is valid, they ask less often still.
func TestOthersCountFailuresOfAValidToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		bearer(t, src)
		time.Sleep(50 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: wire.TypeInvalidScope, Times: idctest.Always})
		for range 240 {
			bearer(t, newSource(t, srv, withStore(dir)))
			time.Sleep(500 * time.Millisecond)
		}
		if n := refreshes(srv); n < 5 || n > 16 { // every 15 to 30 s, after the first few
			t.Errorf("%d requests in two minutes", n)
		}
	})
}

// Where no note can be left, a source counts its own failures.
func TestFailuresAreCounted(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t), change: func(key string, v []byte, err error) ([]byte, error) {
			if strings.Contains(key, "attempt") {
				return nil, errors.New("no notes")
			}
			return v, err
		}}
		src := signedIn(t, srv, withStore(store))
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: wire.TypeInvalidScope, Times: idctest.Always})
		for range 300 {
			if _, err := src.Token(); err == nil {
				t.Fatal("no error")
			}
			time.Sleep(200 * time.Millisecond)
		}
		if n := refreshes(srv); n < 10 || n > 35 {
			t.Errorf("%d requests in a minute", n)
		}
	})
}

// Of a note that anybody may have written, no more is shown than a code.
func TestTextOfANote(t *testing.T) {
	for code, shown := range map[string]string{
		"SlowDownException":     "(SlowDownException)",
		strings.Repeat("x", 64): strings.Repeat("x", 64),
		strings.Repeat("x", 65): "(unknown)",
		"two words":             "(unknown)",
		"no-answer":             "check the network",
	} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			dir, refreshToken := expired(t, srv)
			of := sha256.Sum256([]byte("awsoidc attempt " + refreshToken))
			at := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
			note := fmt.Sprintf(`{"of":%q,"start":%q,"end":%q,"until":%q,"error":%q}`, hex.EncodeToString(of[:8]), at(-time.Second), at(0), at(time.Minute), code)
			if err := dir.Update(t.Context(), "corp\x00awsoidc attempt", func(context.Context, []byte) ([]byte, error) { return []byte(note), nil }); err != nil {
				t.Fatal(err)
			}
			if _, err := newSource(t, srv, withStore(dir)).Token(); err == nil || !strings.Contains(err.Error(), shown) {
				t.Errorf("%v, want one with %s", err, shown)
			}
			if n := refreshes(srv); n != 0 {
				t.Errorf("%d requests before the time of the note", n)
			}
		})
	}
}

// A note about another session's refresh token, such as one that was signed out,
// means nothing.
func TestNoteOfAnotherSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, _ := expired(t, srv)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: wire.TypeInvalidGrant})
		if _, err := newSource(t, srv, withStore(dir)).Token(); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("%v, want ErrLoginRequired", err)
		}
		record, err := json.Marshal(srv.Issue("sso:account:access"))
		if err != nil {
			t.Fatal(err)
		}
		if err := dir.Update(t.Context(), "corp", func(context.Context, []byte) ([]byte, error) { return record, nil }); err != nil {
			t.Fatal(err)
		}
		src := newSource(t, srv, withStore(dir))
		src.Invalidate(bearer(t, src))
		bearer(t, src)
		if n := refreshes(srv); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

// A session that was saved does not take the place of a record that is corrupt:
// somebody may have a newer one.
func TestSavedSessionAndACorruptRecord(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, src := inFolder(t, srv)
		bearer(t, src)
		time.Sleep(2 * time.Hour)
		if err := os.WriteFile(dir.Filename("corp"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := src.Token(); !errors.Is(err, awsoidc.ErrLoginRequired) || refreshes(srv) != 0 {
			t.Errorf("%v, want ErrLoginRequired; %d requests", err, refreshes(srv))
		}
	})
}

// A store that takes no session is not tried each time the token is used.
func TestUnsavedSessionIsSavedNowAndThen(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		var tries atomic.Int32
		store.change = func(key string, v []byte, err error) ([]byte, error) {
			tries.Add(1)
			return refuseSession(key, v, err)
		}
		time.Sleep(50 * time.Minute)
		bearer(t, src)
		for range 300 {
			time.Sleep(time.Second)
			bearer(t, src)
		}
		if n := tries.Load(); n < 5 || n > 30 { // every 30 s, or a little more often
			t.Errorf("tried %d times in five minutes", n)
		}
	})
}

// Who has no time does not begin anything.
func TestTokenWithAnEndedContext(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		dir, _ := expired(t, srv)
		cause := errors.New("the request was given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		src := newSource(t, srv, withStore(dir))
		if _, err := src.TokenContext(ctx); !errors.Is(err, cause) {
			t.Errorf("%v, want the context's cause", err)
		}
		synctest.Wait()
		if n := refreshes(srv); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// That a session is not saved is logged once, and again after one was.
func TestUnsavedSessionIsLoggedOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store, refuse := refusingSessions(t)
		var log bytes.Buffer
		src := signedIn(t, srv, withStore(store), func(c *awsoidc.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		for want := 1; want <= 2; want++ {
			refuse.Store(true)
			for range 90 {
				time.Sleep(time.Minute)
				bearer(t, src)
			}
			synctest.Wait()
			if n := strings.Count(log.String(), "refreshed but not saved"); n != want {
				t.Errorf("logged %d times, want %d:\n%s", n, want, log.String())
			}
			refuse.Store(false)
			for range 90 {
				time.Sleep(time.Minute)
				bearer(t, src)
			}
		}
	})
}
