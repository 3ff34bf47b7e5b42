package examples_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// withBrowser gives the machine a display, and a program that is to open a
// browser there: a script.
func (m *machine) withBrowser(opener, script string) {
	m.t.Helper()
	m.setenv("DISPLAY", ":0")
	m.write(opener, "#!/bin/sh\n"+script+"\n")
	if err := os.Chmod(filepath.Join(m.home, opener), 0o700); err != nil {
		m.t.Fatal(err)
	}
}

func TestLoginPKCEWhereTheBrowserFails(t *testing.T) {
	m := newMachine(t)
	m.withBrowser("xdg-open", "exit 1")
	p := m.command("login", "-profile", "dev", "-pkce")
	stderr := make(chan said, 100)
	p.cmd.Stderr = io.MultiWriter(p.cmd.Stderr, teller{0, stderr})
	authorizationURL := m.startPKCE(p)
	for !strings.Contains((<-stderr).text, "No browser could be opened here: open the URL above yourself.") {
	}
	m.comeBack(m.idc.ApproveAuthorization(authorizationURL))
	if r := p.wait().ok(); !strings.Contains(r.stderr, "It should open by itself") {
		t.Errorf("standard error: %s", r.stderr)
	}
}

func TestLoginPKCEWithoutBrowser(t *testing.T) {
	m := newMachine(t)
	p := m.command("login", "-profile", "dev", "-pkce")
	m.comeBack(m.idc.ApproveAuthorization(m.startPKCE(p)))
	if r := p.wait().ok(); strings.Contains(r.stderr, "should open") || !strings.Contains(r.stderr, "Open this here:") {
		t.Errorf("standard error: %s", r.stderr)
	}
}

// TestLoginOpensNoTextBrowser has nothing but a text browser, which would take
// the terminal; xdg-open starts one where there is no display.
func TestLoginOpensNoTextBrowser(t *testing.T) {
	for _, opener := range []string{"xdg-open", "www-browser"} {
		t.Run(opener, func(t *testing.T) {
			m := newMachine(t)
			m.withBrowser(opener, `: >"$HOME/opened"`)
			m.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
			if opener == "xdg-open" {
				m.setenv("DISPLAY", "")
			}
			m.idc.ApproveAfter(0)
			r := m.run("login", "-profile", "dev", "-device").ok()
			m.page(r.stdout)
			if _, opened := m.files()["opened"]; opened || strings.Contains(r.stderr, "should open") {
				t.Errorf("a text browser was started, %v, or promised: %s", opened, r.stderr)
			}
		})
	}
}
