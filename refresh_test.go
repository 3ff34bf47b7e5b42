package awsoidc_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

func TestRefreshTokenIsKeptWhereNoneComes(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.OmitRefreshToken = true
		srv.SessionLifetime = 24 * time.Hour
		src := signedIn(t, srv)
		for range 10 {
			before := bearer(t, src)
			time.Sleep(61 * time.Minute)
			if bearer(t, src) == before {
				t.Fatal("an expired token was served")
			}
		}
	})
}

func TestSessionIsOver(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		src := signedIn(t, srv, withStore(store))
		srv.RevokeSessions()
		time.Sleep(2 * time.Hour)
		for range 10 {
			_, err := src.Bearer(t.Context())
			if !errors.Is(err, awsoidc.ErrLoginRequired) {
				t.Fatalf("got %v, want ErrLoginRequired", err)
			}
			time.Sleep(2 * time.Second)
		}
		if n := refreshes(srv); n != 1 {
			t.Errorf("a refused refresh token was sent %d times", n)
		}
		signedIn(t, srv, withStore(store)) // as another program would
		time.Sleep(2 * time.Second)
		bearer(t, src)
	})
}

func TestLegacySessionEndsWithItsToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, func(c *awsoidc.Config) { c.SessionName = "" })
		time.Sleep(8*time.Hour - time.Minute)
		bearer(t, src)
		time.Sleep(2 * time.Minute)
		if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired", err)
		}
		if n := refreshes(srv); n != 0 {
			t.Errorf("%d refreshes without a refresh token", n)
		}
	})
}

func TestRefreshSends(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault idctest.Fault
		ok    bool // where it happens once
		sends int  // where it happens always
	}{
		{"no connection", idctest.Fault{Dial: true}, true, 0},
		{"reset before", idctest.Fault{ResetBefore: true}, true, 3},
		{"503", idctest.Fault{Status: 503}, true, 3},
		{"500", idctest.Fault{Type: wire.TypeInternalServer}, true, 3},
		{"429", idctest.Fault{Status: 429}, true, 3},
		{"hangs", idctest.Fault{Hang: true}, true, 3},
		{"garbage", idctest.Fault{Body: []byte("{")}, true, 3},
		{"negative lifetime", idctest.Fault{Body: []byte(`{"accessToken":"a","expiresIn":-1}`)}, true, 3},
		{"1 GiB", idctest.Fault{BodySize: 1 << 30, Body: []byte("{")}, true, 3},
		{"redirect", idctest.Fault{Status: 307}, false, 1},
		{"invalid_request", idctest.Fault{Type: wire.TypeInvalidRequest, Reason: "KMS_DisabledException"}, false, 1},
		{"invalid_grant", idctest.Fault{Type: wire.TypeInvalidGrant}, false, 1},
		{"invalid_client", idctest.Fault{Type: wire.TypeInvalidClient}, false, 1},
		{"unauthorized_client", idctest.Fault{Type: wire.TypeUnauthorizedClient}, false, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				src := signedIn(t, srv)
				time.Sleep(2 * time.Hour)
				srv.Inject(idctest.CreateTokenRefresh, test.fault)
				if _, err := src.Bearer(t.Context()); (err == nil) != test.ok {
					t.Errorf("after one fault: %v", err)
				}
			})
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				src := signedIn(t, srv)
				time.Sleep(2 * time.Hour)
				test.fault.Times = idctest.Always
				srv.Inject(idctest.CreateTokenRefresh, test.fault)
				_, err := src.Bearer(t.Context())
				if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "; ") {
					t.Errorf("want one line with an advice: %v", err)
				}
				if n := refreshes(srv); n != test.sends {
					t.Errorf("sent %d times, want %d", n, test.sends)
				}
			})
		})
	}
}

func TestLostAnswerOfARotatingServer(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{ResetAfter: true})
		if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired: the answer died on its way", err)
		}
	})
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RotateRefreshTokens = false
		src := signedIn(t, srv)
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{ResetAfter: true})
		bearer(t, src)
	})
}

func TestExpiredRegistrationIsNotSent(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RegistrationLifetime = 30 * time.Hour
		srv.SessionLifetime = 90 * 24 * time.Hour
		src := signedIn(t, srv)
		time.Sleep(31 * time.Hour)
		if _, err := src.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired", err)
		}
		if n := refreshes(srv); n != 0 {
			t.Errorf("%d refreshes with an expired registration", n)
		}
	})
}

// TestAWSCLIFiles reads the files of the AWS CLI, refreshes them, and looks at
// what became of them.
func TestAWSCLIFiles(t *testing.T) {
	const tokenFile = "ee0bfd2552fbd840c02cc48b6e823320543c450f.json"
	for _, fixture := range []string{"device", "pkce"} {
		t.Run(fixture, func(t *testing.T) {
			dir := copyDir(t, filepath.Join("testdata", "awscli", fixture))
			srv := idctest.New()
			issued := srv.Issue("sso:account:access")
			editJSON(t, filepath.Join(dir, tokenFile), func(m map[string]any) {
				m["clientId"], m["clientSecret"], m["refreshToken"] = issued.ClientID, issued.ClientSecret, issued.RefreshToken
				m["registrationExpiresAt"] = time.Now().Add(80 * 24 * time.Hour).UTC().Format(time.RFC3339)
				m["expiresAt"] = time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
				m["foreignField"] = map[string]any{"of": []any{"another", "tool", 1e3}}
			})
			store, err := cache.NewDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			token := bearer(t, newSource(t, srv, withStore(store)))
			after := editJSON(t, filepath.Join(dir, tokenFile), func(map[string]any) {})
			if after["accessToken"] != token || after["refreshToken"] == issued.RefreshToken {
				t.Error("the refreshed session was not written")
			}
			if foreign, _ := after["foreignField"].(map[string]any); len(foreign) != 1 {
				t.Errorf("another tool's member became %v", after["foreignField"])
			}
			for _, name := range []string{"startUrl", "region", "clientId", "clientSecret", "registrationExpiresAt"} {
				if after[name] == nil {
					t.Errorf("%s is gone", name)
				}
			}
			if n := refreshes(srv); n != 1 {
				t.Errorf("%d refreshes", n)
			}
		})
	}
	t.Run("legacy", func(t *testing.T) {
		dir := copyDir(t, filepath.Join("testdata", "awscli", "legacy"))
		editJSON(t, filepath.Join(dir, "f80e3c654eec5ecc5bb926e974e7549c291d7e85.json"), func(m map[string]any) {
			m["expiresAt"] = time.Now().Add(3 * time.Hour).UTC().Format("2006-01-02T15:04:05UTC")
		})
		store, err := cache.NewDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		src := newSource(t, idctest.New(), withStore(store), func(c *awsoidc.Config) {
			c.SessionName, c.StartURL, c.Region = "", "https://d-0987654321.awsapps.com/start", "us-west-2"
		})
		bearer(t, src)
	})
}

func TestRecordOfAnotherConfigurationIsAMiss(t *testing.T) {
	for _, change := range []func(*awsoidc.Config){
		func(c *awsoidc.Config) { c.StartURL = "https://d-0000000000.awsapps.com/start" },
		func(c *awsoidc.Config) { c.Region = "eu-west-1" },
	} {
		virtual(t, func(t *testing.T) {
			store, err := cache.NewDir(filepath.Join(t.TempDir(), "cache"))
			if err != nil {
				t.Fatal(err)
			}
			srv := idctest.New()
			token := bearer(t, signedIn(t, srv, withStore(store)))
			_, err = newSource(t, srv, withStore(store), change).Token()
			if !errors.Is(err, awsoidc.ErrLoginRequired) || !strings.Contains(err.Error(), "another start URL or region") {
				t.Errorf("got %v", err)
			}
			if bearer(t, newSource(t, srv, withStore(store))) != token {
				t.Error("the record was lost")
			}
		})
	}
}

func TestCorruptRecord(t *testing.T) {
	for _, content := range []string{"", "{", "[]", "null", `{"accessToken": 5}`, `{"accessToken":"a\nb","expiresAt":"2100-01-01T00:00:00Z"}`,
		`{"accessToken":"a","expiresAt":"9999-99-99"}`, `{"startUrl":"` + startURL + `","region":"us-east-1","accessToken":"a","expiresAt":"0001-01-01T00:00:00Z"}`} {
		t.Run(content, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				dir := t.TempDir()
				store, err := cache.NewDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				file := store.Filename("corp")
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				srv := idctest.New()
				src := newSource(t, srv, withStore(store))
				_, err = src.Token()
				if !errors.Is(err, awsoidc.ErrLoginRequired) || !strings.Contains(err.Error(), file) {
					t.Errorf("the error does not name the file: %v", err)
				}
				if after, _ := os.ReadFile(file); string(after) != content {
					t.Errorf("the file was changed to %q", after)
				}
				if err := src.Login(t.Context()); err != nil {
					t.Errorf("Login: %v", err)
				}
				bearer(t, newSource(t, srv, withStore(store)))
			})
		})
	}
}

// brokenStore fails as a full disk does.
type brokenStore struct {
	cache.Store
	reserve, write error // what fails; nil: nothing
}

func (s *brokenStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	reserve, write := s.reserve, s.write
	return s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		if reserve != nil {
			ctx = cache.WithNotWritable(ctx, reserve)
		}
		record, err := fn(ctx, old)
		if write != nil && err == nil {
			return nil, errors.Join(cache.ErrNotWritten, write)
		}
		return record, err
	})
}

func TestStoreThatCannotBeWritten(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &brokenStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		first := bearer(t, src)
		store.reserve, store.write = syscall.ENOSPC, syscall.ENOSPC

		time.Sleep(45 * time.Minute)
		for range 60 {
			if bearer(t, src) != first {
				t.Fatal("a refresh was spent while the old token was valid")
			}
			time.Sleep(5 * time.Second)
		}
		if n := refreshes(srv); n != 0 {
			t.Fatalf("%d refreshes were spent while the old token was valid", n)
		}

		time.Sleep(time.Hour)
		second := bearer(t, src)
		if second == first {
			t.Fatal("an expired token was served")
		}
		for range 60 {
			if bearer(t, src) != second {
				t.Fatal("refreshed again")
			}
			time.Sleep(5 * time.Second)
		}
		store.reserve, store.write = nil, nil
		time.Sleep(time.Minute)
		bearer(t, src)
		time.Sleep(time.Second)
		if got := bearer(t, newSource(t, srv, withStore(store))); got != second {
			t.Error("the refreshed session was not saved once it could be")
		}
		if srv.Reuses() != 0 || refreshes(srv) != 1 {
			t.Errorf("%d refreshes, %d reuses", refreshes(srv), srv.Reuses())
		}
	})
}

func TestUnsavedSessionIsSavedOnClose(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &brokenStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		store.write = syscall.EIO
		time.Sleep(2 * time.Hour)
		token := bearer(t, src)
		store.write = nil
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		if bearer(t, newSource(t, srv, withStore(store))) != token {
			t.Error("Close lost the session")
		}
	})
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &brokenStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		store.write = syscall.EIO
		time.Sleep(2 * time.Hour)
		bearer(t, src)
		if err := src.Close(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Close hid that the session was lost: %v", err)
		}
	})
}

// unlockable can't be locked, as on a read-only file system.
type unlockable struct{ cache.Store }

func (unlockable) Update(context.Context, string, func(context.Context, []byte) ([]byte, error)) error {
	return errors.Join(cache.ErrLock, syscall.EROFS)
}

func TestStoreThatCannotBeLocked(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		first := bearer(t, signedIn(t, srv, withStore(store)))
		src := newSource(t, srv, withStore(unlockable{store}))
		time.Sleep(59 * time.Minute)
		if bearer(t, src) != first {
			t.Error("the valid token was not served")
		}
		time.Sleep(time.Hour)
		if _, err := src.Bearer(t.Context()); !errors.Is(err, cache.ErrLock) || !strings.Contains(err.Error(), "writable") {
			t.Errorf("got %v", err)
		}
		if n := refreshes(srv); n != 0 {
			t.Errorf("%d refreshes without the lock", n)
		}
		if err := src.Login(t.Context()); err == nil || srv.Count(idctest.StartDeviceAuthorization).Requests != 1 {
			t.Errorf("a person was asked although the session can't be kept: %v", err)
		}
	})
}

func TestUnsafeStoreGivesWayToMemory(t *testing.T) { virtual(t, testUnsafeStore) }

func testUnsafeStore(t *testing.T) {
	dir := t.TempDir()
	store, err := cache.NewDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, store.Filename("corp")); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	srv := idctest.New()
	src := newSource(t, srv, withStore(store), func(c *awsoidc.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	if err := src.Login(t.Context()); !errors.Is(err, cache.ErrUnsafe) {
		t.Errorf("Login hides that nobody else can use the session: %v", err)
	}
	bearer(t, src)
	if got, _ := os.ReadFile(target); string(got) != "precious" {
		t.Errorf("the link's target became %q", got)
	}
	if n := strings.Count(log.String(), "memory only"); n != 1 {
		t.Errorf("%d warnings in %s", n, log.String())
	}
}

func TestSourcesShareAFailedAttempt(t *testing.T) {
	for _, fault := range []idctest.Fault{{Hang: true}, {Status: 503}, {Type: wire.TypeInvalidGrant}} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			store := newLRU(t)
			signedIn(t, srv, withStore(store))
			time.Sleep(2 * time.Hour)
			fault.Times = idctest.Always
			srv.Inject(idctest.CreateTokenRefresh, fault)
			begin := time.Now()
			var users sync.WaitGroup
			for range 16 {
				src := newSource(t, srv, withStore(store))
				users.Go(func() {
					_, err := src.Bearer(t.Context())
					if err == nil || strings.Contains(err.Error(), "\n") {
						t.Errorf("got %v", err)
					}
				})
			}
			users.Wait()
			if d := time.Since(begin); d > sendBudget {
				t.Errorf("16 sources took %v to fail: one timeout was to be shared", d)
			}
			if n := refreshes(srv); n > 3 {
				t.Errorf("%d requests, want at most 3", n)
			}
			sent := refreshes(srv)
			if _, err := newSource(t, srv, withStore(store)).Bearer(t.Context()); err == nil || refreshes(srv) != sent {
				t.Errorf("a source that came later did not obey the backoff: %v, %d requests", err, refreshes(srv)-sent)
			}
			srv.ClearFaults()
			time.Sleep(2 * time.Minute)
			bearer(t, newSource(t, srv, withStore(store)))
		})
	}
}

// sendBudget is how long a refresh may keep those waiting who share it.
const sendBudget = 21 * time.Second

// slowStore writes when it is allowed to.
type slowStore struct {
	cache.Store
	write chan struct{}
}

func (s *slowStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		record, err := fn(ctx, old)
		if s.write != nil {
			<-s.write
		}
		return record, err
	})
}

func TestSlowSaveHoldsUpNobody(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &slowStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		store.write = make(chan struct{})
		time.Sleep(2 * time.Hour)
		begin := time.Now()
		token := bearer(t, src)
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("waited %v for the store", d)
		}
		close(store.write)
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		if bearer(t, newSource(t, srv, withStore(store))) != token {
			t.Error("the session was not saved")
		}
	})
}
