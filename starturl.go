package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/awsoidc/awsoidc/wire"
)

// portalHosts are what the hosts of AWS's own access portals end with.
var portalHosts = [...]string{
	".awsapps.com", ".awsapps.cn",
	".app.aws", ".portal.amazonaws.com", ".portal.amazonaws.com.cn",
	".app.amazonwebservices.com.cn", ".portal.amazonaws.eu", ".api.amazonwebservices.eu",
}

// identityCenterHosts are hosts of start URLs that name an instance in their
// path.
var identityCenterHosts = [...]string{
	"identitycenter.amazonaws.com", "identitycenter.amazonaws.com.cn", "identitycenter.amazonaws.eu",
	"identitycenter.us-gov.amazonaws.com", "identitycenter.amazonaws-us-gov.com",
}

// startURL returns the start URL to name to the service: the configured one
// where it is AWS's own, or on a loopback address, and otherwise what it
// redirects to, once. The configured one stays the name of the session.
func (s *TokenSource) startURL(ctx context.Context) (string, error) {
	u, err := url.Parse(s.cfg.StartURL)
	if err != nil || u.Scheme != "https" {
		return s.cfg.StartURL, nil // New has checked it
	}
	if isPortalHost(u.Host) {
		return s.cfg.StartURL, s.checkRegion("is of", u)
	}
	to, err := s.redirectOf(ctx, u)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", s.badStartURL("its redirect to the AWS access portal was not had", err)
	}
	target, err := wire.CheckURL(to)
	switch {
	case err != nil:
		return "", s.badStartURL("it redirects to what is no usable URL", err)
	case target.Scheme != "https" || !isPortalHost(target.Host):
		return "", s.badStartURL(fmt.Sprintf("it redirects to %s, which is not AWS's", wire.Redact(target.Host)), nil)
	}
	if err := s.checkRegion("leads to", target); err != nil {
		return "", err
	}
	target.Fragment, target.RawFragment = "", ""
	return target.String(), nil
}

// checkRegion fails where a portal's URL names another region than the
// configured one. Is says what the start URL has to do with it.
func (s *TokenSource) checkRegion(is string, portal *url.URL) error {
	region := portalRegion(portal.Hostname())
	if region == "" || region == s.cfg.Region {
		return nil
	}
	return &failure{kind: ErrConfig, what: fmt.Sprintf("the start URL %s %s an Identity Center instance in %s, but the configured region is %s", s.cfg.StartURL, is, region, s.cfg.Region),
		advice: "set the region of the sign-in (sso_region) to " + region}
}

// redirectOf asks for the headers of u, and returns where it redirects to. The
// redirect is not followed.
func (s *TokenSource) redirectOf(ctx context.Context, u *url.URL) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
		if err != nil {
			return "", err
		}
		resp, err := s.http.Do(req)
		if err != nil {
			if e, ok := errors.AsType[*url.Error](err); ok {
				err = e.Err // the URL is in the message already
			}
			return "", err
		}
		resp.Body.Close()
		switch code := resp.StatusCode; {
		case method == http.MethodHead && (code == http.StatusMethodNotAllowed || code == http.StatusNotImplemented):
			continue
		case code < 300 || code >= 400:
			return "", fmt.Errorf("it answered %d, not with a redirect", code)
		}
		to, err := resp.Location()
		if err != nil {
			return "", fmt.Errorf("it answered %d without a place to go", resp.StatusCode)
		}
		return to.String(), nil
	}
	return "", errors.New("it takes neither HEAD nor GET")
}

func (s *TokenSource) badStartURL(why string, cause error) error {
	return &failure{kind: ErrConfig, what: fmt.Sprintf("the start URL %s is not under a domain of AWS, and %s", s.cfg.StartURL, why), cause: cause,
		advice: "check it in a browser, or give the AWS access portal's own URL, such as https://d-1234567890.awsapps.com/start"}
}

// isPortalHost reports whether a URL's host is one of AWS's access portals.
func isPortalHost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	for _, h := range identityCenterHosts {
		if host == h {
			return true
		}
	}
	for _, suffix := range portalHosts {
		if len(host) > len(suffix) && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// portalRegion returns the region that a portal's host names, "" where it
// names none.
func portalRegion(host string) string {
	labels := strings.Split(strings.ToLower(host), ".")
	for i, label := range labels {
		if label != "portal" {
			continue
		}
		// {id}.portal.{region}.app.aws, or {id}.{region}.portal.amazonaws.com
		for _, at := range []int{i + 1, i - 1} {
			if at > 0 && at < len(labels) && isRegion(labels[at]) {
				return labels[at]
			}
		}
	}
	return ""
}

// isRegion reports whether a label has the form of us-east-1.
func isRegion(label string) bool {
	parts := strings.Split(label, "-")
	if len(parts) < 3 {
		return false
	}
	number := parts[len(parts)-1]
	return strings.Trim(number, "0123456789") == "" && number != "" && strings.Trim(strings.Join(parts[:len(parts)-1], ""), "abcdefghijklmnopqrstuvwxyz") == ""
}
