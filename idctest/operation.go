package idctest

import (
	"net/http"
	"strings"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// Operation is what a request asks the service for.
type Operation string

// The operations of SSO OIDC, the portal and STS under AWS's names, and what
// this server has beside them.
const (
	// AnyOperation is every request, those of no known operation included.
	AnyOperation Operation = "*"

	RegisterClient           Operation = "RegisterClient"           // POST /client/register
	StartDeviceAuthorization Operation = "StartDeviceAuthorization" // POST /device_authorization

	// CreateToken is POST /token with any grant type.
	CreateToken Operation = "CreateToken"
	// CreateTokenDeviceCode is CreateToken with the device code grant.
	CreateTokenDeviceCode Operation = "CreateToken/device_code"
	// CreateTokenRefresh is CreateToken with the refresh token grant.
	CreateTokenRefresh Operation = "CreateToken/refresh_token"
	// CreateTokenAuthorizationCode is CreateToken with the authorization code
	// grant.
	CreateTokenAuthorizationCode Operation = "CreateToken/authorization_code"

	// CreateTokenWithIAM is POST /token?aws_iam=t with any grant type.
	CreateTokenWithIAM Operation = "CreateTokenWithIAM"
	// CreateTokenWithIAMAuthorizationCode is CreateTokenWithIAM with the
	// authorization code grant.
	CreateTokenWithIAMAuthorizationCode Operation = "CreateTokenWithIAM/authorization_code"
	// CreateTokenWithIAMRefresh is CreateTokenWithIAM with the refresh token
	// grant.
	CreateTokenWithIAMRefresh Operation = "CreateTokenWithIAM/refresh_token"
	// CreateTokenWithIAMJWTBearer is CreateTokenWithIAM with the JWT bearer
	// grant.
	CreateTokenWithIAMJWTBearer Operation = "CreateTokenWithIAM/jwt-bearer"
	// CreateTokenWithIAMTokenExchange is CreateTokenWithIAM with the token
	// exchange grant.
	CreateTokenWithIAMTokenExchange Operation = "CreateTokenWithIAM/token-exchange"

	GetRoleCredentials Operation = "GetRoleCredentials" // GET /federation/credentials
	ListAccounts       Operation = "ListAccounts"       // GET /assignment/accounts
	ListAccountRoles   Operation = "ListAccountRoles"   // GET /assignment/roles
	Logout             Operation = "Logout"             // POST /logout

	// STS has the Query protocol: GET or POST /, with the action as a parameter.
	GetCallerIdentity         Operation = "GetCallerIdentity"
	AssumeRole                Operation = "AssumeRole"
	AssumeRoleWithWebIdentity Operation = "AssumeRoleWithWebIdentity"

	UserInfo     Operation = "UserInfo"     // GET /userinfo: says whose bearer token it was sent
	ApprovalPage Operation = "ApprovalPage" // GET and POST /device: for a person's browser
	Authorize    Operation = "Authorize"    // GET and POST /authorize: for a person's browser
)

// Counts are numbers of requests of one operation since the server was made.
// A request counts as succeeded or failed, and is logged, just before its
// answer is sent; one that the client gives up, soon after that. A request
// that a Dial fault kept away is in no count.
type Counts struct {
	Requests int // that arrived; Succeeded, Failed, and those still in progress
	// Succeeded are those whose operation was carried out, whether or not a
	// fault then kept the answer from arriving.
	Succeeded int
	// Failed are those that were refused, or that a fault or the client's
	// leaving kept from being carried out.
	Failed        int
	Throttled     int // refused because of Server.Quotas; they are among the failed
	Faulted       int // met by an injected fault
	MaxConcurrent int // most in progress at one time
}

// Count returns the counts of op. Those of CreateToken and CreateTokenWithIAM
// include each grant type's, those of AnyOperation everything.
func (s *Server) Count(op Operation) Counts {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if c := s.state.counters[op]; c != nil {
		return c.Counts
	}
	return Counts{}
}

// Reuses returns how often a refresh token was presented after it had been
// spent. A well-behaved client never does that.
func (s *Server) Reuses() int {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.reuses
}

// Entry is the log's record of one request. It holds no secret.
type Entry struct {
	Time      time.Time // of arrival, on the server's clock
	Operation Operation // "" where unknown
	Method    string    // of HTTP, such as "POST"
	Host      string    // as the request named it
	Path      string    // without the query
	UserAgent string    // the User-Agent header; "" where absent
	ClientID  string    // of SSO OIDC requests: a client's, or an application's ARN
	RequestID string    // as in the answer's x-amzn-RequestId
	Status    int       // of the answer; 0 where none was sent
	Type      string    // of the exception answered, such as "SlowDownException", or the error code
	Faulted   bool      // met by an injected fault
}

// Log returns the last 1024 requests, in the order in which they were answered
// or given up. Strings in it are cut at 256 bytes.
func (s *Server) Log() []Entry {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.log.all()
}

// kinds returns the operations that a request of op counts as, and whose
// faults it meets, the most specific first.
func (op Operation) kinds() []Operation {
	switch parent := op.withoutGrant(); {
	case op == "":
		return []Operation{AnyOperation}
	case op != parent:
		return []Operation{op, parent, AnyOperation}
	}
	return []Operation{op, AnyOperation}
}

// withoutGrant is the operation of AWS that op is, whatever the grant type.
func (op Operation) withoutGrant() Operation {
	name, _, _ := strings.Cut(string(op), "/")
	return Operation(name)
}

// withGrant is op, CreateToken or CreateTokenWithIAM, with that grant type; op
// itself where it has no such grant.
func (op Operation) withGrant(grantType string) Operation {
	iam := op == CreateTokenWithIAM
	switch {
	case grantType == wire.GrantAuthorizationCode && iam:
		return CreateTokenWithIAMAuthorizationCode
	case grantType == wire.GrantRefreshToken && iam:
		return CreateTokenWithIAMRefresh
	case grantType == wire.GrantJWTBearer && iam:
		return CreateTokenWithIAMJWTBearer
	case grantType == wire.GrantTokenExchange && iam:
		return CreateTokenWithIAMTokenExchange
	case grantType == wire.GrantAuthorizationCode:
		return CreateTokenAuthorizationCode
	case grantType == wire.GrantRefreshToken:
		return CreateTokenRefresh
	case grantType == wire.GrantDeviceCode && !iam:
		return CreateTokenDeviceCode
	}
	return op
}

// service is what gives an operation's errors their form.
type service int

const (
	serviceOIDC service = iota
	servicePortal
	serviceSTS
)

func (op Operation) service() service {
	switch op {
	case GetRoleCredentials, ListAccounts, ListAccountRoles, Logout:
		return servicePortal
	case GetCallerIdentity, AssumeRole, AssumeRoleWithWebIdentity:
		return serviceSTS
	}
	return serviceOIDC
}

// call is one request in progress.
type call struct {
	*request
	arrived   time.Time
	fault     Fault
	faulted   bool
	succeeded bool // carried out
	throttled bool
	status    int    // of the answer
	errType   string // of the answer
}

type counter struct {
	Counts
	inProgress int
}

// begin takes the fault that waits for the request, and counts the request.
func (s *Server) begin(r *request) *call {
	c := &call{request: r, arrived: s.now()}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c.fault, c.faulted = s.state.takeFault(r.op)
	if c.fault.Dial {
		return c
	}
	for _, op := range r.op.kinds() {
		n := s.state.counter(op)
		n.Requests++
		n.inProgress++
		n.MaxConcurrent = max(n.MaxConcurrent, n.inProgress)
		if c.faulted {
			n.Faulted++
		}
	}
	return c
}

// end counts what became of the request, and logs it.
func (s *Server) end(c *call) {
	if c.fault.Dial {
		return
	}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for _, op := range c.op.kinds() {
		n := s.state.counter(op)
		n.inProgress--
		if c.succeeded {
			n.Succeeded++
		} else {
			n.Failed++
		}
		if c.throttled {
			n.Throttled++
		}
	}
	s.state.log.add(Entry{
		Time: c.arrived, Operation: c.op,
		Method: short(c.http.Method), Host: short(c.http.Host), Path: short(c.http.URL.Path),
		UserAgent: short(c.http.UserAgent()), ClientID: short(c.clientID),
		RequestID: c.requestID, Status: c.status, Type: c.errType, Faulted: c.faulted,
	})
}

// short bounds what a request can make the log keep.
func short(s string) string {
	if len(s) > 256 {
		return s[:256]
	}
	return s
}

// operation tells what r asks for, by all but its body.
func operation(r *http.Request) Operation {
	switch r.Method + " " + r.URL.Path {
	case "POST /client/register":
		return RegisterClient
	case "POST /device_authorization":
		return StartDeviceAuthorization
	case "POST /token":
		if query := r.URL.Query(); !query.Has("aws_iam") {
			return CreateToken
		} else if query.Get("aws_iam") == "t" {
			return CreateTokenWithIAM
		}
	case "GET /federation/credentials":
		return GetRoleCredentials
	case "GET /assignment/accounts":
		return ListAccounts
	case "GET /assignment/roles":
		return ListAccountRoles
	case "POST /logout":
		return Logout
	case "GET /userinfo":
		return UserInfo
	}
	switch r.URL.Path {
	case "/device":
		return ApprovalPage
	case "/authorize":
		return Authorize
	}
	return ""
}
