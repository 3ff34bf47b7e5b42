package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc/idctest"
)

// A client takes credentials from the session of a profile.
type client struct {
	name     string
	profiles []string // that it can use
	// arn returns the ARN that its credentials have, as STS says.
	arn    func(h *host, s signIn) (string, error)
	absent string // what is not installed; "" where nothing is missing
}

// clients returns every client, those included that are not installed.
func clients() []client {
	every := []string{dev.profile, legacy.profile, process.profile}
	all := []client{
		{name: "Go/LoadDefaultConfig", profiles: every, arn: goSDK},
		{name: "Go/SSOTokenProvider", profiles: every[:1], arn: goTokenProvider},
	}
	noNode := nodeAbsent()
	for _, provider := range []string{"fromSSO", "fromIni", "fromNodeProviderChain"} {
		c := client{name: "JavaScript/" + provider, profiles: every, absent: noNode}
		if provider == "fromSSO" {
			c.profiles = every[:2]
		}
		c.arn = func(h *host, s signIn) (string, error) {
			out, err := h.exec(h.env, "node", "node/identity.mjs", provider, s.profile)
			return arnIn(out, err)
		}
		all = append(all, c)
	}
	for _, python := range pythons() {
		c := client{name: "botocore/" + python.version, profiles: every, absent: python.absent}
		c.arn = func(h *host, s signIn) (string, error) {
			out, err := h.exec(h.proxied(), python.path, "python/identity.py", s.profile)
			return arnIn(out, err)
		}
		all = append(all, c)
	}
	for _, cli := range awsCLIs() {
		c := client{name: "AWS CLI/" + cli.version, profiles: every, absent: cli.absent}
		c.arn = func(h *host, s signIn) (string, error) {
			out, err := h.exec(h.proxied(), cli.path, "sts", "get-caller-identity", "--output", "json", "--profile", s.profile)
			return arnIn(out, err)
		}
		all = append(all, c)
	}
	return all
}

// each runs a test for each client that can use a profile.
func each(t *testing.T, s signIn, test func(t *testing.T, c client)) {
	for _, c := range clients() {
		if !slices.Contains(c.profiles, s.profile) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if c.absent != "" {
				lacking(t, c.absent)
			}
			test(t, c)
		})
	}
}

// accepts checks that a client gets the credentials of a profile's role from
// the session in the cache.
func accepts(t *testing.T, h *host, c client, s signIn) {
	t.Helper()
	os.RemoveAll(h.path(".aws/cli")) // where the AWS CLI and ./examples/credential-process keep credentials
	before := h.srv.Count(idctest.GetRoleCredentials).Succeeded
	arn, err := c.arn(h, s)
	if err != nil {
		t.Fatal(err)
	}
	wantRole(t, arn, s)
	if after := h.srv.Count(idctest.GetRoleCredentials).Succeeded; after == before {
		t.Error("the credentials are not new ones from the portal")
	}
}

func wantRole(t *testing.T, arn string, s signIn) {
	t.Helper()
	if !strings.HasPrefix(arn, "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_"+s.role+"_") || !strings.HasSuffix(arn, "/jane.doe@example.com") {
		t.Errorf("the credentials are those of %s, want role %s", arn, s.role)
	}
}

func goSDK(h *host, s signIn) (string, error) {
	cfg, err := config.LoadDefaultConfig(h.t.Context(), config.WithSharedConfigProfile(s.profile))
	if err != nil {
		return "", err
	}
	return callerARN(h, cfg)
}

func goTokenProvider(h *host, s signIn) (string, error) {
	cfg, err := config.LoadDefaultConfig(h.t.Context(), config.WithSharedConfigProfile(s.profile), config.WithRegion(s.region))
	if err != nil {
		return "", err
	}
	tokens := ssocreds.NewSSOTokenProvider(ssooidc.NewFromConfig(cfg), h.cache(s.token))
	cfg.Credentials = ssocreds.New(sso.NewFromConfig(cfg), "123456789012", s.role, s.startURL, func(o *ssocreds.Options) {
		o.SSOTokenProvider = tokens
	})
	return callerARN(h, cfg)
}

func callerARN(h *host, cfg aws.Config) (string, error) {
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(h.t.Context(), nil)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Arn), nil
}

// arnIn returns the ARN in the JSON object that a program printed.
func arnIn(out string, err error) (string, error) {
	if err != nil {
		return "", err
	}
	var answer struct{ ARN string }
	err = json.Unmarshal([]byte(out), &answer)
	return answer.ARN, err
}

func nodeAbsent() string {
	if _, err := exec.LookPath("node"); err != nil {
		return "Node.js is not installed"
	}
	if _, err := os.Stat("node/node_modules/@aws-sdk/credential-providers"); err != nil {
		return "the AWS SDK for JavaScript is not installed; run npm --prefix node ci --omit=dev"
	}
	return ""
}

// tool is an installed program, or what stands for one that is not.
type tool struct{ path, version, absent string }

// pythons returns the Python interpreters that have botocore, with its version.
var pythons = sync.OnceValue(func() []tool {
	return installed("python3", "botocore is not installed", "-c", "import botocore; print('botocore', botocore.__version__)")
})

// awsCLIs returns the AWS CLIs; version 1 can't sign in.
var awsCLIs = sync.OnceValue(func() []tool {
	return installed("aws", "the AWS CLI is not installed", "--version")
})

// installed finds the programs of a name on PATH and in /usr/bin, one of each
// version. What they print with args begins with a name, a space or slash, and
// the version.
func installed(name, absent string, args ...string) (found []tool) {
	seen := map[string]bool{}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/bin") {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil || seen[path] {
			continue
		}
		seen[path] = true
		out, err := exec.Command(path, args...).CombinedOutput()
		if err != nil {
			continue
		}
		words := strings.FieldsFunc(string(out), func(r rune) bool { return r <= ' ' || r == '/' })
		if len(words) >= 2 && !slices.ContainsFunc(found, func(t tool) bool { return t.version == words[1] }) {
			found = append(found, tool{path: path, version: words[1]})
		}
	}
	if found == nil {
		return []tool{{version: "none", absent: absent}}
	}
	return found
}
