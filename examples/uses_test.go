package examples_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

var arn = regexp.MustCompile(`^arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_ReadOnly_[0-9a-f]{16}/jane\.doe@example\.com\n$`)

func TestCredentialProcess(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	r := m.run("credential-process", "-profile", "dev").ok()
	var got struct {
		Version                                                int
		AccessKeyId, SecretAccessKey, SessionToken, Expiration string
		AccountId                                              string
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != 1 || got.AccessKeyId == "" || got.SecretAccessKey == "" || got.SessionToken == "" || got.AccountId != "123456789012" {
		t.Errorf("wrote %s", r.stdout)
	}
	// The credentials last an hour: no early time to ask again is given out.
	expires, err := time.Parse(time.RFC3339, got.Expiration)
	if err != nil || time.Until(expires) < 59*time.Minute {
		t.Errorf("Expiration is %q (%v)", got.Expiration, err)
	}
	if r.stderr != "" {
		t.Errorf("standard error: %s", r.stderr)
	}
}

// A tool that starts many programs asks the portal once: they find what the
// first has kept, until the session is another.
func TestCredentialProcesses(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Minute) // due: there is a token to refresh too
	var processes []*process
	for range 30 {
		p := m.command("credential-process", "-profile", "dev")
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		processes = append(processes, p)
	}
	printed := map[string]bool{}
	for _, p := range processes {
		r := p.wait().ok()
		if r.stderr != "" {
			t.Errorf("standard error: %s", r.stderr)
		}
		printed[r.stdout] = true
	}
	if len(printed) != 1 {
		t.Errorf("%d different credentials", len(printed))
	}
	m.count(idctest.GetRoleCredentials, 1)
	m.count(idctest.CreateTokenRefresh, 1)

	m.signIn(time.Hour)
	if r := m.run("credential-process", "-profile", "dev").ok(); printed[r.stdout] {
		t.Error("the credentials of another session")
	}
	m.count(idctest.GetRoleCredentials, 2)
	if err := os.Remove(filepath.Join(m.home, tokenFile("corp"))); err != nil {
		t.Fatal(err)
	}
	m.run("credential-process", "-profile", "dev").failed("sign-in required", "login -profile dev")
}

func TestAWSConfig(t *testing.T) {
	m := newMachine(t)
	m.signIn(-time.Minute)
	if r := m.run("aws-config", "-profile", "dev").ok(); !arn.MatchString(r.stdout) || r.stderr != "" {
		t.Errorf("wrote %q and %q", r.stdout, r.stderr)
	}
	m.count(idctest.CreateTokenRefresh, 1)
}

func TestAWSConfigWithoutRegion(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.write(".aws/config", strings.ReplaceAll(configFile, "region = eu-west-1\n", ""))
	m.run("aws-config", "-profile", "dev").failed("region", "AWS_REGION")
}

func TestAWSConfigWithoutCredentials(t *testing.T) {
	m := newMachine(t)
	m.run("aws-config", "-profile", "plain").failed("the profile has no credentials", "sso_session", "aws configure sso")

	// A metadata service that refuses makes the SDK give a warning of its own.
	metadata := httptest.NewServer(http.NotFoundHandler())
	defer metadata.Close()
	m.setenv("AWS_EC2_METADATA_DISABLED", "false")
	m.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	m.run("aws-config", "-profile", "plain").failed("the profile has no credentials")
}

func TestRoleNotAssigned(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.write(".aws/config", strings.Replace(configFile, "ReadOnly", "Owner", 1))
	m.run("credential-process", "-profile", "dev").failed("role not assigned", "Owner", "123456789012", "ask an administrator")
	m.run("aws-config", "-profile", "dev").failed("role not assigned", "Owner", "123456789012", "ask an administrator")
}

func TestOAuth2Client(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	r := m.run("oauth2-client", "-profile", "dev", m.url+"/userinfo").ok()
	var got struct{ Sub string }
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.Sub != "jane.doe@example.com" || r.stderr != "" {
		t.Errorf("wrote %q and %q (%v)", r.stdout, r.stderr, err)
	}
	m.idc.RevokeAccessTokens() // a 401 costs a refresh, and is not seen
	m.run("oauth2-client", "-profile", "dev", m.url+"/userinfo").ok()
	m.count(idctest.CreateTokenRefresh, 1)

	m.run("oauth2-client", "-profile", "dev", m.url+"/nothing").failed("404", "check the URL")
	m.run("oauth2-client", "-profile", "dev", "http://api.example.com/").failed("http on api.example.com", "https")
	m.run("oauth2-client", "-profile", "dev", "api.example.com").failed("https")
	m.run("oauth2-client", "-profile", "dev", "https://a\x7f/").failed("URL")
	m.run("oauth2-client", "-profile", "dev").failed("argument is missing", "-h shows how")
}

func TestAccounts(t *testing.T) {
	m := newMachine(t, func(s *idctest.Server) {
		s.Accounts = []idctest.Account{
			{ID: "123456789012", Name: "Production", Email: "prod@example.com", Roles: []string{"ReadOnly", "Admin"}},
			{ID: "210987654321", Name: "Te\x1b[31mst\n", Email: "test@example.com", Roles: []string{"Admin"}},
		}
	})
	m.run("accounts", "-profile", "dev").failed("sign-in required", "login -profile dev")
	m.signIn(time.Hour)
	const want = "" +
		"ACCOUNT       NAME        EMAIL             ROLE\n" +
		"123456789012  Production  prod@example.com  ReadOnly\n" +
		"123456789012  Production  prod@example.com  Admin\n" +
		"210987654321  Te[31mst    test@example.com  Admin\n"
	if r := m.run("accounts", "-profile", "bare").ok(); r.stdout != want || r.stderr != "" {
		t.Errorf("wrote\n%sand %q, want\n%s", r.stdout, r.stderr, want)
	}
	m.idc.RevokeSessions()
	m.run("accounts", "-profile", "dev").failed("sign-in required", "login -profile dev")
}

func TestHelp(t *testing.T) {
	m := newMachine(t)
	for _, name := range []string{"quickstart", "login", "token", "credential-process", "aws-config", "oauth2-client", "accounts"} {
		r := m.run(name, "-h").ok()
		if !strings.HasPrefix(r.stdout, "Usage: "+name+" ") || r.stderr != "" {
			t.Errorf("%s -h wrote %q and %q", name, r.stdout, r.stderr)
		}
		if echo := regexp.MustCompile(`(?m)^  -(\S+) (\S+)$`).FindStringSubmatch(strings.ToLower(r.stdout)); echo != nil && echo[1] == echo[2] {
			t.Errorf("%s -h explains a flag by itself: %s", name, echo[0])
		}
	}
}
