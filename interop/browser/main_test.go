package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programs is the folder with the programs of ../../examples.
var programs string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		code = 1
	}
	os.Exit(code)
}

// run builds the programs as a user of the library does, in its folder and with
// its go.mod, and runs the tests.
func run(m *testing.M) (code int, err error) {
	programs, err = os.MkdirTemp("", "awsoidc-browser-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(programs)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", programs+string(filepath.Separator), "./examples/login", "./examples/quickstart")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	defer chromium.stop()
	return m.Run(), nil
}

// chromium is the one browser of all tests, each of which has a profile of its
// own in it.
var chromium browser
