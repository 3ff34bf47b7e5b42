package examples_test

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// said is what one of several programs wrote.
type said struct {
	by   int
	text string
}

// A teller passes on what a program writes.
type teller struct {
	by int
	to chan<- said
}

func (w teller) Write(text []byte) (int, error) {
	w.to <- said{w.by, string(text)}
	return len(text), nil
}

// loginsTogether starts 20 programs that find no session. It returns them, which
// of them asks, and its user code, once all others wait for it.
func loginsTogether(m *machine) (all []*process, asks int, urls <-chan said, userCode string) {
	const programs = 20
	stdout, stderr := make(chan said, 1000), make(chan said, 1000)
	for i := range programs {
		p := m.command("login", "-profile", "dev", "-no-browser")
		p.cmd.Stdout = io.MultiWriter(p.cmd.Stdout, teller{i, stdout})
		p.cmd.Stderr = io.MultiWriter(p.cmd.Stderr, teller{i, stderr})
		if err := p.cmd.Start(); err != nil {
			m.t.Fatal(err)
		}
		all = append(all, p)
	}
	first := <-stdout
	for waiting := 0; waiting < programs-1; {
		if strings.Contains((<-stderr).text, "is asking already") {
			waiting++
		}
	}
	return all, first.by, stdout, codeIn(m, first)
}

func codeIn(m *machine, s said) string {
	u, err := url.Parse(strings.TrimSpace(s.text))
	if err != nil {
		m.t.Fatal(err)
	}
	return u.Query().Get("user_code")
}

func TestLoginsTogether(t *testing.T) {
	m := newMachine(t)
	all, _, _, userCode := loginsTogether(m)
	if err := m.idc.Approve(userCode); err != nil {
		t.Fatal(err)
	}
	prompts := 0
	for _, p := range all {
		r := p.wait().ok()
		prompts += strings.Count(r.stderr, "approve this code") + strings.Count(r.stdout, "user_code=")
		if !strings.Contains(r.stderr, "Signed in to corp") {
			t.Errorf("%s did not say how it ended", r.command)
		}
	}
	if prompts != 2 {
		t.Errorf("the person was asked by %d texts and URLs, want one of each", prompts)
	}
	m.count(idctest.StartDeviceAuthorization, 1)
	m.run("token", "-profile", "dev").ok()
}

// TestTokenWhileAPersonIsAsked has a session that is to be replaced, and is due:
// who needs its token does not wait for the person.
func TestTokenWhileAPersonIsAsked(t *testing.T) {
	m := newMachine(t)
	m.signIn(-time.Minute)
	p := m.startLogin("-profile", "dev", "-no-browser", "-force")
	var tokens []*process
	for range 5 {
		tokens = append(tokens, m.command("token", "-profile", "dev"))
		if err := tokens[len(tokens)-1].cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	refreshed := ""
	for _, token := range tokens {
		refreshed = token.wait().ok().stdout
	}
	m.count(idctest.CreateTokenRefresh, 1)
	if err := m.idc.Approve(p.code); err != nil {
		t.Fatal(err)
	}
	p.wait().ok()
	if r := m.run("token", "-profile", "dev").ok(); r.stdout == refreshed {
		t.Error("the sign-in did not replace the session")
	}
	if n := m.idc.Reuses(); n != 0 {
		t.Errorf("a refresh token was used again %d times", n)
	}
}

func TestLoginsTogetherAreRefused(t *testing.T) {
	m := newMachine(t)
	all, _, _, userCode := loginsTogether(m)
	if err := m.idc.Deny(userCode); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		r := p.wait()
		r.failedAtLast("access was denied", "sign in again")
		r.deniedOnce()
	}
	m.count(idctest.StartDeviceAuthorization, 1)
}

// The program that asks is killed: another one asks in its place.
func TestLoginsTogetherAfterAKill(t *testing.T) {
	m := newMachine(t)
	all, asks, urls, _ := loginsTogether(m)
	if err := all[asks].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	all[asks].wait()
	next := <-urls
	if err := m.idc.Approve(codeIn(m, next)); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		if i != asks {
			p.wait().ok()
		}
	}
	m.count(idctest.StartDeviceAuthorization, 2)
}

// TestTokenAfterAKill has programs that may not ask find a sign-in under way,
// and then one that was killed.
func TestTokenAfterAKill(t *testing.T) {
	m := newMachine(t)
	p := m.startLogin("-profile", "dev", "-no-browser")
	programs := []string{"token", "credential-process"}
	for _, name := range programs {
		m.run(name, "-profile", "dev").failed("sign-in required", fmt.Sprintf("a sign-in is under way (process %d, since ", p.cmd.Process.Pid), "login -profile dev")
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait()
	for _, name := range programs {
		r := m.run(name, "-profile", "dev")
		r.failed("sign-in required", "; to sign in, run: go run ./examples/login -profile dev")
		if strings.Contains(r.stderr, "under way") {
			t.Errorf("%s: %s", name, r.stderr)
		}
	}
}

func TestLogout(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.run("token", "-profile", "dev").ok()
	m.run("credential-process", "-profile", "dev").ok()
	if r := m.run("logout", "-profile", "dev").ok(); r.stdout != "" || r.stderr != "Signed out.\n" {
		t.Errorf("wrote %q and %q", r.stdout, r.stderr)
	}
	for name, content := range m.files() {
		if strings.Contains(content, "SecretAccessKey") {
			t.Errorf("%s still holds credentials", name)
		}
	}
	m.count(idctest.Logout, 1)
	m.run("token", "-profile", "dev").failed("sign-in required", "login -profile dev")
	m.run("logout", "-profile", "dev").ok()
	m.count(idctest.Logout, 1)
}
