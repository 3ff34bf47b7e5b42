package awsoidc

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

// Config describes one sign-in to IAM Identity Center. StartURL and Region are
// required; the zero value of every other field is a usable default.
type Config struct {
	// StartURL is the AWS access portal's URL, such as
	// "https://d-1234567890.awsapps.com/start". One under a domain of one's
	// own must redirect there, which Login asks it; it stays the name of the
	// session.
	StartURL string

	// Region is the one that holds the Identity Center instance, such as
	// "us-east-1"; not the region that the program works in.
	Region string

	// SessionName names the sso-session of the AWS config file. Programs that
	// use the same name and Store share one sign-in. "" keys the session by
	// its start URL, as the AWS CLI's legacy profiles do.
	SessionName string

	// Scopes to register the client with. nil means "sso:account:access"
	// where SessionName is set, and no scopes otherwise. A session without
	// scopes can't be refreshed: the service issues it no refresh token.
	// GrantAuthCode always has scopes, "sso:account:access" where none are
	// given.
	Scopes []string

	// Grant is how Login signs a person in. The default is GrantAuto.
	Grant Grant

	// RedirectPort is the TCP port on 127.0.0.1 that the browser returns to
	// with GrantAuthCode, where one must be known beforehand, such as for a
	// port that is forwarded. 0 means any free one. Where 127.0.0.1 can't be
	// had at all it is a port on ::1.
	RedirectPort int

	// Prompt shows the person how to approve a sign-in. Without it Login
	// fails, with an error that wraps ErrNoPrompt.
	Prompt Prompter

	// LoginOnDemand lets Token and its relatives sign a person in where they
	// would otherwise fail with ErrLoginRequired. Whoever waits for the token
	// then waits for the person. By default only Login does that.
	LoginOnDemand bool

	// Store keeps the session, and shares it with other processes. nil keeps
	// it in this TokenSource's memory. Use a *cache.Dir for what the AWS CLI
	// and SDKs share.
	Store cache.Store

	// RoleStore keeps role credentials, secrets of AWS in plain text, so that
	// processes that start one after another do not ask the portal each for
	// its own. They are used only with the access token that they were
	// obtained with, or where the AWS CLI has written both them and the
	// session. nil keeps them in memory. Use a *cache.Dir of ~/.aws/cli/cache
	// for what the AWS CLI keeps there.
	RoleStore cache.Store

	// Namespace separates tenants who share a Store. A *cache.Dir has no
	// namespaces: there the AWS CLI's own names are used.
	Namespace string

	// Endpoints replace those that follow from Region.
	Endpoints Endpoints

	// HTTPClient sends all requests. nil means one with
	// http.DefaultTransport. Redirects are refused whatever the client says.
	HTTPClient *http.Client

	// Logger reports refreshes, their failures, and a store that can't be
	// used. nil is silent. No secret is ever logged.
	Logger *slog.Logger

	// ClientName is registered with the service, which shows it to the person
	// who approves. The default is "awsoidc".
	ClientName string

	// LoginHint completes the sentence "to sign in, …" in the error of a
	// caller without a session, such as "run aws sso login --profile dev".
	LoginHint string

	// NoBackground makes a token that is due be refreshed by its next user,
	// who waits up to 5 s for it, instead of by a goroutine. For processes
	// that are frozen between calls, or that must not outlive their last one.
	NoBackground bool

	// Now is the wall clock; nil means time.Now. The monotonic clock is
	// always the runtime's.
	Now func() time.Time
}

// Endpoints are base URLs without a path. "" follows from the region. They
// must be https, or http on a loopback address.
type Endpoints struct {
	OIDC   string // of the SSO OIDC service
	Portal string // of the AWS access portal (the SDK's service "sso")
}

// Grant is a way for a person to sign in.
type Grant int

const (
	// GrantAuto lets the Prompter choose, if it is a GrantChooser; otherwise it
	// is GrantDevice. It also is where GrantAuthCode was chosen and the port
	// that the browser returns to can't be listened on.
	GrantAuto Grant = iota
	// GrantDevice is the device authorization grant (RFC 8628): the person
	// opens a URL on any device and compares a short code.
	GrantDevice
	// GrantAuthCode is the authorization code grant with PKCE (RFC 7636): the
	// person approves in a browser on this machine, which hands the result to
	// a listener on a loopback address (RFC 8252).
	GrantAuthCode
)

// A GrantChooser is a Prompter that knows which grant suits the place where it
// shows things. GrantAuto asks it at the beginning of each sign-in.
type GrantChooser interface {
	Prompter
	// ChooseGrant returns GrantDevice or GrantAuthCode, and why, for the
	// person: such as "this is an SSH session". It must not block. Prompt is
	// called with the grant that is used in the end, and the reason for that.
	ChooseGrant() (grant Grant, reason string)
}

// Prompter shows a person how to approve a sign-in. It may be a GrantChooser and
// a WaitingPrompter as well. One that lacks a method of those is silently none:
// let the compiler say so.
//
//	var _ awsoidc.WaitingPrompter = (*window)(nil)
type Prompter interface {
	// Prompt shows v and returns without waiting for the person. The sign-in
	// goes on until it is approved, refused or over; then finish is called
	// once with nil or the reason. A nil finish is allowed. An error ends the
	// sign-in. ctx ends with the sign-in.
	Prompt(ctx context.Context, v Verification) (finish func(error), err error)
}

// PromptFunc is a Prompter that needs no call at the end.
type PromptFunc func(ctx context.Context, v Verification) error

// Prompt calls f.
func (f PromptFunc) Prompt(ctx context.Context, v Verification) (func(error), error) {
	return nil, f(ctx, v)
}

// Verification is what a person needs to approve a sign-in. The URLs are https,
// or http on a loopback address.
type Verification struct {
	// Grant is GrantDevice (RFC 8628 section 3.3) or GrantAuthCode. With the
	// latter the browser must run on this machine.
	Grant Grant
	// Reason is why GrantAuto took this grant; "" where the grant was given.
	Reason string

	URI         string    // where to type the user code; with GrantAuthCode where to approve
	URIComplete string    // the same with the code filled in; equal to URI where there is none
	UserCode    string    // show it beside either URL, so that the person can compare it with the page; "" with GrantAuthCode
	ExpiresAt   time.Time // the person must be done by then
	Session     string    // the session's name, or its start URL
}

const (
	defaultScope      = "sso:account:access"
	defaultClientName = "awsoidc"
)

// complete checks c and fills in its defaults.
func (c *Config) complete() error {
	if _, err := wire.CheckURL(c.StartURL); err != nil {
		return badConfig("StartURL", c.StartURL, "give the AWS access portal's https URL", err)
	}
	if c.Region == "" {
		return badConfig("Region", "", "give the region of the Identity Center instance, such as us-east-1", nil)
	}
	oidc, err := wire.EndpointFor(c.Region, false, false)
	if err != nil {
		return badConfig("Region", c.Region, "give the region of the Identity Center instance, such as us-east-1", err)
	}
	if c.Endpoints.OIDC == "" {
		c.Endpoints.OIDC = oidc
	}
	if err := c.Endpoints.check(); err != nil {
		return err
	}
	if c.Grant < GrantAuto || c.Grant > GrantAuthCode {
		return badConfig("Grant", fmt.Sprint(int(c.Grant)), "use one of the Grant constants", nil)
	}
	if c.RedirectPort < 0 || c.RedirectPort > 65535 {
		return badConfig("RedirectPort", fmt.Sprint(c.RedirectPort), "give a port between 1 and 65535, or 0 for any free one", nil)
	}
	if c.Scopes == nil && c.SessionName != "" {
		c.Scopes = []string{defaultScope}
	}
	c.Scopes = slices.Clone(c.Scopes)
	if c.ClientName == "" {
		c.ClientName = defaultClientName
	}
	if c.Store == nil {
		c.Store = newMemoryStore()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.LoginHint == "" {
		c.LoginHint = "call Login"
	}
	return nil
}

// check checks the endpoints; that of the portal may be empty.
func (e Endpoints) check() error {
	if _, err := wire.CheckEndpoint(e.OIDC); err != nil {
		return badConfig("Endpoints.OIDC", e.OIDC, endpointAdvice, err)
	}
	if e.Portal == "" {
		return nil
	}
	if _, err := wire.CheckEndpoint(e.Portal); err != nil {
		return badConfig("Endpoints.Portal", e.Portal, endpointAdvice, err)
	}
	return nil
}

const endpointAdvice = "give an https URL, or an http URL with a loopback address"

func badConfig(field, value, advice string, cause error) error {
	what := field + " is missing"
	if value != "" {
		if u, err := url.Parse(value); err == nil && u.Host != "" {
			value = u.Redacted()
		}
		what = fmt.Sprintf("%s %q can't be used", field, value)
	}
	return &failure{kind: ErrConfig, what: what, cause: cause, advice: advice}
}
