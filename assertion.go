package awsoidc

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc/internal/flight"
	"github.com/awsoidc/awsoidc/wire"
)

// Assertion is what a user's Identity shows the service when nothing better is
// left: that the user signed in somewhere. Make one with JWT, JWTFunc,
// IDTokenOf, AccessTokenOf, SubjectToken, SubjectTokenOf or Code. The zero
// Assertion shows nothing. Printing one, with any verb, shows no secret.
//
// What works once is sent once by an Exchanger, and by those of the same
// configuration who share its Store: a code, and a JWT with a "jti", whatever came of it. After that only a
// new one helps. A JWT without a "jti" may be presented
// again, as the service has it, until it expires or is refused.
type Assertion struct {
	grant string
	fetch func(ctx context.Context) (wire.Secret, error)
	raw   bool         // fetch has it at hand
	code  *codeRequest // what goes with a code; a pointer, which no verb prints through
}

// codeRequest is what the authorization request of a code had.
type codeRequest struct {
	redirectURI string
	verifier    wire.Secret
}

// JWT is the JWT of a trusted token issuer, an ID token or an access token, for
// the JWT bearer grant (RFC 7523). The Exchanger does not verify its signature,
// the service does; the Subject it is given with must come from one that was
// verified.
func JWT(raw string) Assertion {
	return Assertion{grant: wire.GrantJWTBearer, fetch: constant(raw), raw: true}
}

// JWTFunc is JWT of what f returns. f is called where the assertion is needed,
// which it need not be, and should return a JWT that it has not returned
// before. Its context ends after 10 s at most.
func JWTFunc(f func(ctx context.Context) (string, error)) Assertion {
	return Assertion{grant: wire.GrantJWTBearer, fetch: func(ctx context.Context) (wire.Secret, error) {
		raw, err := f(ctx)
		return wire.Secret(raw), err
	}}
}

// IDTokenOf is JWT of the ID token of what src returns, its extra "id_token".
// Where src has a method TokenContext(context.Context), that is called.
//
// A source that keeps its token until it expires gives the same ID token until
// then: one with a "jti" works once. A JWTFunc that refreshes at the issuer each
// time it is called has no such gap.
func IDTokenOf(src oauth2.TokenSource) Assertion {
	return Assertion{grant: wire.GrantJWTBearer, fetch: func(ctx context.Context) (wire.Secret, error) {
		t, err := tokenOf(ctx, src)
		if err != nil {
			return "", err
		}
		raw, _ := t.Extra("id_token").(string)
		if raw == "" {
			return "", errors.New("the token source gave no id_token; ask its issuer for the scope openid, and note that a refresh may bring none")
		}
		return wire.Secret(raw), nil
	}}
}

// AccessTokenOf is JWT of the access token of what src returns, which must be
// a JWT. Where src has a method TokenContext(context.Context), that is called.
func AccessTokenOf(src oauth2.TokenSource) Assertion {
	return Assertion{grant: wire.GrantJWTBearer, fetch: accessTokenOf(src)}
}

// SubjectToken is an access token that Identity Center issued to another
// application, in whose audience this one is, for the token exchange grant (RFC
// 8693). It is opaque: that it is the Subject's can't be checked here.
func SubjectToken(raw string) Assertion {
	return Assertion{grant: wire.GrantTokenExchange, fetch: constant(raw), raw: true}
}

// SubjectTokenOf is SubjectToken of the access token of what src returns. Where
// src has a method TokenContext(context.Context), that is called.
func SubjectTokenOf(src oauth2.TokenSource) Assertion {
	return Assertion{grant: wire.GrantTokenExchange, fetch: accessTokenOf(src)}
}

// Code is an authorization code of the application's own sign-in page, with
// the redirect URI and the PKCE verifier of the authorization request (RFC
// 7636). That it is the Subject's can't be checked here.
func Code(code, redirectURI, verifier string) Assertion {
	return Assertion{grant: wire.GrantAuthorizationCode, fetch: constant(code), raw: true, code: &codeRequest{redirectURI, wire.Secret(verifier)}}
}

// Format writes the grant, whatever the verb and flags.
func (a Assertion) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "awsoidc.Assertion(%s)", a.grant)
}

func constant(raw string) func(context.Context) (wire.Secret, error) {
	return func(context.Context) (wire.Secret, error) { return wire.Secret(raw), nil }
}

func accessTokenOf(src oauth2.TokenSource) func(context.Context) (wire.Secret, error) {
	return func(ctx context.Context) (wire.Secret, error) {
		t, err := tokenOf(ctx, src)
		if err != nil {
			return "", err
		}
		return wire.Secret(t.AccessToken), nil
	}
}

func tokenOf(ctx context.Context, src oauth2.TokenSource) (*oauth2.Token, error) {
	if src == nil {
		return nil, errors.New("there is no token source")
	}
	var t *oauth2.Token
	var err error
	if s, ok := src.(interface {
		TokenContext(context.Context) (*oauth2.Token, error)
	}); ok {
		t, err = s.TokenContext(ctx)
	} else {
		t, err = src.Token()
	}
	if err == nil && t == nil {
		err = errors.New("the token source gave no token")
	}
	return t, err
}

// codeLifetime is longer than that of any authorization code.
const codeLifetime = time.Hour

// proof is an assertion ready to be sent.
type proof struct {
	value      wire.Secret
	print      string    // what tells it apart from others
	until      time.Time // it has expired then
	single     bool      // it works once
	repeatable bool      // it may be sent again whatever became of it
}

// spentBy reports whether p must not be sent again after a request that ended
// with err: it works once and may have, or it was refused.
func (p *proof) spentBy(err error) bool {
	return !p.repeatable && (p.single && !unspent(err) || isType(err, wire.TypeInvalidGrant))
}

// input returns the request that exchanges the assertion's value.
func (a Assertion) input(application string, scopes []string, value wire.Secret) *wire.CreateTokenWithIAMInput {
	in := &wire.CreateTokenWithIAMInput{ClientID: application, GrantType: a.grant, Scopes: scopes}
	switch a.grant {
	case wire.GrantJWTBearer:
		in.Assertion = value
	case wire.GrantTokenExchange:
		in.SubjectToken, in.SubjectTokenType = value, wire.TokenTypeAccessToken
	case wire.GrantAuthorizationCode:
		in.Code, in.RedirectURI, in.CodeVerifier = value, a.code.redirectURI, a.code.verifier
	}
	return in
}

// prove fetches and checks the assertion for the subject.
func (a Assertion) prove(ctx context.Context, sources *lingering, subject Subject, audiences []string, now time.Time) (*proof, error) {
	if a.fetch == nil {
		return nil, reauth("there is no assertion", nil)
	}
	const fetchTimeout = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	fetch := func() (wire.Secret, error) { return sources.run(ctx, a.fetch) }
	if a.raw {
		fetch = func() (wire.Secret, error) { return a.fetch(ctx) }
	}
	value, err := fetch()
	if err != nil {
		return nil, reauth("the assertion could not be had", &hiddenError{err})
	}
	if !isToken(string(value)) {
		return nil, reauth("the assertion is empty, too long, or has other than visible ASCII characters", nil)
	}
	p := &proof{
		value:      value,
		print:      fingerprint(value),
		until:      now.Add(codeLifetime),
		single:     a.grant == wire.GrantAuthorizationCode,
		repeatable: a.grant == wire.GrantTokenExchange,
	}
	if a.grant != wire.GrantJWTBearer {
		return p, nil
	}
	c, err := readClaims(value)
	if err != nil {
		return nil, reauth("the assertion "+err.Error(), nil)
	}
	p.single, p.until = c.id != "", c.expires
	return p, c.check(subject, audiences, now)
}

// claims are those of a JWT that this package looks at, unverified: they may
// have it refused, and decide nothing else.
type claims struct {
	issuer, subject, id string
	audience            []string
	expires             time.Time
	tenant              any // nil where there is none
}

func readClaims(token wire.Secret) (*claims, error) {
	parts := strings.Split(string(token), ".")
	if len(parts) != 3 {
		return nil, errors.New("is not a signed JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, errors.New("is not a JWT")
	}
	members, err := readMembers(raw, "iss", "sub", "aud", "exp", "jti", "tid")
	if err != nil {
		return nil, err
	}
	var c claims
	var expires float64
	if !utf8.Valid(raw) {
		return nil, errors.New("is not in UTF-8")
	}
	for name, into := range map[string]any{"iss": &c.issuer, "sub": &c.subject, "jti": &c.id, "exp": &expires, "tid": &c.tenant} {
		if raw, ok := members[name]; ok && json.Unmarshal(raw, into) != nil {
			return nil, errors.New("has a claim " + name + " of another type than usual")
		}
	}
	for _, text := range []string{c.issuer, c.subject, c.id, fmt.Sprint(c.tenant)} {
		if strings.ContainsRune(text, utf8.RuneError) {
			return nil, errors.New("has a claim with half a character, which different readers take for different ones")
		}
	}
	if raw := members["aud"]; bytes.HasPrefix(raw, []byte(`"`)) { // RFC 7519 section 4.1.3
		c.audience = make([]string, 1)
		err = json.Unmarshal(raw, &c.audience[0])
	} else if raw != nil {
		err = json.Unmarshal(raw, &c.audience)
	}
	if err != nil {
		return nil, errors.New("has a claim aud of another type than usual")
	}
	const year2200 = 7258118400
	c.expires = time.Unix(int64(min(max(expires, 0), year2200)), 0).UTC()
	return &c, nil
}

// readMembers returns the members of a JSON object by their exact names. Two of
// one name, or one that only a careless reader takes for one of the names, are
// refused: others may read another value.
func readMembers(raw []byte, names ...string) (map[string]json.RawMessage, error) {
	malformed := errors.New("is not a JWT with a JSON object of claims")
	members := map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, malformed
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return nil, malformed
		}
		for _, known := range names {
			if _, twice := members[known]; strings.EqualFold(name, known) && (name != known || twice) {
				return nil, errors.New("has the claim " + known + " twice, or in another spelling")
			}
		}
		members[name] = value
	}
	if t, err := d.Token(); err != nil || t != json.Delim('}') {
		return nil, malformed
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, malformed
	}
	return members, nil
}

func (c *claims) check(subject Subject, audiences []string, now time.Time) error {
	switch {
	case c.issuer != subject.Issuer:
		return mismatch("iss")
	case c.subject != subject.ID:
		return mismatch("sub")
	case c.tenant != nil && subject.Tenant != "" && c.tenant != subject.Tenant:
		return mismatch("tid")
	case len(c.audience) == 0:
		return &failure{kind: ErrConfig, own: true, what: "the assertion has no audience, which the service requires",
			advice: "pass the ID token, or have the issuer put an aud into its access tokens"}
	case !now.Before(c.expires):
		return reauth("the assertion has expired", nil)
	case len(audiences) > 0 && !slices.ContainsFunc(c.audience, func(a string) bool { return slices.Contains(audiences, a) }):
		e := reauth("the assertion is for another audience", nil)
		e.advice = "pass a token that was issued for this application"
		return e
	}
	return nil
}

func mismatch(claim string) error {
	return &failure{kind: ErrSubjectMismatch, own: true, what: "its " + claim + " is not the Subject's",
		advice: "take the Subject from the same verified token as the assertion"}
}

// reauth says why an identity's ladder ends here.
func reauth(what string, cause error) *failure {
	return &failure{kind: ErrReauthRequired, own: true, what: what, cause: cause, advice: "let the user sign in again, and pass the new token"}
}

// lingering counts the token sources that go on after nobody waits for them any
// more: those without a context can't be stopped.
type lingering struct{ n atomic.Int32 }

const maxLingering = 64

// run returns what fetch does, or ctx's cause if that ends first. A fetch that
// goes on has its goroutine to itself until it returns.
func (l *lingering) run(ctx context.Context, fetch func(context.Context) (wire.Secret, error)) (wire.Secret, error) {
	if l.n.Load() >= maxLingering {
		return "", errors.New("too many token sources do not answer")
	}
	var ended atomic.Bool // by fetch or by who waits for it, the first
	call := flight.Start(ctx, func(context.Context) (wire.Secret, error) {
		value, err := fetch(ctx)
		if ended.Swap(true) {
			l.n.Add(-1)
		}
		return value, err
	})
	value, err := call.Wait(ctx)
	if err != nil && ctx.Err() != nil && !ended.Swap(true) {
		l.n.Add(1)
	}
	return value, err
}

// hiddenError is an error of code that is not ours, which may show a token.
type hiddenError struct{ err error }

func (e *hiddenError) Error() string {
	var r *oauth2.RetrieveError
	if errors.As(e.err, &r) { // its text has the answer's body
		return wire.Redact(fmt.Sprintf("the issuer answered %s", r.ErrorCode))
	}
	return wire.Redact(e.err.Error())
}

func (e *hiddenError) Unwrap() error { return e.err }

// A printSet remembers fingerprints of what must not be sent again: at least
// the last printGeneration, and twice as many at most. It is safe for
// concurrent use.
type printSet struct {
	mu       sync.Mutex
	now, old map[string]struct{}
}

// printGeneration is more than the service takes in an hour.
const printGeneration = 1 << 16

// add reports whether print was not there.
func (s *printSet) add(print string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hasLocked(print) {
		return false
	}
	if s.now == nil || len(s.now) >= printGeneration {
		s.now, s.old = map[string]struct{}{}, s.now
	}
	s.now[print] = struct{}{}
	return true
}

func (s *printSet) remove(print string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now, print)
	delete(s.old, print)
}

func (s *printSet) has(print string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasLocked(print)
}

func (s *printSet) hasLocked(print string) bool {
	_, isNow := s.now[print]
	_, isOld := s.old[print]
	return isNow || isOld
}
