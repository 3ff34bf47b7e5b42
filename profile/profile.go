package profile

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
)

// Options choose a sign-in of the AWS config file, and say how to go about it.
// The zero value is the profile that the AWS CLI would use.
type Options struct {
	// Profile is the profile's name. "" means AWS_PROFILE, then
	// AWS_DEFAULT_PROFILE, then "default".
	Profile string

	// SSOSession names an [sso-session NAME] to open without any profile; then
	// Profile must be empty, and the environment's profile does not count.
	SSOSession string

	// StartURL and Region describe a sign-in that no file knows: the URL of
	// the AWS access portal and the region of its IAM Identity Center
	// instance. Both are required then, and no file is read. The session is
	// the one of a profile without an sso-session: it is kept under its URL,
	// and has no scopes unless Scopes names some.
	StartURL string
	Region   string

	// Scopes to register the client with, in place of the sso-session's
	// sso_registration_scopes.
	Scopes []string

	// ConfigFile and CredentialsFile are the files to read. "" means
	// AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE, then ~/.aws/config and
	// ~/.aws/credentials. Each may be 8 MiB at most.
	ConfigFile      string
	CredentialsFile string

	// CacheDir is the folder that keeps sessions. "" means ~/.aws/sso/cache,
	// which the AWS CLI and SDKs share.
	CacheDir string

	// Store keeps sessions instead of a folder; CacheDir is then not used.
	Store cache.Store

	// ShareRoles keeps role credentials in a folder, where the AWS CLI keeps its
	// own, so that processes that start one after another do not ask the
	// access portal each for theirs. It is for programs that end soon, such as
	// a credential_process. The folder then holds secrets of AWS in plain
	// text, as it does where the AWS CLI is used. Logout removes those of all
	// profiles that use the session.
	ShareRoles bool

	// RoleCacheDir is that folder. "" means ~/.aws/cli/cache.
	RoleCacheDir string

	// HTTPClient sends all requests; AWS_CA_BUNDLE and ca_bundle are then not
	// used. Redirects are refused whatever the client says. nil means a
	// client of the library's own.
	HTTPClient *http.Client

	// Logger reports refreshes and their failures; nil is silent.
	Logger *slog.Logger

	// Prompt shows a person how to approve a sign-in. Without it Login fails,
	// with an error that wraps awsoidc.ErrNoPrompt.
	Prompt awsoidc.Prompter

	// LoginOnDemand lets whoever asks for a token start a sign-in, as
	// awsoidc.Config.LoginOnDemand does.
	LoginOnDemand bool

	// Grant is how Login signs a person in. The default is awsoidc.GrantAuto.
	Grant awsoidc.Grant

	// RedirectPort is the TCP port that the browser returns to with
	// awsoidc.GrantAuthCode. 0 means any free one.
	RedirectPort int

	// ClientName is what the person who approves is shown. "" means "awsoidc".
	ClientName string

	// LoginHint completes the sentence "to sign in, …" in the error of a
	// caller without a session. "" means the AWS CLI's command for this
	// sign-in, such as "run aws sso login --profile dev".
	LoginHint string

	// NoBackground refreshes in the foreground only, as
	// awsoidc.Config.NoBackground does.
	NoBackground bool
}

// Profile is what the config file and the environment say of one sign-in. A
// field is empty where they say nothing.
type Profile struct {
	Name        string   // of the profile; "" where the Options chose no profile
	SessionName string   // of its sso-session; "" where it has none
	StartURL    string   // of the AWS access portal (sso_start_url)
	SSORegion   string   // of the IAM Identity Center instance (sso_region)
	Scopes      []string // to register the client with (sso_registration_scopes)
	AccountID   string   // whose role credentials are meant (sso_account_id)
	RoleName    string   // of the permission set (sso_role_name)
	Region      string   // in which the profile works (region); never used for the sign-in
	CABundle    string   // file of the only certificates to trust (AWS_CA_BUNDLE, ca_bundle)

	// Endpoints replace those that follow from SSORegion. They come from the
	// variables and settings that the package's documentation lists.
	Endpoints awsoidc.Endpoints

	where string    // to begin an error about the sign-in with
	role  *section  // with the account and role; nil where there can be none
	files *sections // nil where none was read
}

// Load reads the sign-in that the options choose. It reads the environment and
// files, and sends nothing.
//
// Its errors wrap awsoidc.ErrConfig, and ErrNoProfile or ErrNoSSO where they
// apply; they name the file, the section and the key to change.
func Load(ctx context.Context, o Options) (*Profile, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	env, err := config.NewEnvConfig()
	if err != nil {
		return nil, &configError{text: "the environment has an " + oneLine(err), cause: err}
	}
	var p *Profile
	var shared config.SharedConfig
	switch {
	case o.StartURL != "":
		p = &Profile{StartURL: o.StartURL, SSORegion: o.Region, where: "Options"}
	case o.SSOSession != "":
		p, err = loadSession(o, env)
	default:
		p, shared, err = loadProfile(ctx, o, env)
	}
	if err != nil {
		return nil, err
	}
	if o.Scopes != nil {
		p.Scopes = slices.Clone(o.Scopes)
	}
	p.CABundle = cmp.Or(env.CustomCABundle, shared.CustomCABundle)
	p.Endpoints, err = sources{env: env, shared: shared}.endpoints(ctx, p.SSORegion)
	return p, err
}

// Open loads the sign-in that the options choose and returns its token source,
// which the caller must close. It sends nothing and needs no session: whoever
// asks for a token without one gets awsoidc.ErrLoginRequired, and Login makes
// one.
func Open(ctx context.Context, o Options) (*awsoidc.TokenSource, error) {
	p, err := Load(ctx, o)
	if err != nil {
		return nil, err
	}
	return p.open(o)
}

// OpenRole is Open for a profile that names an account and a role
// (sso_account_id, sso_role_name), and returns their credentials too. They are
// in use until the token source is closed.
//
// A profile that assumes a role by role_arn has no role here: see
// LoadDefaultConfig.
func OpenRole(ctx context.Context, o Options) (*awsoidc.TokenSource, *awsoidc.RoleCredentials, error) {
	p, err := Load(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if p.role == nil {
		return nil, nil, badConfig("role credentials need a profile that names %s and %s: set Options.Profile", keyAccount, keyRole)
	}
	if err := checkRole(p.role); err != nil {
		return nil, nil, err
	}
	src, err := p.open(o)
	if err != nil {
		return nil, nil, err
	}
	return src, src.RoleCredentials(p.AccountID, p.RoleName), nil
}

func (o Options) check() error {
	chosen := 0
	for _, s := range []string{o.Profile, o.SSOSession, o.StartURL} {
		if s != "" {
			chosen++
		}
	}
	switch {
	case chosen > 1:
		return badConfig("Options name more than one sign-in: set one of Profile, SSOSession and StartURL")
	case o.StartURL != "" && o.Region == "":
		return badConfig("Options.StartURL needs Region, that of the IAM Identity Center instance, such as us-east-1")
	case o.StartURL == "" && o.Region != "":
		return badConfig("Options.Region goes with StartURL; remove it, or set both")
	case o.RedirectPort < 0 || o.RedirectPort > 65535:
		return badConfig("Options.RedirectPort = %d can't be used: give a port between 1 and 65535, or 0 for any free one", o.RedirectPort)
	case o.StartURL == "":
		return nil
	}
	if err := checkValue("Options.StartURL", keyStartURL, o.StartURL); err != nil {
		return err
	}
	return checkValue("Options.Region", keyRegion, o.Region)
}

// read reads the files strictly.
func (o Options) read(env config.EnvConfig) (*sections, error) {
	files, err := readSections(
		[]string{cmp.Or(o.ConfigFile, env.SharedConfigFile, config.DefaultSharedConfigFilename())},
		[]string{cmp.Or(o.CredentialsFile, env.SharedCredentialsFile, config.DefaultSharedCredentialsFilename())},
	)
	if err != nil {
		return nil, &configError{text: oneLine(err) + "; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files", cause: err}
	}
	return files, files.checkSyntax()
}

func loadSession(o Options, env config.EnvConfig) (*Profile, error) {
	files, err := o.read(env)
	if err != nil {
		return nil, err
	}
	sec, err := files.findSession(o.SSOSession)
	if err != nil {
		return nil, err
	}
	if err := sec.require(keyStartURL, keyRegion); err != nil {
		return nil, err
	}
	return &Profile{
		SessionName: o.SSOSession,
		StartURL:    sec.values[keyStartURL],
		SSORegion:   sec.values[keyRegion],
		Scopes:      sec.scopes(),
		where:       sec.String(),
		files:       files,
	}, nil
}

func loadProfile(ctx context.Context, o Options, env config.EnvConfig) (*Profile, config.SharedConfig, error) {
	var none config.SharedConfig
	files, err := o.read(env)
	if err != nil {
		return nil, none, err
	}
	name, from := o.Profile, ""
	if name == "" && env.SharedConfigProfile != "" {
		name, from = env.SharedConfigProfile, ", which AWS_PROFILE or AWS_DEFAULT_PROFILE names,"
	}
	name = cmp.Or(name, config.DefaultSharedConfigProfile)
	sec, err := files.findProfile(name, from)
	if err != nil {
		return nil, none, err
	}
	if err := files.checkSSO(sec); err != nil {
		return nil, none, err
	}
	shared, err := config.LoadSharedConfigProfile(ctx, name, func(l *config.LoadSharedConfigOptions) {
		l.ConfigFiles, l.CredentialsFiles = files.config, files.credentials
	})
	if err != nil {
		return nil, none, &configError{text: sec.String() + ": " + oneLine(err), cause: err}
	}
	return fromShared(&shared, files), shared, nil
}

// fromShared returns what the SDK has read of a profile with SSO settings.
func fromShared(shared *config.SharedConfig, files *sections) *Profile {
	p := &Profile{
		Name:      shared.Profile,
		StartURL:  shared.SSOStartURL,
		SSORegion: shared.SSORegion,
		AccountID: shared.SSOAccountID,
		RoleName:  shared.SSORoleName,
		Region:    shared.Region,
		where:     "[profile " + printable(shared.Profile) + "]",
		role:      files.byName[shared.Profile],
		files:     files,
	}
	if p.role != nil {
		p.where = p.role.String()
	}
	if session := shared.SSOSession; session != nil {
		p.SessionName, p.StartURL, p.SSORegion = session.Name, session.SSOStartURL, session.SSORegion
		if sec := files.session(session.Name); sec != nil {
			p.Scopes = sec.scopes()
			p.where = sec.String()
		}
	}
	return p
}

func (p *Profile) open(o Options) (*awsoidc.TokenSource, error) {
	client := o.HTTPClient
	if client == nil && p.CABundle != "" {
		var err error
		if client, err = trusting(p.CABundle); err != nil {
			return nil, err
		}
	}
	store := o.Store
	if store == nil {
		dir, err := openDir(o.CacheDir, "sso")
		if err != nil {
			return nil, err
		}
		store = dir
	}
	var roles cache.Store
	if o.ShareRoles {
		dir, err := openDir(o.RoleCacheDir, "cli")
		if err != nil {
			return nil, err
		}
		roles = dir
	}
	hint := o.LoginHint
	switch {
	case hint != "":
	case p.Name != "":
		hint = loginHint("--profile", p.Name)
	case p.SessionName != "":
		hint = loginHint("--sso-session", p.SessionName)
	}
	src, err := awsoidc.New(awsoidc.Config{
		StartURL:      p.StartURL,
		Region:        p.SSORegion,
		SessionName:   p.SessionName,
		Scopes:        p.Scopes,
		Grant:         o.Grant,
		RedirectPort:  o.RedirectPort,
		Prompt:        o.Prompt,
		LoginOnDemand: o.LoginOnDemand,
		Store:         store,
		RoleStore:     roles,
		Endpoints:     p.Endpoints,
		HTTPClient:    client,
		Logger:        o.Logger,
		ClientName:    o.ClientName,
		LoginHint:     hint,
		NoBackground:  o.NoBackground,
	})
	if err != nil {
		return nil, &configError{text: p.where + ": " + oneLine(err), cause: err}
	}
	if o.ShareRoles && p.files != nil {
		for _, sec := range p.files.using(p) {
			src.RoleCredentials(sec.values[keyAccount], sec.values[keyRole]) // known to Logout by that
		}
	}
	return src, nil
}

// openDir opens a cache folder; "" means the one of that name that the AWS CLI
// and SDKs share, beside the default config file.
func openDir(path, name string) (*cache.Dir, error) {
	if path == "" {
		home := filepath.Dir(config.DefaultSharedConfigFilename())
		if !filepath.IsAbs(home) {
			return nil, badConfig("there is no home folder to keep sessions in: set HOME, or Options.CacheDir and RoleCacheDir")
		}
		path = filepath.Join(home, name, "cache")
	}
	return cache.NewDir(path)
}
