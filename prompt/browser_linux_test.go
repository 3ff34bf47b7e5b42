package prompt_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/prompt"
)

// The test binary plays three parts: the tests, a program that opens a
// browser, and the browser.
const (
	openVar    = "PROMPT_TEST_OPEN"    // the program: the URL to open
	browserVar = "PROMPT_TEST_BROWSER" // the browser: where to write its arguments
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "xdg-open" {
		os.Stdout.WriteString("noise\n")
		os.Stderr.WriteString("noise\n")
		if os.WriteFile(os.Getenv(browserVar), []byte(strings.Join(os.Args[1:], "\n")), 0o600) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if url := os.Getenv(openVar); url != "" {
		if prompt.OpenBrowser(url) != nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestOpenBrowserPassesOneArgumentAndPrintsNothing(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "xdg-open")); err != nil {
		t.Fatal(err)
	}
	const url = "https://a.example/device?user_code=A&x=$(id)`id`;id|id'\"*"
	got := filepath.Join(dir, "arguments")
	cmd := exec.Command(self)
	cmd.Env = []string{"PATH=" + dir, openVar + "=" + url, browserVar + "=" + got}
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("the program ended with %v and printed %q", err, out)
	}
	if arguments, err := os.ReadFile(got); err != nil || string(arguments) != url {
		t.Errorf("the browser got %q (%v), want %q", arguments, err, url)
	}
}

func TestOpenBrowserReportsThatThereIsNone(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{"PATH=" + t.TempDir(), openVar + "=https://a.example/"}
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 3 || len(out) > 0 {
		t.Errorf("the program ended with %v and printed %q", err, out)
	}
}
