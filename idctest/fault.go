package idctest

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"slices"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// Always, as Fault.Times, makes a fault meet every request until ClearFaults.
const Always = -1

// Fault is something that goes wrong with a request. Its parts happen in the
// order of the fields; the zero Fault changes nothing.
//
// A fault that sets Status, Type, Code or Body replaces the answer, and the
// operation is then not carried out unless Commit says so. Any other fault
// lets the operation run and leaves its answer, but for what it says.
type Fault struct {
	// Times is how many requests the fault meets, one after the other. 0
	// means 1; Always has no end.
	Times int

	// Dial refuses the connection: the request never arrives, and is neither
	// counted nor logged. [Server.Transport] reports a *net.OpError with Op
	// "dial" and ECONNREFUSED. A real server, which can't do that, resets the
	// connection after it has read the request.
	Dial bool
	// Latency passes before the operation is carried out. Where the client
	// leaves meanwhile, it is not carried out.
	Latency time.Duration
	// ResetBefore resets the connection instead of carrying the operation
	// out. In memory that is a *net.OpError with Op "read" and ECONNRESET.
	ResetBefore bool
	// Commit carries the operation out although its answer is replaced, or
	// never comes because of Hang.
	Commit bool
	// LatencyAfter passes between the operation and the answer.
	LatencyAfter time.Duration
	// Hang never answers. The request ends when the client gives up.
	Hang bool
	// ResetAfter resets the connection in place of the answer, after the
	// operation was carried out.
	ResetAfter bool

	// Status is that of the answer, from 200 to 999. The default follows from
	// Type. On its own, 429 and 500 stand for TooManyRequestsException and
	// InternalServerException, and any other status comes with a short HTML
	// page, as from a load balancer. With a Type, 403 at CreateTokenWithIAM is
	// what AWS answers before the service is asked, and has a message alone:
	// AccessDeniedException is then about the caller's policies, not the user.
	Status int
	// Type is the exception, in the form of the service that the operation
	// belongs to. Without Type but with Code the answer names no type.
	//
	// An injected SlowDownException is meant as seriously as the server's own:
	// the device code's interval grows by 5 s.
	Type string
	// Code is the OAuth error code. The default follows from Type. STS and the
	// portal have one name for an error: it is Type, or else Code.
	Code string
	// Description is the error's description or message.
	Description string
	// Reason, Region and Endpoint are further members of SSO OIDC's
	// exceptions; "" leaves them out.
	Reason, Region, Endpoint string

	// Header is set on the answer, the operation's own included.
	Header http.Header
	// ContentType replaces the answer's content type, "application/json"
	// where Body is set.
	ContentType string
	// Body, where not nil, is the answer's body, with Status 200 by default.
	Body []byte
	// BodySize, where larger, pads the answer's body, the operation's own
	// included, with spaces up to this many bytes. They are generated while
	// they are read, so that any size is cheap.
	BodySize int64
	// CutBody breaks the connection off in the middle of the answer's body.
	CutBody bool
}

// Inject queues faults for the requests of op to come: each request takes the
// next. A request meets one fault at most, from the queue of its most specific
// operation that has one: CreateTokenRefresh before CreateToken before
// AnyOperation.
func (s *Server) Inject(op Operation, faults ...Fault) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if s.state.faults == nil {
		s.state.faults = make(map[Operation][]Fault)
	}
	s.state.faults[op] = append(s.state.faults[op], faults...)
}

// ClearFaults removes what is queued for each op; for all, where none is
// named. Requests that have met their fault already are not affected.
func (s *Server) ClearFaults(ops ...Operation) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if len(ops) == 0 {
		clear(s.state.faults)
	}
	for _, op := range ops {
		delete(s.state.faults, op)
	}
}

// PendingFaults returns how many faults are queued for op and were not used up
// yet.
func (s *Server) PendingFaults(op Operation) int {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return len(s.state.faults[op])
}

// takeFault returns the fault that a request of op meets.
func (st *state) takeFault(op Operation) (f Fault, ok bool) {
	for _, kind := range op.kinds() {
		queue := st.faults[kind]
		if len(queue) == 0 {
			continue
		}
		f = queue[0]
		switch {
		case f.Times < 0:
		case f.Times > 1:
			queue[0].Times--
		default:
			st.faults[kind] = queue[1:]
		}
		return f, true
	}
	return Fault{}, false
}

// replaces reports whether f has an answer of its own.
func (f *Fault) replaces() bool {
	return f.Status != 0 || f.Type != "" || f.Code != "" || f.Body != nil
}

// answer returns f's own answer to r.
func (f *Fault) answer(r *request) *answer {
	status, typ := f.Status, f.Type
	if status < 200 || status > 999 { // net/http takes no other
		status = 0
	}
	if f.Body != nil {
		return &answer{status: cmp.Or(status, http.StatusOK), contentType: "application/json", body: f.Body}
	}
	if typ == "" && f.Code == "" {
		switch status {
		case http.StatusTooManyRequests:
			typ = typeTooManyRequests
		case http.StatusInternalServerError:
			typ = wire.TypeInternalServer
		default:
			return statusPage(cmp.Or(status, http.StatusBadRequest))
		}
	}
	switch name := cmp.Or(typ, f.Code); r.op.service() {
	case servicePortal:
		return portalError(cmp.Or(status, portalStatus(name)), name, f.Description)
	case serviceSTS:
		return stsError(r.requestID, cmp.Or(status, stsStatus(name)), name, f.Description)
	}
	if r.op.withoutGrant() == CreateTokenWithIAM && status == http.StatusForbidden && typ != "" && f.Code == "" && f.Reason == "" {
		return oidcAnswer(status, typ, messageOnly{f.Description})
	}
	return oidcException(exception{status, typ, f.Code, f.Description, f.Reason, f.Region, f.Endpoint})
}

// decorate changes an answer, the operation's own or f's.
func (f *Fault) decorate(a *answer) {
	a.size = max(0, f.BodySize)
	a.cut = f.CutBody
	if f.ContentType != "" {
		a.contentType = f.ContentType
	}
	if f.Header == nil {
		return
	}
	header := a.header.Clone()
	if header == nil {
		header = make(http.Header, len(f.Header))
	}
	for name, values := range f.Header {
		header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	a.header = header
}

// noteFault makes an injected SlowDownException count.
func (s *Server) noteFault(c *call) {
	if c.fault.Type != wire.TypeSlowDown || c.op != CreateTokenDeviceCode {
		return
	}
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if d := s.state.devices.get(c.members.text("deviceCode")); d != nil {
		d.slowDown(now)
	}
}

// statusPage is what load balancers and proxies answer.
func statusPage(status int) *answer {
	text := html.EscapeString(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	return &answer{
		status: status, contentType: "text/html",
		body: fmt.Appendf(nil, "<html>\n<head><title>%s</title></head>\n<body><h1>%[1]s</h1></body>\n</html>\n", text),
	}
}
