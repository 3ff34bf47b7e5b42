package wire

import (
	"errors"
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
// Its text is one line of printable characters and holds no body and no
// secret: whatever the request carried as a Secret is cut out of every member.
type Error struct {
	Operation   string // "CreateToken"
	Type        string // one of the Type constants, or as received; empty where the answer named none
	Code        string // the OAuth error code (RFC 6749 section 5.2), or as received; empty where the answer named none
	Description string // the service's error_description
	Reason      string // of AccessDeniedException and InvalidRequestException, such as "KMS_DisabledException"
	Region      string // of InvalidRequestRegionException: where to send the request
	Endpoint    string // of InvalidRequestRegionException
	StatusCode  int    // of HTTP; 200 where a successful answer could not be used

	RequestID         string        // x-amzn-RequestId
	ExtendedRequestID string        // x-amz-id-2
	CfID              string        // X-Amz-Cf-Id
	RetryAfter        time.Duration // from the Retry-After header, of either form; 0 where absent

	Err error // ErrResponse with the cause, where the answer was not one of the service's; otherwise nil
}

// SendError means that no HTTP answer was read: the connection failed, or the
// context ended.
type SendError struct {
	Operation string
	// Unspent says that the request certainly did not reach the service: a
	// name that does not resolve, a refused connection, a failed TLS
	// handshake. Otherwise the service may have carried the operation out.
	Unspent bool
	Err     error // what net/http reported, without the URL
}
