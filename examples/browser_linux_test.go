package examples_test

import (
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
