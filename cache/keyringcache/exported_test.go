package keyringcache_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/keyringcache"
)

const sessionRecord = `{"startUrl":"https://d-1234567890.awsapps.com/start","region":"us-east-1","accessToken":"access","expiresAt":"2027-01-02T03:04:05Z",` +
	`"refreshToken":"canary refresh","clientId":"canary client","clientSecret":"canary secret","idToken":"canary id","registrationExpiresAt":"2027-01-02T03:04:05Z"}`

// What is exported is what the AWS CLI needs to use the access token, and goes
// with the session.
func TestExport(t *testing.T) {
	folder, public := t.TempDir(), t.TempDir()
	export, err := cache.NewDir(public)
	if err != nil {
		t.Fatal(err)
	}
	var failure error
	s := (&fakeKeyring{}).open(t, folder, keyringcache.Options{Export: export, ExportFailed: func(err error) { failure = err }})
	put(t, s, "my-sso", sessionRecord)
	put(t, s, "registration", `{"clientId":"canary client","clientSecret":"canary secret"}`)
	raw, err := os.ReadFile(filepath.Join(public, "0ad374308c5a4e22f723adf10145eafad7c4031c.json"))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]string
	if err := json.Unmarshal(raw, &members); err != nil || len(members) != 4 || members["accessToken"] != "access" ||
		members["startUrl"] != "https://d-1234567890.awsapps.com/start" || members["region"] != "us-east-1" || members["expiresAt"] != "2027-01-02T03:04:05Z" {
		t.Errorf("exported: %s, %v", raw, err)
	}
	if strings.Contains(content(t, public), "canary") || strings.Contains(content(t, folder), "canary") {
		t.Error("more than the access token is in plain text")
	}
	put(t, s, "my-sso", strings.Replace(sessionRecord, `"access"`, `"renewed"`, 1))
	if record, _ := export.Get(t.Context(), "my-sso"); !strings.Contains(string(record), `"renewed"`) {
		t.Errorf("after a refresh: %s", record)
	}
	put(t, s, "my-sso", "")
	if _, err := export.Get(t.Context(), "my-sso"); !errors.Is(err, cache.ErrMiss) {
		t.Errorf("after signing out: %v", err)
	}

	if failure != nil {
		t.Error(failure)
	}

	// What the AWS CLI has signed in to itself is its own.
	const theirs = `{"startUrl": "https://d-1234567890.awsapps.com/start", "region": "us-east-1", "accessToken": "theirs", "expiresAt": "2027-01-02T03:04:05Z", "refreshToken": "theirs"}`
	put(t, export, "my-sso", theirs)
	put(t, s, "my-sso", sessionRecord)
	want(t, export, "my-sso", theirs)
	if failure == nil || !strings.Contains(failure.Error(), "aws sso logout") {
		t.Errorf("what was not exported is told with %v", failure)
	}
	failure = nil
	put(t, s, "my-sso", "")
	want(t, export, "my-sso", theirs)
	if failure != nil {
		t.Errorf("nothing was to be exported: %v", failure)
	}
}

// That the export fails does not fail what was saved.
func TestExportFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	export, err := cache.NewDir(file)
	if err != nil {
		t.Fatal(err)
	}
	var failure error
	s := (&fakeKeyring{}).open(t, t.TempDir(), keyringcache.Options{Export: export, ExportFailed: func(err error) { failure = err }})
	put(t, s, "my-sso", sessionRecord)
	want(t, s, "my-sso", sessionRecord)
	wantError(t, failure, cache.ErrLock, "keyringcache: ", "not exported")
	if strings.Contains(failure.Error(), "canary") {
		t.Error("the error shows a secret")
	}
}
