package profile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain hides the settings of whoever runs the tests.
func TestMain(m *testing.M) {
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	home, err := os.MkdirTemp("", "profile")
	if err != nil {
		panic(err)
	}
	os.Setenv("HOME", home)
	os.Setenv("USERPROFILE", home)
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "no config"))
	os.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "no credentials"))
	status := m.Run()
	os.RemoveAll(home)
	os.Exit(status)
}

// newHome gives the test a home folder with a config file, and returns the
// folder.
func newHome(t *testing.T, configFile string) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("AWS_CONFIG_FILE", write(t, filepath.Join(home, ".aws", "config"), configFile))
	return home
}

// write writes a file, makes its folder, and returns its name.
func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// ssoConfig has a profile of each kind.
const ssoConfig = `
[default]
region = us-west-1

[sso-session corp]
sso_start_url = https://d-1234567890.awsapps.com/start
sso_region = us-east-1
sso_registration_scopes = sso:account:access, codewhisperer:completions ,

[sso-session other]
sso_start_url = https://d-1111111111.awsapps.com/start
sso_region = eu-central-1

[profile dev]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly
region = eu-west-1

[profile token]
sso_session = corp

[profile legacy]
sso_start_url = https://d-0987654321.awsapps.com/start
sso_region = us-west-2
sso_account_id = 210987654321
sso_role_name = Admin
region = us-west-2

[profile chain]
role_arn = arn:aws:iam::111111111111:role/One
source_profile = dev
region = eu-west-2

[profile keys]
aws_access_key_id = AKIDPROFILE
aws_secret_access_key = SECRETPROFILE
`
