//go:build unix

package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// readmeBlock returns the shell commands of README.md that have text in them.
func readmeBlock(t *testing.T, text string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for rest := string(readme); ; {
		_, after, found := strings.Cut(rest, "```sh\n")
		if !found {
			t.Fatalf("README.md has no shell commands with %q", text)
		}
		var block string
		if block, rest, _ = strings.Cut(after, "```"); strings.Contains(block, text) {
			return block
		}
	}
}

// startServing starts quickstart -serve, and waits until it listens.
func (m *machine) startServing(port string) *process {
	m.t.Helper()
	p := m.command("quickstart", "-serve", port)
	r, w := io.Pipe()
	p.cmd.Stdout = w
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "AWS_ENDPOINT_URL=http://127.0.0.1:"+port+"\n" {
		m.t.Fatalf("quickstart -serve wrote %q (%v)", line, err)
	}
	return p
}

// TestREADMESignIn runs the commands of README.md by which a person signs in at
// the fake service.
func TestREADMESignIn(t *testing.T) {
	m := newMachine(t)
	const port = "8400"
	free := strings.TrimPrefix(closedPort(t), "http://127.0.0.1:")
	server := m.startServing(free)

	block := readmeBlock(t, "AWS_ENDPOINT_URL=http://127.0.0.1:"+port)
	commands := strings.NewReplacer(port, free, "go run ./examples/", programs+"/").Replace(block)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e", "-c", commands)
	cmd.Dir = ".." // as README.md has it
	for _, v := range m.env {
		if !strings.HasPrefix(v, "AWS_ENDPOINT_URL") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	r, w := io.Pipe()
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { cmd.Wait(); w.Close() }()
	out := bufio.NewReader(r)
	page, _ := out.ReadString('\n')
	u, err := url.Parse(strings.TrimSpace(page))
	if err != nil || u.Host != "127.0.0.1:"+free {
		t.Fatalf("login wrote %q (%v) and %s", page, err, &stderr)
	}
	resp, err := http.PostForm("http://"+u.Host+u.Path, url.Values{"user_code": {u.Query().Get("user_code")}, "action": {"approve"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	rest, _ := io.ReadAll(out)
	lines := strings.Split(strings.TrimSpace(string(rest)), "\n")
	if len(lines) != 5 || len(lines[0]) < 20 || !strings.HasPrefix(lines[1], "ACCOUNT ") || !arn.MatchString(lines[4]+"\n") || !strings.HasSuffix(stderr.String(), "Signed out.\n") {
		t.Errorf("the commands wrote %s\n%s", rest, &stderr)
	}
	if _, err := os.Stat(m.home + "/" + tokenFile("quickstart")); err == nil {
		t.Error("the session is there still")
	}
	if err := server.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	server.wait().ok()
}
