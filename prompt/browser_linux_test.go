package prompt_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	if slices.Contains([]string{"xdg-open", "www-browser"}, filepath.Base(os.Args[0])) {
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

// opened runs a program that opens url, with an environment, on a machine that
// has one browser. It returns the browser's arguments, "" where it was not run,
// and the program's exit status.
func opened(t *testing.T, browser, url string, env ...string) (arguments string, status int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if browser != "" {
		if err := os.Symlink(self, filepath.Join(dir, browser)); err != nil {
			t.Fatal(err)
		}
	}
	got := filepath.Join(dir, "arguments")
	cmd := exec.Command(self)
	cmd.Env = append(env, "PATH="+dir, openVar+"="+url, browserVar+"="+got)
	if out, err := cmd.CombinedOutput(); len(out) > 0 || cmd.ProcessState == nil {
		t.Errorf("the program ended with %v and printed %q", err, out)
	}
	raw, _ := os.ReadFile(got)
	return string(raw), cmd.ProcessState.ExitCode()
}

func TestOpenBrowserPassesOneArgumentAndPrintsNothing(t *testing.T) {
	const url = "https://a.example/device?user_code=A&x=$(id)`id`;id|id'\"*"
	if arguments, status := opened(t, "xdg-open", url, "DISPLAY=:0"); arguments != url || status != 0 {
		t.Errorf("the browser got %q, want %q; status %d", arguments, url, status)
	}
}

// TestOpenBrowserReportsThatThereIsNone has no browser, or one that wants the
// terminal: without a display xdg-open starts a text browser.
func TestOpenBrowserReportsThatThereIsNone(t *testing.T) {
	for _, test := range []struct{ browser, display string }{{"", ":0"}, {"www-browser", ":0"}, {"xdg-open", ""}} {
		if arguments, status := opened(t, test.browser, "https://a.example/", "DISPLAY="+test.display); arguments != "" || status != 3 {
			t.Errorf("%+v: the browser got %q; status %d, want 3", test, arguments, status)
		}
	}
}
