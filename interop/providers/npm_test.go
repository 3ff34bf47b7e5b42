package providers

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const npmAudience = "https://api.example.com"

// startNPM starts npm's oidc-provider, for as long as the test runs.
func startNPM(t *testing.T) *provider {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath("node"); err != nil {
		missing = "Node.js is not installed"
	} else if _, err := os.Stat("../node/node_modules/oidc-provider"); err != nil {
		missing = "npm's oidc-provider is not installed; run npm --prefix ../node ci --omit=dev"
	}
	switch {
	case missing != "" && os.Getenv("AWSOIDC_INTEROP") == "required":
		t.Fatalf("%s; AWSOIDC_INTEROP=required says that it must be there", missing)
	case missing != "":
		t.Skip(missing)
	}
	cmd := exec.Command("node", "../node/provider.mjs", npmAudience)
	var said bytes.Buffer
	cmd.Env, cmd.Stderr = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, &said
	in, err := cmd.StdinPipe() // it ends when this does, which a killed test closes too
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("oidc-provider ended with %v, and said: %s", err, said.String())
		}
	})
	issuer, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("oidc-provider did not start: %v", err)
	}
	return discovered(t, strings.TrimSpace(issuer), func(string) string { return npmAudience })
}
