package idctest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

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
		{"POST", "/token", "", "", `{"clientId":"ID","clientSecret":"SECRET","grantType":"authorization_code","code":"x","redirectUri":"http://127.0.0.1/oauth/callback","codeVerifier":"x"}`},
		{"POST", "/token?aws_iam=t", "", "", `{}`},
		{"POST", "/token?aws_iam=t", "application/json", "AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/sso-oauth/aws4_request, SignedHeaders=content-type;host, Signature=00", `{"clientId":"arn:aws:sso::123456789012:application/ssoins-1/apl-1","grantType":"refresh_token","refreshToken":"REFRESH","scope":["aws"]}`},
		{"GET", "/authorize?response_type=code&client_id=ID&redirect_uri=http://127.0.0.1:1/oauth/callback&state=s&code_challenge_method=S256&scopes=a%20b&code_challenge=" + rfcChallenge, "", "", ""},
		{"POST", "/authorize?response_type=code&client_id=arn:aws:sso::123456789012:application/ins-1/apl-1&redirect_uri=https://x.example/?a=b&code_challenge_method=S256&code_challenge=" + rfcChallenge, form, "", "action=approve&form_token=x"},
		{"GET", "/federation/credentials?account_id=123456789012&role_name=Admin", "", "ACCESS", ""},
		{"GET", "/assignment/accounts?max_result=1&next_token=MQ", "", "ACCESS", ""},
		{"GET", "/assignment/roles?account_id=123456789012", "", "ACCESS", ""},
		{"POST", "/logout", "", "ACCESS", ""},
		{"GET", "/userinfo", "", "Bearer ACCESS", ""},
		{"GET", "/device?user_code=abcd%20efgh", "", "", ""},
		{"POST", "/device", form, "", "user_code=x&action=approve"},
		{"POST", "/", form, "AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=00", "Action=GetCallerIdentity"},
		{"GET", "/?Action=GetCallerIdentity&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY/a/b/c/d&X-Amz-SignedHeaders=host&X-Amz-Signature=zz", "", "", ""},
		{"POST", "/", form, "AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=00", "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/name&RoleSessionName=a&DurationSeconds=x&ProvidedContexts.member.1.ProviderArn=a"},
		{"POST", "/", form, "", "Action=AssumeRoleWithWebIdentity&RoleArn=arn:aws:iam::123456789012:role/name&RoleSessionName=jane&WebIdentityToken=e30.e30.e30"},
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
		key := srv.AddAccessKey(idctest.AccessKey{})
		fill := strings.NewReplacer("KEY", key.ID, "ACCESS", s.AccessToken, "REFRESH", s.RefreshToken, "SECRET", s.ClientSecret, "ID", s.ClientID).Replace
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, (&http.Request{
			Method: method, URL: u, Host: "idc.example", RequestURI: target,
			Header: http.Header{"Content-Type": {contentType}, "Authorization": {fill(authorization)}, "X-Amz-Sso_bearer_token": {fill(authorization)}, "X-Amz-Date": {"20260101T000000Z"}},
			Body:   http.NoBody,
		}).WithContext(t.Context()))
		r := httptest.NewRequest("POST", "http://idc.example/", strings.NewReader(fill(body)))
		r.Method, r.URL, r.Header = method, u, http.Header{"Content-Type": {contentType}, "Authorization": {fill(authorization)}, "X-Amz-Date": {"20260101T000000Z"}}
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

// FuzzAuthorization signs a request, and checks that its Authorization header
// is accepted in no other form, but for what is only a form.
func FuzzAuthorization(f *testing.F) {
	srv := idctest.New()
	now := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	srv.Now = func() time.Time { return now }
	key := srv.AddAccessKey(idctest.AccessKey{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"})
	const action = "Action=GetCallerIdentity&Version=2011-06-15"
	good := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	r := httptest.NewRequest("POST", "https://sts.us-east-1.amazonaws.com/", strings.NewReader(action))
	r.Header = good
	hash := sha256.Sum256([]byte(action))
	if err := v4.NewSigner().SignHTTP(f.Context(), aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, r, hex.EncodeToString(hash[:]), "sts", "us-east-1", now); err != nil {
		f.Fatal(err)
	}
	valid, date := good.Get("Authorization"), good.Get("X-Amz-Date")
	fields := strings.Split(strings.TrimPrefix(valid, "AWS4-HMAC-SHA256 "), ", ")
	f.Add(valid, date)
	f.Add(strings.ToUpper(valid), date)
	f.Add(strings.ReplaceAll(valid, ", ", ","), date)
	f.Add(strings.ReplaceAll(valid, ", ", ",  "), date)
	f.Add("AWS4-HMAC-SHA256 "+fields[2]+", "+fields[0]+", "+fields[1], date)
	f.Add(valid+",", "20261123T050001Z")
	slices.Sort(fields)
	f.Fuzz(func(t *testing.T, authorization, date string) {
		r := httptest.NewRequest("POST", "https://sts.us-east-1.amazonaws.com/", strings.NewReader(action))
		r.Header = good.Clone()
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		// The order of the fields, and a space after a comma, mean nothing; nor
		// do spaces round a header's value.
		got := strings.Split(strings.ReplaceAll(strings.TrimPrefix(authorization, "AWS4-HMAC-SHA256 "), ", ", ","), ",")
		slices.Sort(got)
		same := slices.Equal(got, fields) && strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 ") && strings.Trim(date, " ") == good.Get("X-Amz-Date")
		if (w.Code == 200) != same {
			t.Errorf("status %d for %q at %q", w.Code, authorization, date)
		}
	})
}

// FuzzAssertion checks that no JWT without its claims is good.
func FuzzAssertion(f *testing.F) {
	f.Add(`{"alg":"RS256"}`, `{"iss":"i","sub":"s","aud":"a","exp":9999999999}`, []byte("s"))
	f.Add(`{"alg":"ES256"}`, `{"iss":"i","sub":"s","aud":["a"],"exp":1e300,"nbf":-1e300}`, []byte{})
	f.Add(`{"alg":"none"}`, `{"ISS":"i","sub":null,"aud":{},"exp":"1"}`, []byte("s"))
	f.Add(`[]`, `null`, []byte("s"))
	srv := idctest.New()
	f.Fuzz(func(t *testing.T, header, claims string, signature []byte) {
		part := base64.RawURLEncoding.EncodeToString
		form := url.Values{
			"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {role}, "RoleSessionName": {"jane"},
			"WebIdentityToken": {part([]byte(header)) + "." + part([]byte(claims)) + "." + part(signature)},
		}
		r := httptest.NewRequest("POST", "https://sts.amazonaws.com/", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		var c map[string]any
		err := json.Unmarshal([]byte(claims), &c)
		iss, _ := c["iss"].(string)
		sub, _ := c["sub"].(string)
		exp, _ := c["exp"].(float64)
		good := err == nil && iss != "" && sub != "" && c["aud"] != nil && exp > 0 && len(signature) > 0
		if w.Code == 200 && !good || w.Code >= 500 {
			t.Errorf("status %d for header %s, claims %s", w.Code, header, claims)
		}
	})
}
