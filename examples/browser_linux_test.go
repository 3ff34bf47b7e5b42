package examples_test

import (
	"io"
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
