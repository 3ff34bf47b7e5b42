package examples_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// On Linux the programs that open a browser are found by PATH, where this
// machine has none.
func TestLoginSaysThatNoBrowserOpened(t *testing.T) {
	m := newMachine(t)
	m.idc.ApproveAfter(0)
	r := m.run("login", "-profile", "dev", "-device").ok()
	if !strings.Contains(r.stderr, "A browser should open") || !strings.Contains(r.stderr, "No browser could be opened") {
		t.Errorf("standard error: %s", r.stderr)
	}
	m.page(r.stdout)
}

func TestLoginPKCEWithoutBrowser(t *testing.T) {
	m := newMachine(t)
	p := m.command("login", "-profile", "dev", "-pkce")
	stderr := make(chan said, 100)
	p.cmd.Stderr = io.MultiWriter(p.cmd.Stderr, teller{0, stderr})
	authorizationURL := m.startPKCE(p)
	for !strings.Contains((<-stderr).text, "No browser could be opened here: open the URL above yourself.") {
	}
	m.comeBack(m.idc.ApproveAuthorization(authorizationURL))
	p.wait().ok()
}

// TestLoginOpensNoTextBrowser has nothing but a text browser, which xdg-open
// starts where there is no display, and which would take the terminal.
func TestLoginOpensNoTextBrowser(t *testing.T) {
	for _, opener := range []string{"xdg-open", "www-browser"} {
		t.Run(opener, func(t *testing.T) {
			m := newMachine(t)
			m.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
			m.write(opener, "#!/bin/sh\n: >\"$HOME/opened\"\n")
			if err := os.Chmod(filepath.Join(m.home, opener), 0o700); err != nil {
				t.Fatal(err)
			}
			m.idc.ApproveAfter(0)
			m.page(m.run("login", "-profile", "dev", "-device").ok().stdout)
			if _, opened := m.files()["opened"]; opened {
				t.Error("a text browser was started")
			}
		})
	}
}
