package idctest_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/idctest"
)

func TestAuthorizePage(t *testing.T) {
	srv := idctest.New()
	p := registerPKCE(t, srv)
	target := authorizeURL(*p.id, loopback, rfcVerifier, map[string]string{"state": `"><script>`})
	resp, body := send(t, srv.Transport(), "GET", target, "", "")
	csp := resp.Header.Get("Content-Security-Policy")
	if resp.StatusCode != 200 || !strings.Contains(csp, "form-action 'self' http://127.0.0.1:53682;") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
	for _, part := range []string{`<html lang="en">`, "<dd>test</dd>", "<dd>" + loopback + "</dd>", "jane.doe@example.com", startURL, "sso:account:access", `value="approve">Approve<`, `value="deny">Deny<`} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s on the page", part)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "user_code") {
		t.Error("a script or a user code on the page")
	}
	action := regexp.MustCompile(`<form method="post" action="([^"]+)">`).FindStringSubmatch(body)
	token := regexp.MustCompile(`name="form_token" value="([^"]+)"`).FindStringSubmatch(body)
	if action == nil || token == nil {
		t.Fatalf("no form: %s", body)
	}
	formURL := "https://oidc.us-east-1.amazonaws.com/" + strings.ReplaceAll(action[1], "&amp;", "&")

	post := func(header http.Header, form url.Values) *http.Response {
		t.Helper()
		req, err := http.NewRequest("POST", formURL, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := srv.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	resp = post(http.Header{"Sec-Fetch-Site": {"same-origin"}}, url.Values{"action": {"approve"}})
	query := callbackQuery(t, resp.Header.Get("Location"))
	if resp.StatusCode != 303 || query.Get("state") != `"><script>` || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
	if _, err := p.redeem(query.Get("code"), loopback, rfcVerifier); err != nil {
		t.Error(err)
	}
	resp = post(http.Header{}, url.Values{"action": {"deny"}})
	if got := callbackQuery(t, resp.Header.Get("Location")); got.Get("error") != "access_denied" || got.Has("code") {
		t.Errorf("denied: %v", got)
	}
	if resp := post(http.Header{}, url.Values{"action": {"neither"}}); resp.StatusCode != 400 {
		t.Errorf("neither: status %d", resp.StatusCode)
	}

	// Another site can't decide, unless it could read the page.
	for _, header := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}}} {
		if resp := post(header, url.Values{"action": {"approve"}, "form_token": {"guess"}}); resp.StatusCode != 403 || resp.Header.Get("Location") != "" {
			t.Errorf("%v: status %d, %v", header, resp.StatusCode, resp.Header)
		}
	}
	if resp := post(http.Header{"Origin": {"null"}}, url.Values{"action": {"approve"}, "form_token": {token[1]}}); resp.StatusCode != 303 {
		t.Errorf("with the form's token: status %d", resp.StatusCode)
	}
	resp, _ = send(t, srv.Transport(), "HEAD", target, "", "")
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, POST" {
		t.Errorf("HEAD: status %d, %v", resp.StatusCode, resp.Header)
	}
	// A GET decides nothing, whatever the query says.
	if resp, _ := send(t, srv.Transport(), "GET", target+"&action=approve", "", ""); resp.StatusCode != 200 {
		t.Errorf("a GET decided: status %d", resp.StatusCode)
	}
}

// TestAuthorizeFromElsewhere checks that a decision without the form's token
// does not pass while no form was shown yet.
func TestAuthorizeFromElsewhere(t *testing.T) {
	srv := idctest.New()
	req, err := http.NewRequest("POST", authorizeURL(application, "https://app.example/", rfcVerifier, nil), strings.NewReader("action=approve"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Sec-Fetch-Site": {"cross-site"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	if code, body := status(t, srv, req); code != 403 || !strings.Contains(body, "another site") {
		t.Errorf("status %d, %s", code, body)
	}
}

// TestAuthorizePagePolicy checks the policy for redirect URIs that can't be
// written in one.
func TestAuthorizePagePolicy(t *testing.T) {
	srv := idctest.New()
	for uri, want := range map[string]string{
		"http://[::1]:1/cb":         "form-action 'self' http:;",
		"https://app.example/cb":    "form-action 'self' https://app.example;",
		"https://a;script-src/cb":   "form-action 'self' https:;",
		"https://app.example:8443/": "form-action 'self' https://app.example:8443;",
	} {
		resp, _ := send(t, srv.Transport(), "GET", authorizeURL(application, uri, rfcVerifier, nil), "", "")
		if csp := resp.Header.Get("Content-Security-Policy"); resp.StatusCode != 200 || !strings.Contains(csp, want) {
			t.Errorf("%s: status %d, policy %q, want %q", uri, resp.StatusCode, csp, want)
		}
	}
}

// TestApproveAfterForAuthorize checks that the page stays away while
// authorizations approve themselves.
func TestApproveAfterForAuthorize(t *testing.T) {
	srv := idctest.New()
	p := registerPKCE(t, srv)
	target := authorizeURL(*p.id, loopback, rfcVerifier, nil)
	for polls, want := range map[int]int{-1: 200, 0: 303, 2: 303} {
		srv.ApproveAfter(polls)
		resp, _ := send(t, srv.Transport(), "GET", target, "", "")
		if resp.StatusCode != want {
			t.Errorf("ApproveAfter(%d): status %d, want %d", polls, resp.StatusCode, want)
		}
	}
	if c := srv.Count(idctest.Authorize); c.Succeeded != 3 {
		t.Errorf("counts %+v", c)
	}
	log := srv.Log()
	if e := log[len(log)-1]; e.Operation != idctest.Authorize || e.ClientID != *p.id || e.Path != "/authorize" {
		t.Errorf("logged %+v", e)
	}
}
