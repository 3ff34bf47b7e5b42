package idctest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// registerClient is the RegisterClient operation.
func (s *Server) registerClient(r *request) *answer {
	m := &r.members
	name, clientType := m.text("clientName"), m.text("clientType")
	scopes, grantTypes, redirectURIs := m.list("scopes"), m.list("grantTypes"), m.list("redirectUris")
	issuerURL := m.text("issuerUrl")
	m.text("entitledApplicationArn")
	if err := r.problem("clientName", "clientType"); err != nil {
		return oidcError(wire.TypeInvalidRequest, err.Error())
	}
	switch {
	case clientType != wire.ClientTypePublic:
		return oidcError(wire.TypeInvalidClientMetadata, "clientType must be public")
	case !all(scopes, isScope):
		return oidcError(wire.TypeInvalidScope, "Invalid scope provided")
	case !all(grantTypes, isGrantType):
		return oidcError(wire.TypeUnsupportedGrantType, "Unsupported grant type provided")
	case !all(redirectURIs, isPublicRedirectURI):
		return oidcError(wire.TypeInvalidRedirectURI, "Invalid redirect URI provided")
	}
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c := s.newClient(now, client{name: name, scopes: scopes, grantTypes: grantTypes, redirects: redirectURIs, issuerURL: issuerURL})
	return jsonAnswer(struct {
		ClientID  string `json:"clientId"`
		Secret    string `json:"clientSecret"`
		IssuedAt  int64  `json:"clientIdIssuedAt"`
		ExpiresAt int64  `json:"clientSecretExpiresAt"`
	}{c.id, c.secret, now.Unix(), c.expires.Unix()})
}

// newClient registers a client. The caller holds mu.
func (s *Server) newClient(now time.Time, c client) *client {
	c.id, c.secret = randomClientID(), randomClientSecret()
	c.expires = now.Truncate(time.Second).Add(wholeSeconds(s.RegistrationLifetime, 90*24*time.Hour))
	s.state.clients.put(c.id, &c, maxClients)
	return &c
}

// startDeviceAuthorization is the StartDeviceAuthorization operation. As the
// real one, it takes a client whose registration has expired; only the page
// that the person sees refuses it.
func (s *Server) startDeviceAuthorization(r *request) *answer {
	startURL := r.members.text("startUrl")
	if err := r.problem("clientId", "clientSecret", "startUrl"); err != nil {
		return oidcError(wire.TypeInvalidRequest, err.Error())
	}
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c := s.state.clients.get(r.clientID)
	switch {
	case c == nil || c.secret != r.members.text("clientSecret"):
		return oidcError(wire.TypeInvalidClient, "Invalid client provided")
	case !c.mayUse(wire.GrantDeviceCode):
		return oidcError(wire.TypeUnauthorizedClient, "Client is not registered for the device code grant")
	case !s.acceptsStartURL(startURL):
		return oidcError(wire.TypeInvalidRequest, "Invalid start url provided")
	}
	d := s.newDevice(now, c, startURL)
	page := base(r.http) + "/device"
	return jsonAnswer(struct {
		DeviceCode  string `json:"deviceCode"`
		UserCode    string `json:"userCode"`
		URI         string `json:"verificationUri"`
		URIComplete string `json:"verificationUriComplete"`
		ExpiresIn   int64  `json:"expiresIn"`
		Interval    int64  `json:"interval"`
	}{
		d.code, d.userCode, page, page + "?user_code=" + url.QueryEscape(d.userCode),
		seconds(d.expires.Sub(now)), seconds(d.interval),
	})
}

// acceptsStartURL reports whether an access portal has that URL.
func (s *Server) acceptsStartURL(startURL string) bool {
	u, err := url.Parse(startURL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return false
	}
	return s.StartURLs == nil || slices.ContainsFunc(s.StartURLs, func(known string) bool {
		return trimStartURL(known) == trimStartURL(startURL)
	})
}

func trimStartURL(startURL string) string {
	before, _, _ := strings.Cut(startURL, "#")
	return strings.TrimRight(before, "/")
}

// mayUse reports whether the client registered for a grant type.
func (c *client) mayUse(grantType string) bool {
	return len(c.grantTypes) == 0 || slices.Contains(c.grantTypes, grantType)
}

// base returns the server's URL as the client knows it: scheme, host, and the
// path below which the server answers.
func base(r *http.Request) string {
	prefix, ok := strings.CutSuffix(sentPath(r), r.URL.EscapedPath())
	if !ok {
		prefix = ""
	}
	if r.TLS != nil {
		return "https://" + r.Host + prefix
	}
	return "http://" + r.Host + prefix
}

func all(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}

// isScope reports whether scope has the syntax of RFC 6749 section 3.3.
func isScope(scope string) bool {
	return scope != "" && !strings.ContainsFunc(scope, func(r rune) bool {
		return r <= ' ' || r == '"' || r == '\\' || r > '~'
	})
}

func isGrantType(grantType string) bool {
	switch grantType {
	case wire.GrantAuthorizationCode, wire.GrantRefreshToken, wire.GrantDeviceCode:
		return true
	}
	return false
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
