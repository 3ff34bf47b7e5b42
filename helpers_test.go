package awsoidc_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

const startURL = "https://d-1234567890.awsapps.com/start"

// virtual runs f in virtual time.
func virtual(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// scale returns how often a test does what is the same each time: small, or full
// with AWSOIDC_TEST_SCALE=full in the environment, as in CI.
func scale(small, full int) int {
	if os.Getenv("AWSOIDC_TEST_SCALE") == "full" {
		return full
	}
	return small
}

// newSource returns a source of the session "corp" at srv, whose person
// approves at once. It is closed when the test ends.
func newSource(t *testing.T, srv *idctest.Server, options ...func(*awsoidc.Config)) *awsoidc.TokenSource {
	t.Helper()
	cfg := awsoidc.Config{
		StartURL:    startURL,
		Region:      "us-east-1",
		SessionName: "corp",
		HTTPClient:  &http.Client{Transport: srv.Transport()},
		Prompt: awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
			return srv.Approve(v.UserCode)
		}),
	}
	for _, option := range options {
		option(&cfg)
	}
	src, err := awsoidc.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// signedIn is newSource with a session.
func signedIn(t *testing.T, srv *idctest.Server, options ...func(*awsoidc.Config)) *awsoidc.TokenSource {
	t.Helper()
	src := newSource(t, srv, options...)
	if err := src.Login(t.Context()); err != nil {
		t.Fatalf("Login: %v", err)
	}
	return src
}

func withStore(store cache.Store) func(*awsoidc.Config) {
	return func(c *awsoidc.Config) { c.Store = store }
}

// bearer returns the source's token.
func bearer(t *testing.T, src *awsoidc.TokenSource) string {
	t.Helper()
	token, err := src.Bearer(t.Context())
	if err != nil {
		t.Errorf("Bearer: %v", err)
	}
	return token
}

// atOnce fails the test if f takes any virtual time.
func atOnce(t *testing.T, what string, f func()) {
	t.Helper()
	before := time.Now()
	f()
	if d := time.Since(before); d != 0 {
		t.Errorf("%s took %v", what, d)
	}
}

// refreshes returns how often srv was asked for a refresh.
func refreshes(srv *idctest.Server) int {
	return srv.Count(idctest.CreateTokenRefresh).Requests
}

func newLRU(t testing.TB) cache.Store {
	t.Helper()
	store, err := cache.NewLRU(100, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// issued is signedIn in real time: the session is put where the source finds
// it, so that nobody has to wait for a poll.
func issued(t *testing.T, srv *idctest.Server, options ...func(*awsoidc.Config)) *awsoidc.TokenSource {
	t.Helper()
	return newSource(t, srv, append(options, withStore(putIssued(t, srv, t.TempDir())))...)
}

// inFolder returns a source that has read its session from a folder.
func inFolder(t *testing.T, srv *idctest.Server) (*cache.Dir, *awsoidc.TokenSource) {
	t.Helper()
	dir := putIssued(t, srv, t.TempDir())
	src := newSource(t, srv, withStore(dir))
	bearer(t, src)
	return dir, src
}

// putIssued puts a session of srv in a folder, where the AWS CLI has it.
func putIssued(t *testing.T, srv *idctest.Server, dir string) *cache.Dir {
	t.Helper()
	store, err := cache.NewDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	record, err := json.Marshal(srv.Issue("sso:account:access"))
	if err != nil {
		t.Fatal(err)
	}
	err = store.Update(t.Context(), "corp", func(context.Context, []byte) ([]byte, error) { return record, nil })
	if err != nil {
		t.Fatal(err)
	}
	return store
}
