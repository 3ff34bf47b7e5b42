package idctest

// Identity is on whose behalf a token, an identity context or credentials work.
type Identity struct {
	// Subject is the claim sub of the JWT that named the person; for a person
	// who signed in here, Server.UserName. It says who they are only together
	// with Issuer.
	Subject string
	// Issuer is the claim iss of that JWT; "" for a person who signed in.
	Issuer string
	// Application is the ARN of the application that acts for them, or the ID
	// of the client that they signed in to; "" for web identity.
	Application string
}

// Identify tells whose an access token, a refresh token or an identity context
// of this server is, or the credentials with an access key ID that it issued:
// of GetRoleCredentials, AssumeRole with an identity context, and
// AssumeRoleWithWebIdentity. It makes no difference whether they still work. It
// returns false for what stands for nobody, what the server did not issue, and
// what it has forgotten.
//
// Programs can't ask the service that. Tests can, to prove that nobody was
// handed what is another's.
func (s *Server) Identify(secret string) (Identity, bool) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if t := s.state.accessTokens.get(secret); t != nil {
		return t.session.identity(), true
	}
	if t := s.state.refreshTokens.get(secret); t != nil {
		return t.session.identity(), true
	}
	if c := s.state.contexts.get(secret); c != nil {
		return c.Identity, true
	}
	if c := s.state.roleKeys.get(secret); c != nil {
		return c.identity, c.identity.Subject != ""
	}
	return Identity{}, false
}

func (s *session) identity() Identity {
	return Identity{Subject: s.user, Issuer: s.issuer, Application: s.clientID}
}
