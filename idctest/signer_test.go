package idctest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// TestSignedHeaders checks the list of signed headers itself, with a signer that
// signs whatever list it is given.
func TestSignedHeaders(t *testing.T) {
	srv := idctest.New()
	key := srv.AddAccessKey(idctest.AccessKey{})
	for headers, want := range map[string]int{
		"content-type;host;x-amz-date":                   200,
		"content-length;content-type;host;x-amz-date":    200,
		"content-type;host;user-agent;x-amz-date":        200,
		"User-Agent;content-type;host;x-amz-date":        403,
		"host;content-type;x-amz-date":                   403,
		"content-type;Host;host;x-amz-date":              403,
		"content-type;host;host;x-amz-date":              403,
		"content-type;gone;host;x-amz-date":              403,
		"content-type;host;transfer-encoding;x-amz-date": 403,
		"content-type;;host;x-amz-date":                  403,
		"content-type;host":                              403,
	} {
		body, date := toJSON(t, jwtBearerBody()), time.Now().UTC().Format("20060102T150405Z")
		req, err := http.NewRequest("POST", "https://"+oidcHost+"/token?aws_iam=t", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"x"}, "X-Amz-Date": {date}}
		canonical := "POST\n/token\naws_iam=t\n"
		for name := range strings.SplitSeq(headers, ";") {
			value := req.Header.Get(name)
			switch strings.ToLower(name) {
			case "host":
				value = oidcHost
			case "content-length":
				value = strconv.Itoa(len(body))
			}
			canonical += name + ":" + value + "\n"
		}
		hash := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
		canonical += "\n" + headers + "\n" + hash(body)
		scope := date[:8] + "/us-east-1/sso-oauth/aws4_request"
		mac := []byte("AWS4" + key.Secret)
		for _, part := range append(strings.Split(scope, "/"), "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hash(canonical)) {
			h := hmac.New(sha256.New, mac)
			h.Write([]byte(part))
			mac = h.Sum(nil)
		}
		req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", key.ID, scope, headers, mac))
		if code, answer := status(t, srv, req); code != want {
			t.Errorf("%s: status %d, want %d: %s", headers, code, want, answer)
		}
	}
}
