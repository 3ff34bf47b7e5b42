package wire

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Exception types of the service, as Error.Type holds them.
const (
	TypeAccessDenied          = "AccessDeniedException"
	TypeAuthorizationPending  = "AuthorizationPendingException"
	TypeExpiredToken          = "ExpiredTokenException"
	TypeInternalServer        = "InternalServerException"
	TypeInvalidClient         = "InvalidClientException"
	TypeInvalidClientMetadata = "InvalidClientMetadataException"
	TypeInvalidGrant          = "InvalidGrantException"
	TypeInvalidRedirectURI    = "InvalidRedirectUriException"
	TypeInvalidRequest        = "InvalidRequestException"
	TypeInvalidRequestRegion  = "InvalidRequestRegionException"
	TypeInvalidScope          = "InvalidScopeException"
	TypeSlowDown              = "SlowDownException"
	TypeUnauthorizedClient    = "UnauthorizedClientException"
	TypeUnsupportedGrantType  = "UnsupportedGrantTypeException"
)

// ErrResponse is wrapped by an Error whose answer is not one that the service
// gives: not JSON, too large, a redirect, a token with control characters, a
// lifetime that is not positive.
var ErrResponse = errors.New("wire: unusable answer")

// Error is an HTTP answer of the service that is not the success asked for.
//
// Every string in it is one line of printable characters and bounded, and holds
// neither the answer's body nor a secret: whatever the request carried as a
// Secret is cut out.
type Error struct {
	Operation   string // such as "CreateToken"
	Type        string // one of the Type constants, or as received; follows from Code where the answer named none
	Code        string // the OAuth error code (RFC 6749 section 5.2), or as received; "" where the answer named none
	Description string // the service's error_description; "" where absent
	Reason      string // of TypeAccessDenied and TypeInvalidRequest, such as "KMS_DisabledException"
	Region      string // of TypeInvalidRequestRegion: where to send the request; not checked
	Endpoint    string // of TypeInvalidRequestRegion: the same as an endpoint; not checked
	StatusCode  int    // of HTTP; 2xx where a successful answer could not be used

	RequestID         string        // x-amzn-RequestId; "" where absent
	ExtendedRequestID string        // x-amz-id-2; "" where absent
	CfID              string        // X-Amz-Cf-Id, of CloudFront; "" where absent
	RetryAfter        time.Duration // from the Retry-After header, of either form; 0 where absent, at most a day

	// Err is ErrResponse with the cause, where the answer was not one of the
	// service's; otherwise nil. Where the body of a refusal broke off, and the
	// header names no error, it wraps io.ErrUnexpectedEOF and the context's
	// error, if that was why, too.
	Err error
}

// Error describes the answer on one line, of at most 2 KiB.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("wire: " + e.Operation + ": HTTP " + strconv.Itoa(e.StatusCode))
	if what := cmp.Or(e.Type, e.Code); what != "" {
		b.WriteString(" " + what)
	}
	if e.Err != nil {
		b.WriteString(": " + strings.TrimPrefix(e.Err.Error(), "wire: "))
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Description != "" {
		b.WriteString(": " + e.Description)
	}
	if e.Region != "" {
		b.WriteString("; send it to the region " + e.Region)
	}
	if e.RequestID != "" {
		b.WriteString(" (request ID " + e.RequestID + ")")
	}
	return clean(b.String(), maxErrorText, nil)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// SendError means that no HTTP answer came, or of a success not all: the
// connection failed, the context ended, or the Signer did not sign. A refusal is
// an Error, read to its end or not.
type SendError struct {
	Operation string // such as "CreateToken"

	// Unspent says that the request certainly did not reach the service: a
	// name that does not resolve, a refused connection, a proxy or TLS
	// handshake that failed, a request that was not signed, a context that
	// ended before. Otherwise the service may have carried the operation out.
	Unspent bool

	// Err is what the transport reported, without the URL, or wraps what the
	// Signer did. It wraps the context's error where the context ended.
	Err error
}

// Error describes the failure on one line, of at most 2 KiB.
func (e *SendError) Error() string {
	what := ": no complete answer, and the request may have been carried out: "
	if e.Unspent {
		what = ": the request was not sent: "
	}
	text := "wire: " + e.Operation + what
	if e.Err != nil {
		text += e.Err.Error()
	}
	return clean(text, maxErrorText, nil)
}

// Unwrap returns e.Err.
func (e *SendError) Unwrap() error { return e.Err }
