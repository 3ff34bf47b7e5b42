package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A service is the program while it runs.
type service struct {
	*world
	url    string
	client *http.Client
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer

	mu     sync.Mutex
	bodies bytes.Buffer // of all its answers
}

// start runs the program and waits until it listens. At its end the test stops
// it, and looks for secrets in all that it has written.
func (w *world) start(args ...string) *service {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	w.t.Cleanup(cancel)
	s := &service{world: w, cmd: exec.CommandContext(ctx, program, append(w.args, args...)...)}
	s.client = &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	s.cmd.Env, s.cmd.Stderr = w.env, &s.stderr
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	s.stdout = bufio.NewReader(stdout)
	if err := s.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	line, err := s.stdout.ReadString('\n')
	port, ok := strings.CutPrefix(line, "listening on 127.0.0.1:")
	if err != nil || !ok || port == "0\n" {
		w.t.Fatalf("the first line of standard output is %q, %v; it ended with %v\n%s", line, err, s.cmd.Wait(), &s.stderr)
	}
	s.url = "http://127.0.0.1:" + strings.TrimSuffix(port, "\n")
	w.t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.stop()
		}
	})
	return s
}

// stop ends the program, and returns its log.
func (s *service) stop() string {
	s.t.Helper()
	s.signal(os.Interrupt)
	s.wait()
	return s.stderr.String()
}

func (s *service) signal(signal os.Signal) {
	s.t.Helper()
	s.client.CloseIdleConnections()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Error(err)
		s.cmd.Process.Kill()
	}
}

// wait waits for the program's end, which must be a good one.
func (s *service) wait() {
	s.t.Helper()
	rest, err := io.ReadAll(s.stdout)
	if err != nil || len(rest) > 0 {
		s.t.Errorf("standard output went on with %q, %v", rest, err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the program ended with %v\n%s", err, &s.stderr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noSecret("standard error", s.stderr.String())
	s.noSecret("an answer", s.bodies.String())
}

// noSecret fails the test where text has a secret of this world.
func (s *service) noSecret(where, text string) {
	s.t.Helper()
	const start = 16 // bytes by which secrets are looked for: there are thousands
	secrets := map[string][]string{}
	for _, secret := range append(s.aws.secrets(), s.issuer.secrets()...) {
		if len(secret) < start {
			s.t.Fatalf("a secret of %d bytes", len(secret))
		}
		secrets[secret[:start]] = append(secrets[secret[:start]], secret)
	}
	for i := 0; i+start <= len(text); i++ {
		for _, secret := range secrets[text[i:i+start]] {
			if strings.HasPrefix(text[i:], secret) {
				s.t.Errorf("a secret is in %s: %s", where, text[max(0, i-200):min(len(text), i+200)])
				return
			}
		}
	}
}

// An answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// get sends a request with these Authorization headers.
func (s *service) get(path string, authorization ...string) answer {
	s.t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header["Authorization"] = authorization
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies.Write(body)
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// whoami returns the ARN that the service gives for a JWT, "" where it refuses.
func (s *service) whoami(jwt string) string {
	s.t.Helper()
	a := s.get("/whoami", "Bearer "+jwt)
	var out struct{ ARN string }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != http.StatusOK || out.ARN == "" {
		s.t.Errorf("GET /whoami: %d %q, %v", a.status, a.body, err)
	}
	return out.ARN
}

// refuses fails the test unless the answer is an error of this status, on one
// line of JSON.
func (a answer) refuses(t *testing.T, status int) {
	t.Helper()
	var out struct{ Error string }
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || out.Error == "" || strings.Count(a.body, "\n") != 1 {
		t.Errorf("the error is %q, %v", a.body, err)
	}
	if a.status != status {
		t.Errorf("the status is %d, want %d; %s", a.status, status, a.body)
	}
	challenge := a.header.Get("WWW-Authenticate")
	if status == http.StatusUnauthorized && challenge != `Bearer error="invalid_token"` {
		t.Errorf("WWW-Authenticate is %q", challenge)
	}
}
