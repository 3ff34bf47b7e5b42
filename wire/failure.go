package wire

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Bounds of an Error's members and texts, and of names elsewhere, in bytes.
const (
	maxName        = 128 // of types, codes, reasons, regions, scopes and request IDs
	maxDescription = 512
	maxErrorText   = 2 << 10
)

const maxRetryAfter = 24 * time.Hour

// errorBody is the JSON of an error.
type errorBody struct {
	// of the service's model
	code, description, reason, region, endpoint string
	// of the protocol, and of gateways in front of the service
	typ, otherType, message string
}

func (b *errorBody) fields() fields {
	return fields{
		{name: "error", into: &b.code},
		{name: "error_description", into: &b.description},
		{name: "reason", into: &b.reason},
		{name: "region", into: &b.region},
		{name: "endpoint", into: &b.endpoint},
		{name: "__type", into: &b.typ},
		{name: "code", into: &b.otherType},
		{name: "Code", into: &b.otherType},
		{name: "message", into: &b.message},
		{name: "Message", into: &b.message},
	}
}

// failure makes an error of an answer whose status is not one of success.
func (cl *call) failure(r *reply) *Error {
	if r.status >= 300 && r.status <= 399 {
		return cl.unusable(r, redirectError(r.header))
	}
	var b errorBody
	err := r.read(b.fields())
	if _, ok := err.(wrongType); ok {
		err = nil // the others were read
	}
	e := cl.newError(r)
	e.Code = cl.name(b.code)
	e.Type = cmp.Or(cl.exception(r.header.Get(headerErrorType)), cl.exception(b.typ), cl.exception(b.otherType), typeOfCode(b.code))
	e.Description = clean(cmp.Or(b.description, b.message), maxDescription, &cl.hidden)
	e.Reason = cl.name(b.reason)
	e.Region = cl.name(b.region)
	e.Endpoint = clean(b.endpoint, maxHost, &cl.hidden)
	if e.Type == "" && e.Code == "" {
		e.Err = cl.responseError(cmp.Or(err, errors.New("it names no error")))
	}
	return e
}

// unusable makes an error of an answer that the service does not give.
func (cl *call) unusable(r *reply, cause error) *Error {
	e := cl.newError(r)
	e.Err = cl.responseError(cause)
	return e
}

func (cl *call) responseError(cause error) error {
	return fmt.Errorf("%w: %w", ErrResponse, cl.scrubbed(cause, maxDescription))
}

// newError returns an error with what the header tells.
func (cl *call) newError(r *reply) *Error {
	m := cl.metadata(r)
	return &Error{
		Operation:         cl.operation,
		StatusCode:        r.status,
		RequestID:         m.RequestID,
		ExtendedRequestID: m.ExtendedRequestID,
		CfID:              m.CfID,
		RetryAfter:        retryAfter(r.header),
	}
}

// sendError makes an error of a failure to sign, to send, or to read the answer.
func (cl *call) sendError(ctx context.Context, err error, unspent bool) *SendError {
	// A transport or a signer may report the context's cause, or its own words for it.
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	if text := err.Error(); len(text) > examined*maxErrorText || cl.hidden.in(text) {
		err = cl.scrubbed(err, maxErrorText)
	}
	return &SendError{Operation: cl.operation, Unspent: unspent, Err: err}
}

// withoutURL returns what a transport reported, without the URL.
func withoutURL(err error) error {
	if withURL, ok := errors.AsType[*url.Error](err); ok && withURL.Err != nil {
		return withURL.Err
	}
	return err
}

// scrubbed returns what stands for an error whose text may not be shown as it
// is.
func (cl *call) scrubbed(err error, limit int) error {
	return &scrubbedError{
		text: clean(err.Error(), limit, &cl.hidden),
		is:   func(target error) bool { return errors.Is(err, target) },
	}
}

// scrubbedError stands for an error. What it stands for can be recognized with
// errors.Is, but not be had or printed.
type scrubbedError struct {
	text string
	is   func(target error) bool
}

func (e *scrubbedError) Error() string        { return e.text }
func (e *scrubbedError) Is(target error) bool { return e.is(target) }

// Header names in canonical form.
const (
	headerErrorType         = "X-Amzn-Errortype"
	headerRequestID         = "X-Amzn-Requestid"
	headerExtendedRequestID = "X-Amz-Id-2"
	headerCfID              = "X-Amz-Cf-Id"
)

func (cl *call) metadata(r *reply) Metadata {
	return Metadata{
		RequestID:         cl.name(r.header.Get(headerRequestID)),
		ExtendedRequestID: cl.name(r.header.Get(headerExtendedRequestID)),
		CfID:              cl.name(r.header.Get(headerCfID)),
	}
}

func (cl *call) name(s string) string {
	shown := clean(s, maxName, &cl.hidden)
	if shown != s && isKnown(s) {
		return s // a short secret may occur in it
	}
	return shown
}

// exception returns the exception's name out of forms such as
// "com.amazonaws.ssooidc#SlowDownException:http://example.com/".
func (cl *call) exception(s string) string {
	s, _, _ = strings.Cut(s, ":")
	if _, name, ok := strings.Cut(s, "#"); ok {
		s = name
	}
	return cl.name(strings.TrimSpace(s))
}

// exceptions are the service's exceptions and their OAuth error codes. Where a
// code stands for several, the first is what the code alone means.
func exceptions() [14][2]string {
	return [...][2]string{
		{TypeAccessDenied, "access_denied"},
		{TypeAuthorizationPending, "authorization_pending"},
		{TypeExpiredToken, "expired_token"},
		{TypeInternalServer, "server_error"},
		{TypeInvalidClient, "invalid_client"},
		{TypeInvalidClientMetadata, "invalid_client_metadata"},
		{TypeInvalidGrant, "invalid_grant"},
		{TypeInvalidRedirectURI, "invalid_redirect_uri"},
		{TypeInvalidRequest, "invalid_request"},
		{TypeInvalidRequestRegion, "invalid_request"},
		{TypeInvalidScope, "invalid_scope"},
		{TypeSlowDown, "slow_down"},
		{TypeUnauthorizedClient, "unauthorized_client"},
		{TypeUnsupportedGrantType, "unsupported_grant_type"},
	}
}

func typeOfCode(code string) string {
	for _, e := range exceptions() {
		if e[1] == code {
			return e[0]
		}
	}
	return ""
}

func isKnown(s string) bool {
	for _, e := range exceptions() {
		if s == e[0] || s == e[1] {
			return true
		}
	}
	return false
}

// redirectError says where an answer pointed; of the URL it shows the host.
func redirectError(h http.Header) error {
	target := "another URL"
	if u, err := url.Parse(h.Get("Location")); err == nil && u.Host != "" {
		target = u.Host
	}
	return fmt.Errorf("a redirect to %s was refused; check the endpoint", target)
}

// retryAfter reads a number of seconds or a date (RFC 9110 section 10.2.3). A
// date is compared with the answer's own, where there is one: clocks differ.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		return seconds(json.Number(value), maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
