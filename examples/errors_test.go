package examples_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// everyProgram runs every program that reads a profile, with that profile.
func (m *machine) everyProgram(profile string, check func(name string, r result)) {
	m.t.Helper()
	for _, args := range [][]string{
		{"login", "-profile", profile, "-no-browser"},
		{"token", "-profile", profile},
		{"credential-process", "-profile", profile},
		{"aws-config", "-profile", profile},
		{"oauth2-client", "-profile", profile, m.url + "/userinfo"},
	} {
		check(args[0], m.run(args[0], args[1:]...))
	}
}

func TestNoSuchProfile(t *testing.T) {
	m := newMachine(t)
	m.signIn(-time.Minute)
	before := m.files()
	m.everyProgram("dve", func(_ string, r result) {
		r.failed(`no profile "dve"`, filepath.Join(m.home, ".aws", "config"), `did you mean "dev"?`)
	})
	m.unchanged(before)
	m.count(idctest.AnyOperation, 0)
}

func TestNoConfigFile(t *testing.T) {
	m := newMachine(t)
	if err := os.Remove(filepath.Join(m.home, ".aws", "config")); err != nil {
		t.Fatal(err)
	}
	m.run("login", "-profile", "dev").failed(`no profile "dev"`, "does not exist", "aws configure sso")
}

func TestProfileWithoutSSO(t *testing.T) {
	m := newMachine(t)
	before := m.files()
	m.everyProgram("plain", func(name string, r result) {
		if name == "aws-config" { // every other kind of credentials is the SDK's affair
			r.failed("credentials")
			return
		}
		r.failed("[profile plain] has no SSO settings", "add sso_session")
	})
	m.unchanged(before)
}

func TestProfileWithoutRole(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.run("credential-process", "-profile", "bare").failed("[profile bare] has no sso_account_id", "add")
}

func TestMalformedConfig(t *testing.T) {
	m := newMachine(t)
	m.signIn(-time.Minute)
	m.write(".aws/config", strings.Replace(configFile, "[profile dev]", "[profile dev", 1))
	before := m.files()
	m.everyProgram("dev", func(_ string, r result) {
		r.failed(filepath.Join(m.home, ".aws", "config"), "line 6", "not closed with ]")
	})
	m.unchanged(before)
	m.count(idctest.AnyOperation, 0)
}

func TestMissingKey(t *testing.T) {
	m := newMachine(t)
	m.write(".aws/config", strings.Replace(configFile, "sso_region = us-east-1\n", "", 1))
	m.everyProgram("dev", func(_ string, r result) {
		r.failed("config", "sso-session corp", "sso_region")
	})
}

func TestPlainHTTPEndpoint(t *testing.T) {
	m := newMachine(t)
	m.signIn(-time.Minute)
	m.setenv("AWS_ENDPOINT_URL_SSO_OIDC", "http://10.0.0.1")
	before := m.files()
	m.everyProgram("dev", func(_ string, r result) {
		r.failed("AWS_ENDPOINT_URL_SSO_OIDC", "http on 10.0.0.1", "loopback")
	})
	m.unchanged(before)
}

func TestUnreachableHost(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{"login": {"there is a session", "-force"}, "token": nil, "aws-config": nil} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.signIn(-time.Minute)
			m.setenv("AWS_ENDPOINT_URL_SSO_OIDC", closedPort(t))
			before := m.files()
			m.run(name, "-profile", "dev").failed(append(words, "connection refused", "check the network, the region and the endpoint")...)
			// Others are spared the wait, or have the same to tell.
			m.run("token", "-profile", "dev").failed("refresh failed")
			m.run("login", "-profile", "dev", "-no-browser", "-force").failed("could not be registered", "check the network, the region and the endpoint")
			m.unchanged(before)
		})
	}
}

// closedPort returns a loopback URL where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

func TestServiceInTrouble(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{"login": {"there is a session", "-force"}, "token": nil} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.signIn(-time.Minute)
			m.idc.Inject(idctest.CreateTokenRefresh, idctest.Fault{Status: http.StatusServiceUnavailable, Times: idctest.Always})
			before := m.files()
			m.run(name, "-profile", "dev").failed(append(words, "503", "try again later")...)
			m.unchanged(before)

			// What login advises works, although refreshing does not.
			m.idc.ApproveAfter(0)
			m.page(m.run("login", "-profile", "dev", "-no-browser", "-force").ok().stdout)
			m.run("token", "-profile", "dev").ok()
		})
	}
}

func TestRejectedStartURL(t *testing.T) {
	m := newMachine(t, func(idc *idctest.Server) {
		idc.StartURLs = []string{"https://d-0000000000.awsapps.com/start"}
	})
	old := m.signIn(time.Hour)
	m.run("login", "-profile", "dev", "-no-browser", "-force").failed("Invalid start url", startURL, "us-east-1", "check")
	m.keeps(old)
}

func TestRegionThatTheStartURLContradicts(t *testing.T) {
	m := newMachine(t)
	for _, grant := range []string{"-pkce", "-device"} {
		m.run("login", "-start-url", "https://ssoins-1.portal.eu-west-1.app.aws", "-region", "us-east-1", grant, "-no-browser").
			failed("an Identity Center instance in eu-west-1, but the configured region is us-east-1", "set the region of the sign-in (sso_region) to eu-west-1")
	}
}

// TestSessionOfAnotherConfiguration has the region of the sign-in changed since.
func TestSessionOfAnotherConfiguration(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.write(".aws/config", strings.Replace(configFile, "sso_region = us-east-1", "sso_region = us-west-2", 1))
	m.run("token", "-profile", "dev").failed("sign-in required", "is for another start URL or region", "login -profile dev")
}

func TestCorruptCacheFile(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "half": `{"startUrl": "https://d-1234`, "not an object": `[1]`, "other types": `{"accessToken": 1}`, "binary": "\x00\xff\x1b[2J",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.write(tokenFile("corp"), content)
			m.write(tokenFile("other"), "another session's")
			before := m.files()
			for _, name := range []string{"token", "credential-process", "aws-config"} {
				m.run(name, "-profile", "dev").failed("sign-in required", filepath.Base(tokenFile("corp")), "to sign in")
			}
			m.unchanged(before)

			m.idc.ApproveAfter(0)
			m.run("login", "-profile", "dev", "-no-browser").ok()
			m.run("token", "-profile", "dev").ok()
			if m.files()[tokenFile("other")] != "another session's" {
				t.Error("another session's file was changed")
			}
		})
	}
}

func TestUnwritableCacheFolder(t *testing.T) {
	m := newMachine(t)
	m.write(".aws/sso", "a file where a folder should be")
	before := m.files()
	m.run("login", "-profile", "dev", "-no-browser").failed(filepath.Join(m.home, ".aws", "sso"), "folder")
	for _, name := range []string{"token", "credential-process"} {
		m.run(name, "-profile", "dev").failed(filepath.Join(m.home, ".aws", "sso"))
	}
	m.unchanged(before)
	m.count(idctest.StartDeviceAuthorization, 0)
}

// TestBare403 has the portal refuse the role with nothing but a status.
func TestBare403(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.idc.Inject(idctest.GetRoleCredentials, idctest.Fault{Status: http.StatusForbidden, Body: []byte("<html>"), Times: idctest.Always})
	before := m.files()
	for _, program := range []string{"credential-process", "aws-config"} {
		m.run(program, "-profile", "dev").failed("role not assigned", "role ReadOnly in account 123456789012", "HTTP 403", "check the account and the role's name", "ask an administrator")
	}
	m.unchanged(before)
}

// TestSessionRevoked has the session end at the service before its time.
func TestSessionRevoked(t *testing.T) {
	m := newMachine(t)
	m.signIn(time.Hour)
	m.idc.RevokeSessions()
	for _, program := range []string{"credential-process", "aws-config", "accounts"} {
		m.run(program, "-profile", "dev").failed("sign-in required", "the service ended the session", "login -profile dev")
	}
}

// TestSessionOfAnotherRegion has a portal that does not know the token, and
// nothing to refresh it with.
func TestSessionOfAnotherRegion(t *testing.T) {
	m := newMachine(t)
	s := m.signIn(time.Hour)
	s.RefreshToken, s.AccessToken = "", "a-token-of-another-region"
	m.write(tokenFile("corp"), m.encode(s))
	m.run("credential-process", "-profile", "dev").failed("sign-in required", "was refused before its time: it was ended, or belongs to another region", "login -profile dev")
}

func TestPortalInTrouble(t *testing.T) {
	t.Parallel()
	t.Run("500", func(t *testing.T) {
		m := newMachine(t)
		m.signIn(time.Hour)
		m.idc.Inject(idctest.GetRoleCredentials, idctest.Fault{Status: http.StatusInternalServerError, Times: idctest.Always})
		m.run("credential-process", "-profile", "dev").failed("no credentials for role ReadOnly in account 123456789012", "HTTP 500", "the portal is in trouble: try again later")
	})
	t.Run("unreachable", func(t *testing.T) {
		m := newMachine(t)
		m.signIn(time.Hour)
		m.setenv("AWS_ENDPOINT_URL_SSO", closedPort(t))
		m.run("credential-process", "-profile", "dev").failed("no answer", "connection refused", "check the network, the region and the endpoint")
		m.run("logout", "-profile", "dev").failed("signed out here, but the portal did not confirm", "until", "administrator")
		m.run("token", "-profile", "dev").failed("sign-in required")
	})
}
