// Login signs a person in to IAM Identity Center and keeps the session where
// the AWS CLI and SDKs look for it. The URL to open goes to standard output,
// alone on a line; everything else to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/profile"
	"github.com/awsoidc/awsoidc/prompt"
)

type options struct {
	profile.Options
	device, pkce, noBrowser, force bool
}

func main() {
	var o options
	flag.StringVar(&o.Profile, "profile", "", "profile `P` of the AWS config file; by default that of AWS_PROFILE, then \"default\"")
	flag.StringVar(&o.SSOSession, "sso-session", "", "[sso-session `S`] of the AWS config file, instead of a profile")
	flag.StringVar(&o.StartURL, "start-url", "", "AWS access portal at URL `U`, instead of a profile; needs -region")
	flag.StringVar(&o.Region, "region", "", "region `R` of the IAM Identity Center instance, such as us-east-1; goes with -start-url")
	flag.Func("scopes", "scopes `a,b` to ask for, instead of the configured ones", func(s string) error {
		o.Scopes = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		return nil
	})
	flag.BoolVar(&o.device, "device", false, "use the device authorization grant: approve in a browser on any device")
	flag.BoolVar(&o.pkce, "pkce", false, "use the authorization code grant with PKCE: approve in a browser on this machine")
	flag.IntVar(&o.RedirectPort, "port", 0, "port `N` of this machine that the browser comes back to, with -pkce; by default any free one")
	flag.BoolVar(&o.noBrowser, "no-browser", false, "open no browser; only show the URL")
	flag.BoolVar(&o.force, "force", false, "sign in even if the session is valid")
	program.Program{
		Name:  "login",
		Usage: "[-profile P | -sso-session S | -start-url U -region R] [-scopes a,b] [-device | -pkce] [-port N] [-no-browser] [-force]",
		About: "Signs in to IAM Identity Center. Where the session is valid, or can be refreshed, there is nothing to do.",
		Run: func(ctx context.Context, _ []string) error {
			return login(ctx, o)
		},
	}.Main()
}

func login(ctx context.Context, o options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	terminal := prompt.Terminal(os.Stderr)
	terminal.URLs = os.Stdout
	terminal.DeviceHint = "run it with -device"
	if !o.noBrowser {
		terminal.OpenURL = prompt.OpenBrowser
	}
	o.Prompt = terminal // chooses the grant, and says why, unless a flag does
	switch {
	case o.device:
		o.Grant = awsoidc.GrantDevice
	case o.pkce:
		o.Grant = awsoidc.GrantAuthCode
	}
	o.Logger = program.Logger()

	src, err := profile.Open(ctx, o.Options)
	if err != nil {
		return err
	}
	defer program.Close(src, &err)

	if !o.force {
		token, err := src.TokenContext(ctx) // refreshes the session where it is due
		switch {
		case err == nil && o.hasScopes(token) && !o.isOver(ctx, src, token):
			return signedIn(src, token)
		case err != nil && !errors.Is(err, awsoidc.ErrLoginRequired):
			return inTrouble(ctx, err)
		}
	}
	return inFlags(src.Login(ctx))
}

// inFlags says which flags set what an error about the way back of the browser
// calls by its names in Go.
func inFlags(err error) error {
	if listen, ok := errors.AsType[*net.OpError](err); ok && listen.Op == "listen" {
		return fmt.Errorf("%w; the flags for it are -port and -device", err)
	}
	return err
}

// isOver reports whether the portal says that the session has ended, as when the
// person has signed out elsewhere: nobody sees that in a token. It answers for
// sessions that may ask the portal; one that does not answer is not waited for.
func (o options) isOver(ctx context.Context, src *awsoidc.TokenSource, token *oauth2.Token) bool {
	const portal = "sso:account:access"
	scope, _ := token.Extra("scope").(string)
	scopes := strings.Fields(scope)
	if scope == "" { // the session is another tool's
		if p, err := profile.Load(ctx, o.Options); err == nil {
			scopes = p.Scopes
		}
	}
	if len(scopes) > 0 && !slices.Contains(scopes, portal) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, err := range src.Accounts(ctx) {
		return errors.Is(err, awsoidc.ErrLoginRequired)
	}
	return false
}

// signedIn says that there is nothing to do. A session that was refreshed and
// then not saved is no sign-in for others.
func signedIn(src *awsoidc.TokenSource, token *oauth2.Token) error {
	if err := src.Close(); err != nil {
		return err
	}
	expires, _ := token.Extra("expires_at").(time.Time)
	fmt.Fprintf(os.Stderr, "Signed in already; the token is valid until %s.\nUse -force to sign in again.\n", expires.Local().Format(time.DateTime))
	return nil
}

// inTrouble explains why there is no valid token, though nobody said that the
// session is over. A new sign-in may help, but is up to the person. It needs
// the lock too.
func inTrouble(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, cache.ErrLock) || errors.Is(err, cache.ErrLockTimeout) {
		return err
	}
	return fmt.Errorf("there is a session, but it can't be read or refreshed right now: %w; or use -force to sign in anew", err)
}

func (o options) check() error {
	chosen := 0
	for _, s := range []string{o.Profile, o.SSOSession, o.StartURL} {
		if s != "" {
			chosen++
		}
	}
	switch {
	case o.device && o.pkce:
		return errors.New("give one of -device and -pkce, or neither")
	case chosen > 1:
		return errors.New("give one of -profile, -sso-session and -start-url")
	case (o.StartURL == "") != (o.Region == ""):
		return errors.New("give both -start-url and -region, or neither")
	}
	return nil
}

// hasScopes reports whether the session is known to have the scopes that the
// command line asks for.
func (o options) hasScopes(token *oauth2.Token) bool {
	if o.Scopes == nil {
		return true
	}
	scope, _ := token.Extra("scope").(string)
	has, want := strings.Fields(scope), slices.Clone(o.Scopes)
	slices.Sort(has)
	slices.Sort(want)
	return slices.Equal(has, want)
}
