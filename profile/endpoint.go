package profile

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/wire"
)

// Endpoints returns where Identity Center is in a region, by the settings that
// cfg was loaded with: the endpoint variables, FIPS and dual stack, as the
// package documentation lists them. It is for an awsoidc.ExchangerConfig, whose
// AWS is cfg. It sends nothing. The error wraps awsoidc.ErrConfig.
func Endpoints(ctx context.Context, cfg aws.Config, region string) (awsoidc.Endpoints, error) {
	return sourcesOf(cfg).endpoints(ctx, region)
}

// sources are the places where the SDK looks for settings, the first first.
type sources struct {
	options config.LoadOptions
	env     config.EnvConfig
	shared  config.SharedConfig
}

// sourcesOf returns those that the SDK loaded cfg from.
func sourcesOf(cfg aws.Config) sources {
	var s sources
	for _, source := range cfg.ConfigSources {
		switch source := source.(type) {
		case config.LoadOptions:
			s.options = source
		case config.EnvConfig:
			s.env = source
		case config.SharedConfig:
			s.shared = source
		}
	}
	return s
}

func (s sources) all() []any { return []any{s.options, s.env, s.shared} }

// endpoints returns what replaces the endpoints that follow from the region.
func (s sources) endpoints(ctx context.Context, region string) (awsoidc.Endpoints, error) {
	var found awsoidc.Endpoints
	var err error
	if found.OIDC, err = s.endpoint(ctx, ssooidc.ServiceID, region); err != nil {
		return awsoidc.Endpoints{}, err
	}
	found.Portal, err = s.endpoint(ctx, sso.ServiceID, region)
	return found, err
}

func (s sources) endpoint(ctx context.Context, service, region string) (string, error) {
	fips, dualStack := s.variant(ctx)
	url, from := s.configured(ctx, service)
	switch {
	case url == "" && !fips && !dualStack:
		return "", nil
	case url == "":
		return regional(ctx, service, region, fips, dualStack)
	case fips || dualStack:
		return "", badConfig("%s can't be used together with FIPS or dual-stack endpoints: remove one of the settings", from)
	}
	if _, err := wire.CheckEndpoint(url); err != nil {
		return "", &configError{text: from + ": " + strings.TrimPrefix(oneLine(err), "wire: "), cause: err}
	}
	return strings.TrimRight(url, "/"), nil
}

// configured returns the URL that replaces a service's endpoint, and where it
// is from: an option, the service's variable, the variable of all services,
// the profile's services section, the profile.
func (s sources) configured(ctx context.Context, service string) (url, from string) {
	if ignore, _, _ := config.GetIgnoreConfiguredEndpoints(ctx, s.all()); ignore {
		return "", ""
	}
	const variable = "AWS_ENDPOINT_URL"
	name := strings.ReplaceAll(service, " ", "_")
	if s.options.BaseEndpoint != "" {
		return s.options.BaseEndpoint, "config.WithBaseEndpoint"
	}
	if url, ok, _ := s.env.GetServiceBaseEndpoint(ctx, service); ok {
		return url, variable + "_" + strings.ToUpper(name)
	}
	if s.env.BaseEndpoint != "" {
		return s.env.BaseEndpoint, variable
	}
	where := "[profile " + printable(s.shared.Profile) + "]"
	if _, set := os.LookupEnv(variable); !set { // even empty, it hides the services section
		if url, ok, _ := s.shared.GetServiceBaseEndpoint(ctx, service); ok && url != "" {
			return url, where + ": services: " + strings.ToLower(name) + ": endpoint_url"
		}
	}
	return s.shared.BaseEndpoint, where + ": endpoint_url"
}

// variant says which of a region's endpoints are asked for.
func (s sources) variant(ctx context.Context) (fips, dualStack bool) {
	var f aws.FIPSEndpointState
	var d aws.DualStackEndpointState
	for _, source := range s.all() {
		if p, ok := source.(interface {
			GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error)
		}); ok && f == aws.FIPSEndpointStateUnset {
			f, _, _ = p.GetUseFIPSEndpoint(ctx)
		}
		if p, ok := source.(interface {
			GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error)
		}); ok && d == aws.DualStackEndpointStateUnset {
			d, _, _ = p.GetUseDualStackEndpoint(ctx)
		}
	}
	return f == aws.FIPSEndpointStateEnabled, d == aws.DualStackEndpointStateEnabled
}

// regional returns the SDK's own endpoint of a service.
func regional(ctx context.Context, service, region string, fips, dualStack bool) (string, error) {
	if service == ssooidc.ServiceID {
		url, err := wire.EndpointFor(region, fips, dualStack)
		if err != nil {
			return "", &configError{text: keyRegion + ": " + oneLine(err), cause: err}
		}
		return url, nil
	}
	e, err := sso.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sso.EndpointParameters{
		Region: &region, UseFIPS: &fips, UseDualStack: &dualStack,
	})
	if err != nil {
		return "", &configError{text: keyRegion + " " + printable(region) + ": " + oneLine(err), cause: err}
	}
	return e.URI.String(), nil
}

// trusting returns a client that trusts the certificates of a PEM file and no
// others, as the SDK's does.
func trusting(file string) (*http.Client, error) {
	pem, err := readBounded(file)
	if err != nil {
		return nil, &configError{text: "AWS_CA_BUNDLE or ca_bundle: " + oneLine(err), cause: err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, badConfig("AWS_CA_BUNDLE or ca_bundle: %s holds no certificate in PEM form", printable(file))
	}
	transport := awshttp.NewBuildableClient().GetTransport()
	transport.TLSClientConfig.RootCAs = pool
	return &http.Client{Transport: transport}, nil
}

// httpClient returns a client that sends as c does; nil for nil.
func httpClient(c aws.HTTPClient) *http.Client {
	switch c := c.(type) {
	case nil:
		return nil
	case *http.Client:
		return c
	case *awshttp.BuildableClient: // its own Do follows some redirects
		return &http.Client{Transport: c.GetTransport(), Timeout: c.GetTimeout()}
	default:
		return &http.Client{Transport: doer{c}}
	}
}

// doer is a round tripper of a client of an unknown kind. Such a client may
// follow a redirect, and repeat a token at another place: the connection for a
// second exchange is closed before anything is written to it.
type doer struct{ client aws.HTTPClient }

func (d doer) RoundTrip(req *http.Request) (*http.Response, error) {
	var answered, again atomic.Bool
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotFirstResponseByte: func() { answered.Store(true) },
		GotConn: func(info httptrace.GotConnInfo) {
			if answered.Load() {
				again.Store(true)
				info.Conn.Close()
			}
		},
	})
	resp, err := d.client.Do(req.Clone(ctx))
	if again.Load() {
		if err == nil {
			resp.Body.Close()
		}
		return nil, errAgain
	}
	return resp, err
}

var errAgain = errors.New("profile: refused a redirect, or a second attempt, of the HTTP client")
