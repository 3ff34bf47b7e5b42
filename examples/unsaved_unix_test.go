//go:build unix

package examples_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// withoutFiles makes a program unable to write to any file, while folders and
// its output are as they were.
func (p *process) withoutFiles() *process {
	p.cmd.Args = append([]string{"/bin/sh", "-c", `trap "" XFSZ; ulimit -f 0; exec "$0" "$@"`, p.cmd.Path}, p.cmd.Args[1:]...)
	p.cmd.Path = "/bin/sh"
	return p
}

func (p *process) run() result {
	p.m.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.m.t.Fatal(err)
	}
	return p.wait()
}

// A result is a result, also where the session behind it could not be saved.
func TestResultOfUnsavedSession(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"token", "credential-process"} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.signIn(-time.Minute)
			r := m.command(name, "-profile", "dev").withoutFiles().run().ok()
			if name == "credential-process" && !json.Valid([]byte(r.stdout)) || strings.Count(r.stdout, "\n") != 1 {
				t.Errorf("wrote %q", r.stdout)
			}
			lines := strings.SplitAfter(r.stderr, "\n")
			for _, line := range lines[:len(lines)-1] {
				if !strings.HasPrefix(line, name+": warning: ") {
					t.Errorf("standard error has %q", line)
				}
			}
			if !strings.Contains(r.stderr, "saved") {
				t.Errorf("nobody was warned: %q", r.stderr)
			}
		})
	}
}

// Login is no success where others do not find the session.
func TestLoginUnsaved(t *testing.T) {
	m := newMachine(t)
	m.signIn(-time.Minute)
	r := m.command("login", "-profile", "dev").withoutFiles().run()
	r.failedAtLast("saved")
	if strings.Contains(strings.ToLower(r.stderr), "signed in already") || r.stdout != "" {
		t.Errorf("wrote %q and %q", r.stdout, r.stderr)
	}
}

// A record that is not safe to use is kept in memory only: that must be seen.
func TestUnsafeRecord(t *testing.T) {
	m := newMachine(t)
	s := m.signIn(time.Hour)
	file := filepath.Join(m.home, tokenFile("corp"))
	if err := os.Rename(file, file+".elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file+".elsewhere", file); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"token", "credential-process", "aws-config"} {
		r := m.run(name, "-profile", "dev")
		r.failedAtLast("sign-in required")
		if !strings.HasPrefix(r.stderr, name+": warning: ") || strings.Count(r.stderr, "\n") != 2 || strings.Contains(r.stderr, s.AccessToken) {
			t.Errorf("%s: standard error: %s", name, r.stderr)
		}
	}
	m.idc.ApproveAfter(0)
	r := m.run("login", "-profile", "dev", "-no-browser")
	r.failedAtLast("not safe to use", "remove it")
	if strings.Contains(r.stderr, "Signed in") {
		t.Errorf("login claims success: %s", r.stderr)
	}
	if got := m.files()[tokenFile("corp")+".elsewhere"]; got != m.encode(s) {
		t.Errorf("the link was followed: %s", got)
	}
}
