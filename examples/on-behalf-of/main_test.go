// The tests run the program as operators do, between a token issuer and a fake
// AWS on loopback addresses, and are its users.
package main_test

import (
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/awsoidc/awsoidc/idctest"
)

const (
	applicationARN = "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"
	roleARN        = "arn:aws:iam::123456789012:role/reports"
	audience       = "reports"
)

// program is the built program.
var program string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "on-behalf-of-")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "on-behalf-of.exe") // the suffix matters to Windows alone
	args := []string{"build", "-o", program}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		log.Printf("go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// A world is what the program runs in.
type world struct {
	t      *testing.T
	idc    *idctest.Server
	aws    *recorder // in front of idc
	issuer *issuer
	env    []string
	args   []string // all that are required
}

// newWorld returns a world whose AWS trusts the issuer.
func newWorld(t *testing.T, settings ...func(*idctest.Server)) *world {
	t.Helper()
	t.Parallel()
	w := &world{t: t, idc: idctest.New(), issuer: newIssuer(t)}
	w.idc.TrustedIssuers = []idctest.TrustedIssuer{{
		Issuer: w.issuer.url, Audiences: []string{audience}, HTTPClient: http.DefaultClient,
	}}
	for _, set := range settings {
		set(w.idc)
	}
	w.aws = &recorder{handler: w.idc}
	server := httptest.NewServer(w.aws)
	t.Cleanup(server.Close)
	key := w.idc.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:iam::123456789012:user/service"})
	w.aws.add(key.Secret)
	home := t.TempDir()
	w.env = []string{
		"HOME=" + home, "USERPROFILE=" + home, "SystemRoot=" + os.Getenv("SystemRoot"),
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID=" + key.ID, "AWS_SECRET_ACCESS_KEY=" + key.Secret,
		"AWS_ENDPOINT_URL_SSO_OIDC=" + server.URL, "AWS_ENDPOINT_URL_STS=" + server.URL,
	}
	w.args = []string{
		"-issuer", w.issuer.url, "-audience", audience, "-application", applicationARN,
		"-role", roleARN, "-region", "us-east-1", "-addr", "127.0.0.1:0",
	}
	return w
}
