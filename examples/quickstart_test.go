package examples_test

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestQuickstart(t *testing.T) {
	m := newMachine(t)
	// Nothing of this may matter.
	for name, value := range map[string]string{
		"AWS_PROFILE": "nobody", "AWS_CONFIG_FILE": filepath.Join(m.home, "no", "file"), "AWS_REGION": "nowhere",
		"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x", "AWS_CA_BUNDLE": "/no/file",
		"AWS_ENDPOINT_URL": "http://10.0.0.1", "AWS_ENDPOINT_URL_STS": "http://10.0.0.1", "AWS_USE_FIPS_ENDPOINT": "true",
		"HTTP_PROXY": "http://10.0.0.1", "HTTPS_PROXY": "http://10.0.0.1",
	} {
		m.setenv(name, value)
	}
	before := m.files()
	start := time.Now()
	r := m.run("quickstart").ok()
	if !arn.MatchString(r.stdout) {
		t.Errorf("standard output: %q", r.stdout)
	}
	for _, want := range []string{"approve this code", "Signed in to quickstart.", "oauth2.NewClient", "GetCallerIdentity", "1 sign-in and 1 refresh"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("standard error lacks %q", want)
		}
	}
	t.Logf("took %v", time.Since(start))
	m.unchanged(before)
}

func TestQuickstartInBrowser(t *testing.T) {
	m := newMachine(t)
	p := m.command("quickstart", "-browser")
	r, w := io.Pipe()
	p.cmd.Stderr = io.MultiWriter(&p.stderr, w)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(r)
	page := ""
	for page == "" && lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); strings.HasPrefix(line, "http://127.0.0.1:") {
			page = line
		}
	}
	go io.Copy(io.Discard, r)
	u, err := url.Parse(page)
	if err != nil || page == "" {
		t.Fatalf("no URL (%v) in %s", err, &p.stderr)
	}
	form := url.Values{"user_code": {u.Query().Get("user_code")}, "action": {"approve"}}
	resp, err := http.PostForm("http://"+u.Host+u.Path, form)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the approval page answered %s", resp.Status)
	}
	result := p.wait()
	w.Close()
	if result.ok(); !arn.MatchString(result.stdout) {
		t.Errorf("standard output: %q", result.stdout)
	}
}
