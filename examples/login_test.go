package examples_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

func TestLogin(t *testing.T) {
	m := newMachine(t)
	m.idc.ApproveAfter(0)
	r := m.run("login", "-profile", "dev", "-no-browser").ok()
	page := m.page(r.stdout)
	code := page.Query().Get("user_code")
	for _, want := range []string{
		"Using the device grant: no browser is to be opened.\n", page.String(), strings.Join(strings.Split(code, ""), " "),
		"Or type " + code, "valid for 10 minutes", "Signed in to corp.\n",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("standard error lacks %q", want)
		}
	}
	s := m.session("corp")
	if s.StartURL != startURL || s.Region != "us-east-1" || s.AccessToken == "" || s.RefreshToken == "" || s.ClientSecret == "" || s.RegistrationExpiresAt.IsZero() {
		t.Errorf("the AWS CLI could not use the session: %+v", s)
	}

	before := m.files()
	if r := m.run("login", "-profile", "dev").ok(); r.stdout != "" || !strings.HasPrefix(r.stderr, "Signed in already") || !strings.Contains(r.stderr, "-force") {
		t.Errorf("with a valid session: wrote %q and %q", r.stdout, r.stderr)
	}
	m.unchanged(before)

	m.page(m.run("login", "-profile", "dev", "-no-browser", "-force").ok().stdout)
	if m.session("corp").AccessToken == s.AccessToken {
		t.Error("-force kept the session")
	}
	m.count(idctest.RegisterClient, 1)
}

// page returns the URL that login wrote, which must be alone on a line.
func (m *machine) page(stdout string) *url.URL {
	m.t.Helper()
	line, rest, found := strings.Cut(stdout, "\n")
	u, err := url.Parse(line)
	if !found || rest != "" || err != nil || "http://"+u.Host != m.url || u.Query().Get("user_code") == "" {
		m.t.Fatalf("standard output is not the complete URL alone on a line: %q", stdout)
	}
	return u
}

func TestLoginRefreshesWhatCanBeRefreshed(t *testing.T) {
	m := newMachine(t)
	old := m.signIn(-time.Minute)
	r := m.run("login", "-profile", "dev").ok()
	if r.stdout != "" || !strings.HasPrefix(r.stderr, "Signed in already") {
		t.Errorf("wrote %q and %q", r.stdout, r.stderr)
	}
	if s := m.session("corp"); s.RefreshToken == old.RefreshToken || !s.ExpiresAt.After(time.Now()) {
		t.Errorf("the session was not refreshed: %+v", s)
	}
	m.count(idctest.StartDeviceAuthorization, 0)
}

func TestLoginOfSessionThatTheServiceEnded(t *testing.T) {
	m := newMachine(t)
	m.signIn(-time.Minute)
	m.idc.RevokeSessions()
	m.idc.ApproveAfter(0)
	m.page(m.run("login", "-profile", "dev", "-no-browser").ok().stdout)
	m.run("token", "-profile", "dev").ok()
}

// TestLoginOfSessionThatEndedElsewhere has a token that is still valid, of a
// session that nobody knows any more: what accounts advises must work.
func TestLoginOfSessionThatEndedElsewhere(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.idc.RevokeSessions()
	m.idc.ApproveAfter(0)
	m.run("accounts", "-profile", "dev").failed("login -profile dev")
	m.page(m.run("login", "-profile", "dev", "-no-browser").ok().stdout)
	m.run("accounts", "-profile", "dev").ok()

	// A portal that is away says nothing of the session.
	m.idc.Inject(idctest.ListAccounts, idctest.Fault{Hang: true, Times: idctest.Always})
	if r := m.run("login", "-profile", "dev").ok(); !strings.HasPrefix(r.stderr, "Signed in already") {
		t.Errorf("without the portal: wrote %q", r.stderr)
	}
}

func TestLoginDeviceGivesNoReason(t *testing.T) {
	m := newMachine(t)
	m.idc.ApproveAfter(0)
	if r := m.run("login", "-profile", "dev", "-device", "-no-browser").ok(); strings.Contains(r.stderr, "device grant") {
		t.Error("login said why it uses the grant that it was told to use")
	}
}

func TestLoginScopes(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.idc.ApproveAfter(0)
	m.page(m.run("login", "-profile", "dev", "-no-browser", "-scopes", "sso:account:access,codewhisperer:completions").ok().stdout)
	var got struct{ Scope string }
	body := m.run("oauth2-client", "-profile", "dev", m.url+"/userinfo").ok().stdout
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Scope != "sso:account:access codewhisperer:completions" {
		t.Errorf("the session's scopes are %q (%v)", got.Scope, err)
	}
	if r := m.run("login", "-profile", "dev", "-scopes", "codewhisperer:completions,sso:account:access").ok(); r.stdout != "" {
		t.Error("a session with these scopes was replaced")
	}
}

func TestLoginSSOSession(t *testing.T) {
	m := newMachine(t)
	m.idc.ApproveAfter(0)
	m.run("login", "-sso-session", "corp", "-no-browser").ok()
	m.run("token", "-profile", "bare").ok()
}

func TestLoginStartURL(t *testing.T) {
	m := newMachine(t)
	m.idc.ApproveAfter(0)
	m.write(".aws/config", "") // not needed
	m.run("login", "-start-url", startURL, "-region", "us-west-2", "-no-browser").ok()
	if s := m.session(startURL); s.Region != "us-west-2" || s.RefreshToken != "" {
		t.Errorf("the session is not that of a legacy profile: %+v", s)
	}
}

func TestLoginCommandLine(t *testing.T) {
	m := newMachine(t)
	before := m.files()
	m.run("login", "-profile", "dev", "-pkce", "-device").failed("one of -device and -pkce")
	m.run("login", "-profile", "dev", "-sso-session", "corp").failed("one of -profile, -sso-session and -start-url")
	m.run("login", "-start-url", startURL).failed("both -start-url and -region")
	m.run("login", "-region", "us-east-1").failed("both -start-url and -region")
	m.run("login", "dev").failed(`"dev"`, "-h shows how")
	m.run("login", "-such").failed("-such", "-h shows how")
	m.unchanged(before)
	m.count(idctest.AnyOperation, 0)
}

func TestLoginDenied(t *testing.T) {
	m := newMachine(t)
	old := m.signIn(time.Hour)
	p := m.startLogin("-profile", "dev", "-no-browser", "-force")
	if err := m.idc.Deny(p.code); err != nil {
		t.Fatal(err)
	}
	r := p.wait()
	r.failedAfterPrompt("access was denied: on the page in the browser; sign in again, and approve only what you started yourself")
	r.deniedOnce()
	m.keeps(old)
}

func TestLoginExpiredCode(t *testing.T) {
	m := newMachine(t, func(idc *idctest.Server) { idc.DeviceCodeLifetime = time.Second })
	old := m.signIn(time.Hour)
	m.run("login", "-profile", "dev", "-no-browser", "-force").failedAfterPrompt("not approved in time", "sign in again")
	m.keeps(old)
}

// pendingLogin is a login that waits for the person.
type pendingLogin struct {
	*process
	code string
}

// startLogin starts a login, and waits until it has written the URL.
func (m *machine) startLogin(args ...string) pendingLogin {
	m.t.Helper()
	p := m.command("login", args...)
	r, w := io.Pipe()
	p.cmd.Stdout = io.MultiWriter(&p.stdout, w)
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	r.Close() // later writes fail: there are none
	if err != nil {
		m.t.Fatal(err)
	}
	return pendingLogin{p, m.page(line).Query().Get("user_code")}
}

// failedAfterPrompt is failedAtLast for a login whose person was asked: they
// are told once how it ended.
func (r result) failedAfterPrompt(words ...string) {
	r.t.Helper()
	r.failedAtLast(words...)
	if _, after, found := strings.Cut(r.stderr, "Approve only if"); !found || strings.Count(after, "\n") != 2 {
		r.t.Errorf("%s did not write one line after its question: %s", r.command, r.stderr)
	}
}

// keeps fails the test unless the session is still the given one.
func (m *machine) keeps(s idctest.Session) {
	m.t.Helper()
	if m.session("corp") != s {
		m.t.Error("the session was not kept")
	}
}

// startPKCE starts a login by the authorization code grant. It returns the
// authorization URL.
func (m *machine) startPKCE(p *process) (authorizationURL string) {
	m.t.Helper()
	r, w := io.Pipe()
	p.cmd.Stdout = w
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	r.Close()
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// comeBack fetches a callback, as the browser does that was sent there.
func (m *machine) comeBack(callback string, err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := http.Get(callback)
	if err != nil {
		m.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.t.Errorf("the callback is answered with %s", resp.Status)
	}
}

func TestLoginPKCE(t *testing.T) {
	m := newMachine(t)
	p := m.command("login", "-profile", "dev", "-pkce", "-no-browser")
	m.comeBack(m.idc.ApproveAuthorization(m.startPKCE(p)))
	if r := p.wait().ok(); !strings.Contains(strings.Join(strings.Fields(r.stderr), " "), "To approve on another one, stop this and run it with -device.") {
		t.Errorf("standard error does not name the flag: %s", r.stderr)
	}
	if s := m.session("corp"); s.AccessToken == "" || s.RefreshToken == "" {
		t.Errorf("session %+v", s)
	}
}

func TestLoginPort(t *testing.T) {
	m := newMachine(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
	args := []string{"-profile", "dev", "-pkce", "-no-browser", "-port", port}
	m.run("login", args...).failed("on port "+port, "end the program that uses the port", "the flags for it are -port and -device")
	l.Close()
	p := m.command("login", args...)
	callback, err := m.idc.ApproveAuthorization(m.startPKCE(p))
	if !strings.HasPrefix(callback, "http://127.0.0.1:"+port+"/") {
		t.Errorf("the browser comes back to %s", callback)
	}
	m.comeBack(callback, err)
	p.wait().ok()
}

func TestLoginPKCEDenied(t *testing.T) {
	m := newMachine(t)
	old := m.signIn(time.Hour)
	p := m.command("login", "-profile", "dev", "-pkce", "-no-browser", "-force")
	m.comeBack(m.idc.DenyAuthorization(m.startPKCE(p)))
	r := p.wait()
	r.failedAtLast("access was denied: on the page in the browser; sign in again, and approve only what you started yourself")
	r.deniedOnce()
	m.keeps(old)
}

// deniedOnce fails the test unless the error says once that the sign-in was
// refused.
func (r result) deniedOnce() {
	r.t.Helper()
	_, line, _ := strings.Cut(r.stderr, r.name+": ")
	if n := len(regexp.MustCompile("(?i)den(y|ied)|refuse|reject").FindAllString(line, -1)); n != 1 {
		r.t.Errorf("%s says %d times that it was refused: %s", r.command, n, line)
	}
}
