package idctest

import (
	"context"
	"crypto"
	"io"
	"net/http"
	"time"
)

// Server is a fake IAM Identity Center: an [http.Handler] that answers for SSO
// OIDC, the AWS access portal and STS, and for the page on which a person
// approves a sign-in.
//
// The fields are settings. They must not change after the first request; the
// zero value of each is usable. Everything else about a Server is safe for
// concurrent use.
//
// The zero Server is lenient with refresh tokens: one works until its session
// ends. [New] returns a strict one.
type Server struct {
	// AccessTokenLifetime is that of access tokens issued to clients which
	// registered scopes. The default is 1 h. A token never outlives its
	// session. Here and below fractions of a second are rounded up.
	AccessTokenLifetime time.Duration
	// SessionLifetime is how long after a sign-in its refresh tokens work. The
	// default is 8 h. It is also the lifetime of access tokens issued to
	// clients without scopes, which get no refresh token.
	SessionLifetime time.Duration
	// RegistrationLifetime is that of a client registration. The default is
	// 90 days.
	RegistrationLifetime time.Duration
	// DeviceCodeLifetime is how long a person has to approve a sign-in. The
	// default is 600 s.
	DeviceCodeLifetime time.Duration
	// PollInterval is the least time between two polls with one device code.
	// The default is 1 s. Each poll that comes sooner makes it 5 s longer
	// (RFC 8628 section 3.5).
	PollInterval time.Duration
	// AuthorizationCodeLifetime is how long an authorization code can be
	// exchanged. The default is 60 s.
	AuthorizationCodeLifetime time.Duration
	// RoleCredentialsLifetime is that of what GetRoleCredentials returns. The
	// default is 1 h.
	RoleCredentialsLifetime time.Duration

	// RotateRefreshTokens makes each refresh spend the refresh token and
	// answer with the next. Otherwise the answer repeats the same one.
	RotateRefreshTokens bool
	// DetectReuse makes a refresh token that is presented after it was spent
	// end its session (RFC 9700 section 4.14.2). Without it the request is
	// refused and no more. It means something only with RotateRefreshTokens.
	DetectReuse bool
	// OmitRefreshToken leaves the refresh token out of the answer to a
	// refresh: the old one stays good. It overrides RotateRefreshTokens.
	OmitRefreshToken bool

	// Region is what Issue reports as the session's region; the default is
	// "us-east-1". Where it is set, CreateTokenWithIAM answers requests signed
	// for another region with InvalidRequestRegionException, but for an
	// Application that has a Region of its own. Other requests are answered
	// whatever region their host names.
	Region string
	// StartURLs are the access portal URLs that StartDeviceAuthorization
	// accepts, and /authorize as the issuerUrl of the client's registration; a
	// trailing slash or "#/" makes no difference. nil accepts every https URL.
	StartURLs []string
	// Accounts are what the person who signs in may use. The default is one
	// account, 123456789012, with the roles ReadOnly and Admin.
	Accounts []Account
	// UserName is the name of the person who signs in. The default is
	// "jane.doe@example.com".
	UserName string

	// Applications are those that CreateTokenWithIAM knows. nil accepts the ARN
	// of any.
	Applications []Application
	// JWTBearerRefreshTokens makes the JWT bearer grant answer with a refresh
	// token. Nobody outside AWS knows whether the service does so always.
	JWTBearerRefreshTokens bool
	// TrustedIssuers are those whose JWTs are accepted: as assertions of the JWT
	// bearer grant, and as web identity tokens. nil accepts those of any issuer
	// for any audience, signed with AssertionKey.
	TrustedIssuers []TrustedIssuer
	// AssertionKey verifies the JWTs of every issuer, where TrustedIssuers is
	// nil. It is an *rsa.PublicKey (RS256,
	// RS384, RS512) or an *ecdsa.PublicKey (ES256, ES384, ES512). nil accepts
	// any signature.
	AssertionKey crypto.PublicKey

	// Quotas limit the requests of an operation, in requests a second; in the
	// first moment as many may come at once. A request counts towards each of
	// its operations, as with Inject. One too many is answered with
	// SlowDownException by SSO OIDC, TooManyRequestsException by the portal,
	// and Throttling by STS. An operation that is not named has no limit. The
	// service's own, for one instance of Identity Center: 80 for
	// CreateTokenWithIAMRefresh, 10 for CreateTokenWithIAMJWTBearer, 20 for
	// each operation of the portal.
	Quotas map[Operation]int

	// Now is the service's clock. The default is time.Now, which is virtual
	// time inside a testing/synctest bubble. Latency always passes on the
	// runtime's clock.
	Now func() time.Time

	state state
}

// Account is an AWS account that the person who signs in may use.
type Account struct {
	ID    string   // of 12 digits
	Name  string   // as the portal shows it
	Email string   // of the account's root user
	Roles []string // names of permission sets
}

// New returns a Server with the strictest behaviour that a client must expect:
// refresh tokens rotate, and using one twice ends the session.
func New() *Server {
	return &Server{RotateRefreshTokens: true, DetectReuse: true}
}

// ServeHTTP answers one request. It panics only with [http.ErrAbortHandler],
// where a fault asks for a broken connection and w can't be hijacked.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := s.begin(readRequest(r))
	a, err := s.respond(r.Context(), c)
	s.end(c) // before the client can know, so that it finds itself counted
	if err == nil {
		err = a.write(r.Context(), w, r.Method == http.MethodHead)
	}
	if err != nil {
		abort(w, err)
	}
}

// respond carries the request out as far as its fault lets it. An error means
// that no answer is to be sent.
func (s *Server) respond(ctx context.Context, c *call) (*answer, error) {
	f := c.fault
	if f.Dial {
		return nil, errDial
	}
	if err := sleep(ctx, f.Latency); err != nil {
		return nil, err
	}
	if f.ResetBefore {
		return nil, errReset
	}
	var a *answer
	if f.Commit || !f.replaces() && !f.Hang {
		if c.throttled = s.overQuota(c.op); c.throttled {
			a = throttle(c.request)
		} else {
			a = s.perform(c.request)
		}
		c.succeeded = a.status < 400 && a.errType == ""
	}
	if f.replaces() {
		s.noteFault(c)
		a = f.answer(c.request)
	}
	if err := sleep(ctx, f.LatencyAfter); err != nil {
		return nil, err
	}
	if f.Hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.ResetAfter {
		return nil, errReset
	}
	f.decorate(a)
	a.requestID, a.date = c.requestID, s.now()
	c.status, c.errType = a.status, a.errType
	return a, nil
}

// perform carries the request out.
func (s *Server) perform(r *request) *answer {
	switch r.op {
	case RegisterClient:
		return s.registerClient(r)
	case StartDeviceAuthorization:
		return s.startDeviceAuthorization(r)
	case CreateToken, CreateTokenDeviceCode, CreateTokenRefresh, CreateTokenAuthorizationCode:
		return s.createToken(r)
	case CreateTokenWithIAM, CreateTokenWithIAMAuthorizationCode, CreateTokenWithIAMRefresh, CreateTokenWithIAMJWTBearer, CreateTokenWithIAMTokenExchange:
		return s.createTokenWithIAM(r)
	case GetRoleCredentials:
		return s.getRoleCredentials(r)
	case ListAccounts:
		return s.listAccounts(r)
	case ListAccountRoles:
		return s.listAccountRoles(r)
	case Logout:
		return s.logout(r)
	case GetCallerIdentity:
		return s.getCallerIdentity(r)
	case AssumeRole:
		return s.assumeRole(r)
	case AssumeRoleWithWebIdentity:
		return s.assumeRoleWithWebIdentity(r)
	case UserInfo:
		return s.userInfo(r)
	case ApprovalPage:
		return s.approvalPage(r)
	case Authorize:
		return s.authorize(r)
	}
	return unknownOperation(r)
}

// sleep waits for d, or until ctx ends. No lock is held meanwhile.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Server) region() string {
	if s.Region == "" {
		return "us-east-1"
	}
	return s.Region
}

func (s *Server) startURL() string {
	if len(s.StartURLs) == 0 {
		return "https://d-1234567890.awsapps.com/start"
	}
	return s.StartURLs[0]
}

func (s *Server) userName() string {
	if s.UserName == "" {
		return "jane.doe@example.com"
	}
	return s.UserName
}

func (s *Server) accounts() []Account {
	if s.Accounts == nil {
		return []Account{{ID: "123456789012", Name: "Example", Email: "aws@example.com", Roles: []string{"ReadOnly", "Admin"}}}
	}
	return s.Accounts
}

// wholeSeconds returns d, or byDefault where d is not positive, rounded up:
// the wire has whole seconds, and the server keeps to what it said.
func wholeSeconds(d, byDefault time.Duration) time.Duration {
	if d <= 0 {
		return byDefault
	}
	if rest := d % time.Second; rest != 0 && d < 1<<62 {
		d += time.Second - rest
	}
	return d
}

// readAll reads a body of at most maxBody bytes.
func readAll(r io.Reader) (body []byte, tooLarge bool, err error) {
	if r == nil {
		return nil, false, nil
	}
	body, err = io.ReadAll(io.LimitReader(r, maxBody+1))
	if len(body) > maxBody {
		return nil, true, nil
	}
	return body, false, err
}
