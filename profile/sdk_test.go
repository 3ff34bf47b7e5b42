package profile_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/logincreds"
	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/smithy-go/auth/bearer"
	"github.com/aws/smithy-go/logging"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
)

type option = func(*config.LoadOptions) error

// kind names the type of a provider, below its cache.
func kind(p aws.CredentialsProvider) string {
	for name, target := range map[string]aws.CredentialsProvider{
		"static":       credentials.StaticCredentialsProvider{},
		"web identity": (*stscreds.WebIdentityRoleProvider)(nil),
		"assume role":  (*stscreds.AssumeRoleProvider)(nil),
		"container":    (*endpointcreds.Provider)(nil),
		"process":      (*processcreds.Provider)(nil),
		"instance":     (*ec2rolecreds.Provider)(nil),
		"login":        (*logincreds.Provider)(nil),
		"anonymous":    aws.AnonymousCredentials{},
		"SDK's SSO":    (*ssocreds.Provider)(nil),
		"our SSO":      (*awsoidc.RoleCredentials)(nil),
	} {
		if aws.IsCredentialsProvider(p, target) {
			return name
		}
	}
	return "unknown"
}

const mixedConfig = ssoConfig + `
[profile process]
credential_process = /bin/false

[profile login]
login_session = arn:aws:iam::123456789012:user/me

[profile web]
role_arn = arn:aws:iam::111111111111:role/Web
web_identity_token_file = /nowhere/token

[profile instance]
role_arn = arn:aws:iam::111111111111:role/Instance
credential_source = Ec2InstanceMetadata

[profile keychain]
role_arn = arn:aws:iam::111111111111:role/Keys
source_profile = keys

[profile keys-over-sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly
aws_access_key_id = AKIDPROFILE
aws_secret_access_key = SECRETPROFILE

[profile process-and-sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly
credential_process = /bin/false

[profile keys-chain-over-sso]
role_arn = arn:aws:iam::111111111111:role/One
source_profile = keys-over-sso

[profile role-and-sso]
role_arn = arn:aws:iam::111111111111:role/One
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly

[profile self]
role_arn = arn:aws:iam::111111111111:role/One
source_profile = self
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly

[profile broken]
sso_session = absent

[profile empty]
`

// In every environment the provider is the SDK's choice, except that SSO is
// ours, and the rest of the config is the SDK's.
func TestLoadDefaultConfigChoosesAsTheSDK(t *testing.T) {
	home := newHome(t, mixedConfig)
	tokenFile := write(t, filepath.Join(home, "web-identity"), "header.payload.signature")
	environments := map[string]map[string]string{
		"nothing":      {},
		"keys":         {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "SECRETENV", "AWS_SESSION_TOKEN": "TOKENENV"},
		"half keys":    {"AWS_ACCESS_KEY_ID": "AKIDENV"},
		"EKS IRSA":     {"AWS_WEB_IDENTITY_TOKEN_FILE": tokenFile, "AWS_ROLE_ARN": "arn:aws:iam::111111111111:role/Pod", "AWS_REGION": "us-east-2"},
		"IRSA broken":  {"AWS_WEB_IDENTITY_TOKEN_FILE": tokenFile},
		"ECS":          {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x", "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"},
		"EKS identity": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": tokenFile},
		"Lambda": {"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "SECRETENV",
			"AWS_SESSION_TOKEN": "TOKENENV", "AWS_REGION": "ap-south-1"},
		"bad setting": {"AWS_MAX_ATTEMPTS": "many"},
		"bad bundle":  {"AWS_CA_BUNDLE": home + "/none.pem"},
	}
	options := map[string][]option{
		"no options":         nil,
		"explicit keys":      {config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("AKIDOPTION", "SECRET", ""))},
		"explicit SSO":       {config.WithCredentialsProvider(ssocreds.New(nil, "123456789012", "ReadOnly", "https://x/start"))},
		"anonymous":          {config.WithCredentialsProvider(aws.AnonymousCredentials{})},
		"explicit bearer":    {config.WithBearerAuthTokenProvider(bearer.StaticTokenProvider{Token: bearer.Token{Value: "explicit"}})},
		"dev":                {config.WithSharedConfigProfile("dev"), config.WithRegion("sa-east-1")},
		"other option fails": {func(*config.LoadOptions) error { return errRefused }},
	}
	profiles := []string{"", "default", "dev", "token", "legacy", "chain", "keys", "process", "login", "web", "instance", "keychain",
		"keys-over-sso", "process-and-sso", "keys-chain-over-sso", "role-and-sso", "self", "broken", "empty", "absent"}
	seen := map[string]int{}
	for envName, env := range environments {
		for _, name := range profiles {
			for optionName, opts := range options {
				t.Run(strings.Join([]string{envName, name, optionName}, "/"), func(t *testing.T) {
					for name, value := range env {
						t.Setenv(name, value)
					}
					if name != "" {
						t.Setenv("AWS_PROFILE", name)
					}
					seen[sameChoice(t, opts)]++
				})
			}
		}
	}
	for _, name := range []string{"static", "web identity", "assume role", "container", "process", "instance", "login", "our SSO", "error"} {
		if seen[name] == 0 {
			t.Errorf("no case led to %s", name)
		}
	}
}

func sameChoice(t *testing.T, opts []option) string {
	t.Helper()
	theirs, theirErr := config.LoadDefaultConfig(t.Context(), opts...)
	ours, ourErr := profile.LoadDefaultConfig(t.Context(), opts...)
	if (theirErr == nil) != (ourErr == nil) {
		t.Fatalf("the SDK's error is %v, ours %v", theirErr, ourErr)
	}
	if theirErr != nil {
		if !errors.Is(ourErr, awsoidc.ErrConfig) && ourErr.Error() != theirErr.Error() {
			t.Errorf("the SDK's error is %v, ours %v", theirErr, ourErr)
		}
		return "error"
	}
	want := kind(theirs.Credentials)
	if want == "SDK's SSO" && resolve(opts).Credentials == nil {
		want = "our SSO"
		if kind(ours.Credentials) == "unknown" { // a profile without account and role
			if _, err := ours.Credentials.Retrieve(t.Context()); !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), "has no sso_account_id") {
				t.Errorf("the provider's error is %v", err)
			}
			want = "unknown"
		}
	}
	if got := kind(ours.Credentials); got != want {
		t.Errorf("credentials are from %s, want %s", got, want)
	}
	if want == "static" {
		a, _ := theirs.Credentials.Retrieve(t.Context())
		b, _ := ours.Credentials.Retrieve(t.Context())
		if a != b {
			t.Error("the keys are others than the SDK's")
		}
	}
	if (ours.BearerAuthTokenProvider == nil) != (theirs.BearerAuthTokenProvider == nil) {
		t.Errorf("bearer provider is %T, the SDK's %T", ours.BearerAuthTokenProvider, theirs.BearerAuthTokenProvider)
	}
	if o := resolve(opts); o.BearerAuthTokenProvider != nil {
		if token, err := ours.BearerAuthTokenProvider.RetrieveBearerToken(t.Context()); err != nil || token.Value != "explicit" {
			t.Errorf("the caller's bearer provider was replaced: %v", err)
		}
	}
	if ours.Region != theirs.Region || aws.ToString(ours.BaseEndpoint) != aws.ToString(theirs.BaseEndpoint) || len(ours.ConfigSources) != len(theirs.ConfigSources) {
		t.Error("the config differs elsewhere")
	}
	return want
}

func resolve(opts []option) (o config.LoadOptions) {
	for _, fn := range opts {
		fn(&o)
	}
	return o
}

func TestLoadDefaultConfigErrors(t *testing.T) {
	for _, test := range []struct {
		config string
		opts   []option
		kind   error
		want   string
	}{
		{ssoConfig, []option{config.WithSharedConfigProfile("dve")}, profile.ErrNoProfile, `profile: there is no profile "dve" in HOME/.aws/config; did you mean "dev"?`},
		{"[profile top]\nrole_arn = arn:aws:iam::111111111111:role/One\nsource_profile = dve\n[profile dev]\n", []option{config.WithSharedConfigProfile("top")}, profile.ErrNoProfile,
			`profile: there is no profile "dve", the source_profile in HOME/.aws/config: [profile top], in HOME/.aws/config; did you mean "dev"?`},
		{"[profile top]\nrole_arn = arn:aws:iam::111111111111:role/One\nsource_profile = dev\n[profile dev]\nsso_session = corp\n", []option{config.WithSharedConfigProfile("top")}, nil,
			`profile: HOME/.aws/config: [profile dev] has sso_session = corp, but there is no [sso-session corp]: add that section, with sso_start_url and sso_region`},
		{"[default]\nsso_start_url = https://x/start\nsso_region = us-east-1\nsso_account_id = 123456789012\n", nil, nil,
			`profile: HOME/.aws/config: [default] has no sso_role_name: add the name of the permission set, or run "aws configure sso"`},
		{"[default]\nregion = x\n[profile dev\nsso_session = corp\n", []option{config.WithSharedConfigProfile("dev")}, nil,
			`profile: HOME/.aws/config: line 3 begins a section that is not closed with ]`},
		{"[default]\nregion = \"\n", nil, nil,
			`profile: HOME/.aws/config: line 2 has a quotation mark that is not closed`},
		{ssoConfig, []option{config.WithSharedConfigProfile("dev"), config.WithSSOProviderOptions(func(*ssocreds.Options) {})}, nil,
			`profile: config.WithSSOProviderOptions and config.WithSSOTokenProviderOptions do not apply to this sign-in: remove them, or use config.LoadDefaultConfig`},
	} {
		home := newHome(t, test.config)
		_, err := profile.LoadDefaultConfig(t.Context(), test.opts...)
		if err == nil {
			t.Errorf("no error, want %s", test.want)
			continue
		}
		if got := filepath.ToSlash(strings.ReplaceAll(err.Error(), home, "HOME")); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
		if !errors.Is(err, awsoidc.ErrConfig) || test.kind != nil && !errors.Is(err, test.kind) {
			t.Errorf("%v does not wrap awsoidc.ErrConfig and %v", err, test.kind)
		}
		var absent config.SharedConfigProfileNotExistError
		if test.kind == profile.ErrNoProfile && !errors.As(err, &absent) {
			t.Errorf("%v does not wrap the SDK's error", err)
		}
	}
}

// What the SDK would notice only in use does not keep the config from loading.
func TestLoadDefaultConfigDefersErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"dev", nil, "run aws sso login --profile dev"},
		{"chain", nil, "run aws sso login --profile dev"},
		{"token", nil, "[profile token] has no sso_account_id"},
		{"web", nil, "config: [sso-session web]: sso_start_url = http://10.1.1.1/start can't be used: the URL is http on 10.1.1.1"},
		{"dev", map[string]string{"AWS_ENDPOINT_URL_SSO_OIDC": "http://10.0.0.1"}, "AWS_ENDPOINT_URL_SSO_OIDC: the endpoint is http on 10.0.0.1"},
	} {
		t.Run(test.want, func(t *testing.T) {
			newHome(t, ssoConfig+`
[sso-session web]
sso_start_url = http://10.1.1.1/start
sso_region = us-east-1
[profile web]
sso_session = web
sso_account_id = 123456789012
sso_role_name = ReadOnly
region = us-east-1
`)
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile(test.name))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cfg.Credentials.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}

	// Keys of the environment need no sso-session that is complete.
	newHome(t, "[default]\nsso_session = corp\n[sso-session corp]\nsso_region = us-east-1\n")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "SECRETENV")
	cfg, err := profile.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := cfg.Credentials.Retrieve(t.Context()); err != nil || c.AccessKeyID != "AKIDENV" {
		t.Errorf("got %q, %v", c.AccessKeyID, err)
	}
	if _, err := cfg.BearerAuthTokenProvider.RetrieveBearerToken(t.Context()); err == nil || !strings.Contains(err.Error(), "[sso-session corp] has no sso_start_url") {
		t.Errorf("got %v", err)
	}
}

// Nothing is sent while the config is loaded, session or not.
func TestLoadDefaultConfigSendsNothing(t *testing.T) {
	home := newHome(t, ssoConfig)
	s := serve(t)
	saveSession(t, home, "corp", s, "https://d-1234567890.awsapps.com/start")
	for _, name := range []string{"dev", "legacy", "chain", "token"} {
		if _, err := profile.LoadDefaultConfig(context.Background(), config.WithSharedConfigProfile(name)); err != nil {
			t.Error(err)
		}
	}
	if log := s.Log(); len(log) != 0 {
		t.Errorf("got %d requests", len(log))
	}
}

// The caller's logger is told of what no error says; without one nobody is.
func TestLoadDefaultConfigLogsWarnings(t *testing.T) {
	home := newHome(t, ssoConfig)
	s := serve(t)
	session := s.Issue("sso:account:access")
	session.ExpiresAt = time.Now().Add(5 * time.Minute) // due, and still valid
	if err := writeSession(home, "corp", session, "https://d-1234567890.awsapps.com/start"); err != nil {
		t.Fatal(err)
	}
	s.Inject(idctest.CreateTokenRefresh, idctest.Fault{Status: 400, Times: idctest.Always})
	var lines []string
	logger := logging.LoggerFunc(func(c logging.Classification, format string, v ...any) {
		lines = append(lines, string(c)+" "+fmt.Sprintf(format, v...))
	})
	cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile("dev"), config.WithLogger(logger))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Credentials.Retrieve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1 || !strings.HasPrefix(lines[0], `WARN awsoidc: msg="session not refreshed`) || strings.Contains(lines[0], "\n") || strings.Contains(lines[0], session.RefreshToken) {
		t.Errorf("logged %q", lines)
	}
}

// The files named by the options are read, in the SDK's order.
func TestLoadDefaultConfigFiles(t *testing.T) {
	home := newHome(t, "")
	first := write(t, filepath.Join(home, "first"), ssoConfig)
	second := write(t, filepath.Join(home, "second"), "[profile token]\nsso_account_id = 123456789012\nsso_role_name = Second\n")
	cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigFiles([]string{first, second}), config.WithSharedConfigProfile("token"))
	if err != nil {
		t.Fatal(err)
	}
	if got := kind(cfg.Credentials); got != "our SSO" {
		t.Errorf("credentials are from %s", got)
	}
	_, err = profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigFiles([]string{first, second}), config.WithSharedConfigProfile("dve"))
	for _, name := range []string{first, second} {
		if err == nil || !slices.Contains(strings.Fields(strings.NewReplacer(";", " ", ",", " ").Replace(err.Error())), name) {
			t.Errorf("got %v", err)
		}
	}
}
