package profile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/profile"
)

func TestLoad(t *testing.T) {
	dev := profile.Profile{
		Name:        "dev",
		SessionName: "corp",
		StartURL:    "https://d-1234567890.awsapps.com/start",
		SSORegion:   "us-east-1",
		Scopes:      []string{"sso:account:access", "codewhisperer:completions"},
		AccountID:   "123456789012",
		RoleName:    "ReadOnly",
		Region:      "eu-west-1",
	}
	legacy := profile.Profile{
		Name:      "legacy",
		StartURL:  "https://d-0987654321.awsapps.com/start",
		SSORegion: "us-west-2",
		AccountID: "210987654321",
		RoleName:  "Admin",
		Region:    "us-west-2",
	}
	session := profile.Profile{SessionName: "corp", StartURL: dev.StartURL, SSORegion: dev.SSORegion, Scopes: dev.Scopes}
	for _, test := range []struct {
		name    string
		env     map[string]string
		options profile.Options
		want    profile.Profile
	}{
		{name: "named", options: profile.Options{Profile: "dev"}, want: dev},
		{name: "AWS_PROFILE", env: map[string]string{"AWS_PROFILE": "dev", "AWS_DEFAULT_PROFILE": "legacy"}, want: dev},
		{name: "AWS_DEFAULT_PROFILE", env: map[string]string{"AWS_DEFAULT_PROFILE": "legacy"}, want: legacy},
		{name: "the option wins", env: map[string]string{"AWS_PROFILE": "dev"}, options: profile.Options{Profile: "legacy"}, want: legacy},
		{name: "sso-session", env: map[string]string{"AWS_PROFILE": "legacy"}, options: profile.Options{SSOSession: "corp"}, want: session},
		{
			name:    "start URL",
			env:     map[string]string{"AWS_PROFILE": "dev"},
			options: profile.Options{StartURL: "https://x.awsapps.com/start", Region: "eu-north-1", Scopes: []string{"a"}},
			want:    profile.Profile{StartURL: "https://x.awsapps.com/start", SSORegion: "eu-north-1", Scopes: []string{"a"}},
		},
		{
			name:    "scopes",
			options: profile.Options{Profile: "token", Scopes: []string{"a", "b"}},
			want: profile.Profile{
				Name: "token", SessionName: "corp", StartURL: dev.StartURL, SSORegion: dev.SSORegion, Scopes: []string{"a", "b"},
			},
		},
		{
			name:    "no scopes",
			options: profile.Options{SSOSession: "other"},
			want: profile.Profile{
				SessionName: "other", StartURL: "https://d-1111111111.awsapps.com/start", SSORegion: "eu-central-1",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			newHome(t, ssoConfig)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			got, err := profile.Load(t.Context(), test.options)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, *got, test.want)
		})
	}
}

// equal compares the exported fields.
func equal(t *testing.T, got, want profile.Profile) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if f := g.Type().Field(i); f.IsExported() && !reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			t.Errorf("%s is %#v, want %#v", f.Name, g.Field(i), w.Field(i))
		}
	}
}

func TestLoadFiles(t *testing.T) {
	other := "[default]\nsso_start_url = https://other.awsapps.com/start\nsso_region = eu-west-3\n"

	t.Run("home folder", func(t *testing.T) {
		newHome(t, other)
		os.Unsetenv("AWS_CONFIG_FILE") // newHome restores it
		p, err := profile.Load(t.Context(), profile.Options{})
		if err != nil || p.SSORegion != "eu-west-3" {
			t.Errorf("got %+v, %v", p, err)
		}
	})
	t.Run("option", func(t *testing.T) {
		home := newHome(t, ssoConfig)
		name := write(t, filepath.Join(home, "elsewhere"), other)
		p, err := profile.Load(t.Context(), profile.Options{ConfigFile: name})
		if err != nil || p.SSORegion != "eu-west-3" {
			t.Errorf("got %+v, %v", p, err)
		}
	})
	t.Run("credentials file goes before", func(t *testing.T) {
		home := newHome(t, ssoConfig)
		name := write(t, filepath.Join(home, "credentials"), "[dev]\nsso_role_name = FromCredentials\n")
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", name)
		p, err := profile.Load(t.Context(), profile.Options{Profile: "dev"})
		if err != nil || p.RoleName != "FromCredentials" {
			t.Errorf("got %+v, %v", p, err)
		}
		p, err = profile.Load(t.Context(), profile.Options{Profile: "dev", CredentialsFile: name + ".none"})
		if err != nil || p.RoleName != "ReadOnly" {
			t.Errorf("got %+v, %v", p, err)
		}
	})
	t.Run("null device", func(t *testing.T) {
		newHome(t, ssoConfig)
		_, err := profile.Load(t.Context(), profile.Options{ConfigFile: os.DevNull})
		if !errors.Is(err, profile.ErrNoProfile) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLoadErrors(t *testing.T) {
	for _, test := range []struct {
		name        string
		config      string
		credentials string
		env         map[string]string
		options     profile.Options
		kind        error
		want        string // HOME stands for the home folder
	}{
		{
			name: "near name", config: ssoConfig, options: profile.Options{Profile: "dve"}, kind: profile.ErrNoProfile,
			want: `profile: there is no profile "dve" in HOME/.aws/config; did you mean "dev"?`,
		},
		{
			name: "name from the environment", config: ssoConfig, env: map[string]string{"AWS_PROFILE": "production"}, kind: profile.ErrNoProfile,
			want: `profile: there is no profile "production", which AWS_PROFILE or AWS_DEFAULT_PROFILE names, in HOME/.aws/config; it has "chain", "default", "dev", "keys", "legacy" and 1 more`,
		},
		{
			name: "name from the environment without a file", env: map[string]string{"AWS_PROFILE": "production", "AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none"}, kind: profile.ErrNoProfile,
			want: `profile: there is no profile "production", which AWS_PROFILE or AWS_DEFAULT_PROFILE names, as none does not exist: run "aws configure sso" to write it, or set AWS_CONFIG_FILE`,
		},
		{
			name: "no profiles", config: "[sso-session corp]\n", kind: profile.ErrNoProfile,
			want: `profile: there is no profile "default" in HOME/.aws/config; it has no profiles: run "aws configure sso" to add one`,
		},
		{
			name: "a plain section is no profile", config: "[dev]\nsso_session = corp\n", options: profile.Options{Profile: "dev"}, kind: profile.ErrNoProfile,
			want: `profile: there is no profile "dev" in HOME/.aws/config; it has no profiles: run "aws configure sso" to add one`,
		},
		{
			name: "no file", config: "", options: profile.Options{Profile: "dev", ConfigFile: "HOME/none"}, kind: profile.ErrNoProfile,
			want: `profile: there is no profile "dev", as HOME/none does not exist: run "aws configure sso" to write it, or set AWS_CONFIG_FILE`,
		},
		{
			name: "no sso-session", config: ssoConfig, options: profile.Options{SSOSession: "crop"}, kind: profile.ErrNoProfile,
			want: `profile: there is no [sso-session crop] in HOME/.aws/config; did you mean "corp"?`,
		},
		{
			name: "sso-session refers to nothing", config: "[profile dev]\nsso_session = corp\n[sso-session corpo]\n", options: profile.Options{Profile: "dev"},
			want: `profile: HOME/.aws/config: [profile dev] has sso_session = corp, but there is no [sso-session corp]: add that section, with sso_start_url and sso_region; or did you mean "corpo"?`,
		},
		{
			name: "without SSO", config: ssoConfig, kind: profile.ErrNoSSO,
			want: `profile: HOME/.aws/config: [default] has no SSO settings; add sso_session, sso_account_id and sso_role_name, or run "aws configure sso"`,
		},
		{
			name: "role on top of SSO", config: ssoConfig, options: profile.Options{Profile: "chain"}, kind: profile.ErrNoSSO,
			want: `profile: HOME/.aws/config: [profile chain] has no SSO settings; it has source_profile = dev: name that profile, or use LoadDefaultConfig`,
		},
		{
			name: "sso_region missing", config: "[profile dev]\nsso_session = corp\n[sso-session corp]\nsso_start_url = https://x/start\n", options: profile.Options{Profile: "dev"},
			want: `profile: HOME/.aws/config: [sso-session corp] has no sso_region: add the region of the IAM Identity Center instance, such as us-east-1`,
		},
		{
			name: "sso_start_url empty", config: "[sso-session corp]\nsso_start_url =\nsso_region = us-east-1\n", options: profile.Options{SSOSession: "corp"},
			want: `profile: HOME/.aws/config: [sso-session corp] has no sso_start_url: add the AWS access portal's URL, such as https://d-1234567890.awsapps.com/start`,
		},
		{
			name: "legacy", config: "[profile default]\nsso_start_url = https://x/start\n",
			want: `profile: HOME/.aws/config: [profile default] has no sso_region: add the region of the IAM Identity Center instance, such as us-east-1`,
		},
		{
			name: "contradiction", config: "[default]\nsso_session = corp\nsso_region = eu-west-1\n[sso-session corp]\nsso_start_url = https://x/start\nsso_region = us-east-1\n",
			want: `profile: HOME/.aws/config: [default] has an sso_region other than that of its [sso-session corp]: remove it from the profile`,
		},
		{
			name: "open bracket", config: "[default]\nregion = x\n\n[profile dev\nsso_session = corp\n",
			want: `profile: HOME/.aws/config: line 4 begins a section that is not closed with ]`,
		},
		{
			name: "open bracket on the first line", config: "[profile dev\nsso_session = corp\n",
			want: `profile: HOME/.aws/config: line 1 begins a section that is not closed with ]`,
		},
		{
			name: "open bracket and a setting on the first line", config: "[profile dev = x\n", options: profile.Options{Profile: "dev"},
			want: `profile: HOME/.aws/config: line 1 begins a section that is not closed with ]`,
		},
		{
			name: "http", config: "[sso-session corp]\nsso_start_url = http://10.1.1.1/start\nsso_region = us-east-1\n[profile dev]\nsso_session = corp\n", options: profile.Options{Profile: "dev"},
			want: `profile: HOME/.aws/config: [sso-session corp]: sso_start_url = http://10.1.1.1/start can't be used: the URL is http on 10.1.1.1; use https, which only a loopback address can do without; give the AWS access portal's URL, such as https://d-1234567890.awsapps.com/start`,
		},
		{
			name: "no URL", config: "[default]\nsso_start_url = d-1234567890\nsso_region = us-east-1\n",
			want: `profile: HOME/.aws/config: [default]: sso_start_url = d-1234567890 can't be used: the URL does not begin with https://; give the AWS access portal's URL, such as https://d-1234567890.awsapps.com/start`,
		},
		{
			name: "a password in the URL", config: "[sso-session corp]\nsso_start_url = https://me:pass word@x/start\nsso_region = us-east-1\n", options: profile.Options{SSOSession: "corp"},
			want: `profile: HOME/.aws/config: [sso-session corp]: sso_start_url can't be used: the URL is not a URL such as https://example.com; give the AWS access portal's URL, such as https://d-1234567890.awsapps.com/start`,
		},
		{
			name: "no region's name", config: "[sso-session corp]\nsso_start_url = https://x/start\nsso_region = us-east-1.evil.example/\n", options: profile.Options{SSOSession: "corp"},
			want: `profile: HOME/.aws/config: [sso-session corp]: sso_region = us-east-1.evil.example/ can't be used: it is not the name of a region; give the region of the IAM Identity Center instance, such as us-east-1`,
		},
		{
			name: "in the credentials file", config: "[default]\nsso_start_url = https://x/start\nsso_region = us-east-1\n", credentials: "[default]\nsso_region = US\n",
			want: `profile: HOME/.aws/credentials: [default]: sso_region = US can't be used: it is not the name of a region; give the region of the IAM Identity Center instance, such as us-east-1`,
		},
		{
			name: "URL of the Options", options: profile.Options{StartURL: "ftp://x/start", Region: "us-east-1"},
			want: `profile: Options.StartURL = ftp://x/start can't be used: the URL does not begin with https://; give the AWS access portal's URL, such as https://d-1234567890.awsapps.com/start`,
		},
		{
			name: "region of the Options", options: profile.Options{StartURL: "https://x/start", Region: "moon base"},
			want: `profile: Options.Region = moon base can't be used: it is not the name of a region; give the region of the IAM Identity Center instance, such as us-east-1`,
		},
		{
			name: "no setting", config: "# comment\n[default]\nsso_region us-east-1\n",
			want: `profile: HOME/.aws/config: line 3 is neither a section in brackets nor a setting with =`,
		},
		{
			name: "no section", config: "sso_region = us-east-1\n",
			want: `profile: HOME/.aws/config: line 1 comes before the first section, such as [default]`,
		},
		{
			name: "quotation mark", config: "[default]\nsso_region = \"\n", options: profile.Options{SSOSession: "corp"},
			want: `profile: HOME/.aws/config: line 2 has a quotation mark that is not closed`,
		},
		{
			name: "byte order mark", config: "\ufeff[default]\n",
			want: `profile: HOME/.aws/config: line 1 begins with a byte order mark; save the file without one`,
		},
		{
			name: "UTF-16", config: "\xff\xfe[\x00d\x00]\x00\n\x00",
			want: `profile: HOME/.aws/config: line 1 begins a file that is not UTF-8 text; save it as UTF-8`,
		},
		{
			name: "folder", options: profile.Options{ConfigFile: "HOME"},
			want: `profile: HOME is not a regular file; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files`,
		},
		{
			name: "too large", config: strings.Repeat("# 8 MiB\n", 1<<20) + "#",
			want: `profile: HOME/.aws/config is larger than 8 MiB; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files`,
		},
		{
			name: "other setting", config: "[default]\nsso_start_url = https://x/start\nsso_region = us-east-1\nmax_attempts = many\n",
			want: `profile: HOME/.aws/config: [default]: error fetching config from profile, default, failed to load max_attempts from shared config, invalid value max_attempts=many, expect integer`,
		},
		{
			name: "environment", config: ssoConfig, env: map[string]string{"AWS_USE_FIPS_ENDPOINT": "perhaps"},
			want: `profile: the environment has an invalid value for environment variable, AWS_USE_FIPS_ENDPOINT=perhaps, need true, false`,
		},
		{
			name: "two choices", options: profile.Options{Profile: "dev", SSOSession: "corp"},
			want: `profile: Options name more than one sign-in: set one of Profile, SSOSession and StartURL`,
		},
		{
			name: "no region", options: profile.Options{StartURL: "https://x/start"},
			want: `profile: Options.StartURL needs Region, that of the IAM Identity Center instance, such as us-east-1`,
		},
		{
			name: "region alone", options: profile.Options{Profile: "dev", Region: "us-east-1"},
			want: `profile: Options.Region goes with StartURL; remove it, or set both`,
		},
		{
			name: "not printable", config: "[default]\nsso_session = \x1b[2Jc\n",
			want: `profile: HOME/.aws/config: [default] has sso_session = ?[2Jc, but there is no [sso-session ?[2Jc]: add that section, with sso_start_url and sso_region`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := newHome(t, test.config)
			t.Setenv("AWS_SHARED_CREDENTIALS_FILE", write(t, filepath.Join(home, ".aws", "credentials"), test.credentials))
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			test.options.ConfigFile = filepath.FromSlash(strings.ReplaceAll(test.options.ConfigFile, "HOME", home))
			_, err := profile.Load(t.Context(), test.options)
			if err == nil {
				t.Fatal("no error")
			}
			if got := filepath.ToSlash(strings.ReplaceAll(err.Error(), home, "HOME")); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if !errors.Is(err, awsoidc.ErrConfig) {
				t.Error("the error does not wrap awsoidc.ErrConfig")
			}
			for _, kind := range []error{profile.ErrNoProfile, profile.ErrNoSSO} {
				if errors.Is(err, kind) != (kind == test.kind) {
					t.Errorf("wraps %v: %v", kind, errors.Is(err, kind))
				}
			}
			if src, err := profile.Open(context.Background(), test.options); err == nil {
				src.Close()
				t.Error("Open accepts it")
			}
		})
	}
}
