package browser

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestQuickstart approves the sign-in of ./examples/quickstart -browser, which
// finds no program that opens a browser.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout strings.Builder
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "quickstart"), "-browser")
	cmd.Env, cmd.Stdout = []string{"PATH=" + t.TempDir()}, &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if u := strings.TrimSpace(lines.Text()); strings.HasPrefix(u, "http://127.0.0.1:") && strings.Contains(u, "user_code=") {
			b.open(u).has(t, 200, "Allow this sign-in?", "https://d-1234567890.awsapps.com/start")
			b.click("Approve").has(t, 200, "Sign-in approved", "You may close this window")
		}
	}
	if err := cmd.Wait(); err != nil || !strings.HasPrefix(stdout.String(), "arn:aws:sts::") {
		t.Errorf("quickstart ended with %v and wrote %s", err, &stdout)
	}
}
