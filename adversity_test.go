package awsoidc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// around lets f change what srv answers.
func around(srv *idctest.Server, f func(*http.Request, *http.Response)) func(*awsoidc.Config) {
	return func(c *awsoidc.Config) {
		c.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := srv.Transport().RoundTrip(r)
			if err == nil {
				f(r, resp)
			}
			return resp, err
		})}
	}
}

// edit sets a member of a JSON answer.
func edit(resp *http.Response, member string, value any) {
	b, _ := io.ReadAll(resp.Body)
	m := map[string]any{}
	json.Unmarshal(b, &m)
	m[member] = value
	b, _ = json.Marshal(m)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
}

// hooked is a store with hooks.
type hooked struct {
	cache.Store
	afterGet func(key string)
	change   func(key string, value []byte, err error) ([]byte, error) // of what an update function returns
}

func (h *hooked) Get(ctx context.Context, key string) ([]byte, error) {
	raw, err := h.Store.Get(ctx, key)
	if h.afterGet != nil {
		h.afterGet(key)
	}
	return raw, err
}

func (h *hooked) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return h.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		v, err := fn(ctx, old)
		if h.change != nil {
			return h.change(key, v, err)
		}
		return v, err
	})
}

// refuseSession is a change: sessions can't be written.
func refuseSession(key string, v []byte, err error) ([]byte, error) {
	if v != nil && strings.Contains(key, "session") {
		return nil, errors.Join(cache.ErrNotWritten, err)
	}
	return v, err
}

// refusingSessions returns a store that refuses sessions while the flag is set.
func refusingSessions(t *testing.T) (*hooked, *atomic.Bool) {
	refuse := new(atomic.Bool)
	return &hooked{Store: newLRU(t), change: func(key string, v []byte, err error) ([]byte, error) {
		if refuse.Load() {
			return refuseSession(key, v, err)
		}
		return v, err
	}}, refuse
}

func TestUnsafeRecordIsNotSilent(t *testing.T) {
	t.Parallel()
	srv := idctest.New()
	dir := putIssued(t, srv, t.TempDir())
	os.Chmod(dir.Filename("corp"), 0o664)
	src := newSource(t, srv, withStore(dir))
	if _, err := src.Token(); !errors.Is(err, cache.ErrUnsafe) {
		t.Errorf("Token: %v; want an error that says that the file is refused, and chmod 600", err)
	}
	if err := src.Login(t.Context()); err == nil {
		if _, err := newSource(t, srv, withStore(dir)).Token(); err != nil {
			t.Errorf("Login succeeded, and the next process gets: %v", err)
		}
	}
}

func TestConcurrent401(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, around(srv, func(r *http.Request, _ *http.Response) {
			if r.URL.Path == "/userinfo" {
				time.Sleep(50 * time.Millisecond)
			}
		}))
		client := src.Client("https://api.example.com")
		bearer(t, src)
		srv.RevokeAccessTokens()
		var refused atomic.Int32
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				resp, err := client.Get("https://api.example.com/userinfo")
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 200 {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if n := refused.Load(); n != 0 {
			t.Errorf("%d of 10 requests got 401", n)
		}
	})
}

type readOnlyKV struct{}

func (readOnlyKV) Get(context.Context, string) ([]byte, error) { return nil, cache.ErrMiss }
func (readOnlyKV) Set(context.Context, string, []byte) error   { return errors.New("read-only replica") }
func (readOnlyKV) Delete(context.Context, string) error        { return nil }

func TestLoginWithReadOnlyStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := newSource(t, srv, withStore(cache.Local(readOnlyKV{})))
		done := make(chan error, 1)
		go func() { done <- src.Login(context.Background()) }()
		select {
		case err := <-done:
			t.Log(err)
		case <-time.After(time.Hour):
			t.Errorf("Login hangs; device authorizations begun: %d", srv.Count(idctest.StartDeviceAuthorization).Requests)
		}
	})
}

func TestSameAccessTokenAgain(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, around(srv, func(r *http.Request, resp *http.Response) {
			if r.URL.Path == "/token" && resp.StatusCode == 200 {
				time.Sleep(time.Millisecond)
				edit(resp, "accessToken", "same")
			}
		}))
		bearer(t, src)
		time.Sleep(2 * time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := src.TokenContext(ctx)
		if n := refreshes(srv); n > 3 {
			t.Errorf("one Token made %d refreshes in a second: %v", n, err)
		}
	})
}

func TestTokenShorterThanLatency(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, around(srv, func(r *http.Request, resp *http.Response) {
			if r.URL.Path == "/token" && resp.StatusCode == 200 {
				time.Sleep(time.Second)
				edit(resp, "expiresIn", 1)
			}
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := src.TokenContext(ctx)
		if n := refreshes(srv); n > 3 {
			t.Errorf("one Token made %d refreshes in a minute: %v", n, err)
		}
	})
}

func TestPortalEchoesToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		token := bearer(t, src)
		body, _ := json.Marshal(map[string]string{"message": "No access for " + token + "\x1b[2J\nsecond line"})
		srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Status: 403, Body: body, Header: http.Header{"X-Amzn-Errortype": {"ForbiddenException"}}})
		_, err := src.RoleCredentials("123456789012", "ReadOnly").Retrieve(t.Context())
		if text := fmt.Sprint(err); strings.Contains(text, token) || strings.ContainsAny(text, "\x1b\n") {
			t.Errorf("the error holds the access token, or control characters: %q", strings.ReplaceAll(text, token, "(ACCESS TOKEN)"))
		}
	})
}

func TestEchoOfEncodedSecret(t *testing.T) {
	virtual(t, func(t *testing.T) {
		for _, echo := range []func(string) string{url.QueryEscape, func(s string) string { return s[8:] }} {
			srv := idctest.New()
			secret := ""
			store := newLRU(t)
			src := signedIn(t, srv, withStore(store), around(srv, func(r *http.Request, resp *http.Response) {
				if r.URL.Path != "/token" {
					return
				}
				b, _ := r.GetBody()
				var in struct{ RefreshToken string }
				json.NewDecoder(b).Decode(&in)
				if in.RefreshToken != "" {
					secret = in.RefreshToken
					edit(resp, "error_description", "unknown token "+echo(secret))
				}
			}))
			time.Sleep(2 * time.Hour)
			srv.RevokeSessions()
			_, err := src.Token()
			if tail := echo(secret[len(secret)-24:] + "........")[:16]; strings.Contains(fmt.Sprint(err), tail) {
				t.Errorf("part of the refresh token is in the error: %v", err)
			}
		}
	})
}

func TestStubWithoutBody(t *testing.T) {
	virtual(t, func(t *testing.T) {
		src := newSource(t, idctest.New(), func(c *awsoidc.Config) {
			c.HTTPClient = &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 500}, nil
			})}
		})
		t.Log(src.Login(t.Context()))
	})
}

func TestHostileNote(t *testing.T) {
	srv := idctest.New()
	s := srv.Issue("sso:account:access")
	s.ExpiresAt = time.Now().Add(-time.Hour)
	dir := putIssued(t, srv, t.TempDir())
	put := func(key, record string) {
		dir.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return []byte(record), nil })
	}
	record, _ := json.Marshal(s)
	put("corp", string(record))
	of := sha256.Sum256([]byte("awsoidc attempt " + s.RefreshToken))
	put("corp\x00awsoidc attempt", fmt.Sprintf(`{"of":%q,"until":%q,"failures":-9}`,
		hex.EncodeToString(of[:8]), time.Now().Add(-time.Second).Format(time.RFC3339)))
	srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: "InvalidScopeException"})
	_, err := newSource(t, srv, withStore(dir)).Token()
	t.Log(err)
}

func TestNoteFromTheFuture(t *testing.T) {
	srv := idctest.New()
	s := srv.Issue("sso:account:access")
	s.ExpiresAt = time.Now().Add(-time.Hour)
	dir := putIssued(t, srv, t.TempDir())
	put := func(key, record string) {
		dir.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return []byte(record), nil })
	}
	record, _ := json.Marshal(s)
	put("corp", string(record))
	of := sha256.Sum256([]byte("awsoidc attempt " + s.RefreshToken))
	put("corp\x00awsoidc attempt", fmt.Sprintf(`{"of":%q,"start":"2026-01-01T00:00:00Z","end":"2150-01-01T00:00:00Z","until":"2150-01-01T00:00:01Z","error":"\u001b[2J\nboo"}`,
		hex.EncodeToString(of[:8])))
	_, err := newSource(t, srv, withStore(dir)).Token()
	if err != nil {
		t.Errorf("not refreshed before 2150, and the note's text is shown as it is: %q", err)
	}
}

func TestNoteOutlivesToken(t *testing.T) {
	failed := 0
	for range 20 {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			src := signedIn(t, srv)
			tok, _ := src.Token()
			expires := tok.Extra("expires_at").(time.Time)
			time.Sleep(time.Until(expires) - 10*time.Minute)
			srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Dial: true, Times: idctest.Always})
			for time.Until(expires) > 5*time.Second { // an outage
				bearer(t, src)
				time.Sleep(time.Second)
			}
			srv.ClearFaults()
			for time.Until(expires) > 0 {
				bearer(t, src)
				time.Sleep(time.Second)
			}
			if _, err := src.Token(); err != nil {
				failed++
			}
		})
	}
	if failed > 0 {
		t.Errorf("%d of 20 runs: Token fails past the expiry, though the service has been well for 5 s", failed)
	}
}

func TestReadThatBeganBeforeLogin(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t)}
		old := bearer(t, signedIn(t, srv, withStore(store)))
		src := newSource(t, srv, withStore(store))
		store.afterGet = func(key string) {
			if strings.Contains(key, "session") {
				time.Sleep(30 * time.Second) // a slow store
			}
		}
		go src.Token()
		synctest.Wait()
		if err := src.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if bearer(t, src) == old {
			t.Error("the replaced session is back")
		}
	})
}

func TestUnsavedSurvivesHalfWrittenRecord(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		lru := newLRU(t)
		store := &hooked{Store: lru}
		src := signedIn(t, srv, withStore(store))
		time.Sleep(2 * time.Hour)
		store.change = refuseSession
		token := bearer(t, src) // refreshed, and not saved
		store.change = nil
		store.Store = &torn{lru} // what a tool that truncates in place leaves on a full disk
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		store.Store = lru
		if bearer(t, newSource(t, srv, withStore(store))) != token {
			t.Error("the refreshed session was lost with the record that it replaces")
		}
	})
}

// torn has no record that could be read.
type torn struct{ cache.Store }

func (s *torn) Get(context.Context, string) ([]byte, error) { return nil, cache.ErrCorrupt }

func (s *torn) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return s.Store.Update(ctx, key, func(ctx context.Context, _ []byte) ([]byte, error) { return fn(ctx, nil) })
}

func TestSessionThatLoginCouldNotSave(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t), change: refuseSession}
		src := newSource(t, srv, withStore(store))
		t.Log(src.Login(t.Context())) // "this process alone can use it"
		store.change = nil            // the folder is writable again
		time.Sleep(2 * time.Hour)
		if _, err := src.Token(); err != nil {
			t.Errorf("%v; want it refreshed with the refresh token in memory, and saved", err)
		}
	})
}

func TestRoleCredentialsAfterLogin(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := newSource(t, srv, func(c *awsoidc.Config) { c.LoginOnDemand = true })
		role := src.RoleCredentials("123456789012", "ReadOnly")
		go src.Login(context.Background())
		time.Sleep(900 * time.Millisecond)
		if _, err := role.Retrieve(t.Context()); err != nil {
			t.Errorf("LoginOnDemand: the sign-in succeeded, and Retrieve gives %v", err)
		}
		before, _ := role.Current(t.Context())
		srv.RevokeSessions()
		src.Login(t.Context()) // perhaps as somebody else
		if after, _ := role.Current(t.Context()); before.AccessKeyID != "" && after.AccessKeyID == before.AccessKeyID {
			t.Error("after Login the role credentials are still those of the replaced session")
		}
	})
}

func TestAfterClose(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		approved := make(chan struct{})
		src := newSource(t, srv, around(srv, func(r *http.Request, resp *http.Response) {
			if r.URL.Path == "/token" && resp.StatusCode == 200 {
				close(approved)
				time.Sleep(3 * time.Second)
			}
		}))
		go src.Login(context.Background())
		<-approved
		src.Close()
		if _, err := src.Token(); !errors.Is(err, awsoidc.ErrClosed) {
			t.Errorf("Token after Close: %v, want ErrClosed", err)
		}

		src = newSource(t, srv, func(c *awsoidc.Config) {
			c.Prompt = awsoidc.PromptFunc(func(context.Context, awsoidc.Verification) error { return nil })
		})
		done := make(chan error, 1)
		go func() { done <- src.Login(context.Background()) }()
		time.Sleep(10 * time.Second)
		src.Close()
		if err := <-done; !errors.Is(err, awsoidc.ErrClosed) {
			t.Errorf("Login when closed: %v, want ErrClosed", err)
		}
	})
}

func TestMemoryKeepsRegistration(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		time.Sleep(50 * time.Minute)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Dial: true, Times: idctest.Always})
		bearer(t, src) // leaves a note, which is a third record
		time.Sleep(5 * time.Second)
		srv.ClearFaults()
		src.Login(t.Context())
		if n := srv.Count(idctest.RegisterClient).Requests; n != 1 {
			t.Errorf("%d registrations, want 1", n)
		}
	})
}

func TestThrottleIsNotConfiguration(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		srv.Inject(idctest.StartDeviceAuthorization, idctest.Fault{Type: "SlowDownException"})
		if err := src.Login(t.Context()); err != nil {
			t.Errorf("Login: %v", err)
		}
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: "SlowDownException"})
		if _, err := src.Token(); err != nil && strings.Contains(err.Error(), "configuration") {
			t.Errorf("Token: %v", err)
		}
	})
}

func TestIssuedInTheFuture(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		dead := bearer(t, signedIn(t, srv, withStore(store)))
		time.Sleep(55 * time.Minute)
		src := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { // after a restart with the clock set back
			c.Now = func() time.Time { return time.Now().Add(-3 * time.Hour) }
		})
		bearer(t, src)
		time.Sleep(30 * time.Minute)
		if bearer(t, src) == dead {
			t.Error("a token that expired 25 minutes ago")
		}
	})
}

func TestForeignMembersFillTheRecord(t *testing.T) {
	srv := idctest.New()
	dir := putIssued(t, srv, t.TempDir())
	s := srv.Issue("sso:account:access")
	s.ExpiresAt = time.Now().Add(time.Minute) // due, and valid
	b, _ := json.Marshal(s)
	m := map[string]any{}
	json.Unmarshal(b, &m)
	m["other"] = strings.Repeat("x", cache.MaxRecordBytes-len(b)-30)
	b, _ = json.Marshal(m)
	if err := os.WriteFile(dir.Filename("corp"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	src := newSource(t, srv, withStore(dir))
	bearer(t, src)
	if err := src.Close(); err != nil {
		t.Errorf("spent the refresh token of a valid session for a record that no store takes: %v", err)
	}
}

func TestPollObeysRetryAfter(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := newSource(t, srv)
		srv.Inject(idctest.CreateTokenDeviceCode, idctest.Fault{Status: 429, Header: http.Header{"Retry-After": {"60"}}})
		start := time.Now()
		src.Login(t.Context())
		if d := time.Since(start); d < time.Minute {
			t.Errorf("polled again %v after a 429 with Retry-After: 60", d)
		}
	})
}
