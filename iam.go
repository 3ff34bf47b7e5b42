package awsoidc

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

// ExchangerConfig describes an application of IAM Identity Center on whose
// behalf a program acts for many users. Application and AWS are required; the
// zero value of every other field is a usable default.
type ExchangerConfig struct {
	// Application is the ARN of the customer managed application, such as
	// "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef".
	Application string

	// AWS is how the program itself calls AWS. Its Credentials must be allowed
	// sso-oauth:CreateTokenWithIAM for the application, and for
	// Identity.Credentials sts:AssumeRole and sts:SetContext for the roles. Its
	// Region is that of STS. Its other settings apply to STS alone.
	AWS aws.Config

	// Region is the one that holds the Identity Center instance. The default
	// is AWS.Region.
	Region string

	// Scopes to ask for. None means all that the application has.
	Scopes []string

	// Audiences, where given, are those that assertions may have: a JWT whose
	// "aud" names none of them is refused before it is sent.
	Audiences []string

	// MaxIdentities is how many identities are kept in memory. Past it, those
	// least recently used are forgotten, which loses what no Store holds: those
	// with refresh tokens last. The default is 10,000.
	MaxIdentities int

	// MaxBytes is about how much memory they take. Past it, credentials are
	// forgotten first. The default is 256 MiB.
	MaxBytes int64

	// Store keeps the tokens of identities beyond the process, and shares them
	// with others. It holds refresh tokens in plain text. nil keeps them in
	// memory alone. While it can't be used, identities are served from
	// assertions and memory.
	Store cache.Store

	// Namespace separates those who share a Store and an application.
	Namespace string

	// MaxStale is for how long this process may go on using what it has in
	// memory of a user whom another one that shares the Store has forgotten
	// (Forget), as long as the Store answers; the MaxAge of a cache.Tiered is
	// added to it. The default is 10 s, the least 2 s.
	// It costs one reading of the Store in half that time, however many users
	// there are.
	MaxStale time.Duration

	// Endpoints replace those that follow from Region. That of STS is AWS's.
	Endpoints Endpoints

	// HTTPClient sends the requests to Identity Center. The default is that of
	// AWS where it is of a known kind, or else one with http.DefaultTransport.
	// Redirects are refused whatever the client says.
	HTTPClient *http.Client

	// Logger reports failures that no caller sees, and a store that can't be
	// used. nil is silent. No secret is ever logged.
	Logger *slog.Logger

	// Limiter keeps the requests within AWS's quotas. The default is
	// NewLimiter(Rates{}, Replicas).
	Limiter Limiter

	// Replicas is how many processes share the quotas, of which each keeps to
	// its part. The default is 1. It means nothing with a Limiter.
	Replicas int

	// Observe, where set, is told of every request that is made for an
	// identity, after its end, for audit and metrics, and of those that the
	// Limiter refused to someone who waits. It is called concurrently, and holds
	// up the request's caller: it must not block, as a log does whose reader is
	// slow.
	Observe func(context.Context, Event)

	// NoBackground makes what is due be renewed by its next user, who waits up
	// to 5 s for it, instead of by a goroutine. For processes that are frozen
	// between calls.
	NoBackground bool

	// Now tells the wall-clock time. nil means time.Now.
	Now func() time.Time
}

// Exchanger obtains tokens and credentials on behalf of many users, by the
// operation CreateTokenWithIAM (trusted identity propagation). It is safe for
// concurrent use. Printing it, with any verb, shows the application only.
//
// For each identity it climbs down the same ladder, until one rung holds: what
// it has and is valid; the refresh token; the assertion; ErrReauthRequired.
// What is due is renewed before it expires, by one goroutine that nobody waits
// for; those who need the same at the same time cost one request.
type Exchanger struct {
	cfg        ExchangerConfig
	partition  string
	http       *http.Client
	sts        *sts.Client
	rules      rules
	service    atomic.Pointer[service]
	identities identities
	spent      printSet // of assertions
	retired    retiredSet
	forgets    forgets // of other processes
	sources    lingering
	counters   *counters
}

// A service is SSO OIDC in the region where the application turned out to be.
type service struct {
	region string
	wire   *wire.Client
	portal portal
}

const (
	defaultMaxIdentities = 10_000
	defaultMaxBytes      = 256 << 20
	defaultMaxStale      = 10 * time.Second
	minMaxStale          = 2 * time.Second
)

// NewExchanger returns an Exchanger for cfg. It sends nothing. The error wraps
// ErrConfig.
func NewExchanger(cfg ExchangerConfig) (*Exchanger, error) {
	app, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	e := &Exchanger{cfg: cfg, partition: app.Partition, http: strictClient(cfg.HTTPClient), counters: newCounters()}
	e.rules.init(cfg.Now)
	e.rules.foreground = cfg.NoBackground
	e.sts = sts.NewFromConfig(cfg.AWS, func(o *sts.Options) { o.RetryMaxAttempts = 1 }) // each attempt counts towards the budget
	e.service.Store(e.serviceIn(cfg.Region, cfg.Endpoints.OIDC))
	e.identities.init(&cfg, &e.rules, &e.retired)
	if cfg.Store == nil {
		e.identities.lookAt.Store(math.MaxInt64)
	}
	return e, nil
}

func (e *Exchanger) serviceIn(region, endpoint string) *service {
	return &service{region, &wire.Client{
		Endpoint:   endpoint,
		HTTPClient: e.http,
		Signer:     NewSigner(e.cfg.AWS.Credentials, region),
	}, newPortal(region, e.cfg.Endpoints.Portal, e.http, once)}
}

// complete checks c and fills in its defaults.
func (c *ExchangerConfig) complete() (app arn.ARN, err error) {
	app, err = arn.Parse(c.Application)
	if err != nil || app.Service != "sso" || !strings.HasPrefix(app.Resource, "application/") {
		return app, badConfig("Application", c.Application, "give the ARN of a customer managed application of Identity Center, arn:aws:sso::ACCOUNT:application/INSTANCE/APPLICATION", nil)
	}
	if c.AWS.Credentials == nil {
		return app, badConfig("AWS.Credentials", "", "give the aws.Config of config.LoadDefaultConfig", nil)
	}
	if c.AWS.Region == "" {
		return app, badConfig("AWS.Region", "", "give the region of STS, such as us-east-1", nil)
	}
	c.Region = cmp.Or(c.Region, c.AWS.Region)
	oidc, err := wire.EndpointFor(c.Region, false, false)
	if err != nil {
		return app, badConfig("Region", c.Region, "give the region of the Identity Center instance, such as us-east-1", err)
	}
	c.Endpoints.OIDC = cmp.Or(c.Endpoints.OIDC, oidc)
	if err := c.Endpoints.check(); err != nil {
		return app, err
	}
	if c.MaxIdentities < 0 {
		return app, badConfig("MaxIdentities", fmt.Sprint(c.MaxIdentities), "give a positive number, or 0 for the default", nil)
	}
	if c.MaxBytes < 0 {
		return app, badConfig("MaxBytes", fmt.Sprint(c.MaxBytes), "give a positive number, or 0 for the default", nil)
	}
	c.MaxStale = cmp.Or(c.MaxStale, defaultMaxStale)
	if c.MaxStale < minMaxStale {
		return app, badConfig("MaxStale", c.MaxStale.String(), "give 2s or more, or 0 for the default", nil)
	}
	c.MaxIdentities = cmp.Or(c.MaxIdentities, defaultMaxIdentities)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultMaxBytes)
	c.Scopes, c.Audiences = slices.Clone(c.Scopes), slices.Clone(c.Audiences)
	c.HTTPClient = cmp.Or(c.HTTPClient, clientOf(c.AWS.HTTPClient))
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Limiter == nil {
		c.Limiter = NewLimiter(Rates{}, c.Replicas)
	}
	return app, nil
}

// clientOf returns a client that sends as c does, where that is of a known
// kind.
func clientOf(c aws.HTTPClient) *http.Client {
	switch c := c.(type) {
	case *http.Client:
		return c
	case *awshttp.BuildableClient:
		return &http.Client{Transport: c.GetTransport(), Timeout: c.GetTimeout()}
	}
	return nil
}

// Subject is a user as an issuer names them. Take it from a token that has been
// verified: whoever the Subject is gets what was obtained for that Subject. An
// Exchanger keeps the strings: clone one that is cut from a longer text.
type Subject struct {
	Issuer string // the claim "iss"
	ID     string // the claim "sub", by whatever claim Identity Center finds the user
	// Tenant tells users apart whose issuer gives the same ID to several, or to
	// one after the other. Where it is set and a JWT has the claim "tid", they
	// must be the same. "" where issuer and ID suffice.
	Tenant string
}

func (s Subject) check() error {
	const most = 2048
	if text := s.Issuer + s.ID + s.Tenant; !utf8.ValidString(text) || strings.ContainsRune(text, utf8.RuneError) {
		return &failure{kind: ErrConfig, what: "the Subject has half a character, which different readers take for different ones",
			advice: "refuse such a token"}
	}
	if s.Issuer == "" || s.ID == "" || len(s.Issuer) > most || len(s.ID) > most || len(s.Tenant) > most {
		return &failure{kind: ErrConfig, what: "the Subject can't be used",
			advice: fmt.Sprintf("give the claims iss and sub of a verified token, of at most %d bytes each", most)}
	}
	return nil
}

// Identity returns a view of what is held for the subject. It is cheap: make
// one for each request. The assertion is used where nothing better is left,
// and not kept; the zero Assertion is allowed, for work without the user.
func (e *Exchanger) Identity(subject Subject, assertion Assertion) Identity {
	return Identity{exchanger: e, subject: subject, assertion: assertion}
}

// Forget drops all that is held for the subject, in memory and in the Store.
// What is under way for it then ends with ErrReauthRequired and is not kept.
// Credentials that callers have stay valid until they expire. Other processes
// that share the Store go on using what they have in memory for their MaxStale at
// most; one for which the Store does not answer, until it answers or what it has
// is due.
//
// The Store keeps that the user was forgotten, so that no other process brings
// it back, and which assertions were used, so that none is sent again: no
// secret. An error says that the Store may still hold more.
func (e *Exchanger) Forget(ctx context.Context, subject Subject) error {
	if err := subject.check(); err != nil {
		return err
	}
	e.identities.forget(subject)
	if e.cfg.Store == nil {
		return nil
	}
	key := e.key(subject)
	err := e.updateStore(ctx, key, func(_ context.Context, old []byte) ([]byte, error) {
		record, now := decodeIdentity(old, key), e.rules.now().time()
		return (&identityRecord{spent: record.live(now), forgotten: now}).encode(key), nil
	})
	if err == nil {
		err = e.announceForget(ctx, subject)
	}
	e.identities.forget(subject) // whoever took it over from the store meanwhile
	if err != nil {
		return &failure{what: "what the store holds of an identity was not removed", cause: err, advice: "call Forget again"}
	}
	return nil
}

// Close waits until nothing runs any more on behalf of e: at most about a
// minute. Later calls fail with ErrClosed. Close may be called more than once.
func (e *Exchanger) Close() error {
	e.rules.close()
	e.identities.clear()
	return nil
}

// Format writes the application, whatever the verb and flags.
func (e *Exchanger) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "awsoidc.Exchanger(%s)", e.cfg.Application)
}

// key names the record of a subject in the store.
func (e *Exchanger) key(s Subject) string { return e.recordKey("identity", s.Issuer, s.ID, s.Tenant) }

// recordKey names a record of this application in the store.
func (e *Exchanger) recordKey(kind string, parts ...string) string {
	all := append([]string{e.cfg.Namespace, e.partition, e.cfg.Region, e.cfg.Endpoints.OIDC, e.cfg.Application}, parts...)
	return hashKey(kind, append(all, e.cfg.Scopes...))
}

func (e *Exchanger) warn(msg string, subject Subject, err error) {
	e.cfg.Logger.LogAttrs(context.Background(), slog.LevelWarn, msg, slog.String("application", e.cfg.Application),
		slog.String("issuer", wire.Redact(subject.Issuer)), slog.String("subject", wire.Redact(subject.ID)), slog.Any("error", err))
}

// Identity is one user's view of an Exchanger. It is an oauth2.TokenSource and
// smithy's bearer.TokenProvider, of tokens that the application gets on the
// user's behalf; its Credentials are an aws.CredentialsProvider. It is safe for
// concurrent use. Printing it, with any verb, shows no secret.
//
// Its errors wrap ErrReauthRequired where the user has to bring a new
// assertion, ErrSubjectMismatch where the assertion is another's,
// ErrAccessDenied where somebody has to allow it, and ErrThrottled where the
// service is asked too often.
type Identity struct {
	exchanger *Exchanger
	subject   Subject
	assertion Assertion
}

// Token is TokenContext without a context, for oauth2.TokenSource.
func (i Identity) Token() (*oauth2.Token, error) { return i.TokenContext(context.Background()) }

// TokenContext returns a valid access token of the application for the user,
// as a copy that the caller may change.
//
// Its Expiry is when to ask again, which is before the token expires.
// Extra("expires_at") is the expiry itself, a time.Time; Extra("id_token"),
// Extra("scope") and Extra("issued_token_type") are strings where the service
// gave them. RefreshToken is always empty.
//
// If ctx ends first, the error is its cause; whatever was begun goes on for the
// next caller.
func (i Identity) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	entry, l, err := i.get(ctx)
	if err != nil {
		return nil, err
	}
	t := l.value.oauth2()
	t.Expiry = entry.tokens.askAgain(l).Add(oauth2Early)
	return t, nil
}

// RetrieveBearerToken returns a valid access token with its true expiry, for
// smithy's bearer.TokenProvider. Errors are those of TokenContext.
func (i Identity) RetrieveBearerToken(ctx context.Context) (bearer.Token, error) {
	_, l, err := i.get(ctx)
	if err != nil {
		return bearer.Token{}, err
	}
	return bearer.Token{Value: string(l.value.accessToken()), CanExpire: true, Expires: l.expiresAt.time()}, nil
}

// Format writes issuer and ID of the subject, whatever the verb and flags.
func (i Identity) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "awsoidc.Identity(%s, %s)", wire.Redact(i.subject.Issuer), wire.Redact(i.subject.ID))
}

// get returns the identity's tokens, and what the exchanger holds of it.
func (i *Identity) get(ctx context.Context) (*entry, *lease[exchanged], error) {
	entry, now := i.exchanger.identities.get(i.subject)
	if entry != nil {
		if l := entry.tokens.fresh(now); l != nil {
			i.exchanger.counters.hits.Inc()
			return entry, l, nil
		}
	}
	return i.getAnew(ctx)
}

// getAnew is get where something may have to be obtained.
func (i Identity) getAnew(ctx context.Context) (*entry, *lease[exchanged], error) {
	i.exchanger.obeyForgets(ctx)
	entry, release, err := i.acquire()
	if err != nil {
		return nil, nil, err
	}
	defer release()
	l, err := i.obtain(ctx, entry, false)
	return entry, l, err
}

// acquire returns what the exchanger holds of the identity, and keeps it from
// being evicted until release is called.
func (i Identity) acquire() (_ *entry, release func(), err error) {
	if err := i.subject.check(); err != nil {
		return nil, nil, err
	}
	if i.exchanger.rules.over() { // nobody would take out what is put in
		return nil, nil, ErrClosed
	}
	all := &i.exchanger.identities
	entry := all.acquire(i.subject)
	return entry, func() { all.release(entry) }, nil
}

// maxJoins bounds how often a caller waits for others whose assertion turns out
// to be no good, before it is told so itself.
const maxJoins = 64

// obtain returns tokens from the ladder. Those who wait for each other share an
// outcome, but not that somebody else had no good assertion.
func (i Identity) obtain(ctx context.Context, entry *entry, prefetch bool) (*lease[exchanged], error) {
	for waited := 0; ; waited++ {
		if entry.forgotten.Load() {
			return nil, errForgotten
		}
		c := &climb{Identity: i, entry: entry, prefetch: prefetch}
		l, err := entry.tokens.get(ctx, c)
		if err == nil && entry.forgotten.Load() {
			return nil, errForgotten
		}
		if err == nil || c.began.Load() || waited == maxJoins || !isCallersOwn(err) || ctx.Err() != nil {
			return l, err
		}
	}
}
