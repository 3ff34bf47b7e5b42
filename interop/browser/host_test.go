package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// A host is a machine of its own: a home folder with an AWS config file, an
// Identity Center at a loopback port, and the environment that leads programs
// to both.
type host struct {
	t    *testing.T
	srv  *idctest.Server
	url  string // of the service
	home string
	env  []string
}

const configFile = `[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly

[sso-session corp]
sso_start_url = https://d-1234567890.awsapps.com/start
sso_region = us-east-1
sso_registration_scopes = sso:account:access
`

// tokenFile is the file of the session corp, by the AWS CLI's name for it.
const tokenFile = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json"

// newHost returns a host whose service answers by way of the given handlers,
// outermost first.
func newHost(t *testing.T, through ...func(http.Handler) http.Handler) *host {
	t.Helper()
	h := &host{t: t, srv: idctest.New(), home: t.TempDir()}
	h.srv.PollInterval = time.Second
	var handler http.Handler = h.srv
	for _, wrap := range through {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	h.url = server.URL
	h.env = []string{
		"HOME=" + h.home, "PATH=" + h.home, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL_SSO_OIDC=" + h.url, "AWS_ENDPOINT_URL_SSO=" + h.url, "AWS_ENDPOINT_URL_STS=" + h.url,
	}
	if err := os.MkdirAll(filepath.Join(h.home, ".aws"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.home, ".aws", "config"), []byte(configFile), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// A login is a process that asks a person to sign in.
type login struct {
	t              *testing.T
	cmd            *exec.Cmd
	url            string // the one line of standard output, so far
	read           chan struct{}
	stdout, stderr bytes.Buffer
}

// start starts ./examples/login, and waits until it has written the URL.
func (h *host) start(args ...string) *login {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	l := &login{t: h.t, read: make(chan struct{})}
	l.cmd = exec.CommandContext(ctx, filepath.Join(programs, "login"), append([]string{"-profile", "dev", "-no-browser"}, args...)...)
	l.cmd.Env, l.cmd.Dir, l.cmd.Stderr = h.env, h.home, &l.stderr
	pipe, err := l.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		cancel()
		l.cmd.Wait() // has ended already in a test that passed
	})
	out := bufio.NewReader(pipe)
	line, err := out.ReadString('\n')
	if err != nil {
		h.t.Fatalf("login wrote no URL: %v", err)
	}
	l.url = strings.TrimSuffix(line, "\n")
	go func() {
		defer close(l.read)
		io.Copy(&l.stdout, out)
	}()
	return l
}

// wait waits for the end of the process. Its standard output must be the URL
// alone.
func (l *login) wait() (status int, stderr string) {
	l.t.Helper()
	<-l.read
	err := l.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	if l.stdout.Len() != 0 {
		l.t.Errorf("login wrote more than the URL to standard output: %s", &l.stdout)
	}
	return l.cmd.ProcessState.ExitCode(), l.stderr.String()
}

// succeeds fails the test unless the process ends well.
func (l *login) succeeds() {
	l.t.Helper()
	if status, stderr := l.wait(); status != 0 || !strings.HasSuffix(stderr, "Signed in to corp.\n") {
		l.t.Errorf("login ended with status %d: %s", status, stderr)
	}
}

// fails fails the test unless the process ends with status 1 and an error of
// one line that has each of the words.
func (l *login) fails(words ...string) {
	l.t.Helper()
	status, stderr := l.wait()
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if status != 1 || !strings.HasPrefix(last, "login: ") {
		l.t.Errorf("login ended with status %d: %s", status, stderr)
	}
	for _, w := range words {
		if !strings.Contains(last, w) {
			l.t.Errorf("the error lacks %q: %s", w, last)
		}
	}
}

// query returns a parameter of the URL that the process has written.
func (l *login) query(name string) string {
	l.t.Helper()
	u, err := url.Parse(l.url)
	if err != nil {
		l.t.Fatal(err)
	}
	return u.Query().Get(name)
}

// callback returns the URL that the browser is sent back to, with that query.
func (l *login) callback(query string) string {
	l.t.Helper()
	return l.query("redirect_uri") + "?" + query
}

// signedIn fails the test unless the cache has a session as the AWS CLI writes
// one, which the service knows.
func (h *host) signedIn() {
	h.t.Helper()
	file := filepath.Join(h.home, filepath.FromSlash(tokenFile))
	info, err := os.Lstat(file)
	if err != nil {
		h.t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		h.t.Errorf("the session's file has mode %v, want 0600", info.Mode())
	}
	content, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	var record map[string]any
	if err := json.Unmarshal(content, &record); err != nil {
		h.t.Fatal(err)
	}
	for member, want := range map[string]string{
		"startUrl": "https://d-1234567890.awsapps.com/start", "region": "us-east-1",
		"accessToken": "", "refreshToken": "", "clientId": "", "clientSecret": "", "expiresAt": "", "registrationExpiresAt": "",
	} {
		got, _ := record[member].(string)
		if got == "" || want != "" && got != want {
			h.t.Errorf("the session's record has %s %q", member, got)
		}
		if strings.HasSuffix(member, "xpiresAt") {
			if at, err := time.Parse("2006-01-02T15:04:05Z", got); err != nil || at.Before(time.Now()) {
				h.t.Errorf("the session's record has %s %q, not a time to come as the AWS CLI writes it", member, got)
			}
		}
	}
	req, _ := http.NewRequestWithContext(h.t.Context(), "GET", h.url+"/userinfo", nil)
	token, _ := record["accessToken"].(string)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		h.t.Errorf("the token of the cache gets %s", resp.Status)
	}
}

// notSignedIn fails the test if the cache has a session, or any access token.
func (h *host) notSignedIn() {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.home, ".aws", "sso", "cache", "*"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			h.t.Fatal(err)
		}
		if strings.Contains(string(content), "accessToken") || strings.HasSuffix(file, filepath.Base(tokenFile)) {
			h.t.Errorf("the cache has a session, %s", file)
		}
	}
}

// exchanges counts the requests that brought an authorization code.
func (h *host) exchanges() int { return h.srv.Count(idctest.CreateTokenAuthorizationCode).Requests }
