package idctest

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// Application is a customer managed application of Identity Center with OAuth
// grants configured, which programs with IAM credentials ask for tokens of by
// CreateTokenWithIAM.
type Application struct {
	ARN          string   // such as "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"
	GrantTypes   []string // that are configured; nil: all four of CreateTokenWithIAM
	RedirectURIs []string // of the authorization code grant; nil: any that is https, or http on loopback
	Scopes       []string // that may be asked for; nil: openid, aws and sts:identity_context
}

// What the default scopes of an application bring.
const (
	scopeOpenID          = "openid"               // an ID token
	scopeIdentityContext = "sts:identity_context" // an identity context for AssumeRole
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
	if s.Region != "" && by.region != s.Region {
		endpoint, _ := wire.EndpointFor(s.Region, false, false)
		return oidcException(exception{
			Type: wire.TypeInvalidRequestRegion, Description: "The instance of IAM Identity Center is in another region",
			Region: s.Region, Endpoint: endpoint,
		})
	}
	var problem *answer
	if in.app, problem = s.application(r.clientID); problem != nil {
		return problem
	}
	if r.op != CreateTokenWithIAM && !in.app.mayUse(m.text("grantType")) {
		return oidcError(wire.TypeUnauthorizedClient, "The grant type is not configured for the application")
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

// iamJWTBearer exchanges the JWT of a trusted token issuer (RFC 7523). The
// caller holds mu.
func (s *Server) iamJWTBearer(in iamRequest) *answer {
	if in.assertion == "" {
		return oidcError(wire.TypeInvalidRequest, "missing assertion")
	}
	assertion, err := readJWT(in.assertion, in.now, s.AssertionKey)
	if err != nil {
		return oidcError(wire.TypeInvalidGrant, "Invalid assertion provided: "+err.Error())
	}
	scopes, ok := narrowed(in.app.scopes(), in.scopes)
	if !ok {
		return invalidScope()
	}
	sess := s.newSession(in.now, in.app.ARN, scopes, s.startURL())
	sess.user, sess.issuer = assertion.subject, assertion.issuer
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
		s.state.contexts.put(identity, &identityContext{user: sess.user, issuer: sess.issuer, application: sess.clientID, expires: access.expires}, maxTokens)
		out.Details = &details{identity}
	}
	if slices.Contains(scopes, scopeOpenID) {
		out.IDToken = s.signJWT(idTokenClaims(now, sess, access.expires, identity))
	}
	return jsonAnswer(out)
}

// identityContext is what an identity context stands for until it expires.
type identityContext struct {
	user, issuer string
	application  string // its ARN
	expires      time.Time
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

// application returns the application with that ARN.
func (s *Server) application(arn string) (Application, *answer) {
	if !isApplicationARN(arn) {
		return Application{}, oidcError(wire.TypeInvalidRequest, "clientId is not the ARN of an application")
	}
	if s.Applications == nil {
		return Application{ARN: arn}, nil
	}
	i := slices.IndexFunc(s.Applications, func(a Application) bool { return a.ARN == arn })
	if i < 0 {
		return Application{}, oidcError(wire.TypeInvalidClient, "Invalid client provided")
	}
	return s.Applications[i], nil
}

func isApplicationARN(s string) bool {
	a := parseARN(s)
	p := strings.Split(a.resource, "/")
	return a.service == "sso" && a.region == "" && isAccount(a.account) && len(s) <= 256 &&
		len(p) == 3 && p[0] == "application" && isWord(instanceID(s), "-.") && strings.HasPrefix(p[2], "apl-") && isWord(p[2][4:], "")
}

// instanceID returns the instance of Identity Center that an application
// belongs to, "" where its ARN names none.
func instanceID(application string) string {
	_, rest, _ := strings.Cut(application, ":application/")
	id, _, _ := strings.Cut(rest, "/")
	if !strings.HasPrefix(id, "ssoins-") && !strings.HasPrefix(id, "ins-") {
		return ""
	}
	return id
}

func (a Application) mayUse(grantType string) bool {
	return a.GrantTypes == nil || slices.Contains(a.GrantTypes, grantType)
}

func (a Application) scopes() []string {
	if a.Scopes == nil {
		return []string{scopeOpenID, "aws", scopeIdentityContext}
	}
	return a.Scopes
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

// oidcAnswer is what SSO OIDC says. These exceptions are not of its model, and
// have a message in place of the members that its own have; ExpiredTokenException
// is not the one of that name that ends a device authorization.
func (e *authError) oidcAnswer() *answer {
	typ := [...]string{
		authMissing: "MissingAuthenticationTokenException", authIncomplete: "IncompleteSignatureException",
		authUnknown: "UnrecognizedClientException", authExpired: wire.TypeExpiredToken, authMismatch: "InvalidSignatureException",
	}[e.kind]
	return oidcAnswer(http.StatusForbidden, typ, struct {
		Message string `json:"message"`
	}{e.message})
}
