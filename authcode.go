package awsoidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/awsoidc/awsoidc/internal/loopback"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	// authCodeTimeout is how long a person has to approve in the browser.
	authCodeTimeout = 10 * time.Minute
	// redirectAddress is the loopback address whose redirect URI every stored
	// registration has: the AWS CLI's one.
	redirectAddress = "127.0.0.1"
)

// errAuthCodeTimeout is the cause of a context that authCodeTimeout ended.
var errAuthCodeTimeout = errors.New("nobody answered in the browser")

// signInByCode signs a person in by the authorization code grant (RFC 6749
// section 4.1) with PKCE (RFC 7636) on a loopback listener (RFC 8252).
func (s *TokenSource) signInByCode(ctx context.Context, reason string) error {
	startURL, err := s.startURL(ctx)
	if err != nil {
		return err
	}
	listener, err := s.listen(s.cfg.RedirectPort)
	switch {
	case err != nil && s.cfg.Grant == GrantAuto:
		return s.signInByDevice(ctx, s.noWayBack(err))
	case err != nil:
		return s.listenFailed(err)
	}
	state := newVerifier()
	callback := loopback.Receive(listener, loopback.Expected{State: state, Issuers: []string{startURL, s.cfg.Endpoints.OIDC}})
	defer callback.Close()
	reg, err := s.codeRegistration(ctx, startURL, listener.Addr())
	if err != nil {
		return err
	}
	verifier := newVerifier()
	uri := s.authorizationURL(reg, callback.RedirectURI(), state, challenge(verifier))
	expires := s.rules.now().add(authCodeTimeout)
	waitCtx, cancel := context.WithTimeoutCause(ctx, authCodeTimeout, errAuthCodeTimeout)
	defer cancel()
	finish, err := s.cfg.Prompt.Prompt(ctx, Verification{
		Grant:       GrantAuthCode,
		Reason:      reason,
		URI:         uri,
		URIComplete: uri,
		ExpiresAt:   expires.time(),
		Session:     s.name(),
	})
	if err == nil {
		var code wire.Secret
		if code, err = s.awaitCode(waitCtx, callback, reg, expires); err == nil {
			err = s.redeem(ctx, reg, code, callback.RedirectURI(), wire.Secret(verifier))
		}
	}
	if finish != nil {
		finish(err)
	}
	return err
}

// newVerifier returns 32 random bytes as RFC 7636 section 4.1 writes a code
// verifier.
func newVerifier() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// challenge is the code challenge of a code verifier by S256 (RFC 7636 section
// 4.2).
func challenge(verifier string) string {
	h := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// noWayBack says in a few words why there is no listener.
func (s *TokenSource) noWayBack(err error) string {
	if errors.Is(err, loopback.ErrPortTaken) {
		return fmt.Sprintf("a browser can't come back to this program on port %d", s.cfg.RedirectPort)
	}
	return "a browser can't come back to this program"
}

func (s *TokenSource) listenFailed(err error) error {
	f := &failure{what: s.noWayBack(err), cause: err, advice: "set Grant to GrantDevice, which needs no way back"}
	if errors.Is(err, loopback.ErrPortTaken) {
		f.advice = "end the program that uses the port, or set RedirectPort to another, or to 0 for any free one"
	}
	return f
}

// codeRegistration returns a client that may be sent back to an address. Stored
// registrations do not say which redirect URIs they have: one for another
// address than the usual is neither taken from the store nor kept there.
func (s *TokenSource) codeRegistration(ctx context.Context, startURL string, a net.Addr) (*registration, error) {
	scopes := s.cfg.Scopes
	if len(scopes) == 0 {
		scopes = []string{defaultScope}
	}
	address, _, _ := net.SplitHostPort(a.String())
	client := &wire.RegisterClientInput{
		ClientName: s.cfg.ClientName,
		Scopes:     scopes,
		GrantTypes: []string{wire.GrantAuthorizationCode, wire.GrantRefreshToken},
		IssuerURL:  startURL,
	}
	if address == redirectAddress {
		client.RedirectURIs = []string{"http://" + redirectAddress + loopback.Path}
		return s.registration(ctx, client)
	}
	client.RedirectURIs = []string{"http://[" + address + "]" + loopback.Path}
	reg, err := s.register(ctx, client)
	if err != nil {
		return nil, s.signInFailed("the client could not be registered", err)
	}
	return reg, nil
}

// authorizationURL returns the URL of the authorization request (RFC 6749
// section 4.1.1, RFC 7636 section 4.3), as the service takes it: "scopes" is
// its own name, and spaces are %20.
func (s *TokenSource) authorizationURL(reg *registration, redirectURI, state, challenge string) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(s.cfg.Endpoints.OIDC, "/") + "/authorize?response_type=code")
	for _, p := range [][2]string{
		{"client_id", reg.clientID},
		{"redirect_uri", redirectURI},
		{"state", state},
		{"code_challenge_method", "S256"},
		{"scopes", strings.Join(reg.scopes, " ")},
		{"code_challenge", challenge},
	} {
		b.WriteString("&" + p[0] + "=" + strings.ReplaceAll(url.QueryEscape(p[1]), "+", "%20"))
	}
	return b.String()
}

// awaitCode waits until the person has decided.
func (s *TokenSource) awaitCode(ctx context.Context, callback *loopback.Receiver, reg *registration, expires instant) (wire.Secret, error) {
	answer, err := callback.Wait(ctx)
	switch refusal, _ := errors.AsType[*loopback.Refusal](answer.Err); {
	case errors.Is(err, errAuthCodeTimeout), err == nil && s.rules.now().reached(expires):
		// The service shows a client that it does not know an error, and sends
		// nobody back: the next sign-in registers a new one.
		s.refuseClient(reg.clientID)
		return "", &failure{kind: ErrCodeExpired, advice: "sign in again, and approve within the time shown; where the browser showed an error, " + s.checkStartURL()}
	case err != nil:
		return "", err
	case refusal != nil && refusal.Code == "access_denied":
		return "", refused(refusal)
	case refusal != nil:
		s.refuseClient(reg.clientID)
		return "", &failure{what: "the sign-in failed", cause: refusal, advice: "sign in again with a new registration, or set Grant to GrantDevice"}
	case answer.Err != nil:
		return "", &failure{what: "the sign-in failed", cause: answer.Err, advice: "sign in again, and check what answers at " + s.cfg.Endpoints.OIDC}
	}
	return wire.Secret(answer.Code), nil
}

// redeem exchanges the code for a session and saves that. The code works once:
// it is sent once, and not abandoned once it was sent (RFC 6749 section 4.1.3).
func (s *TokenSource) redeem(ctx context.Context, reg *registration, code wire.Secret, redirectURI string, verifier wire.Secret) error {
	sendCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	sentAt := s.rules.now().time()
	answer, err := s.wire.CreateToken(sendCtx, &wire.CreateTokenInput{
		ClientID:     reg.clientID,
		ClientSecret: reg.clientSecret,
		GrantType:    wire.GrantAuthorizationCode,
		Code:         code,
		RedirectURI:  redirectURI,
		CodeVerifier: verifier,
	})
	switch {
	case err == nil:
		return s.saveSignIn(ctx, s.newSession(reg, answer, sentAt))
	case isType(err, wire.TypeAccessDenied):
		return s.signInFailed("the sign-in failed", err)
	case isType(err, wire.TypeInvalidClient):
		s.refuseClient(reg.clientID)
		return s.signInFailed("the sign-in failed", err)
	}
	return &failure{what: "the approved sign-in could not be finished", cause: err,
		advice: "sign in again: its code works once only; should that fail too, " + serviceAdvice(err)}
}
