package idctest

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"

	"github.com/awsoidc/awsoidc/wire"
)

// answer is an HTTP answer before it is sent.
type answer struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	requestID   string
	errType     string // the exception, for the log

	size int64 // pad the body with spaces up to this size; 0: don't
	cut  bool  // break off in the middle of the body
}

// How a connection can fail instead of carrying an answer.
var (
	errDial  = errors.New("idctest: fault: refused the connection")
	errReset = errors.New("idctest: fault: reset the connection")
	errCut   = errors.New("idctest: fault: cut the answer short")
)

// write sends the answer. An error means that the connection is to be broken.
func (a *answer) write(ctx context.Context, w http.ResponseWriter, head bool) error {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("X-Amzn-Requestid", a.requestID)
	hasBody := a.status != http.StatusNoContent && a.status != http.StatusNotModified
	if hasBody && a.size == 0 {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	maps.Copy(h, a.header)
	w.WriteHeader(a.status)
	if head || !hasBody {
		return nil
	}
	body := a.body
	if a.cut {
		body = body[:len(body)/2]
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if a.cut {
		http.NewResponseController(w).Flush()
		return errCut
	}
	return pad(ctx, w, a.size-int64(len(a.body)))
}

// pad writes n spaces, a little at a time.
func pad(ctx context.Context, w io.Writer, n int64) error {
	if n <= 0 {
		return nil
	}
	block := make([]byte, min(n, 32<<10))
	for i := range block {
		block[i] = ' '
	}
	for ; n > 0; n -= int64(len(block)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		block = block[:min(n, int64(len(block)))]
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// abort breaks the connection: of the in-memory transport with the error that
// a real one would give, of net/http's server with a TCP reset.
func abort(w http.ResponseWriter, why error) {
	if m, ok := w.(interface{ abort(error) }); ok {
		m.abort(why)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or a recorder
	}
	if why == errReset || why == errDial {
		setLinger(conn)
	}
	conn.Close()
}

// setLinger makes closing conn send a reset instead of an orderly end.
func setLinger(conn net.Conn) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		conn = t.NetConn()
	}
	if t, ok := conn.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
}

// jsonAnswer is a success of SSO OIDC or the portal.
func jsonAnswer(v any) *answer {
	return &answer{status: http.StatusOK, contentType: "application/json", body: mustJSON(v)}
}

// oidcError is an exception of SSO OIDC.
func oidcError(typ, description string) *answer {
	return oidcException(exception{Type: typ, Description: description})
}

// exception is what an error of any of the services can say.
type exception struct {
	Status      int    // 0: as the type has it
	Type        string // "" leaves it out
	Code        string // "": as the type has it
	Description string
	Reason      string
	Region      string
	Endpoint    string
}

func oidcException(e exception) *answer {
	code, status := oauthError(e.Type)
	if e.Code != "" {
		code = e.Code
	}
	if e.Status != 0 {
		status = e.Status
	}
	a := &answer{
		status: status, contentType: "application/json", errType: e.Type,
		body: mustJSON(struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
			Reason      string `json:"reason,omitempty"`
			Region      string `json:"region,omitempty"`
			Endpoint    string `json:"endpoint,omitempty"`
		}{code, e.Description, e.Reason, e.Region, e.Endpoint}),
	}
	if e.Type != "" {
		// The suffix is the real service's.
		a.header = http.Header{"X-Amzn-Errortype": {e.Type + ":http://internal.amazon.com/coral/com.amazonaws.sso.oidc/"}}
	}
	return a
}

// oauthError returns the error code (RFC 6749 section 5.2 and others) and HTTP
// status of an exception type.
func oauthError(typ string) (code string, status int) {
	switch typ {
	case wire.TypeAccessDenied:
		return "access_denied", http.StatusBadRequest
	case wire.TypeAuthorizationPending:
		return "authorization_pending", http.StatusBadRequest
	case wire.TypeExpiredToken:
		return "expired_token", http.StatusBadRequest
	case wire.TypeInternalServer:
		return "server_error", http.StatusInternalServerError
	case wire.TypeInvalidClient:
		return "invalid_client", http.StatusUnauthorized
	case wire.TypeInvalidClientMetadata:
		return "invalid_client_metadata", http.StatusBadRequest
	case wire.TypeInvalidGrant:
		return "invalid_grant", http.StatusBadRequest
	case wire.TypeInvalidRedirectURI:
		return "invalid_redirect_uri", http.StatusBadRequest
	case wire.TypeInvalidScope:
		return "invalid_scope", http.StatusBadRequest
	case wire.TypeSlowDown:
		return "slow_down", http.StatusBadRequest
	case wire.TypeUnauthorizedClient:
		return "unauthorized_client", http.StatusBadRequest
	case wire.TypeUnsupportedGrantType:
		return "unsupported_grant_type", http.StatusBadRequest
	case typeTooManyRequests:
		return "too_many_requests", http.StatusTooManyRequests
	}
	return "invalid_request", http.StatusBadRequest
}

// Exception types of the portal that SSO OIDC does not have.
const (
	typeUnauthorized     = "UnauthorizedException"
	typeForbidden        = "ForbiddenException" // not in the service's model
	typeTooManyRequests  = "TooManyRequestsException"
	typeResourceNotFound = "ResourceNotFoundException"
)

// portalError is an exception of the portal, which names its type in the body
// alone.
func portalError(status int, typ, message string) *answer {
	return &answer{
		status: status, contentType: "application/json", errType: typ,
		body: mustJSON(struct {
			Message string `json:"message"`
			Type    string `json:"__type"`
		}{message, "com.amazonaws.switchboard.portal#" + typ}),
	}
}

// stsError is an error of the Query protocol.
func stsError(requestID string, status int, code, message string) *answer {
	fault := "Sender"
	if status >= 500 {
		fault = "Receiver"
	}
	type detail struct{ Type, Code, Message string }
	return xmlAnswer(status, code, struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error     detail
		RequestID string `xml:"RequestId"`
	}{Error: detail{fault, code, message}, RequestID: requestID})
}

func xmlAnswer(status int, errType string, v any) *answer {
	body, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // the types above always encode
	}
	return &answer{status: status, contentType: "text/xml", errType: errType, body: append(body, '\n')}
}

// unknownOperation answers what no operation answers for.
func unknownOperation(r *request) *answer {
	if r.http.URL.Path == "/" {
		if action := r.form.Get("Action"); action != "" {
			return stsError(r.requestID, http.StatusBadRequest, "InvalidAction", "Could not find operation "+action+" for version 2011-06-15")
		}
	}
	return oidcException(exception{Status: http.StatusNotFound, Type: "UnknownOperationException", Description: "no such operation"})
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types above always encode
	}
	return b
}
