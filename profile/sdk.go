package profile

import (
	"bytes"
	"cmp"
	"context"
	"crypto/fips140"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/auth/bearer"
	"github.com/aws/smithy-go/logging"

	"github.com/awsoidc/awsoidc"
)

// LoadDefaultConfig is config.LoadDefaultConfig of the AWS SDK for Go, with the
// same options and the same precedence, except that where the SDK chose SSO,
// the sign-in is this library's:
//
//   - Credentials of a profile with SSO settings are awsoidc.RoleCredentials.
//   - Those of a profile with role_arn whose source_profile ends at such a
//     profile assume each role of the chain on top of them.
//   - BearerAuthTokenProvider of a profile with sso_session is an
//     awsoidc.TokenSource, the same where the credentials use that session.
//
// The caller's caches, assume-role options and HTTP client apply, and its
// logger (config.WithLogger) is told of warnings, such as a session that could
// not be saved, in lines that begin with "awsoidc: "; its middleware, retryers and endpoint resolvers do not apply to the sign-in.
// WithSSOProviderOptions and WithSSOTokenProviderOptions, which shape the SDK's
// own sign-in, are errors where the sign-in is this library's.
//
// It sends nothing unless the options tell the SDK to, and needs no session. It
// fails where the SDK does; what the SDK reports only when credentials or a
// token are asked for is reported then, such as a missing sso_role_name or
// awsoidc.ErrLoginRequired.
//
// The token sources live as long as the process. That they are not closed
// costs at most a refresh that the end of the process interrupts; a program
// that would rather wait for it uses OpenRole and
// config.WithCredentialsProvider.
func LoadDefaultConfig(ctx context.Context, optFns ...func(*config.LoadOptions) error) (aws.Config, error) {
	var options config.LoadOptions
	for _, fn := range optFns {
		if err := fn(&options); err != nil {
			return aws.Config{}, err
		}
	}
	cfg, err := loadSDK(ctx, options)
	if err != nil {
		return aws.Config{}, explain(options, err)
	}
	l := newLoader(&cfg)
	chain, sso := l.credentialsChain()
	session := options.BearerAuthTokenProvider == nil && l.from.shared.SSOSession != nil
	if !sso && !session {
		return cfg, nil
	}
	if options.SSOProviderOptions != nil || options.SSOTokenProviderOptions != nil {
		return aws.Config{}, badConfig("config.WithSSOProviderOptions and config.WithSSOTokenProviderOptions do not apply to this sign-in: remove them, or use config.LoadDefaultConfig")
	}
	l.readFiles()
	if sso {
		l.replaceCredentials(ctx, chain)
	}
	if session {
		l.replaceBearer(ctx)
	}
	return cfg, nil
}

// loadSDK calls the SDK, which names its cache files by SHA-1 even where it
// reads none: that must not fail in a FIPS 140-3 process. A quotation mark that
// stands alone makes the SDK panic.
func loadSDK(ctx context.Context, options config.LoadOptions) (cfg aws.Config, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = badConfig("the AWS SDK can't read the config or credentials file: %v", r)
		}
	}()
	fips140.WithoutEnforcement(func() {
		cfg, err = config.LoadDefaultConfig(ctx, func(o *config.LoadOptions) error {
			*o = options
			return nil
		})
	})
	return cfg, err
}

// explain returns an error that says more than the SDK's, where that is about
// a profile or its SSO settings; otherwise the SDK's.
func explain(options config.LoadOptions, err error) error {
	var absent config.SharedConfigProfileNotExistError
	panicked := errors.Is(err, awsoidc.ErrConfig)
	if !panicked && !errors.As(err, &absent) && !strings.Contains(strings.ToLower(err.Error()), "sso") {
		return err
	}
	env, envErr := config.NewEnvConfig()
	if envErr != nil {
		return err
	}
	files, _ := readSections(fileNames(options, env))
	found := files.checkChain(cmp.Or(options.SharedConfigProfile, env.SharedConfigProfile, config.DefaultSharedConfigProfile))
	if flaw := files.checkSyntax(); flaw != nil && (found != nil || panicked) {
		found = flaw // it may be why something is missing
	}
	var better *configError
	if !errors.As(found, &better) {
		return err
	}
	return &configError{text: better.text, kind: better.kind, cause: err}
}

// fileNames returns what the SDK reads.
func fileNames(o config.LoadOptions, env config.EnvConfig) (configs, credentials []string) {
	name := func(option []string, variable string, fallback []string) []string {
		switch {
		case option != nil:
			return option
		case variable != "":
			return []string{variable}
		}
		return fallback
	}
	return name(o.SharedConfigFiles, env.SharedConfigFile, config.DefaultSharedConfigFiles),
		name(o.SharedCredentialsFiles, env.SharedCredentialsFile, config.DefaultSharedCredentialsFiles)
}

// loader puts this library's sign-in in the place of the SDK's.
type loader struct {
	cfg    *aws.Config
	from   sources
	files  *sections
	client *http.Client
	open   map[string]*awsoidc.TokenSource
}

// newLoader takes from the config what the SDK has read.
func newLoader(cfg *aws.Config) *loader {
	return &loader{cfg: cfg, from: sourcesOf(*cfg), open: map[string]*awsoidc.TokenSource{}}
}

// credentialsChain returns the profiles that the SDK took credentials from, the
// source first, and whether the source is SSO.
func (l *loader) credentialsChain() ([]*config.SharedConfig, bool) {
	var chain []*config.SharedConfig
	for p := &l.from.shared; p != nil; p = p.Source {
		chain = append(chain, p)
	}
	slices.Reverse(chain)
	source := chain[0]
	switch {
	case l.from.options.Credentials != nil:
		return nil, false
	case aws.IsCredentialsProvider(l.cfg.Credentials, (*ssocreds.Provider)(nil)):
		return chain, true
	case aws.IsCredentialsProvider(l.cfg.Credentials, (*stscreds.AssumeRoleProvider)(nil)):
		other := source.Credentials.HasKeys() || source.CredentialSource != "" || source.WebIdentityTokenFile != ""
		legacy := source.SSORegion + source.SSOAccountID + source.SSOStartURL + source.SSORoleName
		return chain, !other && source.SSOSessionName+legacy != ""
	}
	return nil, false
}

// readFiles reads what the SDK does not keep: scopes, and where settings stand.
// The SDK has read the files, so that a failure leaves them out.
func (l *loader) readFiles() {
	l.files, _ = readSections(fileNames(l.from.options, l.from.env))
	l.client = httpClient(l.cfg.HTTPClient)
}

func (l *loader) replaceCredentials(ctx context.Context, chain []*config.SharedConfig) {
	provider := l.roleCredentials(ctx, chain[0])
	used := []aws.CredentialSource{aws.CredentialSourceSSO, aws.CredentialSourceProfileSSO}
	if chain[0].SSOSession == nil {
		used = []aws.CredentialSource{aws.CredentialSourceProfileSSOLegacy, aws.CredentialSourceSSOLegacy}
	}
	for range chain[1:] {
		used = slices.Insert(used, 0, aws.CredentialSourceProfileSourceProfile)
	}
	for _, p := range chain {
		if p.RoleARN != "" {
			provider = l.assumeRole(provider, p, used)
		}
	}
	l.cfg.Credentials = aws.NewCredentialsCache(provider, func(o *aws.CredentialsCacheOptions) {
		if fn := l.from.options.CredentialsCacheOptions; fn != nil {
			fn(o)
		}
	})
}

func (l *loader) roleCredentials(ctx context.Context, p *config.SharedConfig) aws.CredentialsProvider {
	src, signIn, err := l.source(ctx, p)
	if err == nil && signIn.role != nil {
		err = checkRole(signIn.role)
	}
	if err != nil {
		return unavailable{err}
	}
	return src.RoleCredentials(signIn.AccountID, signIn.RoleName)
}

// assumeRole returns the credentials of one link of a chain, as the SDK does,
// but with AWS_ENDPOINT_URL in force: who gives it for SSO means STS too.
func (l *loader) assumeRole(source aws.CredentialsProvider, p *config.SharedConfig, used []aws.CredentialSource) aws.CredentialsProvider {
	cfg := l.cfg.Copy()
	cfg.Credentials = source
	return stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), p.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = p.RoleSessionName
		if d := p.RoleDurationSeconds; d != nil && *d/time.Minute > 15 { // 15 min is the default
			o.Duration = *d
		}
		if p.ExternalID != "" {
			o.ExternalID = &p.ExternalID
		}
		if p.MFASerial != "" {
			o.SerialNumber = &p.MFASerial
		}
		o.CredentialSources = slices.Clip(used)
		if fn := l.from.options.AssumeRoleCredentialOptions; fn != nil {
			fn(o)
		}
	})
}

func (l *loader) replaceBearer(ctx context.Context) {
	var provider bearer.TokenProvider
	src, _, err := l.source(ctx, &l.from.shared)
	if provider = src; err != nil {
		provider = unavailable{err}
	}
	l.cfg.BearerAuthTokenProvider = bearer.NewTokenCache(provider, func(o *bearer.TokenCacheOptions) {
		o.RefreshBeforeExpires = 5 * time.Minute // the SDK's own choice, as is the next
		o.RetrieveBearerTokenTimeout = 30 * time.Second
		if fn := l.from.options.BearerAuthTokenCacheOptions; fn != nil {
			fn(o)
		}
	})
}

// source opens the sign-in of a profile, once for each session.
func (l *loader) source(ctx context.Context, shared *config.SharedConfig) (*awsoidc.TokenSource, *Profile, error) {
	p := fromShared(shared, l.files)
	if sec := p.role; sec != nil {
		if err := l.files.checkSSO(sec); err != nil {
			return nil, nil, err
		}
	}
	if src, ok := l.open[p.SessionName+"\n"+p.StartURL]; ok {
		return src, p, nil
	}
	var err error
	if p.Endpoints, err = l.from.endpoints(ctx, p.SSORegion); err != nil {
		return nil, nil, err
	}
	src, err := p.open(Options{HTTPClient: l.client, Logger: warnings(l.from.options.Logger)})
	if err != nil {
		return nil, nil, err
	}
	l.open[p.SessionName+"\n"+p.StartURL] = src
	return src, p, nil
}

// warnings returns a logger of warnings for a caller with one of the SDK's
// kind. Nil stays nil: the SDK's default, which prints, is not the caller's.
func warnings(to logging.Logger) *slog.Logger {
	if to == nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(sdkLog{to}, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{} // the SDK's loggers add them
			}
			return a
		},
	}))
}

// sdkLog passes each line on as a warning.
type sdkLog struct{ logging.Logger }

func (l sdkLog) Write(line []byte) (int, error) {
	l.Logf(logging.Warn, "awsoidc: %s", bytes.TrimSuffix(line, []byte("\n")))
	return len(line), nil
}

// unavailable reports what is wrong with a sign-in to whoever wants to use it.
type unavailable struct{ err error }

func (u unavailable) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, u.err
}

func (u unavailable) RetrieveBearerToken(context.Context) (bearer.Token, error) {
	return bearer.Token{}, u.err
}
