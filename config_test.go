package awsoidc_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

func TestBadConfig(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*awsoidc.Config)
		want   string
	}{
		{"no start URL", func(c *awsoidc.Config) { c.StartURL = "" }, "StartURL"},
		{"start URL of another scheme", func(c *awsoidc.Config) { c.StartURL = "javascript:alert(1)" }, "StartURL"},
		{"plain start URL", func(c *awsoidc.Config) { c.StartURL = "http://d-1234567890.awsapps.com/start" }, "https"},
		{"no region", func(c *awsoidc.Config) { c.Region = "" }, "Region is missing"},
		{"region that names another host", func(c *awsoidc.Config) { c.Region = "evil.example/" }, "Region"},
		{"plain endpoint", func(c *awsoidc.Config) { c.Endpoints.OIDC = "http://10.0.0.1" }, "Endpoints.OIDC"},
		{"endpoint that looks like loopback", func(c *awsoidc.Config) { c.Endpoints.Portal = "http://localhost.evil.example" }, "Endpoints.Portal"},
		{"endpoint with a password", func(c *awsoidc.Config) { c.Endpoints.OIDC = "https://user:hunter2@oidc.example" }, "Endpoints.OIDC"},
		{"unknown grant", func(c *awsoidc.Config) { c.Grant = 99 }, "Grant"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := awsoidc.Config{StartURL: startURL, Region: "us-east-1"}
			test.change(&cfg)
			_, err := awsoidc.New(cfg)
			if !errors.Is(err, awsoidc.ErrConfig) {
				t.Fatalf("got %v, want ErrConfig", err)
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("unhelpful: %v", err)
			}
		})
	}
	for _, good := range []string{startURL, startURL + "/", startURL + "#/", "http://127.0.0.1:8080/start", "http://localhost/start"} {
		if _, err := awsoidc.New(awsoidc.Config{StartURL: good, Region: "us-east-1"}); err != nil {
			t.Errorf("start URL %s: %v", good, err)
		}
	}
}

// TestAWSCLIFileNames signs in under names that JSON escapes. The file names
// are what Python's json and hashlib make of the same configuration.
func TestAWSCLIFileNames(t *testing.T) {
	virtual(t, func(t *testing.T) {
		dir := t.TempDir()
		store, err := cache.NewDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		signedIn(t, idctest.New(), withStore(store), func(c *awsoidc.Config) {
			c.SessionName = "caf\u00e9 \"\U0001f680\"\\/\u007f"
			c.StartURL = "https://d-1234567890.awsapps.com/start#/?x=<&>"
			c.Region = "eu-west-1"
			c.Scopes = []string{"a", "b"}
		})
		for _, name := range []string{"dcf6c086607fa17aea49df2aa02741207d67539c.json", "ab062f3fbaa5c27b179d57190af226c27eb29861.json"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestKeysDoNotCollide gives each of several configurations, on one store that
// is not the AWS CLI's, a session of its own.
func TestKeysDoNotCollide(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newLRU(t)
		seen := map[string]int{}
		for i, change := range []func(*awsoidc.Config){
			func(c *awsoidc.Config) { c.SessionName, c.Namespace = "ab", "c" },
			func(c *awsoidc.Config) { c.SessionName, c.Namespace = "b", "ca" },
			func(c *awsoidc.Config) { c.SessionName, c.Namespace = "", "cab" },
			func(c *awsoidc.Config) { c.Scopes = []string{"x", "y"} },
			func(c *awsoidc.Config) { c.Scopes = []string{"xy"} },
			func(c *awsoidc.Config) { c.Region = "us-east-2" },
			func(c *awsoidc.Config) { c.StartURL = startURL + "/" },
		} {
			src := newSource(t, srv, withStore(store), change)
			if _, err := src.Token(); !errors.Is(err, awsoidc.ErrLoginRequired) {
				t.Fatalf("configuration %d found another's session: %v", i, err)
			}
			if err := src.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			seen[bearer(t, src)]++
		}
		if len(seen) != 7 {
			t.Errorf("%d sessions of 7", len(seen))
		}
	})
}

// FuzzStoredSession reads an arbitrary record.
func FuzzStoredSession(f *testing.F) {
	for _, fixture := range []string{"device", "pkce"} {
		raw, err := os.ReadFile(filepath.Join("testdata", "awscli", fixture, "ee0bfd2552fbd840c02cc48b6e823320543c450f.json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"startUrl":"` + startURL + `","region":"us-east-1","accessToken":"a","expiresAt":"2199-01-01T00:00:00.000+02:00","issuedAt":"2001-01-01T00:00:00UTC"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) == 0 {
			return
		}
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			store, err := cache.NewLRU(4, 4<<20)
			if err != nil {
				t.Fatal(err)
			}
			err = store.Update(t.Context(), "corp", func(_ context.Context, _ []byte) ([]byte, error) { return raw, nil })
			if err != nil {
				return // more than a store takes
			}
			src := newSource(t, srv, withStore(cliKeys{store}))
			token, err := src.Token()
			if err != nil {
				if !errors.Is(err, awsoidc.ErrLoginRequired) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
					t.Fatalf("unexpected error %q", err)
				}
				return
			}
			expires := token.Extra("expires_at").(time.Time)
			if !expires.After(time.Now()) || !token.Expiry.After(time.Now()) || token.Expiry.After(expires.Add(10*time.Second)) {
				t.Errorf("expires at %v, asks again at %v", expires, token.Expiry)
			}
			for _, c := range []byte(token.AccessToken) {
				if c <= ' ' || c > '~' {
					t.Fatalf("a token that is no header text: %q", token.AccessToken)
				}
			}
		})
	})
}

// cliKeys is a store under the AWS CLI's keys.
type cliKeys struct{ cache.Store }

func (cliKeys) AWSCLI() bool { return true }
