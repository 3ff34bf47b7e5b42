package idctest

import (
	"net/http"
	"slices"
	"time"
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

	GetRoleCredentials Operation = "GetRoleCredentials" // GET /federation/credentials
	ListAccounts       Operation = "ListAccounts"       // GET /assignment/accounts
	ListAccountRoles   Operation = "ListAccountRoles"   // GET /assignment/roles
	Logout             Operation = "Logout"             // POST /logout

	GetCallerIdentity Operation = "GetCallerIdentity" // STS, Query protocol: GET or POST /

	UserInfo     Operation = "UserInfo"     // GET /userinfo: says whose bearer token it was sent
	ApprovalPage Operation = "ApprovalPage" // GET and POST /device: for a person's browser
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
	Faulted       int // met by an injected fault
	MaxConcurrent int // most in progress at one time
}

// Count returns the counts of op. Those of CreateToken include each grant
// type's, those of AnyOperation everything.
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
	ClientID  string    // of SSO OIDC requests
	RequestID string    // as in the answer's x-amzn-RequestId
	Status    int       // of the answer; 0 where none was sent
	Type      string    // of the exception answered, such as "SlowDownException"
	Faulted   bool      // met by an injected fault
}

// Log returns the last 1024 requests, in the order in which they were answered
// or given up. Strings in it are cut at 256 bytes.
func (s *Server) Log() []Entry {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return slices.Concat(s.state.log[s.state.logNext:], s.state.log[:s.state.logNext])
}

// kinds returns the operations that a request of op counts as, and whose
// faults it meets, the most specific first.
func (op Operation) kinds() []Operation {
	switch op {
	case "":
		return []Operation{AnyOperation}
	case CreateTokenDeviceCode, CreateTokenRefresh:
		return []Operation{op, CreateToken, AnyOperation}
	}
	return []Operation{op, AnyOperation}
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
	case GetCallerIdentity:
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
	succeeded bool   // carried out
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
	}
	s.state.logEntry(Entry{
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
		if !r.URL.Query().Has("aws_iam") { // which makes it CreateTokenWithIAM
			return CreateToken
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
	if r.URL.Path == "/device" {
		return ApprovalPage
	}
	return ""
}
