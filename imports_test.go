package awsoidc_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/awsoidc/awsoidc"

// TestImports holds the direction of imports: examples → profile, prompt →
// root → wire, cache, internal.
func TestImports(t *testing.T) {
	const (
		sdk    = "github.com/aws/aws-sdk-go-v2/"
		smithy = "github.com/aws/smithy-go"
		oauth2 = "golang.org/x/oauth2"
		xsync  = "github.com/puzpuzpuz/xsync/v4"
	)
	all := dependencies(t)
	for pkg, allowed := range map[string][]string{
		"/wire":                {},
		"/cache":               {module + "/internal/flight", module + "/internal/filelock", module + "/internal/atomicfile", "github.com/hashicorp/golang-lru/v2", "golang.org/x/sys"},
		"/cache/cachetest":     {module + "/cache", module + "/internal/flight", module + "/internal/filelock", module + "/internal/atomicfile", "github.com/hashicorp/golang-lru/v2", "golang.org/x/sys"},
		"/idctest":             {module + "/wire"},
		"/internal/flight":     {},
		"/internal/filelock":   {"golang.org/x/sys"},
		"/internal/atomicfile": {"golang.org/x/sys"},
		"/internal/terminal":   {"golang.org/x/term", "golang.org/x/sys"},
		"": {
			module + "/wire", module + "/cache", module + "/internal/",
			"github.com/hashicorp/golang-lru/v2", xsync, "golang.org/x/sys", "golang.org/x/time", oauth2, smithy,
			sdk + "aws", sdk + "internal/", sdk + "service/sso", sdk + "service/sts", sdk + "service/internal/",
		},
		"/prompt": {
			module, module + "/wire", module + "/cache", module + "/internal/",
			"github.com/hashicorp/golang-lru/v2", xsync, "golang.org/x/sys", "golang.org/x/time", oauth2, smithy, sdk,
			"github.com/cli/browser", "golang.org/x/term", "rsc.io/qr",
		},
		"/profile": {
			module, module + "/wire", module + "/cache", module + "/internal/",
			"github.com/hashicorp/golang-lru/v2", xsync, "golang.org/x/sys", "golang.org/x/time", oauth2, smithy, sdk,
		},
	} {
		t.Run("root"+pkg, func(t *testing.T) {
			deps, ok := all[module+pkg]
			if !ok {
				t.Fatal("no such package")
			}
			for _, dep := range deps {
				if first, _, _ := strings.Cut(dep, "/"); strings.Contains(first, ".") && !isAllowed(dep, allowed) {
					t.Errorf("imports %s", dep)
				}
			}
		})
	}
}

// TestNoTemplates keeps from programs what makes the linker keep every method
// that they could call by name: those of the AWS SDK alone are 3 MB.
func TestNoTemplates(t *testing.T) {
	all := dependencies(t)
	for _, pkg := range []string{module, module + "/profile", module + "/prompt"} {
		if deps, ok := all[pkg]; !ok || slices.Contains(deps, "text/template") {
			t.Errorf("%s imports text/template, or is not there", pkg)
		}
	}
}

// dependencies returns what each package of this module imports, also by others.
func dependencies(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		all[words[0]] = words[1:]
	}
	return all
}

// isAllowed reports whether dep is one of the allowed paths, below one, or,
// for packages of this module, exactly one of them.
func isAllowed(dep string, allowed []string) bool {
	for _, a := range allowed {
		if dep == a || strings.HasSuffix(a, "/") && strings.HasPrefix(dep, a) ||
			!strings.HasPrefix(a, module) && strings.HasPrefix(dep, a+"/") {
			return true
		}
	}
	return false
}
