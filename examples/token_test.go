package examples_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

func TestToken(t *testing.T) {
	m := newMachine(t)
	s := m.signIn(time.Hour)
	before := m.files()
	r := m.run("token", "-profile", "dev").ok()
	if r.stdout != s.AccessToken+"\n" || r.stderr != "" {
		t.Errorf("wrote %q and %q", r.stdout, r.stderr)
	}
	m.setenv("AWS_PROFILE", "dev")
	if r := m.run("token").ok(); r.stdout != s.AccessToken+"\n" {
		t.Errorf("by AWS_PROFILE: wrote %q", r.stdout)
	}
	m.unchanged(before)
	m.count(idctest.AnyOperation, 0)
}

func TestTokenJSON(t *testing.T) {
	m := newMachine(t)
	s := m.signIn(time.Hour)
	var got struct {
		AccessToken string    `json:"access_token"`
		TokenType   string    `json:"token_type"`
		ExpiresAt   time.Time `json:"expires_at"`
	}
	r := m.run("token", "-profile", "dev", "-json").ok()
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.AccessToken != s.AccessToken || got.TokenType != "Bearer" || !got.ExpiresAt.Equal(s.ExpiresAt) {
		t.Errorf("wrote %s; the session is %+v", r.stdout, s)
	}
}

// A program that ends right after it has printed a token must have saved what
// its refresh returned: the service takes a refresh token once.
func TestTokenSavesRefresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		valid time.Duration
	}{
		{"expired", -time.Minute},
		{"due", time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			old := m.signIn(c.valid)
			m.idc.Inject(idctest.CreateTokenRefresh, idctest.Fault{LatencyAfter: 60 * time.Millisecond})
			token := strings.TrimSuffix(m.run("token", "-profile", "dev").ok().stdout, "\n")
			s := m.session("corp")
			if s.AccessToken != token || s.AccessToken == old.AccessToken || s.RefreshToken == old.RefreshToken {
				t.Errorf("the refreshed session was not saved: %+v", s)
			}
			m.count(idctest.CreateTokenRefresh, 1)
			m.expire(s)
			m.run("token", "-profile", "dev").ok()
			if n := m.idc.Reuses(); n != 0 {
				t.Errorf("a refresh token was used again %d times", n)
			}
		})
	}
}

// A refresh that takes longer than a caller waits for it, 5 s, goes on; the
// program must not end before it is saved.
func TestTokenWaitsForSlowRefresh(t *testing.T) {
	m := newMachine(t)
	old := m.signIn(time.Minute)
	m.idc.Inject(idctest.CreateTokenRefresh, idctest.Fault{LatencyAfter: 5500 * time.Millisecond})
	if r := m.run("token", "-profile", "dev").ok(); r.stdout != old.AccessToken+"\n" {
		t.Errorf("wrote %q, want the token that is still valid", r.stdout)
	}
	if s := m.session("corp"); s.RefreshToken == old.RefreshToken {
		t.Error("the program ended in the middle of a refresh, and lost the session")
	}
}

// expire makes the stored token expire.
func (m *machine) expire(s idctest.Session) {
	m.t.Helper()
	s.ExpiresAt = time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	m.write(tokenFile("corp"), m.encode(s))
}

func TestTokenNeverAsks(t *testing.T) {
	m := newMachine(t)
	before := m.files()
	m.run("token", "-profile", "dev").failed("sign-in required", "login -profile dev")
	m.run("credential-process", "-profile", "dev").failed("sign-in required", "login -profile dev")
	m.run("oauth2-client", "-profile", "dev", m.url+"/userinfo").failed("sign-in required", "login -profile dev")
	m.run("aws-config", "-profile", "dev").failed("sign-in required", "login --profile dev")
	m.unchanged(before)
	m.count(idctest.AnyOperation, 0)
}

func TestTokenOfSessionThatTheServiceEnded(t *testing.T) {
	m := newMachine(t)
	m.signIn(-time.Minute)
	m.idc.RevokeSessions()
	before := m.files()
	m.run("token", "-profile", "dev").failed("sign-in required", "the service ended the session", "login -profile dev")
	m.unchanged(before)
}
