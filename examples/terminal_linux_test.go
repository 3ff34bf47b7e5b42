package examples_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// screen is a pseudo-terminal that a program writes to.
type screen struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	text   bytes.Buffer
	came   chan struct{} // something was written
	closed chan struct{} // nothing more will be
}

// startOn starts a program on a terminal of that size.
func (m *machine) startOn(columns, rows uint16, name string, args ...string) (*process, *screen) {
	m.t.Helper()
	p := m.command(name, args...)
	p.cmd.Stdout, p.cmd.Stderr = nil, nil // the terminal
	master, err := pty.StartWithSize(p.cmd, &pty.Winsize{Cols: columns, Rows: rows})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { master.Close() })
	s := &screen{t: m.t, master: master, came: make(chan struct{}, 1), closed: make(chan struct{})}
	go s.read()
	return p, s
}

func (s *screen) read() {
	defer close(s.closed)
	buf := make([]byte, 4096)
	for {
		n, err := s.master.Read(buf)
		s.mu.Lock()
		s.text.Write(buf[:n])
		s.mu.Unlock()
		select {
		case s.came <- struct{}{}:
		default:
		}
		if err != nil {
			return // EIO: the program has ended
		}
	}
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until the terminal has shown text.
func (s *screen) await(text string) {
	s.t.Helper()
	for deadline := time.After(30 * time.Second); !strings.Contains(s.String(), text); {
		select {
		case <-s.came:
		case <-s.closed:
			if !strings.Contains(s.String(), text) {
				s.t.Fatalf("the program ended without %q:\n%q", text, s)
			}
		case <-deadline:
			s.t.Fatalf("the terminal does not show %q:\n%q", text, s)
		}
	}
}

func TestLoginOverSSH(t *testing.T) {
	t.Parallel()
	for _, columns := range []uint16{80, 40} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			m := newMachine(t)
			m.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
			m.setenv("TERM", "xterm-256color")
			m.setenv("LANG", "C.UTF-8")
			m.idc.ApproveAfter(2)
			p, s := m.startOn(columns, 50, "login", "-profile", "dev")
			s.await("Signed in to corp.\r\n")
			p.wait().ok()
			<-s.closed
			for _, want := range []string{"Using the device grant: this is an SSH", "Open this on any device", "scan this", "▀", "Waiting for approval, 9:"} {
				if !strings.Contains(s.String(), want) {
					t.Errorf("%d columns: the terminal does not show %q:\n%s", columns, want, s)
				}
			}
			if urls := regexp.MustCompile(`(?m)^.*user_code=.*$`).FindAllString(s.String(), -1); len(urls) != 1 || !strings.HasPrefix(urls[0], m.url) {
				t.Errorf("%d columns: the URL is not there once, alone on a line: %q", columns, urls)
			}
			if strings.Contains(s.String(), "browser should open") {
				t.Errorf("%d columns: a browser was to open", columns)
			}
			m.session("corp")
		})
	}
}

func TestLoginInterruptedAtATerminal(t *testing.T) {
	m := newMachine(t)
	p, s := m.startOn(80, 24, "login", "-profile", "dev", "-no-browser")
	s.await("Waiting for approval, 9:")
	if _, err := s.master.Write([]byte{3}); err != nil { // Ctrl-C
		t.Fatal(err)
	}
	if r := p.wait(); r.status != 1 {
		t.Errorf("login ended with %d", r.status)
	}
	<-s.closed
	if !strings.HasSuffix(s.String(), "\rNo longer waiting.\r\nlogin: interrupted; run it again\r\n") {
		t.Errorf("the terminal shows %q", s)
	}
}

func TestLoginWithoutStandardInput(t *testing.T) {
	m := newMachine(t)
	m.idc.ApproveAfter(0)
	p := m.command("login", "-profile", "dev")
	p.cmd.Args = append([]string{"sh", "-c", `exec "$0" "$@" <&-`, p.cmd.Path}, p.cmd.Args[1:]...)
	p.cmd.Path = "/bin/sh"
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := p.wait().ok()
	m.page(r.stdout)
	if strings.ContainsAny(r.stderr, "\r\x1b") || strings.Contains(r.stderr, "Waiting") || !strings.Contains(r.stderr, "Using the device grant: ") {
		t.Errorf("standard error, which is a pipe, got %q", r.stderr)
	}
}

// TestErrorAtATerminal has an error that is longer than the terminal is wide:
// words stay whole, and so does the command to copy.
func TestErrorAtATerminal(t *testing.T) {
	for _, columns := range []uint16{80, 40} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			m := newMachine(t)
			said := m.run("token", "-profile", "dev").stderr // to a pipe
			p, s := m.startOn(columns, 24, "token", "-profile", "dev")
			p.wait()
			<-s.closed
			lines := strings.Split(strings.TrimSuffix(s.String(), "\r\n"), "\r\n")
			for _, line := range lines {
				if len(line) > int(columns) && strings.Contains(line, " ") && !strings.HasPrefix(line, "go run ") {
					t.Errorf("%d columns: the line %q is longer", columns, line)
				}
			}
			if got, want := strings.Join(lines, " ")+"\n", said; got != want || lines[len(lines)-1] != "go run ./examples/login -profile dev" {
				t.Errorf("%d columns: the terminal shows\n%s\nand a pipe gets\n%s", columns, s, want)
			}
		})
	}
}
