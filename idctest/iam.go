package idctest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// What the default scopes of an application bring.
const (
	scopeOpenID          = "openid"               // an ID token
	scopeIdentityContext = "sts:identity_context" // an identity context for AssumeRole
	scopePortal          = "sso:account:access"   // the portal; no application has it by default
)

// Types of tokens (RFC 8693 section 3).
const (
	tokenTypeAccess  = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeRefresh = "urn:ietf:params:oauth:token-type:refresh_token"
)

// iamRequest is what CreateTokenWithIAM is asked.
type iamRequest struct {
	now    time.Time
	app    Application
	scopes []string // none: all there are

	code, redirectURI, verifier              string
	refreshToken, assertion                  string
	user                                     *jwt // the assertion, once read
	subjectToken, subjectType, requestedType string
}

// createTokenWithIAM is the CreateTokenWithIAM operation.
func (s *Server) createTokenWithIAM(r *request) *answer {
	m := &r.members
	in := iamRequest{
		now: s.now(), scopes: m.list("scope"),
		code: m.text("code"), redirectURI: m.text("redirectUri"), verifier: m.text("codeVerifier"),
		refreshToken: m.text("refreshToken"), assertion: m.text("assertion"),
		subjectToken: m.text("subjectToken"), subjectType: m.text("subjectTokenType"), requestedType: m.text("requestedTokenType"),
	}
	by, denied := s.authenticate(r, signingOIDC)
	if denied != nil {
		return denied.oidcAnswer()
	}
	if err := r.problem("clientId", "grantType"); err != nil {
		return oidcError(wire.TypeInvalidRequest, err.Error())
	}
	var problem *answer
	in.app, problem = s.application(r.clientID)
	if elsewhere := s.checkRegion(in.app, by.region); elsewhere != nil {
		return elsewhere
	}
	if problem != nil {
		return problem
	}
	if r.op != CreateTokenWithIAM && !in.app.mayUse(m.text("grantType")) {
		return oidcError(wire.TypeUnauthorizedClient, "The grant type is not configured for the application")
	}
	if r.op == CreateTokenWithIAMJWTBearer { // before the lock: the issuer may have to be asked
		if problem = s.readAssertion(r.http.Context(), &in); problem != nil {
			return problem
		}
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	switch r.op {
	case CreateTokenWithIAMAuthorizationCode:
		return s.iamCode(in)
	case CreateTokenWithIAMRefresh:
		return s.iamRefresh(in)
	case CreateTokenWithIAMJWTBearer:
		return s.iamJWTBearer(in)
	case CreateTokenWithIAMTokenExchange:
		return s.iamTokenExchange(in)
	}
	return oidcError(wire.TypeUnsupportedGrantType, "Unsupported grant type provided")
}

// iamCode exchanges an authorization code. The caller holds mu.
func (s *Server) iamCode(in iamRequest) *answer {
	if in.code == "" || in.redirectURI == "" || in.verifier == "" {
		return oidcError(wire.TypeInvalidRequest, "missing code, redirectUri or codeVerifier")
	}
	c, problem := s.takeCode(in.now, in.app.ARN, in.code, in.redirectURI, in.verifier)
	if problem != nil {
		return problem
	}
	scopes, ok := narrowed(c.scopes, in.scopes)
	if !ok {
		return invalidScope()
	}
	if !in.app.assigned(s.userName()) {
		return notAssigned()
	}
	c.session = s.newSession(in.now, in.app.ARN, scopes, c.startURL)
	return s.iamAnswer(in.now, c.session, scopes, s.issueRefreshToken(c.session))
}

// iamRefresh exchanges a refresh token. The caller holds mu.
func (s *Server) iamRefresh(in iamRequest) *answer {
	if in.refreshToken == "" {
		return oidcError(wire.TypeInvalidRequest, "missing refreshToken")
	}
	t, problem := s.takeRefreshToken(in.now, in.app.ARN, in.refreshToken)
	if problem != nil {
		return problem
	}
	scopes, ok := narrowed(t.session.scopes, in.scopes)
	if !ok {
		return invalidScope() // and nothing is spent
	}
	return s.iamAnswer(in.now, t.session, scopes, s.nextRefreshToken(t, in.refreshToken))
}

// readAssertion reads and checks the assertion of the JWT bearer grant. The
// caller does not hold mu.
func (s *Server) readAssertion(ctx context.Context, in *iamRequest) *answer {
	if in.assertion == "" {
		return oidcError(wire.TypeInvalidRequest, "missing assertion")
	}
	var err error
	in.user, err = s.readJWT(ctx, in.assertion, in.now)
	var unreachable *keysError
	switch {
	case errors.As(err, &unreachable):
		return oidcError(wire.TypeInternalServer, err.Error())
	case err != nil:
		return oidcError(wire.TypeInvalidGrant, "Invalid assertion provided: "+err.Error())
	}
	return nil
}

// iamJWTBearer exchanges the JWT of a trusted token issuer (RFC 7523). The
// caller holds mu.
func (s *Server) iamJWTBearer(in iamRequest) *answer {
	if !s.present(in.now, in.app.ARN, in.user) {
		return oidcError(wire.TypeInvalidGrant, "Invalid assertion provided: it was presented before")
	}
	scopes, ok := narrowed(in.app.scopes(), in.scopes)
	if !ok {
		return invalidScope()
	}
	if !in.app.assigned(in.user.subject) {
		return notAssigned()
	}
	sess := s.newSession(in.now, in.app.ARN, scopes, s.startURL())
	sess.user, sess.issuer = in.user.subject, in.user.issuer
	refreshToken := ""
	if s.JWTBearerRefreshTokens {
		refreshToken = s.issueRefreshToken(sess)
	}
	return s.iamAnswer(in.now, sess, scopes, refreshToken)
}

// iamTokenExchange exchanges an access token that was issued here to another
// client (RFC 8693). The caller holds mu.
func (s *Server) iamTokenExchange(in iamRequest) *answer {
	switch {
	case in.subjectToken == "" || in.subjectType == "":
		return oidcError(wire.TypeInvalidRequest, "missing subjectToken or subjectTokenType")
	case in.subjectType != tokenTypeAccess:
		return oidcError(wire.TypeInvalidRequest, "subjectTokenType must be "+tokenTypeAccess)
	case in.requestedType != "" && in.requestedType != tokenTypeAccess && in.requestedType != tokenTypeRefresh:
		return oidcError(wire.TypeInvalidRequest, "Unsupported requestedTokenType provided")
	}
	subject := s.state.accessTokens.get(in.subjectToken)
	switch {
	case !subject.live(in.now) || subject.session.expires.Sub(in.now) < time.Second:
		return oidcError(wire.TypeInvalidGrant, "Invalid subject token provided")
	case subject.session.clientID == in.app.ARN:
		return oidcError(wire.TypeInvalidRequest, "The subject token was issued to this application")
	}
	scopes, ok := narrowed(in.app.scopes(), in.scopes)
	if !ok {
		return invalidScope()
	}
	if !in.app.assigned(subject.session.user) {
		return notAssigned()
	}
	sess := s.newSession(in.now, in.app.ARN, scopes, subject.session.startURL)
	sess.user, sess.issuer = subject.session.user, subject.session.issuer
	if subject.session.expires.Before(sess.expires) {
		sess.expires = subject.session.expires
	}
	refreshToken := ""
	if in.requestedType == tokenTypeRefresh {
		refreshToken = s.issueRefreshToken(sess)
	}
	return s.iamAnswer(in.now, sess, scopes, refreshToken)
}

// iamAnswer issues an access token, and what the scopes bring. The caller holds
// mu.
func (s *Server) iamAnswer(now time.Time, sess *session, scopes []string, refreshToken string) *answer {
	type details struct {
		IdentityContext string `json:"identityContext"`
	}
	access := s.issueAccessToken(now, sess, scopes)
	out := struct {
		AccessToken     string   `json:"accessToken"`
		TokenType       string   `json:"tokenType"`
		ExpiresIn       int64    `json:"expiresIn"`
		RefreshToken    string   `json:"refreshToken,omitempty"`
		IDToken         string   `json:"idToken,omitempty"`
		IssuedTokenType string   `json:"issuedTokenType"`
		Scope           []string `json:"scope"`
		Details         *details `json:"awsAdditionalDetails,omitempty"`
	}{
		AccessToken: access.token, TokenType: "Bearer", ExpiresIn: seconds(access.expires.Sub(now)),
		RefreshToken: refreshToken, IssuedTokenType: tokenTypeAccess, Scope: scopes,
	}
	if refreshToken != "" {
		out.IssuedTokenType = tokenTypeRefresh
	}
	identity := ""
	if slices.Contains(scopes, scopeIdentityContext) {
		identity = randomContext()
		s.state.contexts.put(identity, &identityContext{sess.identity(), access.expires}, maxTokens)
		out.Details = &details{identity}
	}
	if slices.Contains(scopes, scopeOpenID) {
		out.IDToken = signingKey{key: s.idTokenKey()}.sign(idTokenClaims(now, sess, access.expires, identity))
	}
	return jsonAnswer(out)
}

// identityContext is what an identity context stands for until it expires.
type identityContext struct {
	Identity
	expires time.Time
}

// idTokenClaims are those of OpenID Connect Core section 2, and the identity
// context, which the service puts there too.
func idTokenClaims(now time.Time, sess *session, expires time.Time, identity string) any {
	return struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Context  string `json:"sts:identity_context,omitempty"`
	}{
		"https://identitycenter.amazonaws.com/" + instanceID(sess.clientID), sess.user, sess.clientID,
		now.Unix(), expires.Unix(), identity,
	}
}

// narrowed returns the scopes that are granted: all, or those asked for. It
// returns false where one was not among them.
func narrowed(all, asked []string) (granted []string, ok bool) {
	for _, scope := range asked {
		if !slices.Contains(all, scope) {
			return nil, false
		}
	}
	granted = []string{}
	for _, scope := range all {
		if len(asked) == 0 || slices.Contains(asked, scope) {
			granted = append(granted, scope)
		}
	}
	return granted, true
}

func invalidScope() *answer { return oidcError(wire.TypeInvalidScope, "Invalid scope provided") }

// notAssigned says as little as the service does.
func notAssigned() *answer { return oidcError(wire.TypeAccessDenied, "Access denied") }

// oidcAnswer is what SSO OIDC says. These exceptions are not of its model, and
// have a message in place of the members that its own have; ExpiredTokenException
// is not the one of that name that ends a device authorization.
func (e *authError) oidcAnswer() *answer {
	typ := [...]string{
		authMissing: "MissingAuthenticationTokenException", authIncomplete: "IncompleteSignatureException",
		authUnknown: "UnrecognizedClientException", authExpired: wire.TypeExpiredToken, authMismatch: "InvalidSignatureException",
	}[e.kind]
	return oidcAnswer(http.StatusForbidden, typ, messageOnly{e.message})
}

// messageOnly is the body of what AWS answers for every service alike.
type messageOnly struct {
	Message string `json:"message"`
}
