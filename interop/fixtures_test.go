package interop

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// foreign is what another tool keeps in a session's file.
const foreign = `{"otherTool": {"numbers": [1, 2.50, 1e3], "text": "caf\u00e9 <b>"}, `

// install puts files of the AWS CLI into the cache, with the identifiers and
// secrets of a session that the service knows, and with a member of another
// tool. The access token expires after left. It returns the session.
func (h *host) install(fixture string, s signIn, left time.Duration) idctest.Session {
	h.t.Helper()
	issued := h.srv.Issue(s.scopes...)
	for _, name := range []string{s.token, s.registration} {
		h.write(h.cache(name), h.read(filepath.Join("../testdata/awscli", fixture, name)))
	}
	registrationExpires := issued.RegistrationExpiresAt.UTC().Format("2006-01-02T15:04:05Z")
	h.set(s.registration, map[string]string{
		"clientId": issued.ClientID, "clientSecret": issued.ClientSecret, "expiresAt": registrationExpires,
	})
	members := map[string]string{
		"clientId": issued.ClientID, "clientSecret": issued.ClientSecret, "registrationExpiresAt": registrationExpires,
		"accessToken": issued.AccessToken, "expiresAt": stamp(left),
	}
	if issued.RefreshToken != "" {
		members["refreshToken"] = issued.RefreshToken
	}
	h.set(s.token, members)
	text := h.read(h.cache(s.token))
	h.write(h.cache(s.token), bytes.Replace(text, []byte("{"), []byte(foreign), 1))
	return issued
}

// TestAdopt checks that a valid session of the AWS CLI is used as it is.
func TestAdopt(t *testing.T) {
	for fixture, s := range map[string]signIn{"device": dev, "pkce": dev, "legacy": legacy} {
		t.Run(fixture, func(t *testing.T) {
			h := newHost(t)
			issued := h.install(fixture, s, time.Hour)
			before := h.snapshot()
			if h.accessToken(s) != issued.AccessToken {
				t.Error("./examples/token printed another token than the AWS CLI's")
			}
			wantRole(t, strings.TrimSuffix(h.must("aws-config", "-profile", s.profile), "\n"), s)
			if out := h.must("login", "-profile", s.profile, "-no-browser"); out != "" {
				t.Errorf("./examples/login printed %q although the session is valid", out)
			}
			if h.snapshot() != before || h.srv.Count(idctest.CreateToken).Requests != 0 {
				t.Error("the session was changed")
			}
		})
	}
}

// TestRefreshForeign checks that sessions of the AWS CLI are refreshed, whether
// due or expired, that members of other tools are kept, and that every client
// goes on from the result.
func TestRefreshForeign(t *testing.T) {
	for fixture, left := range map[string]time.Duration{"device": -time.Hour, "pkce": 5 * time.Minute} {
		t.Run(fixture, func(t *testing.T) {
			each(t, dev, func(t *testing.T, c client) {
				h := newHost(t)
				issued := h.install(fixture, dev, left)
				before, registration := h.record(dev.token), h.read(h.cache(dev.registration))
				token := h.accessToken(dev)
				if token == issued.AccessToken || h.refreshes() != 1 || h.registrations() != 0 {
					t.Fatalf("%d refreshes and %d registrations, want a refresh", h.refreshes(), h.registrations())
				}
				checkRefreshed(t, h, before, token)
				if !bytes.Equal(h.read(h.cache(dev.registration)), registration) {
					t.Error("the registration was changed")
				}
				accepts(t, h, c, dev)
				if h.refreshes() != 1 {
					t.Error("the client refreshed once more")
				}
				h.noReuse()
			})
		})
	}
}

// checkRefreshed compares a session's file with what it was before a refresh.
func checkRefreshed(t *testing.T, h *host, before map[string]any, token string) {
	t.Helper()
	after := h.record(dev.token) // checks the mode too
	if after["accessToken"] != token || after["refreshToken"] == before["refreshToken"] || after["expiresAt"] == before["expiresAt"] {
		t.Error("the file does not hold the new session")
	}
	for _, changed := range []string{"accessToken", "refreshToken", "expiresAt", "issuedAt"} {
		delete(before, changed)
		delete(after, changed)
	}
	same := func(a, b any) bool {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return bytes.Equal(x, y)
	}
	if !maps.EqualFunc(before, after, same) {
		t.Errorf("the file has %v besides the tokens, and had %v", keys(after), keys(before))
	}
	if _, ok := after["otherTool"]; !ok || !bytes.Contains(h.read(h.cache(dev.token)), []byte("2.50")) {
		t.Error("what another tool wrote is not there as it was")
	}
}

// keys returns the names of a record's members, without their values.
func keys(record map[string]any) []string { return slices.Sorted(maps.Keys(record)) }

// TestLegacyExpired checks that a session without a refresh token ends, with an
// error that names the command to sign in, and with nothing lost.
func TestLegacyExpired(t *testing.T) {
	h := newHost(t)
	h.install("legacy", legacy, -time.Minute)
	before := h.snapshot()
	out, err := h.run("token", "-profile", legacy.profile)
	if err == nil || out != "" || !strings.Contains(err.Error(), "login -profile "+legacy.profile) {
		t.Errorf("printed %q, error %v; want an error that names the command to sign in", out, err)
	}
	if h.snapshot() != before {
		t.Error("the cache was changed")
	}
	if n := h.srv.Count(idctest.AnyOperation).Requests; n != 0 {
		t.Errorf("%d requests were sent, want none", n)
	}
}

// TestRegistration checks that a sign-in uses a registration of the AWS CLI,
// unless it ends soon or is for another grant.
func TestRegistration(t *testing.T) {
	for _, c := range []struct {
		name    string
		fixture string
		signIn  signIn
		left    time.Duration // of the registration; 0: as the service issued it
		renewed bool
	}{
		{"device", "device", dev, 0, false},
		{"legacy", "legacy", legacy, 0, false},
		{"ends soon", "device", dev, time.Hour, true},
		{"ended", "device", dev, -time.Hour, true},
		{"for PKCE", "pkce", dev, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			issued := h.install(c.fixture, c.signIn, time.Hour)
			if c.left != 0 {
				h.set(c.signIn.registration, map[string]string{"expiresAt": stamp(c.left)})
			}
			registration := h.read(h.cache(c.signIn.registration))
			h.signIn(c.signIn, "-force")
			session := h.record(c.signIn.token)
			if session["accessToken"] == issued.AccessToken || session["otherTool"] == nil {
				t.Error("there is no new session, or it lacks what another tool wrote")
			}
			if !c.renewed {
				if h.registrations() != 0 || session["clientId"] != issued.ClientID {
					t.Errorf("%d clients were registered, want none", h.registrations())
				}
				if !bytes.Equal(h.read(h.cache(c.signIn.registration)), registration) {
					t.Error("the registration was changed")
				}
				return
			}
			renewed := h.record(c.signIn.registration)
			if h.registrations() != 1 || renewed["clientId"] == issued.ClientID || session["clientId"] != renewed["clientId"] {
				t.Errorf("%d clients were registered, want one that the session and the registration both name", h.registrations())
			}
			expires, err := time.Parse(time.RFC3339, renewed["expiresAt"].(string))
			if err != nil || time.Until(expires) < 89*24*time.Hour {
				t.Errorf("the new registration expires at %v", renewed["expiresAt"])
			}
		})
	}
}
