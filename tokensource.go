package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"
	"golang.org/x/time/rate"

	"github.com/awsoidc/awsoidc/internal/loopback"
	"github.com/awsoidc/awsoidc/wire"
)

// A TokenSource yields access tokens of one IAM Identity Center session and
// keeps them fresh. It is an oauth2.TokenSource and smithy's
// bearer.TokenProvider, and safe for concurrent use.
//
// A token is replaced well before it expires, by one goroutine that nobody
// waits for, once for all processes that share the Store. Only past its expiry
// do callers wait, each as long as its own context allows.
//
// Printing a TokenSource, with any verb, shows the name of its session only.
type TokenSource struct {
	cfg    Config
	keys   keys
	store  *safeStore
	http   *http.Client // for the service and the portal: refuses redirects, bounds answers
	wire   *wire.Client
	portal portal
	logger *slog.Logger
	listen func(port int) (net.Listener, error) // for the browser that comes back
	rules  rules
	tokens renewal[*session]
	// portalRate is for all requests to the portal.
	portalRate *rate.Limiter
	seq        atomic.Uint64  // orders the sessions read or obtained under the lock
	work       sync.WaitGroup // goroutines that may outlive who waits for them: sign-ins, updates of the store

	mu         sync.Mutex  // guards the rest; never held while anything waits
	retired    wire.Secret // a refresh token that the service refused
	rejected   wire.Secret // an access token that a server refused
	rejectedAt instant
	deadClient string // the client id that the service refused
	latest     latest
	over       uint64 // leases with a lower seq are of a session that was signed out of
	login      *signIn
	roles      map[roleKey]*RoleCredentials
	closed     bool
}

// New returns a TokenSource for cfg. It sends nothing and reads nothing. The
// error wraps ErrConfig.
func New(cfg Config) (*TokenSource, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &TokenSource{
		cfg:    cfg,
		keys:   cfg.keys(),
		http:   strictClient(cfg.HTTPClient),
		logger: cfg.Logger,
		listen: loopback.Listen,
		roles:  map[roleKey]*RoleCredentials{},
	}
	s.store = newSafeStore(cfg.Store, s.warn)
	s.wire = &wire.Client{Endpoint: cfg.Endpoints.OIDC, HTTPClient: s.http}
	s.portal = newPortal(cfg.Region, cfg.Endpoints.Portal, s.http, once)
	s.portalRate = rate.NewLimiter(portalRate, portalBurst)
	s.rules.init(cfg.Now)
	s.rules.foreground = cfg.NoBackground
	s.tokens.rules = &s.rules
	return s, nil
}

// Token returns a valid token, as a copy that the caller may change. It is
// TokenContext without a context, for oauth2.TokenSource.
func (s *TokenSource) Token() (*oauth2.Token, error) { return s.TokenContext(context.Background()) }

// TokenContext returns a valid token, as a copy that the caller may change.
//
// The token's Expiry is when to ask again, which is before the token expires:
// caches above, such as oauth2.ReuseTokenSource, ask only then, and find the
// next token ready. Extra("expires_at") is the expiry itself, a time.Time;
// Extra("id_token") and Extra("scope") are strings where the service gave
// them. RefreshToken is always empty.
//
// Without a session the error wraps ErrLoginRequired, unless
// Config.LoginOnDemand is set. If ctx ends first, the error is its cause;
// whatever was begun goes on for the next caller.
func (s *TokenSource) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	if l := s.tokens.fresh(s.rules.now()); l != nil {
		return l.value.copy(l.refreshAt().time()), nil // askAgain would read the clock again
	}
	l, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	return l.value.copy(s.tokens.askAgain(l)), nil
}

// copy returns the token for a cache above, which is to ask again at that time.
func (s *session) copy(askAgain time.Time) *oauth2.Token {
	t := *s.token
	t.Expiry = askAgain.Add(oauth2Early)
	return &t
}

// oauth2Early is how long before its Expiry oauth2 takes a token for expired.
const oauth2Early = 10 * time.Second

// Bearer returns a valid access token. It does not allocate while the token is
// fresh. Errors are those of TokenContext.
func (s *TokenSource) Bearer(ctx context.Context) (string, error) {
	l, err := s.get(ctx)
	if err != nil {
		return "", err
	}
	return string(l.value.accessToken), nil
}

// RetrieveBearerToken returns a valid access token with its true expiry, for
// smithy's bearer.TokenProvider. Errors are those of TokenContext.
func (s *TokenSource) RetrieveBearerToken(ctx context.Context) (bearer.Token, error) {
	l, err := s.get(ctx)
	if err != nil {
		return bearer.Token{}, err
	}
	return bearer.Token{Value: string(l.value.accessToken), CanExpire: true, Expires: l.expiresAt.time()}, nil
}

func (s *TokenSource) get(ctx context.Context) (*lease[*session], error) {
	l, err := s.tokens.get(ctx, s)
	if err == nil || !s.cfg.LoginOnDemand || !errors.Is(err, ErrLoginRequired) {
		return l, err
	}
	loginErr := s.Login(ctx)
	if l, err = s.tokens.get(ctx, s); loginErr != nil && err != nil {
		return nil, loginErr
	}
	return l, err // also where the session could not be saved
}

// Invalidate drops accessToken after a server refused it (HTTP 401), so that
// the next call obtains another: the same one is not taken from the Store
// again. It reports whether it did. It does not where the present token is
// another one already, nor within a minute of the last time: a server that
// refuses every token must not cost a refresh each time. A token that can't be
// refreshed is used again after that minute: it may have been refused for a
// reason of that server's own.
func (s *TokenSource) Invalidate(accessToken string) bool {
	now := s.rules.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rejected != "" && !now.reached(s.rejectedAt.add(time.Minute)) {
		return false
	}
	if !s.tokens.drop(func(v *session) bool { return string(v.accessToken) == accessToken }) {
		return false
	}
	s.rejected, s.rejectedAt = wire.Secret(accessToken), now
	return true
}

// Close waits until nothing runs any more on behalf of s: a refresh under way
// ends by itself in at most about a minute, a sign-in is cancelled. It saves
// what is unsaved, and its error says what could not be saved. Later calls on
// s fail with ErrClosed. Close may be called more than once.
func (s *TokenSource) Close() error {
	s.mu.Lock()
	s.closed = true
	login, roles := s.login, s.roles
	s.roles = nil
	s.mu.Unlock()
	if login != nil {
		login.cancel()
	}
	s.rules.close()
	s.work.Wait()
	for _, r := range roles {
		r.credentials.clear()
	}
	s.tokens.clear()
	return s.saveUnsaved(context.Background())
}

// Format writes the name of the session, whatever the verb and flags.
func (s *TokenSource) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "awsoidc.TokenSource(%s)", s.name())
}

// decode returns the session in a record, or why there is none that this
// source may use.
func (s *TokenSource) decode(raw []byte) (_ *session, why string) {
	if raw == nil {
		return nil, "there is no session in " + s.place()
	}
	v, err := parseSession(raw)
	if err != nil {
		return nil, fmt.Sprintf("the record in %s %v", s.place(), err)
	}
	if v.startURL != s.cfg.StartURL || v.region != s.cfg.Region || s.keys.bound && v.fields.string("key") != s.keys.token {
		return nil, "the session in " + s.place() + " is for another start URL or region"
	}
	return v, ""
}

// encode sets v.raw to what is to be stored, keeping the members of old that
// are not ours.
func (s *TokenSource) encode(v *session, old fields) {
	key := ""
	if s.keys.bound {
		key = s.keys.token
	}
	v.encode(old, key)
}

// leaseStored returns the lease of a session that was read from the store.
func (s *TokenSource) leaseStored(v *session, seq uint64) *lease[*session] {
	l := s.lease(v, seq)
	if held := s.tokens.current.Load(); held != nil && held.value.accessToken == v.accessToken {
		// Reading the same token again does not make it younger, even if the
		// wall clock was set back since.
		l.expiresAt = l.expiresAt.earlier(held.expiresAt)
		l.dueBy(held.refreshAt())
	}
	if now := s.rules.now(); v.issuedAt.After(now.time().Add(maxSkew)) && s.refreshable(v) {
		l.dueBy(now) // the clock was set back: who knows how old it is
	}
	return l
}

// maxSkew is how far the clocks of those who share a store may differ.
const maxSkew = time.Minute

// lease computes when v is to be replaced.
func (s *TokenSource) lease(v *session, seq uint64) *lease[*session] {
	now := s.rules.now()
	left := min(v.expiresAt.Sub(now.time()), wire.MaxExpiresIn)
	if !v.issuedAt.IsZero() {
		left = min(left, v.lifetime()) // the clock was set back since
	}
	l := &lease[*session]{value: v, expiresAt: now.add(left), seq: seq}
	if s.refreshable(v) {
		l.lead = lead(v.lifetime(), v.accessToken)
	}
	return l
}

func (s *TokenSource) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// usable reports whether l's token may be handed out.
func (s *TokenSource) usable(l *lease[*session]) bool {
	now, refreshable := s.rules.now(), s.refreshable(l.value)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.seq < s.over {
		return false
	}
	if l.value.accessToken == s.rejected && (refreshable || !now.reached(s.rejectedAt.add(time.Minute))) {
		return false
	}
	return !now.reached(l.expiresAt)
}

// fresh reports whether l's token may be handed out and is not due yet.
func (s *TokenSource) fresh(l *lease[*session]) bool {
	return s.usable(l) && !s.rules.now().reached(l.refreshAt())
}

// retire keeps a refused refresh token from being sent again, and a refused
// client from being used by the next sign-in.
func (s *TokenSource) retire(v *session, refusal error) {
	if isType(refusal, wire.TypeInvalidClient) {
		s.refuseClient(v.clientID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = v.refreshToken
}

func (s *TokenSource) refuseClient(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadClient = id
}

func (s *TokenSource) isDeadClient(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadClient == id
}

func (s *TokenSource) isRejected(accessToken wire.Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rejected != "" && s.rejected == accessToken
}

func (s *TokenSource) isRetired(refreshToken wire.Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired == refreshToken
}

// name returns what a person calls the session.
func (s *TokenSource) name() string {
	if s.cfg.SessionName != "" {
		return s.cfg.SessionName
	}
	return s.cfg.StartURL
}

// place returns where a person finds the session's record.
func (s *TokenSource) place() string {
	if f, ok := s.cfg.Store.(interface{ Filename(key string) string }); ok {
		return f.Filename(s.keys.token)
	}
	return "the store"
}

func (s *TokenSource) loginRequired(what string, cause error) error {
	if cause == nil {
		cause = s.store.refused(s.keys.token)
	}
	advice := s.toSignIn()
	if who := s.whoAsks(context.Background()); who != "" {
		advice = "a sign-in is under way (" + who + "): wait for it; or, " + advice
	}
	return &failure{kind: ErrLoginRequired, what: what, cause: cause, advice: advice}
}

// toSignIn tells a person how to sign in.
func (s *TokenSource) toSignIn() string { return "to sign in, " + s.cfg.LoginHint }

func (s *TokenSource) warn(msg string, err error) {
	s.logger.LogAttrs(context.Background(), slog.LevelWarn, msg, slog.String("session", s.name()), slog.Any("error", err))
}
