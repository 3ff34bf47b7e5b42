package idctest

import (
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// createToken is the CreateToken operation.
func (s *Server) createToken(r *request) *answer {
	m := &r.members
	deviceCode, token := m.text("deviceCode"), m.text("refreshToken")
	code, redirectURI, verifier := m.text("code"), m.text("redirectUri"), m.text("codeVerifier")
	m.list("scope") // has no effect
	if err := r.problem("clientId", "clientSecret", "grantType"); err != nil {
		return oidcError(wire.TypeInvalidRequest, err.Error())
	}
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c := s.state.clients.get(r.clientID)
	if c == nil || c.secret != m.text("clientSecret") || !now.Before(c.expires) {
		return oidcError(wire.TypeInvalidClient, "Invalid client provided")
	}
	if grantType := m.text("grantType"); isGrantType(grantType) && !c.mayUse(grantType) {
		return oidcError(wire.TypeUnauthorizedClient, "Client is not registered for this grant type")
	}
	switch r.op {
	case CreateTokenDeviceCode:
		if deviceCode == "" {
			return oidcError(wire.TypeInvalidRequest, "missing deviceCode")
		}
		return s.redeem(now, c, deviceCode)
	case CreateTokenRefresh:
		if token == "" {
			return oidcError(wire.TypeInvalidRequest, "missing refreshToken")
		}
		return s.refresh(now, c, token)
	case CreateTokenAuthorizationCode:
		if code == "" || redirectURI == "" || verifier == "" {
			return oidcError(wire.TypeInvalidRequest, "missing code, redirectUri or codeVerifier")
		}
		return s.redeemCode(now, c, code, redirectURI, verifier)
	}
	return oidcError(wire.TypeUnsupportedGrantType, "Unsupported grant type provided")
}

// redeem exchanges a device code (RFC 8628 section 3.4). The caller holds mu.
func (s *Server) redeem(now time.Time, c *client, code string) *answer {
	d := s.state.devices.get(code)
	if d == nil || d.client != c || d.status == deviceUsed {
		return oidcError(wire.TypeInvalidGrant, "Invalid device code provided")
	}
	if !now.Before(d.expires) {
		return oidcError(wire.TypeExpiredToken, "Device code has expired")
	}
	if d.tooFast(now) {
		return oidcError(wire.TypeSlowDown, "Polling too frequently")
	}
	d.approvesItself()
	switch d.status {
	case deviceDenied:
		return oidcError(wire.TypeAccessDenied, "User denied the authorization request")
	case deviceApproved:
		d.status = deviceUsed
		return s.firstAnswer(now, s.newSession(now, c.id, c.scopes, d.startURL))
	}
	return oidcError(wire.TypeAuthorizationPending, "Authorization is still pending")
}

// redeemCode exchanges an authorization code. The caller holds mu.
func (s *Server) redeemCode(now time.Time, c *client, code, redirectURI, verifier string) *answer {
	granted, problem := s.takeCode(now, c.id, code, redirectURI, verifier)
	if problem != nil {
		return problem
	}
	granted.session = s.newSession(now, c.id, granted.scopes, granted.startURL)
	return s.firstAnswer(now, granted.session)
}

// refresh exchanges a refresh token (RFC 6749 section 6). The caller holds mu.
func (s *Server) refresh(now time.Time, c *client, token string) *answer {
	t, problem := s.takeRefreshToken(now, c.id, token)
	if problem != nil {
		return problem
	}
	next := s.nextRefreshToken(t, token)
	return tokenAnswer(now, s.issueAccessToken(now, t.session, t.session.scopes), next)
}

// takeRefreshToken returns the refresh token that a client or application
// presents. One that was spent may end its session. The caller holds mu.
func (s *Server) takeRefreshToken(now time.Time, clientID, token string) (*refreshToken, *answer) {
	invalid := oidcError(wire.TypeInvalidGrant, "Invalid refresh token provided")
	t := s.state.refreshTokens.get(token)
	if t == nil || t.session.clientID != clientID {
		return nil, invalid
	}
	if t.spent {
		s.state.reuses++
		if s.DetectReuse {
			t.session.over = true
		}
		return nil, invalid
	}
	if t.session.over || t.session.expires.Sub(now) < time.Second { // less can't be said in expiresIn
		return nil, invalid
	}
	return t, nil
}

// nextRefreshToken returns what a refresh with this token answers with, and
// spends it where it is to be spent. The caller holds mu.
func (s *Server) nextRefreshToken(t *refreshToken, token string) string {
	switch {
	case s.OmitRefreshToken:
		return ""
	case s.RotateRefreshTokens:
		t.spent = true
		return s.issueRefreshToken(t.session)
	}
	return token
}

// issued is an access token as its client learns of it.
type issued struct {
	token   string
	expires time.Time
}

// firstAnswer gives a new session its tokens. The caller holds mu.
func (s *Server) firstAnswer(now time.Time, sess *session) *answer {
	return tokenAnswer(now, s.issueAccessToken(now, sess, sess.scopes), s.issueRefreshToken(sess))
}

func tokenAnswer(now time.Time, access issued, refreshToken string) *answer {
	return jsonAnswer(struct {
		AccessToken  string `json:"accessToken"`
		TokenType    string `json:"tokenType"`
		ExpiresIn    int64  `json:"expiresIn"`
		RefreshToken string `json:"refreshToken,omitempty"`
	}{access.token, "Bearer", seconds(access.expires.Sub(now)), refreshToken})
}

// newSession begins a session of the person with a client or application. The
// caller holds mu.
func (s *Server) newSession(now time.Time, clientID string, scopes []string, startURL string) *session {
	return &session{
		clientID: clientID, scopes: scopes, startURL: startURL, user: s.userName(),
		expires: now.Add(s.sessionLifetime()),
	}
}

// issueAccessToken issues an access token with some of the session's scopes.
// The caller holds mu.
func (s *Server) issueAccessToken(now time.Time, sess *session, scopes []string) issued {
	lifetime := wholeSeconds(s.AccessTokenLifetime, time.Hour)
	if len(sess.scopes) == 0 {
		lifetime = s.sessionLifetime()
	}
	t := &accessToken{session: sess, scopes: scopes, expires: now.Add(lifetime)}
	if sess.expires.Before(t.expires) {
		t.expires = sess.expires
	}
	token := randomAccessToken()
	s.state.accessTokens.put(token, t, maxTokens)
	return issued{token, t.expires}
}

// issueRefreshToken issues a refresh token, or none to a session without
// scopes. The caller holds mu.
func (s *Server) issueRefreshToken(sess *session) string {
	if len(sess.scopes) == 0 {
		return ""
	}
	token := randomRefreshToken()
	s.state.refreshTokens.put(token, &refreshToken{session: sess}, maxTokens)
	return token
}

func (s *Server) sessionLifetime() time.Duration {
	return wholeSeconds(s.SessionLifetime, 8*time.Hour)
}
