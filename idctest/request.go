package idctest

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// request is what a request says, read before anything is decided.
type request struct {
	http *http.Request
	op   Operation
	body []byte
	bad  error // why the body can't be used

	members   members    // of a JSON body
	form      url.Values // of a form body and the query
	clientID  string     // of SSO OIDC: its own, or an application's ARN
	requestID string     // for the answer
}

func readRequest(r *http.Request) *request {
	req := &request{http: r, op: operation(r), form: r.URL.Query(), requestID: randomRequestID()}
	body, tooLarge, err := readAll(r.Body)
	switch {
	case err != nil:
		req.bad = fmt.Errorf("the body broke off")
	case tooLarge:
		req.bad = fmt.Errorf("the body is larger than %d bytes", maxBody)
	}
	req.body = body
	switch req.op {
	case RegisterClient, StartDeviceAuthorization, CreateToken, CreateTokenWithIAM:
		req.readJSON()
	case "", ApprovalPage:
		req.readForm()
	case Authorize:
		req.readForm()
		req.clientID = req.form.Get("client_id")
	}
	return req
}

// readJSON reads a JSON object, and from it which grant a token is asked with.
func (r *request) readJSON() {
	if r.bad == nil {
		if err := json.Unmarshal(r.body, &r.members.raw); err != nil {
			r.bad = fmt.Errorf("the body is not a JSON object")
		}
	}
	m := members{raw: r.members.raw} // a wrong type is reported by the operation, if it asks for the member
	r.clientID = m.text("clientId")
	if r.op == CreateToken || r.op == CreateTokenWithIAM {
		r.op = r.op.withGrant(m.text("grantType"))
	}
}

// readForm adds a form body to the query's values, and tells STS by its path
// and parameters.
func (r *request) readForm() {
	kind, _, _ := mime.ParseMediaType(r.http.Header.Get("Content-Type"))
	if r.http.Method == http.MethodPost && kind == "application/x-www-form-urlencoded" && r.bad == nil {
		body, err := url.ParseQuery(string(r.body))
		if err != nil {
			r.bad = fmt.Errorf("the body is not a form")
		}
		for name, values := range body {
			r.form[name] = append(slices.Clip(values), r.form[name]...)
		}
	}
	method := r.http.Method == http.MethodGet || r.http.Method == http.MethodPost
	if r.op != "" || !method || !atRoot(r.http) {
		return
	}
	switch action := Operation(r.form.Get("Action")); action {
	case GetCallerIdentity, AssumeRole, AssumeRoleWithWebIdentity:
		r.op = action
	}
}

// atRoot reports whether a request is to the server's own URL.
func atRoot(r *http.Request) bool { return r.URL.Path == "" || r.URL.Path == "/" }

// members reads the members of a JSON object. Names are matched exactly, as
// the service does; encoding/json alone would ignore case. A member that is
// null counts as absent.
type members struct {
	raw map[string]json.RawMessage
	err error // the first member of a wrong type
}

// text returns a string member, "" where it is absent.
func (m *members) text(name string) (s string) {
	m.read(name, &s)
	return s
}

// list returns a member that is a list of strings.
func (m *members) list(name string) (l []string) {
	m.read(name, &l)
	return l
}

func (m *members) read(name string, v any) {
	raw, ok := m.raw[name]
	if !ok {
		return
	}
	if err := json.Unmarshal(raw, v); err != nil && m.err == nil {
		m.err = fmt.Errorf("%s has the wrong type", name)
	}
}

// problem returns why the request can't be used: the body, a member of a wrong
// type that was asked for, or one of the required that is absent.
func (r *request) problem(required ...string) error {
	if r.bad != nil {
		return r.bad
	}
	var missing []string
	for _, name := range required {
		if r.members.text(name) == "" {
			missing = append(missing, name)
		}
	}
	if r.members.err != nil {
		return r.members.err
	}
	if missing != nil {
		return fmt.Errorf("missing %s", strings.Join(missing, ", "))
	}
	return nil
}
