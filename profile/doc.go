// Package profile signs a program in by what the AWS config file says, as the
// AWS CLI and SDKs do, and shares their sessions. It is the only package of the
// module that reads the environment and config files.
//
//	src, err := profile.Open(ctx, profile.Options{Profile: "dev"})            // a token source
//	src, creds, err := profile.OpenRole(ctx, profile.Options{Profile: "dev"}) // and role credentials
//	cfg, err := profile.LoadDefaultConfig(ctx)                                // a whole aws.Config
//
// [Open] and [OpenRole] are for programs that sign in, or that are about SSO
// anyway. [LoadDefaultConfig] is for programs that take whatever credentials
// the environment has: it stands in for config.LoadDefaultConfig, and only a
// profile with SSO settings is treated differently. [Load] reads the settings
// and does nothing with them.
//
// None of them sends anything or needs a session. Without one, whoever asks for
// a token or for credentials gets an error that wraps awsoidc.ErrLoginRequired
// and names the command that signs in.
//
// # Settings
//
// A sign-in is described by an sso-session that profiles refer to, or in a
// profile itself. A session of the latter kind has no scopes and can't be
// refreshed.
//
//	[sso-session corp]
//	sso_start_url = https://d-1234567890.awsapps.com/start
//	sso_region = us-east-1
//	sso_registration_scopes = sso:account:access
//
//	[profile dev]
//	sso_session = corp
//	sso_account_id = 123456789012
//	sso_role_name = ReadOnly
//	region = eu-west-1
//
// The sign-in always takes place in sso_region. The session is kept in
// ~/.aws/sso/cache under the sso-session's name, or the start URL where there is
// no sso-session, as the AWS CLI keeps it: "aws sso login" and Login serve each
// other.
//
// A start URL under a domain of one's own redirects to the AWS access portal:
// Login asks it where, by https, and names that to the service. The session is
// kept under the URL that was configured.
//
// With [Options].ShareRoles, role credentials are kept in ~/.aws/cli/cache as
// the AWS CLI keeps its own, for processes that start one after another.
//
// # Environment
//
//	AWS_PROFILE, AWS_DEFAULT_PROFILE              the profile
//	AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE  the files
//	AWS_ENDPOINT_URL_SSO_OIDC                     endpoint of the sign-in
//	AWS_ENDPOINT_URL_SSO                          endpoint of the access portal
//	AWS_ENDPOINT_URL                              endpoint of both
//	AWS_IGNORE_CONFIGURED_ENDPOINT_URLS           "true" ignores these, and those of the config file
//	AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT
//	AWS_CA_BUNDLE                                 the only certificates to trust, as a PEM file
//
// A profile has the same settings: services (with endpoint_url below sso_oidc
// or sso), endpoint_url, ignore_configured_endpoint_urls, use_fips_endpoint,
// use_dualstack_endpoint, ca_bundle. The environment goes before the profile,
// and within each a service's own endpoint before the common one. Endpoints
// must be https, or http on a loopback address. An sso-session that is opened
// without a profile has the environment's alone.
//
// The SDK for Go does not send its sign-in, nor the roles it assumes from a
// profile, to AWS_ENDPOINT_URL or endpoint_url; the AWS CLI and this package do.
// A program that means another service alone by it, such as S3, is better
// served by that service's variable, AWS_ENDPOINT_URL_S3.
//
// # Differences from the SDK's reading of a file
//
// The files are read as the SDK for Go reads them. [Load], [Open] and
// [OpenRole] also refuse a file with a line that is neither a section, a
// setting nor a comment, as the AWS CLI does: the SDK ignores such lines, and a
// mistyped "[profile dev" gives its settings to the profile before.
package profile
