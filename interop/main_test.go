package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs is the folder with the programs of ../examples.
var programs string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		code = 1
	}
	os.Exit(code)
}

// run builds the programs as a user of the library does, in its folder and with
// its go.mod, then clears the environment of what leads AWS clients elsewhere,
// and runs the tests.
func run(m *testing.M) (code int, err error) {
	programs, err = os.MkdirTemp("", "awsoidc-interop-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(programs)
	build := exec.Command("go", "build", "-buildvcs=false", "-o", programs+string(filepath.Separator), "./examples/...")
	build.Dir = ".."
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the programs: %w\n%s", err, out)
	}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if upper := strings.ToUpper(name); strings.HasPrefix(upper, "AWS_") || strings.HasSuffix(upper, "_PROXY") {
			os.Unsetenv(name)
		}
	}
	return m.Run(), nil
}

// lacking skips a test of a client that is not installed, or fails it where
// every client is required.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("AWSOIDC_INTEROP") == "required" {
		t.Fatalf("%s; AWSOIDC_INTEROP=required says that it must be there", what)
	}
	t.Skip(what)
}
