//go:build unix

package examples_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestLoginInterrupted(t *testing.T) {
	m := newMachine(t)
	old := m.signIn(time.Hour)
	p := m.startLogin("-profile", "dev", "-no-browser", "-force")
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	r := p.wait()
	r.failedAtLast("interrupt")
	if !strings.Contains(r.stderr, "Not signed in: stopped.\n") {
		t.Errorf("standard error: %s", r.stderr)
	}
	m.keeps(old)
}
