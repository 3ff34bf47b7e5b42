package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	region      = "us-east-1"
	application = "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"
	role        = "arn:aws:iam::123456789012:role/Access"
)

var past = time.Unix(1, 0)

// A service is a program that acts for its users, with an Identity Center and
// an STS on loopback that trust some issuers.
type service struct {
	*awsoidc.Exchanger
	t    *testing.T
	idc  *idctest.Server
	aws  aws.Config
	sent recorder // towards Identity Center
}

// newService starts the servers, and ends them with the test.
func newService(t *testing.T, options func(*awsoidc.ExchangerConfig), trusted ...idctest.TrustedIssuer) *service {
	t.Helper()
	s := &service{t: t, idc: idctest.New()}
	s.idc.TrustedIssuers = trusted
	s.idc.AccessTokenLifetime = 2 * time.Minute // less than that of any assertion here
	server := httptest.NewServer(s.idc)
	t.Cleanup(server.Close)
	key := s.idc.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:iam::123456789012:user/service"})
	s.aws = aws.Config{
		Region: region, BaseEndpoint: &server.URL, HTTPClient: loopback(nil),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
		}),
	}
	cfg := awsoidc.ExchangerConfig{
		Application: application, AWS: s.aws, HTTPClient: loopback(&s.sent),
		Endpoints: awsoidc.Endpoints{OIDC: server.URL, Portal: server.URL},
	}
	if options != nil {
		options(&cfg)
	}
	var err error
	if s.Exchanger, err = awsoidc.NewExchanger(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if n := s.idc.Replays(); n != 0 {
			t.Errorf("%d assertions were presented again", n)
		}
	})
	return s
}

// caller returns whom STS takes credentials for.
func (s *service) caller(c aws.Credentials) string {
	s.t.Helper()
	client := sts.NewFromConfig(s.aws, func(o *sts.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
	})
	out, err := client.GetCallerIdentity(s.t.Context(), nil)
	if err != nil {
		s.t.Error(err)
		return ""
	}
	return aws.ToString(out.Arn)
}

// acts checks that a user's credentials and token are accepted, and the user's.
func (s *service) acts(subject awsoidc.Subject, assertion awsoidc.Assertion) {
	s.t.Helper()
	user := s.Identity(subject, assertion)
	credentials, err := user.Credentials(awsoidc.Role{ARN: role}).Retrieve(s.t.Context())
	if err != nil {
		s.t.Errorf("%v: %v", subject, err)
		return
	}
	if arn := s.caller(credentials); !strings.HasPrefix(arn, "arn:aws:sts::123456789012:assumed-role/Access/awsoidc-") {
		s.t.Errorf("STS takes the credentials for %s", arn)
	}
	assumed := s.assumed(credentials)
	if assumed.Operation != idctest.AssumeRole || assumed.Application != application || assumed.Issuer != subject.Issuer || assumed.Subject != subject.ID {
		s.t.Errorf("the credentials of %v come from %+v", subject, assumed)
	}
	token, err := user.TokenContext(s.t.Context())
	if err != nil {
		s.t.Error(err)
		return
	}
	want := idctest.Identity{Subject: subject.ID, Issuer: subject.Issuer, Application: application}
	for _, secret := range []string{credentials.AccessKeyID, token.AccessToken} {
		if got, _ := s.idc.Identify(secret); got != want {
			s.t.Errorf("%v got what is that of %+v", subject, got)
		}
	}
}

// assumed returns how credentials came about.
func (s *service) assumed(c aws.Credentials) idctest.AssumedRole {
	for _, r := range s.idc.AssumedRoles() {
		if r.AccessKeyID == c.AccessKeyID {
			return r
		}
	}
	return idctest.AssumedRole{}
}

// exchanges is how many assertions Identity Center was sent.
func (s *service) exchanges() int {
	return s.idc.Count(idctest.CreateTokenWithIAMJWTBearer).Requests
}

// recorder counts assertions on their way out.
type recorder struct {
	mu         sync.Mutex
	assertions map[string]int
}

// observe notes the assertion of a request, and leaves the request as it was.
func (r *recorder) observe(req *http.Request) error {
	if req.Body == nil {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	var in struct{ GrantType, Assertion string }
	if json.Unmarshal(body, &in) != nil || in.GrantType != wire.GrantJWTBearer {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.assertions == nil {
		r.assertions = map[string]int{}
	}
	r.assertions[in.Assertion]++
	return nil
}

// times is how often an assertion was sent.
func (r *recorder) times(assertion string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.assertions[assertion]
}

// loopback returns a client that connects to this machine only, whatever the
// environment says, and tells a recorder, if any, what it sends.
func loopback(r *recorder) *http.Client {
	dialer := &net.Dialer{}
	return &http.Client{Transport: &observed{r, &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, err := net.SplitHostPort(address); err != nil || !net.ParseIP(host).IsLoopback() {
				return nil, &net.AddrError{Err: "not on loopback", Addr: address}
			}
			return dialer.DialContext(ctx, network, address)
		},
	}}}
}

type observed struct {
	*recorder
	next http.RoundTripper
}

func (o *observed) RoundTrip(req *http.Request) (*http.Response, error) {
	if o.recorder != nil {
		req = req.Clone(req.Context())
		if err := o.observe(req); err != nil {
			return nil, err
		}
	}
	return o.next.RoundTrip(req)
}
