package idctest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

const pageURL = "http://idc.example:8080/device"

// submit posts the page's form as a browser does.
func submit(t *testing.T, srv *idctest.Server, header http.Header, form url.Values) (int, string) {
	t.Helper()
	req, err := http.NewRequest("POST", pageURL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := srv.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

func TestPage(t *testing.T) {
	srv := idctest.New()
	get := func(query string) string {
		resp, body := send(t, srv.Transport(), "GET", pageURL+query, "", "")
		csp := resp.Header.Get("Content-Security-Policy")
		nonce := regexp.MustCompile(`<style nonce="([^"]{24})">`).FindStringSubmatch(body)
		if nonce == nil || !strings.Contains(csp, "style-src 'nonce-"+nonce[1]+"'") || !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("policy %q, nonce %q", csp, nonce)
		}
		if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Referrer-Policy") != "no-referrer" ||
			resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("status %d, header %v", resp.StatusCode, resp.Header)
		}
		for _, part := range []string{`<html lang="en">`, `name="viewport"`, "<h1>", "prefers-color-scheme: dark", ":focus-visible"} {
			if !strings.Contains(body, part) {
				t.Errorf("no %s on the page", part)
			}
		}
		if strings.Contains(body, "<script") {
			t.Error("a script on the page")
		}
		return body
	}
	if body := get(""); !strings.Contains(body, `<label for="user_code">`) || strings.Contains(body, `role="alert"`) {
		t.Error("no form for the code, or a problem with none typed")
	}
	if body := get("?user_code=%3Cb%3Eno"); !strings.Contains(body, `role="alert"`) || strings.Contains(body, "<b>no") {
		t.Error("no problem told, or no escaping")
	}
	s := begin(t, srv, "sso:account:access", "<i>scope</i>")
	body := get("?user_code=" + strings.ToLower(s.userCode))
	for _, part := range []string{s.userCode, "test", startURL, "jane.doe@example.com", "&lt;i&gt;scope", `value="approve">Approve<`, `value="deny">Deny<`} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s on the page", part)
		}
	}
	// Looking at it decides nothing, whatever the query says.
	get("?user_code=" + s.userCode + "&action=approve")
	if len(srv.Pending()) != 1 {
		t.Error("a GET decided")
	}
}

func TestPageDecides(t *testing.T) {
	srv := idctest.New()
	for action, want := range map[string]string{"approve": "You may close this window", "deny": "denied"} {
		s := begin(t, srv)
		form := url.Values{"user_code": {s.userCode}, "action": {"neither"}}
		if status, _ := submit(t, srv, nil, form); status != 400 || len(srv.Pending()) != 1 {
			t.Errorf("neither: status %d, pending %q", status, srv.Pending())
		}
		form.Set("action", action)
		if status, body := submit(t, srv, http.Header{"Sec-Fetch-Site": {"same-origin"}}, form); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: status %d, %s", action, status, body)
		}
		_, err := s.poll()
		if action == "deny" {
			wantException(t, err, wire.TypeAccessDenied)
		} else if err != nil {
			t.Error(err)
		}
		if status, body := submit(t, srv, nil, form); status != 400 || !strings.Contains(body, "can’t be used") {
			t.Errorf("%s again: status %d, %s", action, status, body)
		}
	}
	if status, _ := submit(t, srv, nil, url.Values{"user_code": {"none"}, "action": {"approve"}}); status != 400 {
		t.Errorf("unknown code: status %d", status)
	}
	resp, _ := send(t, srv.Transport(), "DELETE", pageURL, "", "")
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("DELETE: status %d, %v", resp.StatusCode, resp.Header)
	}
}

// TestPageFromElsewhere checks that another site can't make a browser approve.
func TestPageFromElsewhere(t *testing.T) {
	srv := idctest.New()
	s := begin(t, srv)
	form := url.Values{"user_code": {s.userCode}, "action": {"approve"}}
	for _, header := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}},
		{"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
	} {
		if status, _ := submit(t, srv, header, form); status != 403 || len(srv.Pending()) != 1 {
			t.Errorf("%v: status %d, pending %q", header, status, srv.Pending())
		}
	}
	// A browser that is sent no-referrer says "null" over plain http. The
	// form's token then shows where it comes from.
	_, body := send(t, srv.Transport(), "GET", pageURL+"?user_code="+s.userCode, "", "")
	token := regexp.MustCompile(`name="form_token" value="([^"]+)"`).FindStringSubmatch(body)
	if token == nil {
		t.Fatal("no token in the form")
	}
	form.Set("form_token", token[1])
	if status, _ := submit(t, srv, http.Header{"Origin": {"null"}}, form); status != 200 || len(srv.Pending()) != 0 {
		t.Errorf("status %d, pending %q", status, srv.Pending())
	}
}

// TestVerificationURI checks that it leads to the page that the client's own
// endpoint serves.
func TestVerificationURI(t *testing.T) {
	srv := idctest.New()
	s := register(t, srv)
	for _, base := range []string{"http://127.0.0.1:8080", "https://[::1]:8443", "https://oidc.eu-west-1.amazonaws.com"} {
		out, err := s.oidc.StartDeviceAuthorization(t.Context(), &ssooidc.StartDeviceAuthorizationInput{
			ClientId: s.clientID, ClientSecret: s.clientSecret, StartUrl: aws.String(startURL),
		}, func(o *ssooidc.Options) { o.BaseEndpoint = &base })
		if err != nil {
			t.Fatal(err)
		}
		if *out.VerificationUri != base+"/device" {
			t.Errorf("verification URI %q, want %s/device", *out.VerificationUri, base)
		}
	}
}
