package profile

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
)

// These tests compare the reader with the SDK's, which decides what a file
// means: settings of profiles, and of sso-sessions through a profile that
// names them.

// seeds are files whose meaning is easy to get wrong.
var seeds = []string{
	"",
	"[default]\nregion = us-east-1\n",
	"[profile a]\nsso_session = corp\n[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://x/start\n",
	"[ profile   a ] ; comment\nregion=eu-west-1 # comment\n",
	"[profile\ta]\r\nregion = eu-west-1\r\n",
	"[default]\nregion = one\n[profile default]\nsso_region = two\n",
	"[profile default]\nsso_region = two\n[default]\nregion = one\n",
	"[a]\nregion = dropped\n[profile a]\nsso_region = kept\n",
	"[profile a]\nregion = one\n[profile a]\nsso_region = two\nregion = three\n",
	"[profile a]\nREGION = Upper\nSso_Region: colon\n",
	"[profile a]\nregion = 'quoted'\nsso_region = \"it's\"\nsso_role_name = '\n",
	"[profile a]\nregion = one;two\nsso_region = one ;two\nsso_role_name = one\t#two\nrole_arn = a#b\n",
	"[profile a]\nservices =\n  sso =\n  sso_region = nested\nregion = top\n",
	"[profile a]\ns3 =\n  sso_region = nested\nregion = top\n  sso_region = promoted # comment\n",
	"[profile a]\n  region = promoted\n",
	"[profile a]\nregion = one\n  two\n  three\n",
	"[profile a]\nregion =\n  two\n",
	"sso_region = global\n[profile a]\n",
	"[profile a\nsso_region = one\n",
	"[profile b]\nsso_region = one\n[profile a\nsso_region = two\n",
	"[profile b]\n[profile a = c\n",
	"[profile a] trailing\nsso_region = one\n",
	"[]\nregion = one\n[profile a]\n",
	"[profile]\nregion = one\n",
	"[DEFAULT]\nregion = one\n[Default]\nregion = two\n",
	"[profile profile a]\nregion = one\n[profile a]\nregion = two\n",
	"[profile z]\nregion = one\n[z]\nregion = two\n",
	"[profile sso-session corp]\nsso_region = one\n[sso-session corp]\nsso_region = two\n",
	"[sso-session  corp ]\nsso_region = one\n",
	"[profile \"a\"]\nregion = one\n",
	"[profile a#b]\nregion = one\n",
	"# [profile a]\n; [profile b]\n\t# comment\n",
	"\ufeff[default]\nregion = one\n",
	"[profile a]\nregion = \"\n",
	"[profile a]\n{\n  \"k\": \"\n}\n",
	"[profile a]\n= nothing\n  region = x\n",
	"[profile a]\nregion\n",
}

func TestReaderAgreesWithSDK(t *testing.T) {
	dir := t.TempDir()
	for _, data := range seeds {
		compareWithSDK(t, dir, data, "")
	}
	for _, data := range []string{"[a]\nrole_arn = two\nsso_region = two\nx = y\n", "[profile a]\nregion = two\n", "[sso-session corp]\nsso_region = two\n"} {
		compareWithSDK(t, dir, "[profile a]\nregion = one\nsso_region = one\n[sso-session corp]\nsso_region = one\n", data)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		compareWithSDK(t, dir, randomFile(r), "")
		compareWithSDK(t, dir, "[profile a]\n"+randomFile(r), "[a]\n"+randomFile(r))
	}
}

func FuzzReader(f *testing.F) {
	for _, data := range seeds {
		f.Add(data, "")
		f.Add("[profile a]\nregion = one\n", data)
	}
	dir := f.TempDir() // each worker is a process and has its own
	f.Fuzz(func(t *testing.T, configData, credentialsData string) {
		compareWithSDK(t, dir, configData, credentialsData)
	})
}

func compareWithSDK(t *testing.T, dir, configData, credentialsData string) {
	t.Helper()
	names := []string{filepath.Join(dir, "config"), filepath.Join(dir, "credentials")}
	for i, data := range []string{configData, credentialsData} {
		if err := os.WriteFile(names[i], []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := readSections(names[:1], names[1:])
	if err != nil {
		t.Fatalf("readSections: %v\n%q\n%q", err, configData, credentialsData)
	}
	profiles := append(ours.profiles(), "default", "DEFAULT", "a", "b", "z", "profile a", "sso-session corp")
	for _, name := range profiles {
		if !compareProfile(t, ours, name) {
			t.Fatalf("for the config %q\nand the credentials %q", configData, credentialsData)
		}
	}
	for _, name := range append(ours.sessions(), "corp", "a") {
		if !compareSession(t, ours, filepath.Join(dir, "probe"), name) {
			t.Fatalf("for the config %q\nand the credentials %q", configData, credentialsData)
		}
	}
}

func compareProfile(t *testing.T, ours *sections, name string) bool {
	t.Helper()
	got := ours.byName[name]
	want, err := sdkProfile(ours.config, ours.credentials, name)
	var absent config.SharedConfigProfileNotExistError
	switch {
	case errors.Is(err, errPanic):
		if ours.checkSyntax() == nil {
			t.Errorf("the SDK panics, and no line is reported")
			return false
		}
		return true
	case errors.As(err, &absent) && absent.Profile == name:
		if got != nil {
			t.Errorf("profile %q: the SDK has none", name)
			return false
		}
		return true
	case got == nil:
		t.Errorf("profile %q: the SDK has one (%v)", name, err)
		return false
	case err != nil: // for reasons that are not the reader's
		return true
	}
	fields := map[string]string{keySession: want.SSOSessionName, keyRoleARN: want.RoleARN, keySource: want.SourceProfileName, keyWorkRegion: want.Region}
	if want.SourceProfileName == "" { // which makes the SDK forget these
		fields[keyStartURL], fields[keyRegion] = want.SSOStartURL, want.SSORegion
		fields[keyAccount], fields[keyRole] = want.SSOAccountID, want.SSORoleName
	}
	for key, value := range fields {
		if got.values[key] != value {
			t.Errorf("profile %q: %s is %q, the SDK's %q", name, key, got.values[key], value)
			return false
		}
	}
	return true
}

func compareSession(t *testing.T, ours *sections, probe, name string) bool {
	t.Helper()
	line := "sso_session = " + name
	if _, value, _ := cutSetting(cutComment(line)); unquote(value) != name || strings.TrimSpace(name) != name || name == "" {
		return true // can't be named
	}
	if err := os.WriteFile(probe, []byte("[profile probe.]\n"+line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ours.byName["probe."] != nil {
		return true
	}
	want, err := sdkProfile(append(slices.Clone(ours.config), probe), ours.credentials, "probe.")
	got := ours.session(name)
	switch {
	case errors.Is(err, errPanic):
		return true
	case err != nil:
		if got != nil || !strings.Contains(err.Error(), "failed to find SSO session section") {
			t.Errorf("sso-session %q: ours is %v, the SDK says %v", name, got, err)
			return false
		}
		return true
	case got == nil:
		t.Errorf("sso-session %q: the SDK has one", name)
		return false
	}
	for key, value := range map[string]string{keyStartURL: want.SSOSession.SSOStartURL, keyRegion: want.SSOSession.SSORegion} {
		if got.values[key] != value {
			t.Errorf("sso-session %q: %s is %q, the SDK's %q", name, key, got.values[key], value)
			return false
		}
	}
	return true
}

var errPanic = errors.New("the SDK panicked")

func sdkProfile(configs, credentials []string, name string) (shared config.SharedConfig, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return config.LoadSharedConfigProfile(context.Background(), name, func(o *config.LoadSharedConfigOptions) {
		o.ConfigFiles, o.CredentialsFiles = configs, credentials
	})
}

// randomFile is made of pieces that matter to the grammar.
func randomFile(r *rand.Rand) string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	blank := func() string { return pick("", "", " ", "\t", "  ") }
	var b strings.Builder
	for range r.IntN(12) {
		switch r.IntN(8) {
		case 0, 1:
			typ := pick("profile", "profile", "profile", "sso-session", "services", "", "Profile", "profile profile", "profile sso-session")
			b.WriteString(blank() + pick("[", "[", "[", "[", "") + blank() + typ + pick(" ", " ", "\t", "  ", "") +
				pick("a", "b", "z", "default", "DEFAULT", "corp", "corp", "") + blank() + pick("]", "]", "]", "]", "", "] x"))
		case 2, 3, 4, 5:
			b.WriteString(pick("", "", "", " ", "\t") +
				pick("sso_session", "sso_region", "SSO_Region", "sso_start_url", "sso_account_id", "sso_role_name", "region", "services", "role_arn", "x", "") +
				blank() + pick("=", "=", "=", ":", "") + blank() +
				pick("corp", "a", "us-east-1", "https://x/start", "'q'", `"q"`, `"`, "", "a = b", "[a]", "' q '", `"a" # b"`))
		case 6:
			b.WriteString(blank() + pick("# c", "; c", "word", "[", "]", "=", ":"))
		}
		b.WriteString(pick("", "", "", " # c", "#c", "\t; c", " ;", "\r"))
		b.WriteString(pick("\n", "\n", "\n", "\r\n", "\n\n"))
	}
	return b.String()
}
