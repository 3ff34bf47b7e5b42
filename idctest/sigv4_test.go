package idctest_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

const oidcHost = "oidc.us-east-1.amazonaws.com"

// signing is one request to be signed by AWS's own signer.
type signing struct {
	key               idctest.AccessKey
	method, url, body string
	service, region   string
	at                time.Time
	header            http.Header
	afterwards        func(*http.Request) // what happens to it on the way
}

// signed returns a request that the server accepts, but for what change does to
// the way it is signed.
func signed(t *testing.T, key idctest.AccessKey, change func(*signing)) *http.Request {
	t.Helper()
	s := signing{
		key: key, method: "POST", url: "https://" + oidcHost + "/token?aws_iam=t",
		body:    toJSON(t, jwtBearerBody()),
		service: "sso-oauth", region: "us-east-1", at: time.Now(), header: http.Header{"Content-Type": {"application/json"}},
	}
	if change != nil {
		change(&s)
	}
	req, err := http.NewRequest(s.method, s.url, strings.NewReader(s.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = s.header
	hash := sha256.Sum256([]byte(s.body))
	creds := aws.Credentials{AccessKeyID: s.key.ID, SecretAccessKey: s.key.Secret, SessionToken: s.key.SessionToken}
	if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(hash[:]), s.service, s.region, s.at); err != nil {
		t.Fatal(err)
	}
	if s.afterwards != nil {
		s.afterwards(req)
	}
	return req
}

func jwtBearerBody() map[string]any {
	return map[string]any{"clientId": application, "grantType": wire.GrantJWTBearer, "assertion": assertion(nil)}
}

func status(t *testing.T, srv *idctest.Server, req *http.Request) (int, string) {
	t.Helper()
	resp, err := srv.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("X-Amzn-ErrorType") + " " + string(body)
}

// TestEveryAlteredByte sends a signed request as it is, and then with each byte
// of its method, target, signed headers, Authorization header and body altered:
// each bit turned over, and to what parsers like to take for something else.
func TestEveryAlteredByte(t *testing.T) {
	srv := idctest.New()
	key := srv.AddAccessKey(idctest.AccessKey{SessionToken: "FwoGZXIvYXdzEXAMPLE/+="})
	req := signed(t, key, func(s *signing) { s.header.Set("Amz-Sdk-Request", "attempt=1; max=3") })

	type piece struct {
		text      string
		name      bool // of a header: upper and lower case are the same
		unaltered bool // what HTTP itself gives a meaning, and no signature covers
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	pieces := []piece{{text: req.Method}, {" ", false, true}, {text: req.URL.RequestURI()}, {" HTTP/1.1\r\n", false, true}}
	req.Header.Set("Host", oidcHost)
	req.Header.Set("Content-Length", strconv.Itoa(len(body)))
	for name, values := range req.Header {
		pieces = append(pieces, piece{text: name, name: true}, piece{": ", false, true}, piece{text: values[0]}, piece{"\r\n", false, true})
	}
	pieces = append(pieces, piece{"\r\n", false, true}, piece{text: string(body)})

	raw := ""
	for _, p := range pieces {
		raw += p.text
	}
	serve := func(raw string) int {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return 400 // net/http's server answers so
		}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, req)
		return w.Code
	}
	if got := serve(raw); got != 200 {
		t.Fatalf("the request as it was signed: status %d", got)
	}
	var altered int
	var at int
	for _, p := range pieces {
		for i := range p.text {
			now := p.text[i]
			for _, to := range append([]byte("\t ,;&+%=/\x00\xff"), now^1, now^2, now^4, now^8, now^16, now^32, now^64, now^128) {
				if p.unaltered || to == now || p.name && to == now^32 {
					continue
				}
				b := []byte(raw)
				b[at+i] = to
				if got := serve(string(b)); got < 400 {
					t.Errorf("byte %d of %q became %q: status %d", i, p.text, to, got)
				}
				altered++
			}
		}
		at += len(p.text)
	}
	if got := srv.Count(idctest.CreateTokenWithIAM).Succeeded; got != 1 || altered < 10_000 {
		t.Errorf("%d of %d altered requests succeeded", got-1, altered)
	}
	if got := serve(raw); got != 200 {
		t.Errorf("the request as it was signed, again: status %d", got)
	}
}

// TestSignatureRefused names each check.
func TestSignatureRefused(t *testing.T) {
	srv := idctest.New()
	key := srv.AddAccessKey(idctest.AccessKey{})
	temporary := srv.AddAccessKey(idctest.AccessKey{SessionToken: "token"})
	authorization := func(old, new string) func(*signing) {
		return func(s *signing) {
			s.afterwards = func(r *http.Request) {
				value := r.Header.Get("Authorization")
				if !strings.Contains(value, old) {
					t.Errorf("no %q in %s", old, value)
				}
				r.Header.Set("Authorization", strings.Replace(value, old, new, 1))
			}
		}
	}
	after := func(f func(*http.Request)) func(*signing) {
		return func(s *signing) { s.afterwards = f }
	}
	for name, test := range map[string]struct {
		change func(*signing)
		want   string
	}{
		"none":            {after(func(r *http.Request) { r.Header.Del("Authorization") }), "MissingAuthenticationTokenException"},
		"bearer":          {after(func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }), "MissingAuthenticationTokenException"},
		"two":             {after(func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }), "MissingAuthenticationTokenException"},
		"two dates":       {after(func(r *http.Request) { r.Header.Add("X-Amz-Date", r.Header.Get("X-Amz-Date")) }), "IncompleteSignatureException"},
		"no date":         {after(func(r *http.Request) { r.Header.Del("X-Amz-Date") }), "IncompleteSignatureException"},
		"another date":    {after(func(r *http.Request) { r.Header.Set("X-Amz-Date", time.Now().UTC().Format(time.RFC3339)) }), "ISO-8601"},
		"presigned":       {after(presign), "Authorization header is required"},
		"no field":        {authorization("SignedHeaders=", "SignedHeader="), "IncompleteSignatureException"},
		"field twice":     {authorization(", Signature=", ", Signature=x, Signature="), "IncompleteSignatureException"},
		"another field":   {authorization(", Signature=", ", Version=4, Signature="), "IncompleteSignatureException"},
		"two spaces":      {authorization(", Signature=", ",  Signature="), "IncompleteSignatureException"},
		"no signature":    {authorization("Signature=", "Signature=, x="), "IncompleteSignatureException"},
		"short scope":     {authorization("/aws4_request", ""), "IncompleteSignatureException"},
		"unsigned host":   {authorization(";host", ""), "'host' must be"},
		"unsigned type":   {authorization("content-type;", ""), "'content-type' must be"},
		"unsigned x-amz":  {after(func(r *http.Request) { r.Header.Set("X-Amz-Added", "x") }), "'x-amz-added' must be"},
		"upper case":      {authorization("Signature=", "Signature=A"), "InvalidSignatureException"},
		"order":           {authorization("content-length;content-type", "content-type;content-length"), "InvalidSignatureException"},
		"absent header":   {authorization(";host", ";gone;host"), "InvalidSignatureException"},
		"unknown key":     {func(s *signing) { s.key.ID = "AKIAAAAAAAAAAAAAAAAA" }, "UnrecognizedClientException"},
		"another secret":  {func(s *signing) { s.key.Secret = "another secret access key" }, "InvalidSignatureException"},
		"a session token": {func(s *signing) { s.key.SessionToken = "token" }, "UnrecognizedClientException"},
		"no token":        {func(s *signing) { s.key = temporary; s.key.SessionToken = "" }, "UnrecognizedClientException"},
		"terminator":      {authorization("aws4_request", "aws5_request"), "aws4_request"},
		"scope's date": {after(func(r *http.Request) {
			date := r.Header.Get("X-Amz-Date")[:8]
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), date+"/", "19700101/", 1))
		}), "Date in Credential scope"},
		"service": {func(s *signing) { s.service = "sts" }, "correct service: 'sso-oauth'"},
		"region":  {func(s *signing) { s.region = "eu-west-1" }, "valid region"},
		"late":    {func(s *signing) { s.at = s.at.Add(-6 * time.Minute) }, "Signature expired"},
		"early":   {func(s *signing) { s.at = s.at.Add(6 * time.Minute) }, "not yet current"},
		"body": {after(func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", int(r.ContentLength))))
		}), "InvalidSignatureException"},
		"body's length": {after(func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("{}")), 2 }), "InvalidSignatureException"},
		"unsigned body": {func(s *signing) { s.header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, "InvalidSignatureException"},
		"host":          {after(func(r *http.Request) { r.Host = "oidc.example" }), "InvalidSignatureException"},
		"query":         {after(func(r *http.Request) { r.URL.RawQuery += "&x=y" }), "InvalidSignatureException"},
		"broken query":  {after(func(r *http.Request) { r.URL.RawQuery += "&%zz" }), "InvalidSignatureException"},
		"method":        {after(func(r *http.Request) { r.Method = "PUT" }), "UnknownOperationException"},
		"other value":   {func(s *signing) { s.url = "https://" + oidcHost + "/token?aws_iam=f" }, "UnknownOperationException"},
	} {
		code, answer := status(t, srv, signed(t, key, test.change))
		want := 403
		if strings.Contains(test.want, "Unknown") {
			want = 404
		}
		if code != want || !strings.Contains(answer, test.want) {
			t.Errorf("%s: status %d, %s; want %d, %s", name, code, answer, want, test.want)
		}
	}
	if n := srv.Count(idctest.CreateTokenWithIAM).Succeeded; n != 0 {
		t.Errorf("%d succeeded", n)
	}
}

// presign moves the signature to the query, without making a new one.
func presign(r *http.Request) {
	q := r.URL.Query()
	for field := range strings.SplitSeq(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ", ") {
		name, value, _ := strings.Cut(field, "=")
		q.Set("X-Amz-"+name, value)
	}
	q.Set("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
	q.Set("X-Amz-Date", r.Header.Get("X-Amz-Date"))
	r.Header.Del("Authorization")
	r.URL.RawQuery = q.Encode()
}

// TestSignatureAccepted is about what differs between signers and is right all
// the same.
func TestSignatureAccepted(t *testing.T) {
	srv := idctest.New()
	key := srv.AddAccessKey(idctest.AccessKey{})
	for name, change := range map[string]func(*signing){
		"as it is":       nil,
		"temporary":      func(s *signing) { s.key = srv.AddAccessKey(idctest.AccessKey{SessionToken: "token"}) },
		"a little late":  func(s *signing) { s.at = s.at.Add(-4 * time.Minute) },
		"a little early": func(s *signing) { s.at = s.at.Add(4 * time.Minute) },
		"FIPS host": func(s *signing) {
			s.url, s.region = "https://oidc-fips.us-gov-west-1.amazonaws.com/token?aws_iam=t", "us-gov-west-1"
		},
		"any other host":  func(s *signing) { s.url, s.region = "http://127.0.0.1:8080/token?aws_iam=t", "eu-west-1" },
		"spaces":          func(s *signing) { s.header.Set("Content-Type", "application/json;   charset=utf-8") },
		"a header twice":  func(s *signing) { s.header["X-Amz-Twice"] = []string{"b", "a"} },
		"an unsigned one": func(s *signing) { s.afterwards = func(r *http.Request) { r.Header.Set("User-Agent", "x") } },
		"the body's hash": func(s *signing) {
			hash := sha256.Sum256([]byte(s.body))
			s.header.Set("X-Amz-Content-Sha256", hex.EncodeToString(hash[:]))
		},
		"no space after commas": func(s *signing) {
			s.afterwards = func(r *http.Request) {
				r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), ", ", ","))
			}
		},
	} {
		if code, answer := status(t, srv, signed(t, key, change)); code != 200 {
			t.Errorf("%s: status %d, %s", name, code, answer)
		}
	}
}

// TestClockSkew checks the bounds of the five minutes, and that the answer
// tells the server's time.
func TestClockSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		key := srv.AddAccessKey(idctest.AccessKey{})
		for skew, want := range map[time.Duration]int{
			-5 * time.Minute: 200, 5 * time.Minute: 200, -5*time.Minute - time.Second: 403, 5*time.Minute + time.Second: 403,
		} {
			if code, answer := status(t, srv, signed(t, key, func(s *signing) { s.at = s.at.Add(skew) })); code != want {
				t.Errorf("%v: status %d, want %d: %s", skew, code, want, answer)
			}
		}
		srv = idctest.New()
		srv.Now = func() time.Time { return time.Now().Add(time.Hour) }
		resp, _ := send(t, srv.Transport(), "GET", "https://idc.example/device", "", "")
		if got, want := resp.Header.Get("Date"), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat); got != want {
			t.Errorf("Date %q, want %q", got, want)
		}
	})
}

// TestExpiredCredentials checks that expired credentials are not taken for an
// expired device code, which has an exception of the same name.
func TestExpiredCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		out, err := roleCredentials(t, srv, srv.Issue().AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		c := out.RoleCredentials
		key := idctest.AccessKey{ID: *c.AccessKeyId, Secret: *c.SecretAccessKey, SessionToken: *c.SessionToken}
		if code, answer := status(t, srv, signed(t, key, nil)); code != 200 {
			t.Errorf("role credentials: status %d, %s", code, answer)
		}
		time.Sleep(time.Hour)
		code, answer := status(t, srv, signed(t, key, nil))
		if code != 403 || !strings.HasPrefix(answer, "ExpiredTokenException:") || !strings.Contains(answer, `{"message":`) {
			t.Errorf("status %d, %s", code, answer)
		}
	})
}

// TestPresignedExpiry checks how long a presigned request of STS is good.
func TestPresignedExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		key := srv.AddAccessKey(idctest.AccessKey{})
		creds := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}
		for _, test := range []struct {
			expires string
			good    time.Duration
		}{{"", 15 * time.Minute}, {"&X-Amz-Expires=60", time.Minute}, {"&X-Amz-Expires=0", 0}} {
			req, err := http.NewRequest("GET", "https://sts.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"+test.expires, nil)
			if err != nil {
				t.Fatal(err)
			}
			empty := sha256.Sum256(nil)
			url, _, err := v4.NewSigner().PresignHTTP(t.Context(), creds, req, hex.EncodeToString(empty[:]), "sts", "us-east-1", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for _, after := range []time.Duration{test.good, time.Second} {
				want := 200
				if after == time.Second {
					want = 403
				}
				time.Sleep(after)
				if resp, body := send(t, srv.Transport(), "GET", url, "", ""); resp.StatusCode != want {
					t.Errorf("%q: status %d, want %d: %s", test.expires, resp.StatusCode, want, body)
				}
			}
		}
	})
}
