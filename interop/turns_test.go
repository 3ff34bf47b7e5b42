package interop

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// A pending program waits for a person.
type pending struct {
	h      *host
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// begin starts a program that asks a person to approve.
func (h *host) begin(env []string, name string, args ...string) *pending {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	h.t.Cleanup(cancel)
	p := &pending{h: h, cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Env = append(slices.Clip(env), "PYTHONUNBUFFERED=1")
	p.cmd.WaitDelay = time.Second
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// shows returns what the program writes to standard output that matches.
func (p *pending) shows(pattern *regexp.Regexp) string {
	p.h.t.Helper()
	for {
		line, err := p.stdout.ReadString('\n')
		if found := pattern.FindString(line); found != "" {
			return found
		}
		if err != nil {
			p.end()
			p.h.t.Fatalf("%s ended without %v: %v", p.cmd, pattern, err)
		}
	}
}

// end waits for the program, which must succeed.
func (p *pending) end() {
	p.h.t.Helper()
	io.Copy(io.Discard, p.stdout)
	if err := p.cmd.Wait(); err != nil {
		p.h.t.Errorf("%s: %v\n%s", p.cmd, err, p.stderr.Bytes())
	}
}

var (
	userCode = regexp.MustCompile(`\b[A-Z]{4}-[A-Z]{4}\b`)
	anyURL   = regexp.MustCompile(`^https?://\S+`)
)

// approve approves the user code that the program shows.
func (p *pending) approve() {
	p.h.t.Helper()
	if err := p.h.srv.Approve(p.shows(userCode)); err != nil {
		p.h.t.Error(err)
	}
}

// browse does what a browser does that opens the URL which the program shows
// and has the person approve: it goes where it is sent.
func (p *pending) browse() {
	p.h.t.Helper()
	resp, err := http.Get(p.shows(anyURL))
	if err != nil {
		p.h.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != "/oauth/callback" {
		p.h.t.Errorf("the browser ends at %s with %s", resp.Request.URL.Path, resp.Status)
	}
}

// signInByCode is signIn by the authorization code grant.
func (h *host) signInByCode(s signIn, args ...string) {
	h.t.Helper()
	p := h.begin(h.env, filepath.Join(programs, "login"), append([]string{"-profile", s.profile, "-pkce", "-no-browser"}, args...)...)
	p.browse()
	p.end()
}

// grants are both ways to sign in with ./examples/login.
var grants = []struct {
	name   string
	signIn func(h *host, s signIn, args ...string)
}{
	{"device", (*host).signIn},
	{"code", (*host).signInByCode},
}

// mustSignIn fails the test unless a program's error says that a person must
// sign in.
func mustSignIn(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("signed out, and the error is %v, without %q", err, words)
	}
}

// TestTurns has the AWS CLI and ./examples/login sign in and out in turn, on
// one cache, this library by one grant after the other.
func TestTurns(t *testing.T) {
	eachCLI2(t, func(t *testing.T, h *host, cli tool) {
		env := append(h.proxied(), "BROWSER=true") // the command
		caller := func() error {
			_, err := h.exec(env, cli.path, "sts", "get-caller-identity", "--profile", dev.profile)
			return err
		}
		for _, grant := range []func(h *host, s signIn, args ...string){(*host).signInByCode, (*host).signIn} {
			h.srv.ApproveAfter(-1)
			p := h.begin(env, cli.path, "sso", "login", "--no-browser", "--profile", dev.profile)
			p.approve()
			p.end()
			h.srv.ApproveAfter(0)
			theirs := h.accessToken(dev)
			if theirs != h.record(dev.token)["accessToken"] {
				t.Error("the AWS CLI's session was not used as it is")
			}
			if out := h.must("login", "-profile", dev.profile, "-no-browser"); out != "" {
				t.Errorf("a sign-in was begun: %s", out)
			}
			h.signIn(dev, "-force", "-device")
			if h.accessToken(dev) == theirs {
				t.Error("there is no new session")
			}

			h.must("logout", "-profile", dev.profile)
			mustSignIn(t, caller(), "Token for corp does not exist")
			grant(h, dev)
			if err := caller(); err != nil {
				t.Fatal(err)
			}
			// Kept credentials would let the AWS CLI go on for an hour.
			h.must("logout", "-profile", dev.profile)
			mustSignIn(t, caller(), "Token for corp does not exist")

			grant(h, dev)
			if _, err := h.exec(env, cli.path, "sso", "logout"); err != nil {
				t.Fatal(err)
			}
			_, err := h.run("token", "-profile", dev.profile)
			mustSignIn(t, err, "login -profile dev")
			_, err = h.run("credential-process", "-profile", dev.profile)
			mustSignIn(t, err, "login -profile dev")
		}
		// The AWS CLI's serves its grant throughout, the other one is beside it.
		if n := h.registrations(); n != 2 {
			t.Errorf("%d clients were registered, want one for each grant", n)
		}
		h.noReuse()
		if n := h.srv.Count(idctest.Logout).Succeeded; n != 6 {
			t.Errorf("%d sessions were ended, want 6", n)
		}
	})
}

// TestSignInsAtOnce has the AWS CLI and ./examples/login ask a person at the
// same time. The AWS CLI takes no lock: both are approved, and the session that
// was saved last is everybody's.
func TestSignInsAtOnce(t *testing.T) {
	eachCLI2(t, func(t *testing.T, h *host, cli tool) {
		env := append(h.proxied(), "BROWSER=true")
		h.srv.ApproveAfter(-1)
		theirs := h.begin(env, cli.path, "sso", "login", "--no-browser", "--profile", dev.profile)
		ours := h.begin(h.env, filepath.Join(programs, "login"), "-profile", dev.profile, "-no-browser", "-device", "-force")
		codes := []string{theirs.shows(userCode), ours.shows(userCode)}
		for _, code := range codes {
			if err := h.srv.Approve(code); err != nil {
				t.Error(err)
			}
		}
		var both sync.WaitGroup
		both.Go(theirs.end)
		both.Go(ours.end)
		both.Wait()
		h.srv.ApproveAfter(0)
		if h.accessToken(dev) != h.record(dev.token)["accessToken"] {
			t.Error("the token is not that of the session in the file")
		}
		h.expire(dev)
		if _, err := h.exec(env, cli.path, "sts", "get-caller-identity", "--profile", dev.profile); err != nil {
			t.Error(err)
		}
		h.expire(dev)
		h.accessToken(dev)
		h.noReuse()
	})
}
