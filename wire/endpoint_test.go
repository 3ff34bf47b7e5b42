package wire_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/wire"
)

func TestEndpointFor(t *testing.T) {
	for _, test := range []struct {
		region string
		plain  string
		fips   string
		dual   string
		both   string
	}{
		{"us-east-1", "oidc.us-east-1.amazonaws.com", "oidc-fips.us-east-1.amazonaws.com", "oidc.us-east-1.api.aws", "oidc-fips.us-east-1.api.aws"},
		{"mx-central-1", "oidc.mx-central-1.amazonaws.com", "oidc-fips.mx-central-1.amazonaws.com", "oidc.mx-central-1.api.aws", "oidc-fips.mx-central-1.api.aws"},
		{"cn-north-1", "oidc.cn-north-1.amazonaws.com.cn", "oidc-fips.cn-north-1.amazonaws.com.cn",
			"oidc.cn-north-1.api.amazonwebservices.com.cn", "oidc-fips.cn-north-1.api.amazonwebservices.com.cn"},
		{"us-gov-west-1", "oidc.us-gov-west-1.amazonaws.com", "oidc.us-gov-west-1.amazonaws.com",
			"oidc.us-gov-west-1.api.aws", "oidc-fips.us-gov-west-1.api.aws"},
		{"us-iso-east-1", "oidc.us-iso-east-1.c2s.ic.gov", "oidc-fips.us-iso-east-1.c2s.ic.gov",
			"oidc.us-iso-east-1.api.aws.ic.gov", "oidc-fips.us-iso-east-1.api.aws.ic.gov"},
		{"us-isob-east-1", "oidc.us-isob-east-1.sc2s.sgov.gov", "oidc-fips.us-isob-east-1.sc2s.sgov.gov",
			"oidc.us-isob-east-1.api.aws.scloud", "oidc-fips.us-isob-east-1.api.aws.scloud"},
		{"eu-isoe-west-1", "oidc.eu-isoe-west-1.cloud.adc-e.uk", "oidc-fips.eu-isoe-west-1.cloud.adc-e.uk",
			"oidc.eu-isoe-west-1.api.cloud-aws.adc-e.uk", "oidc-fips.eu-isoe-west-1.api.cloud-aws.adc-e.uk"},
		{"us-isof-south-1", "oidc.us-isof-south-1.csp.hci.ic.gov", "oidc-fips.us-isof-south-1.csp.hci.ic.gov",
			"oidc.us-isof-south-1.api.aws.hci.ic.gov", "oidc-fips.us-isof-south-1.api.aws.hci.ic.gov"},
		{"eusc-de-east-1", "oidc.eusc-de-east-1.amazonaws.eu", "oidc-fips.eusc-de-east-1.amazonaws.eu",
			"oidc.eusc-de-east-1.api.amazonwebservices.eu", "oidc-fips.eusc-de-east-1.api.amazonwebservices.eu"},
		// What matches no partition belongs to aws.
		{"xx-new-12", "oidc.xx-new-12.amazonaws.com", "oidc-fips.xx-new-12.amazonaws.com", "oidc.xx-new-12.api.aws", "oidc-fips.xx-new-12.api.aws"},
		{"cn-north", "oidc.cn-north.amazonaws.com", "oidc-fips.cn-north.amazonaws.com", "oidc.cn-north.api.aws", "oidc-fips.cn-north.api.aws"},
		{"us-gov-west-1a", "oidc.us-gov-west-1a.amazonaws.com", "oidc-fips.us-gov-west-1a.amazonaws.com", "oidc.us-gov-west-1a.api.aws", "oidc-fips.us-gov-west-1a.api.aws"},
		{"aws-cn-global", "oidc.aws-cn-global.amazonaws.com.cn", "oidc-fips.aws-cn-global.amazonaws.com.cn",
			"oidc.aws-cn-global.api.amazonwebservices.com.cn", "oidc-fips.aws-cn-global.api.amazonwebservices.com.cn"},
		{"cn--1", "oidc.cn--1.amazonaws.com", "oidc-fips.cn--1.amazonaws.com", "oidc.cn--1.api.aws", "oidc-fips.cn--1.api.aws"},
		{"cn-north-1-x", "oidc.cn-north-1-x.amazonaws.com", "oidc-fips.cn-north-1-x.amazonaws.com", "oidc.cn-north-1-x.api.aws", "oidc-fips.cn-north-1-x.api.aws"},
	} {
		for _, v := range []struct {
			fips, dual bool
			want       string
		}{{false, false, test.plain}, {true, false, test.fips}, {false, true, test.dual}, {true, true, test.both}} {
			got, err := wire.EndpointFor(test.region, v.fips, v.dual)
			if err != nil || got != "https://"+v.want {
				t.Errorf("%s, FIPS %v, dual stack %v: %s, %v, want https://%s", test.region, v.fips, v.dual, got, err, v.want)
			}
			if _, err := wire.CheckEndpoint(got); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestEndpointForOtherHosts(t *testing.T) {
	for _, region := range []string{
		"", "evil.example/", "us-east-1.evil.example", "evil.example#", "us-east-1@evil.example", "us-east-1:443", "us-east-1?", "us east 1",
		"us-east-1\n", "-us-east-1", "us-east-1-", "US-EAST-1", "us_east_1", "é", "us-east-1\x00", "%2e", strings.Repeat("a", 64),
	} {
		endpoint, err := wire.EndpointFor(region, false, false)
		if err == nil {
			t.Errorf("%q: %s, want an error", region, endpoint)
			continue
		}
		checkText(t, err)
	}
}

func TestCheckEndpoint(t *testing.T) {
	for _, good := range []string{
		"https://oidc.us-east-1.amazonaws.com", "https://oidc.us-east-1.amazonaws.com/", "https://example.com:8443/base/path", "HTTPS://example.com",
		"https://10.0.0.1", "https://[2001:db8::1]:8443", "https://localhost",
		"http://localhost", "http://LOCALHOST:80/x", "http://127.0.0.1:8080", "http://127.1.2.3", "http://[::1]", "http://[::1]:8080", "http://[::ffff:127.0.0.1]",
	} {
		u, err := wire.CheckEndpoint(good)
		if err != nil {
			t.Error(err)
			continue
		}
		if want, _ := url.Parse(good); *u != *want {
			t.Errorf("%s: %+v", good, u)
		}
	}
	for bad, want := range map[string]string{
		"":                                        "is missing",
		"oidc.us-east-1.amazonaws.com":            "does not begin with https://",
		"oidc.us-east-1.amazonaws.com:443":        "is not a URL",
		"//oidc.us-east-1.amazonaws.com":          "does not begin with https://",
		"ftp://example.com":                       "does not begin with https://",
		"file:///etc/passwd":                      "does not begin with https://",
		"javascript:alert(1)":                     "is not a URL",
		"https:example.com":                       "is not a URL",
		"https://":                                "has no host",
		"https:///path":                           "has no host",
		"https://:443":                            "has no host",
		"https://example.com:x":                   "is not a URL",
		"https://exa mple.com":                    "is not a URL",
		"https://example.com\n":                   "is not a URL",
		"https://example.com/\x00":                "is not a URL",
		"https://éxample.com":                     "is not a URL",
		"https://" + strings.Repeat("a", 9000):    "is not a URL",
		"http://example.com":                      "is http on example.com",
		"http://10.0.0.1":                         "is http on 10.0.0.1",
		"http://169.254.169.254":                  "is http on 169.254.169.254",
		"http://0.0.0.0":                          "is http on 0.0.0.0",
		"http://[::]":                             "is http on [::]",
		"http://[2001:db8::1]":                    "is http on [2001:db8::1]",
		"http://localhost.evil.example":           "is http on localhost.evil.example",
		"http://localhost.":                       "is http on localhost.",
		"http://127.0.0.1.evil.example":           "is http on 127.0.0.1.evil.example",
		"http://127.1":                            "is http on 127.1",
		"http://2130706433":                       "is http on 2130706433",
		"http://0x7f.0.0.1":                       "is http on 0x7f.0.0.1",
		"http://localhost@evil.example":           "has a user or a password",
		"http://127.0.0.1:80@evil.example":        "has a user or a password",
		"https://user@example.com":                "has a user or a password",
		"https://user:password@example.com":       "has a user or a password",
		"https://@example.com":                    "has a user or a password",
		"https://example.com?":                    "has a query or a fragment",
		"https://example.com/?x=y":                "has a query or a fragment",
		"https://example.com/#":                   "has a query or a fragment",
		"https://example.com/#x":                  "has a query or a fragment",
		"http://evil.example\\@127.0.0.1":         "is not a URL",
		"http://127.0.0.1\\.evil.example":         "is not a URL",
		"https://user:pass word@example.com":      "is not a URL",
		"https://user:password@example.com:nport": "is not a URL",
	} {
		_, err := wire.CheckEndpoint(bad)
		if err == nil || !strings.HasPrefix(err.Error(), "wire: the endpoint "+want) {
			t.Errorf("%.100q: %v, want: %s", bad, err, want)
			continue
		}
		checkText(t, err)
		if strings.Contains(err.Error(), "pass") && !strings.Contains(err.Error(), "a password in it") {
			t.Errorf("%v shows the password", err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"https://device.sso.us-east-1.amazonaws.com/?user_code=ABCD-EFGH", "https://d-1234567890.awsapps.com/start/#/device?user_code=ABCD-EFGH",
		"http://127.0.0.1:8080/device?user_code=x", "http://localhost/#x",
	} {
		if u, err := wire.CheckURL(good); err != nil || u.String() != good {
			t.Errorf("%s: %v, %v", good, u, err)
		}
	}
	for _, bad := range []string{
		"", "-", "--help", "-https://example.com", "file:///etc/passwd", "javascript:alert(1)", "data:text/html,x", "example.com", "http://10.0.0.1/",
		"http://localhost.evil.example/", "https://user:password@example.com/", "https://example.com/\x1b[2J", "https://example.com/\u202e", "https://example.com/ x",
	} {
		u, err := wire.CheckURL(bad)
		if err == nil || !strings.HasPrefix(err.Error(), "wire: the URL ") {
			t.Errorf("%q: %v, %v", bad, u, err)
			continue
		}
		checkText(t, err)
	}
}
