package awsoidc_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// unattended is a prompt that shows the sign-in to nobody.
func unattended(c *awsoidc.Config) {
	c.Prompt = awsoidc.PromptFunc(func(context.Context, awsoidc.Verification) error { return nil })
}

type recordingPrompt struct {
	mu       sync.Mutex
	shown    []awsoidc.Verification
	outcomes []error
}

func (p *recordingPrompt) Prompt(_ context.Context, v awsoidc.Verification) (func(error), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = append(p.shown, v)
	return func(err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.outcomes = append(p.outcomes, err)
	}, nil
}

func TestLoginPrompt(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.ApproveAfter(5)
		var prompt recordingPrompt
		begin := time.Now()
		src := signedIn(t, srv, func(c *awsoidc.Config) { c.Prompt = &prompt })
		bearer(t, src)
		if len(prompt.shown) != 1 || len(prompt.outcomes) != 1 || prompt.outcomes[0] != nil {
			t.Fatalf("shown %d times, outcomes %v", len(prompt.shown), prompt.outcomes)
		}
		v := prompt.shown[0]
		if !strings.Contains(v.URIComplete, v.UserCode) || v.URI == "" || v.Session != "corp" {
			t.Errorf("the person is shown %+v", v)
		}
		if left := v.ExpiresAt.Sub(begin); left != 600*time.Second {
			t.Errorf("the code is said to be valid for %v", left)
		}
	})
}

func TestLoginOutcomes(t *testing.T) {
	deny := func(t *testing.T, srv *idctest.Server) func(*awsoidc.Config) {
		return func(c *awsoidc.Config) {
			c.Prompt = awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
				return srv.Deny(v.UserCode)
			})
		}
	}
	leave := func(*testing.T, *idctest.Server) func(*awsoidc.Config) { return unattended }
	for _, test := range []struct {
		name   string
		faults []idctest.Fault
		op     idctest.Operation
		person func(*testing.T, *idctest.Server) func(*awsoidc.Config)
		want   error  // a sentinel
		advice string // a part of the error's text
	}{
		{name: "denied", person: deny, want: awsoidc.ErrAccessDenied, advice: "sign in again"},
		{name: "nobody approves", person: leave, want: awsoidc.ErrCodeExpired, advice: "within the time shown"},
		{
			name: "expired at the service", op: idctest.CreateTokenDeviceCode, person: leave,
			faults: []idctest.Fault{{Type: wire.TypeExpiredToken}},
			want:   awsoidc.ErrCodeExpired, advice: "sign in again",
		},
		{
			name: "pending for good", op: idctest.CreateTokenDeviceCode, person: leave,
			faults: []idctest.Fault{{Type: wire.TypeAuthorizationPending, Times: idctest.Always}},
			want:   awsoidc.ErrCodeExpired, advice: "within the time shown",
		},
		{
			name: "a page of somebody else's", op: idctest.StartDeviceAuthorization, person: leave,
			faults: []idctest.Fault{{Body: []byte("<html>"), Times: idctest.Always}},
			advice: "check the endpoint: something else answers there",
		},
		{
			name: "start URL rejected", op: idctest.StartDeviceAuthorization, person: leave,
			faults: []idctest.Fault{{Type: wire.TypeInvalidRequest, Description: "Invalid start url"}},
			advice: "check that the start URL " + startURL + " belongs to an Identity Center instance in region us-east-1",
		},
		{
			name: "KMS key disabled", op: idctest.CreateTokenDeviceCode, person: leave,
			faults: []idctest.Fault{{Type: wire.TypeAccessDenied, Reason: "KMS_AccessDeniedException"}},
			want:   awsoidc.ErrAccessDenied, advice: "an administrator must",
		},
		{
			name: "registration refused", op: idctest.RegisterClient, person: leave,
			faults: []idctest.Fault{{Type: wire.TypeInvalidClientMetadata}},
			advice: "check that the start URL",
		},
		{
			name: "no network", op: idctest.AnyOperation, person: leave,
			faults: []idctest.Fault{{Dial: true, Times: idctest.Always}},
			advice: "check the network",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.Inject(test.op, test.faults...)
				store := newLRU(t)
				before := signedInBefore(t, store)
				src := newSource(t, srv, withStore(store), test.person(t, srv))
				err := src.Login(t.Context())
				if err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Fatalf("got %v, want %v", err, test.want)
				}
				if !strings.Contains(err.Error(), test.advice) || strings.Contains(err.Error(), "\n") {
					t.Errorf("the error does not say %q in one line: %v", test.advice, err)
				}
				if bearer(t, src) != before {
					t.Error("the previous session was lost")
				}
			})
		})
	}
}

// signedInBefore puts a session of another service in the store, and returns
// its token.
func signedInBefore(t *testing.T, store cache.Store) string {
	src := signedIn(t, idctest.New(), withStore(store))
	return bearer(t, src)
}

func TestPollingBearsWithTheService(t *testing.T) {
	pending := idctest.Fault{Type: wire.TypeAuthorizationPending}
	for _, test := range []struct {
		name   string
		faults []idctest.Fault
		want   time.Duration // until the token is there
	}{
		{"approved at once", nil, 1 * time.Second},
		{"pending", []idctest.Fault{pending, pending}, 3 * time.Second},
		{"slow_down adds 5 s for good", []idctest.Fault{{Type: wire.TypeSlowDown}, pending, pending}, (1 + 6 + 6 + 6) * time.Second},
		{"two slow_downs", []idctest.Fault{{Type: wire.TypeSlowDown}, {Type: wire.TypeSlowDown}}, (1 + 6 + 11) * time.Second},
		{"503 backs off", []idctest.Fault{{Status: 503}, {Status: 503}, pending}, (1 + 2 + 4 + 1) * time.Second},
		{"reset", []idctest.Fault{{ResetBefore: true}}, (1 + 2) * time.Second},
		{"no connection", []idctest.Fault{{Dial: true}}, (1 + 2) * time.Second},
		{"hangs", []idctest.Fault{{Hang: true}}, (1 + 8 + 2) * time.Second},
		{"garbage", []idctest.Fault{{Body: []byte("<html>")}}, (1 + 2) * time.Second},
		{"429", []idctest.Fault{{Status: 429}}, (1 + 2) * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.Inject(idctest.CreateTokenDeviceCode, test.faults...)
				begin := time.Now()
				bearer(t, signedIn(t, srv))
				if d := time.Since(begin); d != test.want {
					t.Errorf("took %v, want %v", d, test.want)
				}
			})
		})
	}
}

func TestLoginEndsWithItsLastWaiter(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := newSource(t, srv, unattended)
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		long, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var users sync.WaitGroup
		for _, ctx := range []context.Context{short, long} {
			users.Go(func() {
				begin := time.Now()
				deadline, _ := ctx.Deadline()
				want := deadline.Sub(begin)
				if err := src.Login(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if d := time.Since(begin); d != want {
					t.Errorf("waited %v, want %v", d, want)
				}
			})
		}
		users.Wait()
		synctest.Wait()
		polls := srv.Count(idctest.CreateTokenDeviceCode).Requests
		if polls < 55 {
			t.Errorf("%d polls: the sign-in did not outlive its first waiter", polls)
		}
		time.Sleep(time.Minute)
		if n := srv.Count(idctest.CreateTokenDeviceCode).Requests; n > polls {
			t.Error("polling went on without a waiter")
		}
		if n := srv.Count(idctest.StartDeviceAuthorization).Requests; n != 1 {
			t.Errorf("%d sign-ins for two callers", n)
		}
	})
}

// TestGivingUpAtAHungService has the person give up while a poll is under way.
func TestGivingUpAtAHungService(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Inject(idctest.CreateTokenDeviceCode, idctest.Fault{Hang: true})
		src := newSource(t, srv, unattended)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // the poll began after one
		defer cancel()
		if err := src.Login(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		begin := time.Now()
		src.Close()
		if d := time.Since(begin); d > time.Second {
			t.Errorf("Close took %v", d)
		}
	})
}

func TestLoginOnDemand(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := newSource(t, srv, func(c *awsoidc.Config) { c.LoginOnDemand = true })
		var users sync.WaitGroup
		for range 20 {
			users.Go(func() { bearer(t, src) })
		}
		users.Wait()
		if n := srv.Count(idctest.StartDeviceAuthorization).Requests; n != 1 {
			t.Errorf("%d sign-ins, want 1", n)
		}
	})
}

func TestLoginWithoutPrompt(t *testing.T) {
	src := newSource(t, idctest.New(), func(c *awsoidc.Config) { c.Prompt = nil })
	if err := src.Login(t.Context()); !errors.Is(err, awsoidc.ErrNoPrompt) {
		t.Errorf("got %v", err)
	}
}

func TestRegistrationIsReused(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		registrations := func() int { return srv.Count(idctest.RegisterClient).Requests }
		for range 3 {
			if err := src.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := registrations(); n != 1 {
			t.Fatalf("%d registrations for four sign-ins", n)
		}
		time.Sleep(90*24*time.Hour - 25*time.Hour)
		src.Login(t.Context())
		if n := registrations(); n != 1 {
			t.Error("a registration with a day left was renewed")
		}
		time.Sleep(2 * time.Hour)
		src.Login(t.Context())
		if n := registrations(); n != 2 {
			t.Error("a registration about to expire was used")
		}
		srv.ForgetClients()
		if err := src.Login(t.Context()); err != nil {
			t.Fatalf("after the service forgot the client: %v", err)
		}
		if n := registrations(); n != 3 {
			t.Error("no new registration after the service forgot the client")
		}
	})
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures in %s: %v", from, err)
	}
	for _, f := range files {
		if err := os.Chmod(filepath.Join(dir, f.Name()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func editJSON(t *testing.T, file string, edit func(map[string]any)) map[string]any {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	edit(m)
	raw, _ = json.Marshal(m)
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// A service that asks for a day's patience has it for a minute at most: a
// person waits.
func TestSignInObeysRetryAfterWithinBounds(t *testing.T) {
	for _, op := range []idctest.Operation{idctest.RegisterClient, idctest.StartDeviceAuthorization, idctest.CreateTokenDeviceCode} {
		t.Run(string(op), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.Inject(op, idctest.Fault{Status: 503, Header: http.Header{"Retry-After": {"86400"}}})
				src := newSource(t, srv)
				begin := time.Now()
				err := src.Login(t.Context())
				if d := time.Since(begin); d > 2*time.Minute {
					t.Errorf("Login took %v", d)
				}
				if op == idctest.CreateTokenDeviceCode && err != nil {
					t.Errorf("approved, and %v", err)
				}
			})
		})
	}
}

// TestTokensAreOpaque has tokens with claims that say otherwise than the
// service does: nobody has verified them, and nothing follows from them.
func TestTokensAreOpaque(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		accessToken := part(`{"alg":"none"}`) + "." + part(`{"sub":"somebody","exp":1,"iss":"https://evil.example"}`) + "."
		srv.Inject(idctest.CreateTokenDeviceCode, idctest.Fault{Body: fmt.Appendf(nil,
			`{"accessToken":%q,"tokenType":"Bearer","expiresIn":28800,"idToken":"no.jwt.at-all"}`, accessToken)})
		src := signedIn(t, srv)
		time.Sleep(7 * time.Hour)
		token, err := src.Token()
		if err != nil {
			t.Fatal(err)
		}
		if token.AccessToken != accessToken || token.Extra("id_token") != "no.jwt.at-all" {
			t.Errorf("got %q and %v", token.AccessToken, token.Extra("id_token"))
		}
		if at := token.Extra("expires_at").(time.Time); time.Until(at).Round(time.Minute) != time.Hour {
			t.Errorf("it expires at %v", at)
		}
	})
}
