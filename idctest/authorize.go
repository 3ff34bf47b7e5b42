package idctest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// ApproveAuthorization does what a person does who opens an authorization URL,
// the one of /authorize that a program would send their browser to, and
// approves on the page. It returns the URL that the browser is sent on to: the
// redirect URI with a code and the state, or with an error. The program's
// listener sees no request yet; a test fetches the URL.
//
// It is an error if the page would send the browser nowhere, because the client
// or redirect URI is not one to be trusted. No request is counted.
func (s *Server) ApproveAuthorization(authorizationURL string) (callback string, err error) {
	return s.decideAuthorization(authorizationURL, true)
}

// DenyAuthorization is ApproveAuthorization by a person who refuses: the
// callback has the error access_denied.
func (s *Server) DenyAuthorization(authorizationURL string) (callback string, err error) {
	return s.decideAuthorization(authorizationURL, false)
}

func (s *Server) decideAuthorization(authorizationURL string, approve bool) (string, error) {
	u, err := url.Parse(authorizationURL)
	if err != nil || !strings.HasSuffix(u.Path, "/authorize") {
		return "", fmt.Errorf("idctest: this is not the URL of an authorization request: its path must end in /authorize")
	}
	a, problem := s.readAuthorization(u.RawQuery)
	switch {
	case problem != nil && problem.redirect == "":
		return "", fmt.Errorf("idctest: the authorization request is refused: %s", problem.description)
	case problem != nil:
		return problem.redirect, nil
	case !approve:
		return a.denial(), nil
	}
	return s.grant(a), nil
}

// authorization is a request for an authorization code (RFC 6749 section 4.1.1,
// RFC 7636 section 4.3) that may be granted.
type authorization struct {
	clientID    string // or an application's ARN
	name        string // as the page shows it
	startURL    string
	scopes      []string
	redirectURI string
	state       string
	challenge   string // S256
}

// authorizationCode is what was granted. Its session is what it was exchanged
// for, nil before.
type authorizationCode struct {
	authorization
	expires time.Time
	used    bool
	session *session
}

// authorizationError is why an authorization request is refused. Without a
// redirect only the person is told (RFC 6749 section 4.1.2.1).
type authorizationError struct {
	code, description string
	redirect          string
}

// authorize is the authorization endpoint. As the AWS CLI does, it is asked for
// "scopes", not "scope". Only a POST of its page decides, or ApproveAfter.
func (s *Server) authorize(r *request) *answer {
	query := r.http.URL.RawQuery
	a, problem := s.readAuthorization(query)
	switch method := r.http.Method; {
	case method != http.MethodGet && method != http.MethodPost:
		page := statusPage(http.StatusMethodNotAllowed)
		page.header = http.Header{"Allow": {"GET, POST"}}
		return page
	case problem != nil && problem.redirect == "":
		return render(http.StatusBadRequest, page{
			Result: "error", Title: "This sign-in can’t go on",
			Detail: sentence(problem.description) + " Your program was not told: stop it, and start again there.",
		})
	case problem != nil:
		redirect := seeOther(problem.redirect)
		redirect.errType = problem.code
		return redirect
	case method == http.MethodGet && s.approvesAtOnce():
		return seeOther(s.grant(a))
	case method == http.MethodPost && !s.fromAuthorizePage(r):
		return render(http.StatusForbidden, fromElsewhere())
	}
	if r.http.Method == http.MethodGet {
		return s.authorizePage(http.StatusOK, a, query)
	}
	switch r.form.Get("action") {
	case "approve":
		return seeOther(s.grant(a))
	case "deny":
		return seeOther(a.denial())
	}
	return s.authorizePage(http.StatusBadRequest, a, query)
}

func (s *Server) authorizePage(status int, a *authorization, query string) *answer {
	s.state.mu.Lock()
	if s.state.formToken == "" {
		s.state.formToken = randomDeviceCode()
	}
	token := s.state.formToken
	s.state.mu.Unlock()
	return render(status, page{
		Confirm: true, Title: "Allow this sign-in?", Action: "authorize?" + query, FormToken: token, Redirect: a.redirectURI,
		Client: a.name, StartURL: a.startURL, User: s.userName(), Scopes: a.scopes,
	})
}

func (s *Server) fromAuthorizePage(r *request) bool {
	if new(http.CrossOriginProtection).Check(r.http) == nil {
		return true
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.formToken != "" && r.form.Get("form_token") == s.state.formToken
}

func (s *Server) approvesAtOnce() bool {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.autoApprove != nil && *s.state.autoApprove >= 0
}

// grant issues an authorization code, and returns where the browser takes it.
func (s *Server) grant(a *authorization) string {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	code := randomCode()
	s.state.codes.put(code, &authorizationCode{
		authorization: *a, expires: now.Add(wholeSeconds(s.AuthorizationCodeLifetime, time.Minute)),
	}, maxCodes)
	return a.callback(url.Values{"code": {code}})
}

func (a *authorization) denial() string {
	return a.callback(url.Values{"error": {"access_denied"}, "error_description": {"User denied the authorization request"}})
}

// callback is the redirect URI with an answer.
func (a *authorization) callback(answer url.Values) string {
	if a.state != "" {
		answer.Set("state", a.state)
	}
	separator := "?"
	if strings.Contains(a.redirectURI, "?") {
		separator = "&"
	}
	return a.redirectURI + separator + answer.Encode()
}

// takeCode spends an authorization code (RFC 6749 section 4.1.3, RFC 7636
// section 4.6). Whatever is wrong with its use, it can't be used again; and
// where it was used before, what it gave then is revoked. The caller holds mu,
// and sets the session.
func (s *Server) takeCode(now time.Time, clientID, code, redirectURI, verifier string) (*authorizationCode, *answer) {
	invalid := oidcError(wire.TypeInvalidGrant, "Invalid authorization code provided")
	c := s.state.codes.get(code)
	if c == nil || c.clientID != clientID {
		return nil, invalid
	}
	if c.used && c.session != nil {
		c.session.over = true
	}
	if c.used || !now.Before(c.expires) || redirectURI != c.redirectURI || !verifies(verifier, c.challenge) {
		c.used = true
		return nil, invalid
	}
	c.used = true
	return c, nil
}

// verifies reports whether a code verifier belongs to an S256 challenge.
func verifies(verifier, challenge string) bool {
	h := sha256.Sum256([]byte(verifier))
	return len(verifier) >= 43 && len(verifier) <= 128 && isWord(verifier, "-.~") &&
		hmac.Equal([]byte(base64.RawURLEncoding.EncodeToString(h[:])), []byte(challenge))
}

// seeOther sends a browser on, with GET.
func seeOther(location string) *answer {
	return &answer{
		status: http.StatusSeeOther, contentType: "text/html; charset=utf-8",
		header: http.Header{"Location": {location}, "Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"}},
	}
}

// readAuthorization checks an authorization request, first of all where its
// answer would go.
func (s *Server) readAuthorization(query string) (*authorization, *authorizationError) {
	q, err := url.ParseQuery(query)
	if err != nil || len(q["client_id"]) != 1 || len(q["redirect_uri"]) != 1 {
		return nil, &authorizationError{description: "the request must have a client_id and a redirect_uri, each once"}
	}
	a := &authorization{clientID: q.Get("client_id"), redirectURI: q.Get("redirect_uri"), state: q.Get("state"), challenge: q.Get("code_challenge")}
	var may bool
	if isApplicationARN(a.clientID) {
		may, err = s.fillApplication(a)
	} else {
		may, err = s.fillClient(a)
	}
	if err != nil {
		return nil, &authorizationError{description: err.Error()}
	}
	code, description := "", ""
	scopes, ok := narrowed(a.scopes, strings.Fields(q.Get("scopes")))
	switch challenge, _ := base64.RawURLEncoding.DecodeString(a.challenge); {
	case slices.ContainsFunc(slices.Collect(maps.Values(q)), func(v []string) bool { return len(v) > 1 }):
		code, description = "invalid_request", "A parameter is repeated"
	case q.Get("response_type") != "code":
		code, description = "unsupported_response_type", "response_type must be code"
	case !may:
		code, description = "unauthorized_client", "The client may not use the authorization code grant"
	case q.Get("code_challenge_method") != "S256" || len(challenge) != sha256.Size:
		code, description = "invalid_request", "A code_challenge with the method S256 is required"
	case !ok:
		code, description = "invalid_scope", "Invalid scope provided"
	}
	if code != "" {
		return nil, &authorizationError{code, description, a.callback(url.Values{"error": {code}, "error_description": {description}})}
	}
	a.scopes = scopes
	return a, nil
}

// fillClient completes the request of a registered client, and returns whether
// it may use the grant.
func (s *Server) fillClient(a *authorization) (may bool, err error) {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c := s.state.clients.get(a.clientID)
	switch {
	case c == nil || !now.Before(c.expires):
		return false, fmt.Errorf("invalid client: it is not registered, or its registration has expired")
	case !slices.ContainsFunc(c.redirects, func(known string) bool { return matchesRedirect(known, a.redirectURI) }):
		return false, fmt.Errorf("invalid redirect URI: the client did not register it")
	case !s.acceptsStartURL(c.issuerURL):
		return false, fmt.Errorf("invalid client: it was registered without the issuerUrl of an access portal that is known here")
	}
	a.name, a.startURL, a.scopes = c.name, c.issuerURL, c.scopes
	return c.mayUse(wire.GrantAuthorizationCode), nil
}

// fillApplication completes the request of an application.
func (s *Server) fillApplication(a *authorization) (may bool, err error) {
	app, problem := s.application(a.clientID)
	if problem != nil {
		return false, fmt.Errorf("invalid client: there is no such application")
	}
	u, ok := redirectURI(a.redirectURI)
	known := app.RedirectURIs == nil && ok && (u.Scheme == "https" || isLoopback(u))
	if !known && !slices.ContainsFunc(app.RedirectURIs, func(known string) bool { return matchesRedirect(known, a.redirectURI) }) {
		return false, fmt.Errorf("invalid redirect URI: it is not configured for the application")
	}
	a.name, a.startURL, a.scopes = app.ARN, s.startURL(), app.scopes()
	return app.mayUse(wire.GrantAuthorizationCode), nil
}

// isPublicRedirectURI reports whether a public client may register uri: any
// https one, or http on a loopback address with the one path that the service
// takes.
func isPublicRedirectURI(uri string) bool {
	u, ok := redirectURI(uri)
	return ok && (u.Scheme == "https" || isLoopback(u) && u.Path == "/oauth/callback" && u.RawQuery == "")
}

// matchesRedirect compares exactly, but for the port of a loopback address (RFC
// 8252 section 7.3).
func matchesRedirect(known, asked string) bool {
	if known == asked {
		return true
	}
	k, ok1 := redirectURI(known)
	a, ok2 := redirectURI(asked)
	if !ok1 || !ok2 || !isLoopback(k) || !isLoopback(a) {
		return false
	}
	k.Host, a.Host = k.Hostname(), a.Hostname()
	return k.String() == a.String()
}

// redirectURI parses an absolute redirect URI (RFC 6749 section 3.1.2).
func redirectURI(uri string) (u *url.URL, ok bool) {
	u, err := url.Parse(uri)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && !strings.Contains(uri, "#")
}

// isLoopback reports whether u is http on a loopback address. A name, even
// localhost, is none (RFC 8252 section 8.3).
func isLoopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "http" && err == nil && addr.IsLoopback()
}
