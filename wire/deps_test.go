package wire_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The package imports the standard library alone.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); len(got) != 1 || got[0] != "github.com/awsoidc/awsoidc/wire" {
		t.Errorf("beside the standard library the package is made of %q, want itself alone", got)
	}
}
