package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// The examples run against a fake AWS in this process, which trusts a fake
// issuer of users' tokens. A program takes its aws.Config from
// config.LoadDefaultConfig.

func ExampleNewExchanger() {
	cfg, _ := actingFor("jane") // config.LoadDefaultConfig(ctx)
	ex, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{
		Application: "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef",
		AWS:         cfg,
		Region:      "eu-west-1",            // of the Identity Center instance
		Audiences:   []string{"my-service"}, // that the users' tokens have
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ex.Close()
	fmt.Println(ex)

	_, err = awsoidc.NewExchanger(awsoidc.ExchangerConfig{Application: "my-service", AWS: cfg})
	fmt.Println("bad configuration:", errors.Is(err, awsoidc.ErrConfig))
	// Output:
	// awsoidc.Exchanger(arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef)
	// bad configuration: true
}

func ExampleExchanger_Identity() {
	w := newWorkplace()
	defer w.Close()
	// For each request: the subject is that of the token, which was verified.
	jwt := w.signIn("jane")
	user := w.Identity(awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}, awsoidc.JWT(jwt))
	fmt.Println(user)

	// Work without the user has no assertion: it lasts as long as what is held.
	absent := w.Identity(awsoidc.Subject{Issuer: "https://login.example.com", ID: "joe"}, awsoidc.Assertion{})
	_, err := absent.Token()
	fmt.Println("must sign in:", errors.Is(err, awsoidc.ErrReauthRequired))
	// Output:
	// awsoidc.Identity(https://login.example.com, jane)
	// must sign in: true
}

func ExampleIdentity_TokenContext() {
	w := newWorkplace()
	defer w.Close()
	token, err := w.user("jane").TokenContext(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	expires := token.Extra("expires_at").(time.Time)
	fmt.Println(token.Type(), token.Extra("scope"), token.Expiry.Before(expires))
	// Output: Bearer openid aws sts:identity_context true
}

func ExampleIdentity_Token() {
	w := newWorkplace()
	defer w.Close()
	// Any code that takes an oauth2.TokenSource takes an Identity.
	var src oauth2.TokenSource = w.user("jane")
	token, err := src.Token()
	fmt.Println(token.Valid(), err)
	// Output: true <nil>
}

func ExampleIdentity_RetrieveBearerToken() {
	w := newWorkplace()
	defer w.Close()
	token, err := w.user("jane").RetrieveBearerToken(context.Background())
	fmt.Println(token.CanExpire, token.Expires.After(time.Now()), err)
	// Output: true true <nil>
}

// One client of a service serves all users: each call brings the credentials
// of its own.
func ExampleIdentity_Credentials() {
	w := newWorkplace()
	defer w.Close()
	client := sts.NewFromConfig(w.aws)
	for _, name := range []string{"jane", "joe", "jane"} {
		creds := w.user(name).Credentials(awsoidc.Role{
			ARN:         "arn:aws:iam::123456789012:role/reports",
			SessionName: name, // for CloudTrail
		})
		caller, err := client.GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
			o.Credentials = creds
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(*caller.Arn)
	}
	fmt.Println(w.Stats().Exchanges, "exchanges")
	// Output:
	// arn:aws:sts::123456789012:assumed-role/reports/jane
	// arn:aws:sts::123456789012:assumed-role/reports/joe
	// arn:aws:sts::123456789012:assumed-role/reports/jane
	// 2 exchanges
}

func ExampleIdentity_RoleCredentials() {
	w := newWorkplace("sso:account:access") // a scope of the application
	defer w.Close()
	user := w.user("jane")
	client := sts.NewFromConfig(w.aws)
	caller, err := client.GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
		o.Credentials = user.RoleCredentials("123456789012", "ReadOnly")
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*caller.Arn)

	_, err = user.RoleCredentials("123456789012", "Owner").Retrieve(context.Background())
	fmt.Println("not assigned:", errors.Is(err, awsoidc.ErrNotAssigned))
	// Output:
	// arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_ReadOnly_ea0a804cb19066b6/jane
	// not assigned: true
}

func ExampleIdentityCredentials_Current() {
	w := newWorkplace()
	defer w.Close()
	role := w.user("jane").Credentials(awsoidc.Role{ARN: "arn:aws:iam::123456789012:role/reports"})
	again, err := role.Retrieve(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	current, err := role.Current(context.Background()) // to pass them on
	fmt.Println(current.Expires.After(again.Expires), err)
	// Output: true <nil>
}

// Whoever signs out, or is removed, is forgotten: only a token that was not used
// before brings them back.
func ExampleExchanger_Forget() {
	w := newWorkplace()
	defer w.Close()
	jane := awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}
	jwt := awsoidc.JWT(w.signIn("jane"))
	if _, err := w.Identity(jane, jwt).Token(); err != nil {
		fmt.Println(err)
	}
	if err := w.Forget(context.Background(), jane); err != nil {
		fmt.Println(err)
	}
	_, err := w.Identity(jane, jwt).Token()
	fmt.Println("must sign in:", errors.Is(err, awsoidc.ErrReauthRequired))
	// Output: must sign in: true
}

func ExampleExchanger_Stats() {
	w := newWorkplace()
	defer w.Close()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := w.user("jane").Token(); err != nil {
				fmt.Println(err)
			}
		})
	}
	all.Wait()
	stats := w.Stats()
	fmt.Println(stats.Identities, "identity,", stats.Exchanges, "exchange")
	// Output: 1 identity, 1 exchange
}

func ExampleExchanger_Preflight() {
	w := newWorkplace()
	defer w.Close()
	jane := awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}
	role := awsoidc.Role{ARN: "arn:aws:iam::123456789012:role/reports"}

	fmt.Println(w.Preflight(context.Background(), jane, awsoidc.JWT(w.signIn("jane")), role))
	fmt.Println(w.Preflight(context.Background(), jane, awsoidc.JWT(w.signIn("joe")), role))
	fmt.Println(w.Stats().Exchanges, "exchanges")
	// Output:
	// <nil>
	// awsoidc: the assertion is another user's: its sub is not the Subject's; take the Subject from the same verified token as the assertion
	// 0 exchanges
}

// An Event is a slog.LogValuer, and holds no secret.
func ExampleExchangerConfig_observe() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTimes}))
	cfg, jwt := actingFor("jane")
	ex, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{
		Application: "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef",
		AWS:         cfg,
		Observe: func(ctx context.Context, e awsoidc.Event) {
			log.InfoContext(ctx, "aws", "event", e)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ex.Close()
	jane := awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}
	if _, err := ex.Identity(jane, awsoidc.JWT(jwt)).Token(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// level=INFO msg=aws event.application=arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef event.issuer=https://login.example.com event.subject=jane event.rung=exchange
}

func ExampleNewWebIdentityCredentials() {
	cfg, jwt := actingFor("jane") // its credentials are not used
	src := oauth2.StaticTokenSource((&oauth2.Token{AccessToken: "opaque"}).WithExtra(map[string]any{"id_token": jwt}))
	creds, err := awsoidc.NewWebIdentityCredentials(cfg, src, awsoidc.Role{
		ARN:         "arn:aws:iam::123456789012:role/web",
		SessionName: "jane",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer creds.Close()
	cfg.Credentials = creds
	caller, err := sts.NewFromConfig(cfg).GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*caller.Arn)
	// Output: arn:aws:sts::123456789012:assumed-role/web/jane
}

func ExampleRetryAt() {
	w := newWorkplace()
	defer w.Close()
	w.idc.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Status: 403, Type: "AccessDeniedException"})
	_, err := w.user("jane").Token()
	fmt.Println("denied:", errors.Is(err, awsoidc.ErrAccessDenied))
	if at, ok := awsoidc.RetryAt(err); ok { // for an HTTP answer's Retry-After
		fmt.Println("in", time.Until(at).Round(10*time.Second))
	}
	_, err = w.user("jane").Token() // AWS is not asked again
	fmt.Println("denied:", errors.Is(err, awsoidc.ErrAccessDenied), w.Stats().Exchanges)
	// Output:
	// denied: true
	// in 30s
	// denied: true 1
}

// What is renewed ahead of time waits for nothing: it leaves the budget to users
// who wait. Four replicas share the quotas here, but for a lower one of exchanges.
func ExampleNewLimiter() {
	limiter := awsoidc.NewLimiter(awsoidc.Rates{Exchange: 4}, 4) // for ExchangerConfig.Limiter
	ctx := context.Background()
	fmt.Println("a user:", limiter.Wait(ctx, awsoidc.BudgetExchange, false))
	err := limiter.Wait(ctx, awsoidc.BudgetExchange, true)
	refused, ok := errors.AsType[*awsoidc.LimitError](err)
	fmt.Println("a renewal:", ok && refused.RetryAt.After(time.Now()))
	// Output:
	// a user: <nil>
	// a renewal: true
}

const otherApplicationARN = "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-fedcba0987654321"

// workplace is an Exchanger with its AWS and the issuer of its users' tokens.
type workplace struct {
	*awsoidc.Exchanger
	aws    aws.Config
	idc    *idctest.Server
	issuer *idctest.Issuer
	tokens atomic.Int64
}

// newWorkplace returns one whose application has these scopes beside the
// default ones.
func newWorkplace(scopes ...string) *workplace {
	w := &workplace{idc: idctest.New(), issuer: idctest.NewIssuer("https://login.example.com")}
	w.idc.TrustedIssuers = []idctest.TrustedIssuer{w.issuer.Trusted("my-service")}
	scopes = append([]string{"openid", "aws", "sts:identity_context"}, scopes...)
	w.idc.Applications = []idctest.Application{{ARN: applicationARN, Scopes: scopes}, {ARN: otherApplicationARN, Scopes: scopes}}
	w.aws = awsConfig(w.idc)
	var err error
	w.Exchanger, err = awsoidc.NewExchanger(awsoidc.ExchangerConfig{Application: applicationARN, AWS: w.aws, Audiences: []string{"my-service"}})
	if err != nil {
		panic(err)
	}
	return w
}

// signIn returns a user's new token, which works once: it has a jti.
func (w *workplace) signIn(user string) (jwt string) {
	return w.issuer.Sign(map[string]any{"sub": user, "aud": "my-service", "jti": fmt.Sprint(w.tokens.Add(1))})
}

// user is what a request of that user brings.
func (w *workplace) user(name string) awsoidc.Identity {
	return w.Identity(awsoidc.Subject{Issuer: w.issuer.URL, ID: name}, awsoidc.JWT(w.signIn(name)))
}

// actingFor returns what a service begins with, and a user's token.
func actingFor(user string) (aws.Config, string) {
	w := newWorkplace()
	defer w.Close()
	return w.aws, w.signIn(user)
}

func withoutTimes(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == "duration" {
		return slog.Attr{}
	}
	return a
}
