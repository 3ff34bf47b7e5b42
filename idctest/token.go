package idctest

import (
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// createToken is the CreateToken operation.
func (s *Server) createToken(r *request) *answer {
	m := &r.members
	deviceCode, token := m.text("deviceCode"), m.text("refreshToken")
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
		sess := s.newSession(now, c, d.startURL)
		return tokenAnswer(now, s.issueAccessToken(now, sess), s.issueRefreshToken(sess))
	}
	return oidcError(wire.TypeAuthorizationPending, "Authorization is still pending")
}

// refresh exchanges a refresh token (RFC 6749 section 6). The caller holds mu.
func (s *Server) refresh(now time.Time, c *client, token string) *answer {
	invalid := oidcError(wire.TypeInvalidGrant, "Invalid refresh token provided")
	t := s.state.refreshTokens.get(token)
	if t == nil || t.session.client != c {
		return invalid
	}
	if t.spent {
		s.state.reuses++
		if s.DetectReuse {
			t.session.over = true
		}
		return invalid
	}
	if t.session.over || t.session.expires.Sub(now) < time.Second { // less can't be said in expiresIn
		return invalid
	}
	next := token
	switch {
	case s.OmitRefreshToken:
		next = ""
	case s.RotateRefreshTokens:
		t.spent = true
		next = s.issueRefreshToken(t.session)
	}
	return tokenAnswer(now, s.issueAccessToken(now, t.session), next)
}

// issued is an access token as its client learns of it.
type issued struct {
	token   string
	expires time.Time
}

func tokenAnswer(now time.Time, access issued, refreshToken string) *answer {
	return jsonAnswer(struct {
		AccessToken  string `json:"accessToken"`
		TokenType    string `json:"tokenType"`
		ExpiresIn    int64  `json:"expiresIn"`
		RefreshToken string `json:"refreshToken,omitempty"`
	}{access.token, "Bearer", seconds(access.expires.Sub(now)), refreshToken})
}

// newSession begins a session. The caller holds mu.
func (s *Server) newSession(now time.Time, c *client, startURL string) *session {
	return &session{
		client: c, startURL: startURL, user: s.userName(),
		expires: now.Add(s.sessionLifetime()),
	}
}

// issueAccessToken issues an access token. The caller holds mu.
func (s *Server) issueAccessToken(now time.Time, sess *session) issued {
	lifetime := wholeSeconds(s.AccessTokenLifetime, time.Hour)
	if len(sess.client.scopes) == 0 {
		lifetime = s.sessionLifetime()
	}
	t := &accessToken{session: sess, expires: now.Add(lifetime)}
	if sess.expires.Before(t.expires) {
		t.expires = sess.expires
	}
	token := randomAccessToken()
	s.state.accessTokens.put(token, t, maxTokens)
	return issued{token, t.expires}
}

// issueRefreshToken issues a refresh token, or none to a client without
// scopes. The caller holds mu.
func (s *Server) issueRefreshToken(sess *session) string {
	if len(sess.client.scopes) == 0 {
		return ""
	}
	token := randomRefreshToken()
	s.state.refreshTokens.put(token, &refreshToken{session: sess}, maxTokens)
	return token
}

func (s *Server) sessionLifetime() time.Duration {
	return wholeSeconds(s.SessionLifetime, 8*time.Hour)
}
