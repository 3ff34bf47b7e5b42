package idctest

import "time"

// Session is a sign-in with all that a program keeps of it. encoding/json
// makes of it the token file of the AWS CLI and SDKs
// (~/.aws/sso/cache/…json).
type Session struct {
	StartURL              string    `json:"startUrl"`               // that the sign-in was for: the first of Server.StartURLs, if any
	Region                string    `json:"region"`                 // Server.Region
	AccessToken           string    `json:"accessToken"`            // for the portal and /userinfo
	ExpiresAt             time.Time `json:"expiresAt"`              // of the access token; UTC, in whole seconds
	ClientID              string    `json:"clientId"`               // of the registered client, which alone can refresh the session
	ClientSecret          string    `json:"clientSecret"`           // of that client
	RegistrationExpiresAt time.Time `json:"registrationExpiresAt"`  // of that client; UTC, in whole seconds
	RefreshToken          string    `json:"refreshToken,omitempty"` // "" without scopes
}

// Issue registers a client with these scopes and signs the person in to it, as
// if they had approved a device authorization; no request is counted. As with
// RegisterClient, a client without scopes gets no refresh token: use
// "sso:account:access" for a session that can be refreshed.
func (s *Server) Issue(scopes ...string) Session {
	now, startURL := s.now(), s.startURL()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c := s.newClient(now, client{name: "idctest", scopes: scopes})
	sess := s.newSession(now, c.id, scopes, startURL)
	access := s.issueAccessToken(now, sess, scopes)
	return Session{
		StartURL: startURL, Region: s.region(),
		AccessToken: access.token, ExpiresAt: access.expires.UTC().Truncate(time.Second),
		ClientID: c.id, ClientSecret: c.secret,
		RegistrationExpiresAt: c.expires.UTC().Truncate(time.Second),
		RefreshToken:          s.issueRefreshToken(sess),
	}
}

// RevokeSessions ends every session begun so far, as an administrator can:
// refresh tokens answer InvalidGrantException, and the portal 401. Identity
// contexts and credentials of roles go on working until they expire.
func (s *Server) RevokeSessions() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for _, t := range s.state.accessTokens.all() {
		t.session.over = true
	}
	for _, t := range s.state.refreshTokens.all() {
		t.session.over = true
	}
}

// RevokeAccessTokens makes the portal refuse every access token issued so far
// with 401, before its expiry. Refresh tokens go on working.
func (s *Server) RevokeAccessTokens() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for _, t := range s.state.accessTokens.all() {
		t.revoked = true
	}
}

// ExpireRegistrations lets every client registration made so far expire now.
// CreateToken answers InvalidClientException from then on, but
// StartDeviceAuthorization still answers as if nothing were wrong, and only
// the page that the person sees says "invalid client": the real service does
// so too. Clients are expected to look at clientSecretExpiresAt.
func (s *Server) ExpireRegistrations() {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for _, c := range s.state.clients.all() {
		if now.Before(c.expires) {
			c.expires = now
		}
	}
}

// ForgetClients removes every client registration made so far: CreateToken and
// StartDeviceAuthorization answer InvalidClientException.
func (s *Server) ForgetClients() {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.clients = table[*client]{}
}
