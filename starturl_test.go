package awsoidc_test

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

const (
	vanity = "https://sso.example.com/start"
	own    = "https://d-1234567890.awsapps.com/start"
)

// site answers for start URLs, and passes what AWS gets on to a fake service.
type site struct {
	answers map[string]string // of a method: the Location of a redirect, or "405"
	asked   []string          // methods and URLs
	sent    []string          // the bodies of StartDeviceAuthorization
}

// login signs in with a start URL, and returns the error.
func (s *site) login(t *testing.T, startURL string) (err error) {
	t.Helper()
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := newSource(t, srv, func(c *awsoidc.Config) { c.StartURL = startURL }, watching(srv, func(r *http.Request) *http.Response {
			if strings.HasPrefix(r.URL.Host, "oidc.") {
				if r.URL.Path == "/device_authorization" {
					body, _ := io.ReadAll(r.Body)
					s.sent = append(s.sent, string(body))
					r.Body = io.NopCloser(strings.NewReader(string(body)))
				}
				return nil
			}
			s.asked = append(s.asked, r.Method+" "+r.URL.String())
			answer := &http.Response{StatusCode: 302, Header: http.Header{}, Body: http.NoBody}
			switch to := s.answers[r.Method]; to {
			case "":
				answer.StatusCode = 200
			case "405":
				answer.StatusCode = 405
			case "501":
				answer.StatusCode = 501
			default:
				answer.Header.Set("Location", to)
			}
			return answer
		}))
		if len(s.asked) != 0 {
			t.Errorf("New asked for %v", s.asked)
		}
		if err = src.Login(t.Context()); err == nil {
			bearer(t, src)
		}
	})
	return err
}

func TestStartURLUnderADomainOfOnesOwn(t *testing.T) {
	for name, answers := range map[string]map[string]string{
		"HEAD":           {"HEAD": own},
		"405":            {"HEAD": "405", "GET": own},
		"501":            {"HEAD": "501", "GET": own},
		"with fragment":  {"HEAD": own + "#/"},
		"same region":    {"HEAD": "https://ssoins-1234.portal.us-east-1.app.aws"},
		"region in .com": {"HEAD": "https://ssoins-1234.us-east-1.portal.amazonaws.com/start"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{answers: answers}
			err := s.login(t, vanity)
			if err != nil {
				t.Fatal(err)
			}
			want, _, _ := strings.Cut(cmp.Or(answers["GET"], answers["HEAD"]), "#")
			if len(s.sent) != 1 || !strings.Contains(s.sent[0], `"startUrl":"`+want+`"`) {
				t.Errorf("the service was sent %v", s.sent)
			}
			if s.asked[0] != "HEAD "+vanity || len(s.asked) != len(answers) {
				t.Errorf("asked for %v", s.asked)
			}
		})
	}
}

func TestStartURLThatLeadsElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		answers map[string]string
		want    string // in the error
	}{
		"foreign host":    {map[string]string{"HEAD": "https://evil.example/start"}, "evil.example, which is not AWS's"},
		"two redirects":   {map[string]string{"HEAD": "https://other.example.com/start"}, "not AWS's"},
		"like AWS's":      {map[string]string{"HEAD": "https://evil-awsapps.com/start"}, "not AWS's"},
		"suffix alone":    {map[string]string{"HEAD": "https://awsapps.com/start"}, "not AWS's"},
		"any of AWS":      {map[string]string{"HEAD": "https://evil.s3.amazonaws.com/start"}, "not AWS's"},
		"prefix":          {map[string]string{"HEAD": "https://d-1.awsapps.com.evil.example/start"}, "not AWS's"},
		"another port":    {map[string]string{"HEAD": "https://d-1.awsapps.com:8443/start"}, "not AWS's"},
		"user":            {map[string]string{"HEAD": "https://d-1.awsapps.com@evil.example/start"}, "no usable URL"},
		"http":            {map[string]string{"HEAD": "http://d-1234567890.awsapps.com/start"}, "no usable URL"},
		"loopback":        {map[string]string{"HEAD": "http://127.0.0.1/start"}, "not AWS's"},
		"no redirect":     {nil, "answered 200"},
		"neither":         {map[string]string{"HEAD": "405", "GET": "405"}, "answered 405"},
		"another region":  {map[string]string{"HEAD": "https://ssoins-1.portal.eu-west-1.app.aws"}, "set the region of the sign-in (sso_region) to eu-west-1"},
		"region in .com":  {map[string]string{"HEAD": "https://ssoins-1.eu-west-1.portal.amazonaws.com"}, "eu-west-1"},
		"script":          {map[string]string{"HEAD": "javascript:alert(1)"}, "no usable URL"},
		"relative":        {map[string]string{"HEAD": "/start/"}, "sso.example.com, which is not AWS's"},
		"control in host": {map[string]string{"HEAD": "https://a\x1b.example/"}, "control character"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{answers: test.answers}
			err := s.login(t, vanity)
			if !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if strings.Count(err.Error(), "awsoidc:") != 1 {
				t.Errorf("the error says more than once whose it is: %v", err)
			}
			if len(s.sent) != 0 {
				t.Errorf("the service was sent %v", s.sent)
			}
			for _, asked := range s.asked {
				if !strings.HasSuffix(asked, " "+vanity) {
					t.Errorf("asked for %s", asked)
				}
			}
		})
	}
}

// TestStartURLOfAnotherRegion has a portal whose URL names its region.
func TestStartURLOfAnotherRegion(t *testing.T) {
	for _, startURL := range []string{"https://ssoins-1.portal.eu-west-1.app.aws", "https://ssoins-1.eu-west-1.portal.amazonaws.com/start"} {
		for _, grant := range []awsoidc.Grant{awsoidc.GrantDevice, awsoidc.GrantAuthCode} {
			srv := idctest.New()
			src := newSource(t, srv, func(c *awsoidc.Config) { c.StartURL, c.Grant = startURL, grant })
			err := src.Login(t.Context())
			if !errors.Is(err, awsoidc.ErrConfig) || !strings.Contains(err.Error(), "in eu-west-1, but the configured region is us-east-1; set the region of the sign-in (sso_region) to eu-west-1") {
				t.Errorf("%s: got %v", startURL, err)
			}
			if n := srv.Count(idctest.StartDeviceAuthorization).Requests; n != 0 {
				t.Errorf("%s: the service was asked", startURL)
			}
		}
	}
}

func TestStartURLOfAWS(t *testing.T) {
	for _, u := range []string{own, "https://D-1234567890.AWSAPPS.com:443/start", "https://identitycenter.amazonaws.com/ssoins-1234567890abcdef", "https://ssoins-1.portal.us-east-1.app.aws", "http://127.0.0.1:1234/start"} {
		s := &site{}
		s.login(t, u) // the fake service has another instance, perhaps
		if len(s.asked) != 0 {
			t.Errorf("%s: asked for %v", u, s.asked)
		}
		if len(s.sent) == 0 || !strings.Contains(s.sent[0], u) {
			t.Errorf("%s: the service was sent %v", u, s.sent)
		}
	}
}
