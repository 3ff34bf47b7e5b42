package idctest

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// getRoleCredentials is the portal's GetRoleCredentials operation.
func (s *Server) getRoleCredentials(r *request) *answer {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	t := s.portalToken(now, r)
	if t == nil {
		return unauthorized()
	}
	account, role := r.form.Get("account_id"), r.form.Get("role_name")
	if account == "" || role == "" {
		return portalError(http.StatusBadRequest, wire.TypeInvalidRequest, "account_id and role_name are required")
	}
	if a := s.account(account); a == nil || !slices.Contains(a.Roles, role) {
		return forbidden()
	}
	expires := now.Truncate(time.Second).Add(wholeSeconds(s.RoleCredentialsLifetime, time.Hour))
	id, c := s.issueCredential(permissionSetRole(account, role), t.session.user, expires, t.session.identity())
	type roleCredentials struct {
		AccessKeyID     string `json:"accessKeyId"`
		SecretAccessKey string `json:"secretAccessKey"`
		SessionToken    string `json:"sessionToken"`
		Expiration      int64  `json:"expiration"` // in milliseconds
	}
	return jsonAnswer(struct {
		RoleCredentials roleCredentials `json:"roleCredentials"`
	}{roleCredentials{id, c.secret, c.sessionToken, c.expires.UnixMilli()}})
}

type accountInfo struct {
	ID    string `json:"accountId"`
	Name  string `json:"accountName"`
	Email string `json:"emailAddress"`
}

// listAccounts is the portal's ListAccounts operation.
func (s *Server) listAccounts(r *request) *answer {
	if !s.authorized(r) {
		return unauthorized()
	}
	var infos []accountInfo
	for _, a := range s.accounts() {
		infos = append(infos, accountInfo{a.ID, a.Name, a.Email})
	}
	page, next, ok := cutPage(r, infos)
	if !ok {
		return portalError(http.StatusBadRequest, wire.TypeInvalidRequest, "Invalid max_result or next_token")
	}
	return jsonAnswer(struct {
		NextToken string        `json:"nextToken,omitempty"`
		List      []accountInfo `json:"accountList"`
	}{next, page})
}

type roleInfo struct {
	Name    string `json:"roleName"`
	Account string `json:"accountId"`
}

// listAccountRoles is the portal's ListAccountRoles operation.
func (s *Server) listAccountRoles(r *request) *answer {
	if !s.authorized(r) {
		return unauthorized()
	}
	account := r.form.Get("account_id")
	if account == "" {
		return portalError(http.StatusBadRequest, wire.TypeInvalidRequest, "account_id is required")
	}
	a := s.account(account)
	if a == nil {
		return forbidden()
	}
	var infos []roleInfo
	for _, role := range a.Roles {
		infos = append(infos, roleInfo{role, a.ID})
	}
	page, next, ok := cutPage(r, infos)
	if !ok {
		return portalError(http.StatusBadRequest, wire.TypeInvalidRequest, "Invalid max_result or next_token")
	}
	return jsonAnswer(struct {
		NextToken string     `json:"nextToken,omitempty"`
		List      []roleInfo `json:"roleList"`
	}{next, page})
}

// logout is the portal's Logout operation. It ends the session: its refresh
// tokens too.
func (s *Server) logout(r *request) *answer {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	t := s.portalToken(now, r)
	if t == nil {
		return unauthorized()
	}
	t.session.over = true
	return &answer{status: http.StatusOK, contentType: "application/json"}
}

// userInfo says whose bearer token it was sent (RFC 6750), for programs that
// need some resource to call. It belongs to no service of AWS.
func (s *Server) userInfo(r *request) *answer {
	scheme, token, _ := strings.Cut(r.http.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return challenge("", `Bearer realm="idctest"`)
	}
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	t := s.state.accessTokens.get(token)
	if !t.live(now) {
		return challenge("invalid_token", `Bearer realm="idctest", error="invalid_token", error_description="the access token is unknown, expired or revoked"`)
	}
	return jsonAnswer(struct {
		Subject  string `json:"sub"`
		Issuer   string `json:"iss,omitempty"` // of the JWT that named the subject
		StartURL string `json:"start_url"`
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
		Expires  int64  `json:"exp"`
	}{t.session.user, t.session.issuer, t.session.startURL, t.session.clientID, strings.Join(t.scopes, " "), t.expires.Unix()})
}

func challenge(errType, header string) *answer {
	return &answer{
		status: http.StatusUnauthorized, contentType: "application/json", errType: errType,
		header: http.Header{"Www-Authenticate": {header}}, body: []byte(`{"message":"Unauthorized"}`),
	}
}

// portalToken returns the access token of a portal request, nil where it is
// not good: an application's has to have the scope for the portal. The caller
// holds mu.
func (s *Server) portalToken(now time.Time, r *request) *accessToken {
	t := s.state.accessTokens.get(r.http.Header.Get("x-amz-sso_bearer_token"))
	if !t.live(now) || isApplicationARN(t.session.clientID) && !slices.Contains(t.scopes, scopePortal) {
		return nil
	}
	return t
}

func (s *Server) authorized(r *request) bool {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.portalToken(now, r) != nil
}

func (s *Server) account(id string) *Account {
	accounts := s.accounts()
	if i := slices.IndexFunc(accounts, func(a Account) bool { return a.ID == id }); i >= 0 {
		return &accounts[i]
	}
	return nil
}

// cutPage returns the page of a list that the request asks for, and the token
// of the next. A page has at most 100 entries; the default is 20.
func cutPage[T any](r *request, list []T) (page []T, next string, ok bool) {
	size := 20
	if r.form.Has("max_result") {
		n, err := strconv.Atoi(r.form.Get("max_result"))
		if err != nil || n < 1 || n > 100 {
			return nil, "", false
		}
		size = n
	}
	start := 0
	if token := r.form.Get("next_token"); token != "" {
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return nil, "", false
		}
		start, err = strconv.Atoi(string(b))
		if err != nil || start < 0 || start > len(list) {
			return nil, "", false
		}
	}
	end := min(start+size, len(list))
	if end < len(list) {
		next = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(end)))
	}
	return append([]T{}, list[start:end]...), next, true
}

func unauthorized() *answer {
	return portalError(http.StatusUnauthorized, typeUnauthorized, "Session token not found or invalid")
}

func forbidden() *answer {
	return portalError(http.StatusForbidden, typeForbidden, "No access")
}
