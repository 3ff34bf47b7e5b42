// Package examples_test runs the example programs as a person does, against a
// fake IAM Identity Center on a loopback address.
package examples_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// programs is the folder with the built programs.
var programs string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "awsoidc-examples-")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	programs = dir
	// Without what debuggers need, linking takes half the time.
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir+string(filepath.Separator), "./...")
	if out, err := build.CombinedOutput(); err != nil {
		log.Printf("go build: %v\n%s", err, out)
		return 1
	}
	// The programs spend their time waiting.
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		parallel.Value.Set("8")
	}
	return m.Run()
}

// A machine is a fake service, and a person's home folder and environment.
type machine struct {
	t    *testing.T
	idc  *idctest.Server
	url  string // of the service
	home string
	env  []string
}

const startURL = "https://d-1234567890.awsapps.com/start"

const configFile = `[sso-session corp]
sso_start_url = ` + startURL + `
sso_region = us-east-1
sso_registration_scopes = sso:account:access

[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly
region = eu-west-1

[profile bare]
sso_session = corp

[profile plain]
region = eu-west-1
`

// newMachine returns a machine with configFile whose programs know the service
// by the variables of the AWS SDKs.
func newMachine(t *testing.T, settings ...func(*idctest.Server)) *machine {
	t.Helper()
	t.Parallel()
	m := &machine{t: t, idc: idctest.New(), home: t.TempDir()}
	for _, set := range settings {
		set(m.idc)
	}
	server := httptest.NewServer(m.idc)
	t.Cleanup(server.Close)
	m.url = server.URL
	m.env = []string{
		"HOME=" + m.home, "USERPROFILE=" + m.home, "SystemRoot=" + os.Getenv("SystemRoot"), "PATH=" + m.home,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_ENDPOINT_URL_SSO_OIDC=" + m.url, "AWS_ENDPOINT_URL_SSO=" + m.url, "AWS_ENDPOINT_URL_STS=" + m.url,
	}
	m.write(".aws/config", configFile)
	return m
}

// write writes a file below the home folder.
func (m *machine) write(name, content string) {
	m.t.Helper()
	name = filepath.Join(m.home, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// files returns all files below the home folder with their contents, but for
// locks, which stay for good.
func (m *machine) files() map[string]string {
	m.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(m.home, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".lock") {
			return err
		}
		content, err := os.ReadFile(name)
		name, _ = filepath.Rel(m.home, name)
		files[filepath.ToSlash(name)] = string(content)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return files
}

// tokenFile is the name of a session's file below the home folder.
func tokenFile(session string) string {
	sum := sha1.Sum([]byte(session))
	return ".aws/sso/cache/" + hex.EncodeToString(sum[:]) + ".json"
}

// signIn writes the file of the session "corp" as another tool would have
// written it when its access token was still valid for that long. It returns
// the session.
func (m *machine) signIn(valid time.Duration) idctest.Session {
	m.t.Helper()
	s := m.idc.Issue("sso:account:access")
	s.ExpiresAt = time.Now().Add(valid).UTC().Truncate(time.Second)
	m.write(tokenFile("corp"), m.encode(s))
	return s
}

func (m *machine) encode(s idctest.Session) string {
	m.t.Helper()
	content, err := json.Marshal(s)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(content)
}

// session returns what the file of a session holds.
func (m *machine) session(name string) (s idctest.Session) {
	m.t.Helper()
	content, err := os.ReadFile(filepath.Join(m.home, tokenFile(name)))
	if err != nil {
		m.t.Fatal(err)
	}
	if err := json.Unmarshal(content, &s); err != nil {
		m.t.Fatalf("%v in %s", err, content)
	}
	return s
}

// result is how a program ended.
type result struct {
	t              *testing.T
	name, command  string
	stdout, stderr string
	status         int
}

// run runs a program to its end.
func (m *machine) run(name string, args ...string) result {
	m.t.Helper()
	p := m.command(name, args...)
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return p.wait()
}

// process is one run of a program.
type process struct {
	m              *machine
	name           string
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

// command makes a process that was not started yet. If it hangs it is killed.
func (m *machine) command(name string, args ...string) *process {
	file := filepath.Join(programs, name)
	if runtime.GOOS == "windows" {
		file += ".exe"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	m.t.Cleanup(cancel)
	p := &process{m: m, name: name, cmd: exec.CommandContext(ctx, file, args...)}
	p.cmd.Env = m.env
	p.cmd.Dir = m.home
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	return p
}

func (p *process) wait() result {
	t := p.m.t
	t.Helper()
	err := p.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	command := strings.Join(append([]string{p.name}, p.cmd.Args[1:]...), " ")
	r := result{t, p.name, command, p.stdout.String(), p.stderr.String(), p.cmd.ProcessState.ExitCode()}
	t.Logf("%s ended with %d\n%s%s", command, r.status, r.stdout, r.stderr)
	return r
}

// ok fails the test unless the program succeeded.
func (r result) ok() result {
	r.t.Helper()
	if r.status != 0 {
		r.t.Fatalf("%s ended with status %d: %s", r.command, r.status, r.stderr)
	}
	return r
}

// failed fails the test unless the program ended with status 1, printed no
// result, and said one line on standard error that has each of the words.
func (r result) failed(words ...string) {
	r.t.Helper()
	if r.stdout != "" {
		r.t.Errorf("%s wrote to standard output: %s", r.command, r.stdout)
	}
	if strings.Count(r.stderr, "\n") != 1 {
		r.t.Errorf("%s did not write one line to standard error: %s", r.command, r.stderr)
	}
	r.failedAtLast(words...)
}

// failedAtLast is failed for a program that told the person something before.
func (r result) failedAtLast(words ...string) {
	r.t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, r.name+": ") {
		r.t.Errorf("%s: the error does not begin with the program's name: %s", r.command, last)
	}
	if r.status != 1 {
		r.t.Errorf("%s ended with status %d, want 1", r.command, r.status)
	}
	for _, w := range words {
		if !strings.Contains(last, w) {
			r.t.Errorf("%s: the error lacks %q: %s", r.command, w, last)
		}
	}
}

// unchanged fails the test unless the files are those of before. A failed
// refresh may have left a note beside the session.
func (m *machine) unchanged(before map[string]string) {
	m.t.Helper()
	after := m.files()
	for name, content := range before {
		if after[name] != content {
			m.t.Errorf("%s was changed", name)
		}
	}
	for name, content := range after {
		if _, ok := before[name]; !ok && !m.isNote(content, before) {
			m.t.Errorf("%s is new: %s", name, content)
		}
	}
}

// isNote reports whether a file is the note of a failed refresh, or of a
// sign-in, which other tools can't take for a session. It fails the test if the note holds a secret
// of the sessions.
func (m *machine) isNote(content string, sessions map[string]string) bool {
	m.t.Helper()
	var note map[string]any
	if json.Unmarshal([]byte(content), &note) != nil {
		return false
	}
	if (note["until"] == nil || note["failures"] == nil) && (note["pid"] == nil || note["start"] == nil) {
		return false
	}
	for _, member := range []string{"accessToken", "refreshToken", "clientId", "clientSecret", "startUrl"} {
		if note[member] != nil {
			m.t.Errorf("a note has the member %s", member)
		}
	}
	for _, other := range sessions {
		var s idctest.Session
		json.Unmarshal([]byte(other), &s) // not every file is a session
		for _, secret := range []string{s.AccessToken, s.RefreshToken, s.ClientSecret} {
			if secret != "" && strings.Contains(content, secret) {
				m.t.Errorf("a note holds a secret: %s", content)
			}
		}
	}
	return true
}

// count fails the test unless the service was asked so often.
func (m *machine) count(op idctest.Operation, want int) {
	m.t.Helper()
	if got := m.idc.Count(op).Requests; got != want {
		m.t.Errorf("the service got %d requests of %s, want %d", got, op, want)
	}
}

// setenv sets a variable of the machine.
func (m *machine) setenv(name, value string) {
	m.env = append(m.env, fmt.Sprintf("%s=%s", name, value))
}
