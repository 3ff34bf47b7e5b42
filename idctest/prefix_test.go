package idctest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc/idctest"
)

// TestPathPrefix serves below a path: what was signed is the path as the client
// sent it, and people find the pages there.
func TestPathPrefix(t *testing.T) {
	for _, prefix := range []string{"/idc", "/a%20b/%5Ec+~"} {
		t.Run(prefix, func(t *testing.T) {
			srv := idctest.New()
			key := srv.AddAccessKey(idctest.AccessKey{})
			path, err := url.PathUnescape(prefix)
			if err != nil {
				t.Fatal(err)
			}
			ts := httptest.NewServer(http.StripPrefix(path, srv))
			defer ts.Close()
			base := aws.String(ts.URL + prefix)
			oidc := ssooidc.New(ssooidc.Options{Region: "us-east-1", BaseEndpoint: base, Credentials: static(key), RetryMaxAttempts: 1})
			if _, err := oidc.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil))); err != nil {
				t.Error(err)
			}
			stsc := sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: base, Credentials: static(key), RetryMaxAttempts: 1})
			if _, err := stsc.GetCallerIdentity(t.Context(), nil); err != nil {
				t.Error(err)
			}
			// Signed for one path and sent to another.
			req := signed(t, key, func(s *signing) { s.url = ts.URL + "/token?aws_iam=t" })
			if req.URL, err = url.Parse(*base + "/token?aws_iam=t"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != 403 {
				t.Errorf("signed for another path: status %d", resp.StatusCode)
			}

			reg, err := oidc.RegisterClient(t.Context(), &ssooidc.RegisterClientInput{ClientName: aws.String("test"), ClientType: aws.String("public")})
			if err != nil {
				t.Fatal(err)
			}
			auth, err := oidc.StartDeviceAuthorization(t.Context(), &ssooidc.StartDeviceAuthorizationInput{
				ClientId: reg.ClientId, ClientSecret: reg.ClientSecret, StartUrl: aws.String(startURL),
			})
			if err != nil {
				t.Fatal(err)
			}
			if *auth.VerificationUri != *base+"/device" {
				t.Errorf("verification URI %s", *auth.VerificationUri)
			}
			page, body := send(t, http.DefaultTransport, "GET", *auth.VerificationUriComplete, "", "")
			form := regexp.MustCompile(`<form method="post" action="([^"]+)">`).FindStringSubmatch(body)
			if page.StatusCode != 200 || form == nil {
				t.Fatalf("status %d: %s", page.StatusCode, body)
			}
			at, err := page.Request.URL.Parse(form[1])
			if err != nil || at.String() != *base+"/device" {
				t.Errorf("the form is posted to %v", at)
			}
		})
	}
}
