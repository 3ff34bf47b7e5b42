package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/awsoidc/awsoidc/idctest"
)

// built are the programs that were built, by their packages.
var built struct {
	sync.Mutex
	dir   string
	files map[string]string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program builds a package's program, with the given flags of go build, once.
func program(b testing.TB, pkg string, flags ...string) string {
	b.Helper()
	built.Lock()
	defer built.Unlock()
	key := fmt.Sprint(pkg, flags)
	if file := built.files[key]; file != "" {
		return file
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "awsoidc-bench-")
		if err != nil {
			b.Fatal(err)
		}
		built.dir, built.files = dir, map[string]string{}
	}
	file := filepath.Join(built.dir, fmt.Sprint(len(built.files), "-", filepath.Base(pkg)))
	args := append(append([]string{"build", "-o", file}, flags...), pkg)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		b.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	built.files[key] = file
	return file
}

const configFile = `[sso-session corp]
sso_start_url = ` + startURL + `
sso_region = us-east-1
sso_registration_scopes = sso:account:access

[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly
region = us-east-1
`

// BenchmarkStart runs a whole process that prints credentials of a role, while
// the session in ~/.aws is valid. "awsoidc" and the AWS CLI keep the role's
// credentials in ~/.aws/cli/cache; "awsoidc, from the portal" and the Go SDK ask
// the access portal, on a loopback address, each time.
func BenchmarkStart(b *testing.B) {
	var all []contestant
	ours, sdk := program(b, credentialProcess), program(b, "./internal/sdk")
	all = append(all,
		starting("awsoidc", true, ours, "-profile", "dev"),
		starting("awsoidc-from-portal", false, ours, "-profile", "dev"),
		starting("ssocreds-from-portal", false, sdk, "-profile", "dev"))
	if cli := awsCLI(); cli != "" {
		all = append(all, starting("aws-cli", true, cli, "configure", "export-credentials", "--profile", "dev"))
	} else if os.Getenv("AWSOIDC_INTEROP") == "required" {
		b.Error("version 2 of the AWS CLI is not installed")
	}
	beside(b, all...)
}

const credentialProcess = "github.com/awsoidc/awsoidc/examples/credential-process"

// awsCLI returns an AWS CLI of version 2, or "".
func awsCLI() string {
	for _, file := range []string{"aws", "/usr/bin/aws", "/usr/local/bin/aws"} {
		out, err := exec.Command(file, "--version").Output()
		if err == nil && strings.HasPrefix(string(out), "aws-cli/2.") {
			return file
		}
	}
	return ""
}

// starting runs a program in a home folder of its own; warm: with the role's
// credentials there.
func starting(name string, warm bool, file string, args ...string) contestant {
	return contestant{name, func(b *testing.B) {
		srv := idctest.New()
		network := httptest.NewServer(srv)
		defer network.Close()
		home := b.TempDir()
		putSession(b, filepath.Join(home, ".aws", "sso", "cache"), srv.Issue("sso:account:access"))
		if err := os.WriteFile(filepath.Join(home, ".aws", "config"), []byte(configFile), 0o600); err != nil {
			b.Fatal(err)
		}
		run := func(file string, args ...string) {
			cmd := exec.Command(file, args...)
			cmd.Env = []string{
				"HOME=" + home, "PATH=" + os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true",
				"AWS_ENDPOINT_URL_SSO_OIDC=" + network.URL, "AWS_ENDPOINT_URL_SSO=" + network.URL, "AWS_ENDPOINT_URL_STS=" + network.URL,
			}
			out, err := cmd.Output()
			var c struct{ SecretAccessKey string }
			if err == nil {
				err = json.Unmarshal(out, &c)
			}
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				b.Fatalf("%s: %v: %s", name, err, exit.Stderr)
			}
			if err != nil || c.SecretAccessKey == "" {
				b.Fatalf("%s wrote %q: %v", name, out, err)
			}
		}
		if warm {
			run(program(b, credentialProcess), "-profile", "dev") // whose cache is the AWS CLI's, too
		}
		asked := srv.Count(idctest.GetRoleCredentials).Requests
		withCPU(b, true, func() {
			for range b.N {
				if !warm {
					b.StopTimer()
					os.RemoveAll(filepath.Join(home, ".aws", "cli"))
					b.StartTimer()
				}
				run(file, args...)
			}
		})
		if asked = srv.Count(idctest.GetRoleCredentials).Requests - asked; warm && asked > 0 {
			b.Errorf("%s asked the portal %d times", name, asked)
		}
	}}
}

// BenchmarkSize is what a program gains in size, in packages and in modules
// beyond the standard library, over one that speaks the protocol by net/http and
// encoding/json alone. No time is measured.
func BenchmarkSize(b *testing.B) {
	base := size(b, "net-http")
	var all []contestant
	for impl, name := range map[string]string{
		"awsoidc/wire": "wire", "awsoidc": "awsoidc", "awsoidc/profile": "profile",
		"service/ssooidc": "ssooidc", "config+ssocreds": "ssocreds",
	} {
		all = append(all, contestant{impl, func(b *testing.B) {
			packages, modules := imports(b, "./internal/size/"+name)
			b.ReportMetric(float64(size(b, name)-base)/1e6, "MB-added")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(packages), "packages")
			b.ReportMetric(float64(modules), "modules")
		}})
	}
	beside(b, all...)
}

func size(b *testing.B, name string) int64 {
	info, err := os.Stat(program(b, "./internal/size/"+name, "-trimpath"))
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

// imports returns how many packages and modules a program is built from, but for
// its own and the standard library.
func imports(b *testing.B, pkg string) (packages, modules int) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", pkg).Output()
	if err != nil {
		b.Fatal(err)
	}
	seen := map[string]bool{}
	for module := range strings.FieldsSeq(string(out)) {
		if module != "github.com/awsoidc/awsoidc/bench" {
			packages++
			seen[module] = true
		}
	}
	return packages, len(seen)
}

// BenchmarkRace has two of x/oauth2's wrappers use one source, and counts data
// races that the race detector reports.
func BenchmarkRace(b *testing.B) {
	racing := func(impl string) contestant {
		return contestant{impl, func(b *testing.B) {
			races := 0
			for range b.N {
				var reports strings.Builder
				cmd := exec.Command(program(b, "./internal/race", "-race"), "-impl", impl)
				cmd.Stderr = &reports
				err := cmd.Run()
				n := strings.Count(reports.String(), "WARNING: DATA RACE")
				if races += n; err != nil && n == 0 {
					b.Fatalf("%v: %s", err, reports.String())
				}
			}
			b.ReportMetric(0, "ns/op")
			perOp(b, races, "races/op")
		}}
	}
	beside(b, racing("awsoidc"), racing("oauth2.StaticTokenSource"))
}
