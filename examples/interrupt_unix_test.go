//go:build unix

package examples_test

import (
	"os"
	"syscall"
	"testing"
	"time"
)

func TestLoginInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			m := newMachine(t)
			old := m.signIn(time.Hour)
			p := m.startLogin("-profile", "dev", "-no-browser", "-force")
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			p.wait().failedAfterPrompt("interrupted; run it again")
			m.keeps(old)
		})
	}
}
