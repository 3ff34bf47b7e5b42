package idctest

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

//go:embed page.html
var pageHTML string

var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Parse(pageHTML))
})

// page is what the template shows. Exactly one of Enter, Confirm and Result
// says which part.
type page struct {
	Nonce string // of the style sheet, for the content security policy
	Title string

	Enter    bool   // ask for the user code
	Confirm  bool   // ask for the decision
	Result   string // "approved", "denied" or "error"
	Problem  string // on the form that asks for the user code
	Detail   string // of the result
	UserCode string

	Action    string // of the form that decides: where it is posted
	FormToken string
	Redirect  string // where the browser is sent on to; "" where it stays
	Client    string
	StartURL  string
	User      string
	Scopes    []string
}

// approvalPage is where a person approves a sign-in: the form for the user
// code, the question, and the result. Only a POST changes anything.
func (s *Server) approvalPage(r *request) *answer {
	code := tidyUserCode(strings.TrimSpace(r.form.Get("user_code")))
	switch r.http.Method {
	case http.MethodGet, http.MethodHead:
		return render(http.StatusOK, s.question(code, r.form.Get("user_code")))
	case http.MethodPost:
		return s.decision(r, code)
	}
	a := statusPage(http.StatusMethodNotAllowed)
	a.header = http.Header{"Allow": {"GET, HEAD, POST"}}
	return a
}

// question is the page for a user code; typed is how the person wrote it.
func (s *Server) question(code, typed string) page {
	if code == "" {
		return page{Enter: true, Title: "Enter your code"}
	}
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	d := s.state.userCodes.get(code)
	if d == nil {
		return page{Enter: true, Title: "Enter your code", UserCode: short(typed), Problem: "There is no sign-in with this code. Compare it with the one your program shows."}
	}
	if why := d.undecidable(now); why != "" {
		return page{Result: "error", Title: "This code can’t be used", Detail: sentence(why) + " To sign in once more, start again in your program."}
	}
	return page{
		Confirm: true, Title: "Allow this sign-in?", Action: "device", UserCode: d.userCode, FormToken: d.formToken,
		Client: d.client.name, StartURL: d.startURL, User: s.userName(), Scopes: d.client.scopes,
	}
}

// decision carries out what the person chose.
func (s *Server) decision(r *request, code string) *answer {
	if !s.fromPage(r, code) {
		return render(http.StatusForbidden, fromElsewhere())
	}
	switch r.form.Get("action") {
	case "approve":
		if s.Approve(code) == nil {
			return render(http.StatusOK, page{Result: "approved", Title: "Sign-in approved", Detail: "You may close this window and go back to your program."})
		}
	case "deny":
		if s.Deny(code) == nil {
			return render(http.StatusOK, page{Result: "denied", Title: "Sign-in denied", Detail: "Your program was told. You may close this window."})
		}
	}
	return render(http.StatusBadRequest, s.question(code, r.form.Get("user_code")))
}

// fromPage reports whether a POST does not come from another site in a
// browser. Browsers say so, except to plain http on another machine: there the
// form's token, which another site can't read, must be right.
func (s *Server) fromPage(r *request, code string) bool {
	if new(http.CrossOriginProtection).Check(r.http) == nil {
		return true
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	d := s.state.userCodes.get(code)
	return d != nil && r.form.Get("form_token") == d.formToken
}

func fromElsewhere() page {
	return page{Result: "error", Title: "Not from this page", Detail: "The decision came from another site, and was not carried out. Decide on the page that your program opened."}
}

func render(status int, p page) *answer {
	p.Nonce = base64.RawURLEncoding.EncodeToString(randomBytes(18))
	var b bytes.Buffer
	if err := pageTemplate().Execute(&b, p); err != nil {
		return statusPage(http.StatusInternalServerError)
	}
	return &answer{
		status: status, contentType: "text/html; charset=utf-8", body: b.Bytes(),
		header: http.Header{
			"Cache-Control": {"no-store"},
			"Content-Security-Policy": {"default-src 'none'; style-src 'nonce-" + p.Nonce + "'; " +
				"form-action 'self'" + formTarget(p.Redirect) + "; base-uri 'none'; frame-ancestors 'none'"},
			"Referrer-Policy":        {"no-referrer"},
			"X-Content-Type-Options": {"nosniff"},
		},
	}
}

// formTarget lets a form's answer send the browser to a redirect URI: policies
// count that as part of the form's action. Not every host can be written in
// one.
func formTarget(redirect string) string {
	u, err := url.Parse(redirect)
	switch {
	case err != nil || redirect == "":
		return ""
	case !isWord(u.Host, ".:-"):
		return " " + u.Scheme + ":"
	}
	return " " + u.Scheme + "://" + u.Host
}

// sentence gives a reason a capital and a full stop.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }
