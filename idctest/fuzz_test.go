package idctest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/idctest"
)

// FuzzServeHTTP checks that every request is answered, without a panic.
func FuzzServeHTTP(f *testing.F) {
	const form = "application/x-www-form-urlencoded"
	for _, seed := range []struct{ method, target, contentType, authorization, body string }{
		{"POST", "/client/register", "application/json", "", `{"clientName":"a","clientType":"public","scopes":["sso:account:access"]}`},
		{"POST", "/device_authorization", "application/json", "", `{"clientId":"ID","clientSecret":"SECRET","startUrl":"https://x.example/"}`},
		{"POST", "/token", "application/json", "", `{"clientId":"ID","clientSecret":"SECRET","grantType":"refresh_token","refreshToken":"REFRESH"}`},
		{"POST", "/token", "", "", `{"clientId":"ID","clientSecret":"SECRET","grantType":"urn:ietf:params:oauth:grant-type:device_code","deviceCode":"x"}`},
		{"POST", "/token?aws_iam=t", "", "", `{}`},
		{"GET", "/federation/credentials?account_id=123456789012&role_name=Admin", "", "ACCESS", ""},
		{"GET", "/assignment/accounts?max_result=1&next_token=MQ", "", "ACCESS", ""},
		{"GET", "/assignment/roles?account_id=123456789012", "", "ACCESS", ""},
		{"POST", "/logout", "", "ACCESS", ""},
		{"GET", "/userinfo", "", "Bearer ACCESS", ""},
		{"GET", "/device?user_code=abcd%20efgh", "", "", ""},
		{"POST", "/device", form, "", "user_code=x&action=approve"},
		{"POST", "/", form, "AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=00", "Action=GetCallerIdentity"},
		{"GET", "/?Action=GetCallerIdentity&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY/a/b/c/d&X-Amz-SignedHeaders=host&X-Amz-Signature=zz", "", "", ""},
		{"POST", "/", form, "", "%"},
		{"BREW", "*", "", "", ""},
	} {
		f.Add(seed.method, seed.target, seed.contentType, seed.authorization, seed.body)
	}
	f.Fuzz(func(t *testing.T, method, target, contentType, authorization, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // net/http answers that itself
		}
		srv := idctest.New()
		s := srv.Issue("sso:account:access")
		fill := strings.NewReplacer("ACCESS", s.AccessToken, "REFRESH", s.RefreshToken, "SECRET", s.ClientSecret, "ID", s.ClientID).Replace
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, (&http.Request{
			Method: method, URL: u, Host: "idc.example", RequestURI: target,
			Header: http.Header{"Content-Type": {contentType}, "Authorization": {fill(authorization)}, "X-Amz-Sso_bearer_token": {fill(authorization)}},
			Body:   http.NoBody,
		}).WithContext(t.Context()))
		r := httptest.NewRequest("POST", "http://idc.example/", strings.NewReader(fill(body)))
		r.Method, r.URL, r.Header = method, u, http.Header{"Content-Type": {contentType}, "Authorization": {fill(authorization)}}
		w = httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		resp := w.Result()
		if resp.StatusCode < 200 || resp.StatusCode > 599 || resp.Header.Get("X-Amzn-RequestId") == "" || resp.Header.Get("Content-Type") == "" {
			t.Errorf("%s %s: status %d, header %v", method, target, resp.StatusCode, resp.Header)
		}
		if c := srv.Count(idctest.AnyOperation); c.Requests != 2 || c.Succeeded+c.Failed != 2 {
			t.Errorf("counts %+v", c)
		}
	})
}
