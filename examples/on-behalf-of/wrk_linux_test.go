package main_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// connections is how many requests wrk has under way at a time.
const connections = 32

// A user of the load.
type user struct {
	name string
	jwt  string
	once bool   // the JWT has an ID, and so is good for one exchange
	arn  string // that AWS knows the user under
}

func (u *user) kind() string {
	if u.once {
		return "once"
	}
	return "any"
}

// A load is wrk while it sends requests.
type load struct {
	s      *service
	cmd    *exec.Cmd
	output bytes.Buffer
}

// results are wrk's, and what testdata/load.lua has counted: answers by kind of
// user and status ("any/200"), errors of the network ("errors/read"), and times
// in microseconds.
type results map[string]int

// needWrk skips a test where wrk is not installed, or fails it where every
// foreign program is required.
func needWrk(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("wrk"); err == nil {
		return
	}
	const missing = "wrk is not installed: it is Debian's package wrk"
	if os.Getenv("AWSOIDC_INTEROP") == "required" {
		t.Fatal(missing + "; AWSOIDC_INTEROP=required says that it must be there")
	}
	t.Skip(missing)
}

// load starts wrk, which goes on for so long, or until end.
func (s *service) load(users []*user, length time.Duration) *load {
	s.t.Helper()
	var lines strings.Builder
	for _, u := range users {
		fmt.Fprintln(&lines, u.kind(), u.jwt, u.arn)
	}
	file := filepath.Join(s.t.TempDir(), "users")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	l := &load{s: s, cmd: exec.CommandContext(s.t.Context(), "wrk",
		"--threads", fmt.Sprint(connections), "--connections", fmt.Sprint(connections),
		"--duration", fmt.Sprintf("%.0fs", length.Seconds()), "--timeout", "60s",
		"--script", filepath.Join("testdata", "load.lua"), s.url, "--", file)}
	l.cmd.Stdout, l.cmd.Stderr = &l.output, &l.output
	if err := l.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return l
}

// end makes wrk stop before its time.
func (l *load) end() {
	l.s.t.Helper()
	if err := l.cmd.Process.Signal(os.Interrupt); err != nil {
		l.s.t.Error(err)
	}
}

// wait returns the results at the end of the load, in which nobody may have
// been answered what is another's.
func (l *load) wait() results {
	l.s.t.Helper()
	if err := l.cmd.Wait(); err != nil {
		l.s.t.Fatalf("wrk: %v\n%s", err, &l.output)
	}
	found := results{}
	for line := range strings.Lines(l.output.String()) {
		if strings.HasPrefix(line, "wrong ") {
			l.s.t.Error(line)
		}
		var name string
		var n int
		if _, err := fmt.Sscanf(line, "count %s %d\n", &name, &n); err == nil {
			found[name] = n
		}
	}
	if found["any/200"] == 0 || found["wrong"] > 0 {
		l.s.t.Fatalf("of the answers, %d were wrong\n%s", found["wrong"], &l.output)
	}
	return found
}
