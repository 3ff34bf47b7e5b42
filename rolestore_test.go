package awsoidc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// sharingRoles returns options for sources that share both stores.
func sharingRoles(sessions, roles cache.Store) func(*awsoidc.Config) {
	return func(c *awsoidc.Config) { c.Store, c.RoleStore = sessions, roles }
}

func newDir(t testing.TB) (*cache.Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cli", "cache")
	dir, err := cache.NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// admin returns the credentials of the role Admin.
func admin(t *testing.T, src *awsoidc.TokenSource) aws.Credentials {
	t.Helper()
	c, err := src.RoleCredentials(account, "Admin").Current(t.Context())
	if err != nil {
		t.Errorf("Current: %v", err)
	}
	return c
}

func asked(srv *idctest.Server) int { return srv.Count(idctest.GetRoleCredentials).Requests }

func TestRoleStore(t *testing.T) {
	dir, _ := newDir(t)
	for name, store := range map[string]cache.Store{"folder": dir, "elsewhere": newLRU(t)} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv, sessions := idctest.New(), newLRU(t)
				first := admin(t, signedIn(t, srv, sharingRoles(sessions, store)))
				src := newSource(t, srv, sharingRoles(sessions, store))
				if c := admin(t, src); c != first || asked(srv) != 1 {
					t.Errorf("another source got others: %d requests", asked(srv))
				}
				if other, err := src.RoleCredentials(account, "ReadOnly").Current(t.Context()); err != nil || other.AccessKeyID == first.AccessKeyID {
					t.Errorf("another role got the same, or %v", err)
				}

				// They are replaced before they expire, once for all.
				time.Sleep(45 * time.Minute)
				before := asked(srv)
				next := admin(t, newSource(t, srv, sharingRoles(sessions, store)))
				if next.AccessKeyID == first.AccessKeyID || time.Until(next.Expires) < 59*time.Minute {
					t.Error("credentials that are due were used again")
				}
				if c := admin(t, newSource(t, srv, sharingRoles(sessions, store))); c != next || asked(srv) != before+1 {
					t.Errorf("%d requests for two sources", asked(srv)-before)
				}
			})
		})
	}
}

// TestRoleStoreOfAnotherSession signs in again, perhaps as somebody else, and
// out: what was stored is of no use to either.
func TestRoleStoreOfAnotherSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, sessions, roles := idctest.New(), &keyed{Store: newLRU(t)}, newLRU(t)
		first := admin(t, signedIn(t, srv, sharingRoles(sessions, roles)))
		second := admin(t, signedIn(t, srv, sharingRoles(sessions, roles)))
		if second.AccessKeyID == first.AccessKeyID {
			t.Error("the credentials of whoever was signed in before were used")
		}
		if c := admin(t, newSource(t, srv, sharingRoles(sessions, roles))); c != second {
			t.Error("not shared within the new session")
		}
		if err := sessions.Update(t.Context(), sessions.key, func(context.Context, []byte) ([]byte, error) { return nil, nil }); err != nil {
			t.Fatal(err)
		}
		_, err := newSource(t, srv, sharingRoles(sessions, roles)).RoleCredentials(account, "Admin").Retrieve(t.Context())
		if !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("signed out: got %v, want ErrLoginRequired", err)
		}
	})
}

// TestRoleStoreInAnOutage has stored credentials that are due, and a portal
// that is out of order.
func TestRoleStoreInAnOutage(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, sessions, roles := idctest.New(), newLRU(t), newLRU(t)
		srv.AccessTokenLifetime = 12 * time.Hour // no refresh meanwhile
		first := admin(t, signedIn(t, srv, sharingRoles(sessions, roles)))
		time.Sleep(45 * time.Minute)
		srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Status: 503, Times: idctest.Always})
		if c := admin(t, newSource(t, srv, sharingRoles(sessions, roles))); c.AccessKeyID != first.AccessKeyID {
			t.Error("other credentials during an outage")
		}
		time.Sleep(20 * time.Minute)
		if _, err := newSource(t, srv, sharingRoles(sessions, roles)).RoleCredentials(account, "Admin").Retrieve(t.Context()); err == nil {
			t.Error("expired credentials were used")
		}
		srv.ClearFaults()
		srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Status: 403, Type: "ForbiddenException", Times: idctest.Always})
		if _, err := newSource(t, srv, sharingRoles(sessions, roles)).RoleCredentials(account, "Admin").Retrieve(t.Context()); !errors.Is(err, awsoidc.ErrNotAssigned) {
			t.Errorf("got %v, want ErrNotAssigned", err)
		}
	})
}

// TestRoleFile looks at the file, and puts others in its place.
func TestRoleFile(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, sessions := idctest.New(), &keyed{Store: newLRU(t)}
		roles, path := newDir(t)
		src := signedIn(t, srv, sharingRoles(sessions, roles))
		first := admin(t, src)
		files, err := filepath.Glob(filepath.Join(path, "*.json"))
		if err != nil || len(files) != 1 {
			t.Fatalf("files %v, %v", files, err)
		}
		if want := roles.Filename(`{"accountId":"123456789012","roleName":"Admin","sessionName":"corp"}`); files[0] != want {
			t.Errorf("the file is %s, want %s", files[0], want)
		}
		if info, err := os.Stat(files[0]); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		raw, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		var record map[string]any
		if err := json.Unmarshal(raw, &record); err != nil {
			t.Fatal(err)
		}
		credentials, _ := record["Credentials"].(map[string]any)
		if record["ProviderType"] != "sso" || credentials["AccessKeyId"] != first.AccessKeyID || credentials["SecretAccessKey"] != first.SecretAccessKey ||
			credentials["SessionToken"] != first.SessionToken || credentials["AccountId"] != account ||
			credentials["Expiration"] != first.Expires.UTC().Format("2006-01-02T15:04:05Z") {
			t.Errorf("the file holds %s", raw)
		}
		if strings.Contains(string(raw), bearer(t, src)) {
			t.Error("the file holds the access token")
		}
		if _, err := os.Stat(files[0]); err != nil {
			t.Fatal(err)
		}

		change := func(f func(record, credentials map[string]any)) {
			f(record, record["Credentials"].(map[string]any))
			raw, _ := json.Marshal(record)
			if err := os.WriteFile(files[0], raw, 0o600); err != nil {
				t.Fatal(err)
			}
			json.Unmarshal(raw, &record)
		}
		used := func() bool {
			c := admin(t, newSource(t, srv, sharingRoles(sessions, roles)))
			return c.AccessKeyID == first.AccessKeyID
		}
		change(func(record, _ map[string]any) { record["theirs"] = "kept" })
		if !used() {
			t.Error("an unknown member was in the way")
		}
		// The AWS CLI's own has no name of a token: it goes with a session of
		// the AWS CLI, not with one of this library.
		token := record["awsoidcToken"]
		change(func(record, _ map[string]any) { delete(record, "awsoidcToken") })
		if used() {
			t.Error("credentials of nobody knows whom were used")
		}
		raw, _ = os.ReadFile(files[0])
		if !bytes.Contains(raw, []byte(`"theirs":"kept"`)) {
			t.Errorf("an unknown member was dropped: %s", raw)
		}
		for name, f := range map[string]func(record, credentials map[string]any){
			"nothing":         func(_, _ map[string]any) {},
			"another account": func(_, c map[string]any) { c["AccountId"] = "210987654321" },
			"another kind":    func(r, _ map[string]any) { r["ProviderType"] = "assume-role" },
			"expired":         func(_, c map[string]any) { c["Expiration"] = "2000-01-01T00:00:00Z" },
			"no secret":       func(_, c map[string]any) { delete(c, "SecretAccessKey") },
			"odd token":       func(_, c map[string]any) { c["SessionToken"] = "a\r\nb" },
			"of the future":   func(r, _ map[string]any) { r["issuedAt"] = time.Now().Add(time.Hour).UTC().Format(time.RFC3339) },
		} {
			good, _ := json.Marshal(record)
			change(func(record, credentials map[string]any) {
				record["awsoidcToken"] = token
				f(record, credentials)
			})
			if got, want := used(), name == "nothing"; got != want {
				t.Errorf("changed %s: used %v", name, got)
			}
			record = map[string]any{}
			json.Unmarshal(good, &record)
		}
		os.WriteFile(files[0], []byte(`{"ProviderType`), 0o600)
		if used() {
			t.Error("half a file was used")
		}
	})
}

func TestRoleFileWithoutSSOSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		roles, _ := newDir(t)
		admin(t, signedIn(t, idctest.New(), sharingRoles(newLRU(t), roles), func(c *awsoidc.Config) { c.SessionName = "" }))
		if _, err := roles.Get(t.Context(), `{"accountId":"123456789012","roleName":"Admin","startUrl":"`+startURL+`"}`); err != nil {
			t.Error(err)
		}
	})
}

// TestRoleFileOfTheAWSCLI has a session and credentials as the AWS CLI writes
// them.
func TestRoleFileOfTheAWSCLI(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		sessions := putIssued(t, srv, t.TempDir())
		roles, path := newDir(t)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		text := `{"ProviderType": "sso", "Credentials": {"AccessKeyId": "ASIATHEIRS", "SecretAccessKey": "secret", "SessionToken": "token", "Expiration": "` +
			time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05Z") + `", "AccountId": "123456789012"}}`
		name := roles.Filename(`{"accountId":"123456789012","roleName":"Admin","sessionName":"corp"}`)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := admin(t, newSource(t, srv, sharingRoles(sessions, roles))); c.AccessKeyID != "ASIATHEIRS" || asked(srv) != 0 {
			t.Errorf("the AWS CLI's credentials were not used")
		}
	})
}

// TestRoleStoreThatFails has stores that can't be used: that costs a request.
func TestRoleStoreThatFails(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need rights there")
	}
	virtual(t, func(t *testing.T) {
		srv, sessions := idctest.New(), newLRU(t)
		roles, path := newDir(t)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		elsewhere := filepath.Join(t.TempDir(), "victim")
		if err := os.WriteFile(elsewhere, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, roles.Filename(`{"accountId":"123456789012","roleName":"Admin","sessionName":"corp"}`)); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		src := signedIn(t, srv, sharingRoles(sessions, roles), func(c *awsoidc.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		c := admin(t, src)
		if !c.HasKeys() || asked(srv) != 1 {
			t.Errorf("%d requests", asked(srv))
		}
		if left, err := os.ReadFile(elsewhere); err != nil || string(left) != "{}" {
			t.Errorf("what the link leads to holds %s, %v", left, err)
		}
		if !strings.Contains(log.String(), "role credentials can't be kept") || strings.Contains(log.String(), c.SecretAccessKey) {
			t.Errorf("the log says %s", log.String())
		}
	})
}

// FuzzStoredRole reads any record: it gives credentials without control
// characters, from it or from the portal.
func FuzzStoredRole(f *testing.F) {
	f.Add([]byte(`{"ProviderType":"sso","Credentials":{"AccessKeyId":"A","SecretAccessKey":"s","SessionToken":"t","Expiration":"2100-01-01T00:00:00Z","AccountId":"123456789012"}}`))
	f.Add([]byte(`{"ProviderType":"sso","issuedAt":"2030-01-01T00:00:00Z","awsoidcToken":"x","Credentials":{"Expiration":"2100-01-01T00:00:00UTC"}}`))
	f.Add([]byte(`{"ProviderType":"sso","Credentials":null}`))
	f.Add([]byte(`[]`))
	srv := idctest.New()
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) == 0 {
			return
		}
		roles, _ := newDir(t)
		sessions := putIssued(t, srv, t.TempDir())
		key := `{"accountId":"123456789012","roleName":"Admin","sessionName":"corp"}`
		_ = roles.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return raw, nil }) // JSON alone
		c := admin(t, newSource(t, srv, sharingRoles(sessions, roles)))
		for _, s := range []string{c.AccessKeyID, c.SecretAccessKey, c.SessionToken} {
			if s == "" || strings.ContainsAny(s, " \r\n\x00") {
				t.Errorf("unusable credentials: %q", s)
			}
		}
		if c.AccountID != account || !c.Expires.After(time.Now()) {
			t.Errorf("of account %q until %v", c.AccountID, c.Expires)
		}
	})
}
