package interop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// A host is a machine of its own: a home folder with an AWS config file, an
// Identity Center at a loopback port that approves every sign-in, and the
// environment that leads programs to both.
type host struct {
	t   *testing.T
	srv *idctest.Server
	url string
	dir string // the home folder
	env []string
}

// A signIn is a profile of ../testdata/awscli/config.
type signIn struct {
	profile, role string
	startURL      string
	region        string   // of the sign-in
	scopes        []string // of its registration
	token         string   // names of its files in the cache
	registration  string
}

var (
	dev = signIn{
		profile: "dev", role: "ReadOnly",
		startURL: "https://d-1234567890.awsapps.com/start", region: "us-east-1",
		scopes:       []string{"sso:account:access"},
		token:        "ee0bfd2552fbd840c02cc48b6e823320543c450f.json",
		registration: "bc8a1afdb0f5cdc2c789b8a6cd51898e2be3c37c.json",
	}
	// legacy has no sso-session, and so no refresh token.
	legacy = signIn{
		profile: "legacy", role: "Admin",
		startURL: "https://d-0987654321.awsapps.com/start", region: "us-west-2",
		token:        "f80e3c654eec5ecc5bb926e974e7549c291d7e85.json",
		registration: "48abe98c86f260bfca72065c50ecabaac418fb56.json",
	}
	// process is dev by way of ./examples/credential-process.
	process = signIn{profile: "process", role: dev.role}
)

// newHost sets this process's environment too, so its tests can't run in
// parallel.
func newHost(t *testing.T) *host {
	t.Helper()
	srv := idctest.New()
	srv.ApproveAfter(0)
	plain := httptest.NewServer(srv)
	t.Cleanup(plain.Close)
	h := &host{t: t, srv: srv, url: plain.URL, dir: t.TempDir()}
	config, err := os.ReadFile("../testdata/awscli/config")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(h.cache(""), 0o700); err != nil {
		t.Fatal(err)
	}
	h.write(h.path(".aws/config"), config)
	for _, v := range [][2]string{
		{"HOME", h.dir},
		{"USERPROFILE", h.dir},
		{"AWS_CONFIG_FILE", h.path(".aws/config")},
		{"AWS_SHARED_CREDENTIALS_FILE", h.path(".aws/credentials")},
		{"AWS_ENDPOINT_URL_SSO_OIDC", h.url},
		{"AWS_ENDPOINT_URL_SSO", h.url},
		{"AWS_ENDPOINT_URL_STS", h.url},
		{"AWS_EC2_METADATA_DISABLED", "true"},
	} {
		t.Setenv(v[0], v[1])
	}
	h.env = slices.Clip(os.Environ()) // appended to by several
	return h
}

// in returns h for a subtest.
func (h *host) in(t *testing.T) *host {
	sub := *h
	sub.t = t
	return &sub
}

func (h *host) path(name string) string  { return filepath.Join(h.dir, filepath.FromSlash(name)) }
func (h *host) cache(name string) string { return filepath.Join(h.dir, ".aws", "sso", "cache", name) }

// run runs a program of this library and returns its standard output.
func (h *host) run(name string, args ...string) (string, error) {
	return h.exec(h.env, filepath.Join(programs, name), args...)
}

// must is run for a program that has to succeed.
func (h *host) must(name string, args ...string) string {
	h.t.Helper()
	out, err := h.run(name, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// exec runs any program; its error has what it wrote to standard error.
func (h *host) exec(env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String(), nil
}

// accessToken returns what ./examples/token prints, once it is known to be
// good.
func (h *host) accessToken(s signIn) string {
	h.t.Helper()
	token := strings.TrimSuffix(h.must("token", "-profile", s.profile), "\n")
	req, _ := http.NewRequestWithContext(h.t.Context(), "GET", h.url+"/userinfo", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		h.t.Fatalf("the token that ./examples/token printed gets %s", resp.Status)
	}
	return token
}

// record returns a file of the cache, which only its owner may read.
func (h *host) record(name string) map[string]any {
	h.t.Helper()
	info, err := os.Lstat(h.cache(name))
	if err != nil {
		h.t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		h.t.Errorf("%s has mode %v, want 0600", name, info.Mode())
	}
	var record map[string]any
	if err := json.Unmarshal(h.read(h.cache(name)), &record); err != nil {
		h.t.Fatalf("%s: %v", name, err)
	}
	return record
}

// set changes members of a file of the cache, each a string, and nothing else
// in it.
func (h *host) set(name string, members map[string]string) {
	h.t.Helper()
	text := h.read(h.cache(name))
	for member, value := range members {
		pattern := regexp.MustCompile(`("` + member + `": ?)"[^"]*"`)
		if !pattern.Match(text) {
			h.t.Fatalf("%s has no member %s", name, member)
		}
		text = pattern.ReplaceAllFunc(text, func(b []byte) []byte {
			return append(pattern.ReplaceAll(b, []byte("$1")), `"`+value+`"`...)
		})
	}
	h.write(h.cache(name), text)
}

// expire makes a session look as it does when its access token has expired.
func (h *host) expire(s signIn) {
	h.t.Helper()
	h.set(s.token, map[string]string{"expiresAt": stamp(-time.Minute)})
}

// stamp returns a time from now as the AWS CLI writes it.
func stamp(d time.Duration) string { return time.Now().Add(d).UTC().Format("2006-01-02T15:04:05Z") }

// refreshes counts the refreshes that the service has carried out.
func (h *host) refreshes() int { return h.srv.Count(idctest.CreateTokenRefresh).Succeeded }

func (h *host) registrations() int { return h.srv.Count(idctest.RegisterClient).Succeeded }

// noReuse fails the test where somebody presented a spent refresh token.
func (h *host) noReuse() {
	h.t.Helper()
	if n := h.srv.Reuses(); n != 0 {
		h.t.Errorf("a spent refresh token was presented %d times", n)
	}
}

// snapshot returns the names of the cache's files, each with a hash of its
// content; lock files, which hold nothing, are left out.
func (h *host) snapshot() string {
	h.t.Helper()
	entries, err := os.ReadDir(h.cache(""))
	if err != nil {
		h.t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		if e.Type().IsRegular() && filepath.Ext(e.Name()) == ".json" {
			fmt.Fprintf(&b, "%s %x\n", e.Name(), sha256.Sum256(h.read(h.cache(e.Name()))))
		}
	}
	return b.String()
}

func (h *host) read(path string) []byte {
	h.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// write truncates in place, as the AWS CLI does.
func (h *host) write(path string, content []byte) {
	h.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		h.t.Fatal(err)
	}
}
