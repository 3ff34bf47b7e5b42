package wire

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// EndpointFor returns the service's endpoint in a region, such as
// "https://oidc.us-east-1.amazonaws.com". fips asks for the endpoint with
// FIPS 140 validated cryptography, dualStack for the one that is reached over
// IPv4 and IPv6. Whether a region has such an endpoint is not checked, nor
// whether the region exists: one of an unknown form is taken for one of the
// partition aws, as the AWS SDKs do.
//
// A region that is not a plain host label in lower case is an error: it could
// lead to another host.
func EndpointFor(region string, fips, dualStack bool) (string, error) {
	if region == "" {
		return "", errors.New(`wire: no region; name the one of the Identity Center instance, such as "us-east-1"`)
	}
	if !isHostLabel(region) {
		return "", fmt.Errorf(`wire: %q is not a region; use a name such as "us-east-1"`, clean(region, maxHostLabel, nil))
	}
	p := partitionOf(region)
	service, suffix := "oidc", p.dns
	if fips && (dualStack || !p.plainFIPS) {
		service = "oidc-fips"
	}
	if dualStack {
		suffix = p.dualStack
	}
	return "https://" + service + "." + region + "." + suffix, nil
}

// CheckEndpoint parses the base URL of a service and applies the rule that
// every call of this package holds to: https, or http on a loopback address
// literal or localhost; no user, query or fragment; visible ASCII alone, at
// most 8 KiB. A path is allowed. The error says what is wrong, and of the URL it
// shows the host at most.
func CheckEndpoint(raw string) (*url.URL, error) {
	u, err := parseEndpoint(raw)
	if err != nil {
		return nil, fmt.Errorf("wire: the endpoint %w", err)
	}
	return u, nil
}

// CheckURL parses a URL that a person's browser may be sent to, and applies the
// rule of CheckEndpoint but for the query and the fragment, which it may have.
// It can't begin with "-", nor name a file or a script.
func CheckURL(raw string) (*url.URL, error) {
	u, err := parseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("wire: the URL %w", err)
	}
	return u, nil
}

// parseEndpoint is the rule of CheckEndpoint. Its errors lack the subject.
func parseEndpoint(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, errors.New("is missing; EndpointFor returns the one of a region")
	}
	u, err := parseURL(raw)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(raw, "?#") {
		return nil, errors.New("has a query or a fragment; leave it out")
	}
	return u, nil
}

const maxURL = 8 << 10 // bytes

// parseURL is the rule of CheckURL. Its errors lack the subject.
func parseURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL || !isVisibleASCII(raw) {
		return nil, errors.New("is not a URL such as https://example.com")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Opaque != "":
		return nil, errors.New("is not a URL such as https://example.com")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("does not begin with https://")
	case u.User != nil:
		return nil, errors.New("has a user or a password in it; leave them out")
	case u.Hostname() == "":
		return nil, errors.New("has no host")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("is http on %s; use https, which only a loopback address can do without", clean(u.Host, maxHost, nil))
	}
	return u, nil
}

// isLoopback reports whether host is a loopback address literal or localhost.
// No name is resolved: what a name resolves to may change.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// partition is a group of regions with DNS suffixes of their own.
type partition struct {
	name      string // with "-global", it is a region's name too
	regions   string // what its regions' names begin with; an area and a number follow
	dns       string // suffix of the usual endpoints
	dualStack string // suffix of the dual-stack endpoints
	plainFIPS bool   // the usual endpoint is the FIPS endpoint
}

func partitionOf(region string) partition {
	for _, p := range [...]partition{
		{name: "aws-cn", regions: "cn-", dns: "amazonaws.com.cn", dualStack: "api.amazonwebservices.com.cn"},
		{name: "aws-us-gov", regions: "us-gov-", dns: "amazonaws.com", dualStack: "api.aws", plainFIPS: true},
		{name: "aws-iso", regions: "us-iso-", dns: "c2s.ic.gov", dualStack: "api.aws.ic.gov"},
		{name: "aws-iso-b", regions: "us-isob-", dns: "sc2s.sgov.gov", dualStack: "api.aws.scloud"},
		{name: "aws-iso-e", regions: "eu-isoe-", dns: "cloud.adc-e.uk", dualStack: "api.cloud-aws.adc-e.uk"},
		{name: "aws-iso-f", regions: "us-isof-", dns: "csp.hci.ic.gov", dualStack: "api.aws.hci.ic.gov"},
		{name: "aws-eusc", regions: "eusc-de-", dns: "amazonaws.eu", dualStack: "api.amazonwebservices.eu"},
	} {
		rest, ok := strings.CutPrefix(region, p.regions)
		if ok && isAreaAndNumber(rest) || region == p.name+"-global" {
			return p
		}
	}
	return partition{name: "aws", dns: "amazonaws.com", dualStack: "api.aws"}
}

// isAreaAndNumber reports whether s is like "east-1".
func isAreaAndNumber(s string) bool {
	area, number, ok := strings.Cut(s, "-")
	return ok && area != "" && number != "" && strings.Trim(number, "0123456789") == ""
}

const (
	maxHostLabel = 63  // bytes, RFC 1035 section 2.3.4
	maxHost      = 255 // bytes, with room for a port
)

// isHostLabel reports whether s is one label of a host name (RFC 1123 section
// 2.1), in lower case.
func isHostLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxHostLabel && s[0] != '-' && s[len(s)-1] != '-'
}
