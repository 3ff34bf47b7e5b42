package idctest

import (
	"encoding/xml"
	"net/http"

	"github.com/awsoidc/awsoidc/wire"
)

// Exceptions returns a Fault for each exception that the service's own model
// has for op, so that a test can go through all of them:
//
//	for _, f := range idctest.Exceptions(idctest.CreateToken) {
//		srv.Inject(idctest.CreateToken, f) // and call it
//	}
//
// Type, Status and Description are set in each; in those of SSO OIDC also Code,
// and Region and Endpoint where the exception has them. An exception that can
// name a reason comes once without and once with each. Operations of no service
// of AWS have none.
//
// What the services answer beyond their models (the portal's
// ForbiddenException, Throttling, gateway errors) is not among them.
func Exceptions(op Operation) []Fault {
	var faults []Fault
	for _, typ := range op.exceptions() {
		f := Fault{Type: typ, Description: "Injected by a test"}
		switch op.service() {
		case serviceOIDC:
			f.Code, f.Status = oauthError(typ)
		case servicePortal:
			f.Status = portalStatus(typ)
		case serviceSTS:
			f.Status = stsStatus(typ)
		}
		if typ == wire.TypeInvalidRequestRegion {
			f.Region, f.Endpoint = "eu-west-1", "https://oidc.eu-west-1.amazonaws.com"
		}
		faults = append(faults, f)
		if op.service() != serviceOIDC {
			continue
		}
		for _, f.Reason = range reasons(typ) {
			faults = append(faults, f)
		}
	}
	return faults
}

// exceptions lists the types that the service's model names for op.
func (op Operation) exceptions() []string {
	switch op.withoutGrant() {
	case RegisterClient:
		return []string{
			wire.TypeInternalServer, wire.TypeInvalidClientMetadata, wire.TypeInvalidRedirectURI, wire.TypeInvalidRequest,
			wire.TypeInvalidScope, wire.TypeSlowDown, wire.TypeUnsupportedGrantType,
		}
	case StartDeviceAuthorization:
		return []string{
			wire.TypeInternalServer, wire.TypeInvalidClient, wire.TypeInvalidRequest, wire.TypeSlowDown, wire.TypeUnauthorizedClient,
		}
	case CreateToken:
		return createTokenExceptions()
	case CreateTokenWithIAM:
		return append(createTokenExceptions(), wire.TypeInvalidRequestRegion)
	case GetRoleCredentials, ListAccounts, ListAccountRoles:
		return []string{wire.TypeInvalidRequest, typeResourceNotFound, typeTooManyRequests, typeUnauthorized}
	case Logout:
		return []string{wire.TypeInvalidRequest, typeTooManyRequests, typeUnauthorized}
	case AssumeRole:
		return []string{stsExpiredAssertion, stsMalformedPolicy, stsPolicyTooLarge, stsRegionDisabled}
	case AssumeRoleWithWebIdentity:
		return []string{
			stsExpiredAssertion, stsIDPCommunication, stsRejectedClaim, stsInvalidIdentity,
			stsMalformedPolicy, stsPolicyTooLarge, stsRegionDisabled,
		}
	}
	return nil
}

func createTokenExceptions() []string {
	return []string{
		wire.TypeAccessDenied, wire.TypeAuthorizationPending, wire.TypeExpiredToken, wire.TypeInternalServer,
		wire.TypeInvalidClient, wire.TypeInvalidGrant, wire.TypeInvalidRequest, wire.TypeInvalidScope,
		wire.TypeSlowDown, wire.TypeUnauthorizedClient, wire.TypeUnsupportedGrantType,
	}
}

// reasons lists what an exception of SSO OIDC can name as its reason: trouble
// with the instance's customer managed KMS key.
func reasons(typ string) []string {
	switch typ {
	case wire.TypeAccessDenied:
		return []string{"KMS_AccessDeniedException"}
	case wire.TypeInvalidRequest:
		return []string{"KMS_NotFoundException", "KMS_InvalidKeyUsageException", "KMS_InvalidStateException", "KMS_DisabledException"}
	}
	return nil
}

// oidcError is an exception of SSO OIDC.
func oidcError(typ, description string) *answer {
	return oidcException(exception{Type: typ, Description: description})
}

// exception is what an exception of SSO OIDC can say.
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
	return oidcAnswer(status, e.Type, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Reason      string `json:"reason,omitempty"`
		Region      string `json:"region,omitempty"`
		Endpoint    string `json:"endpoint,omitempty"`
	}{code, e.Description, e.Reason, e.Region, e.Endpoint})
}

// oidcAnswer is an error of SSO OIDC with any body.
func oidcAnswer(status int, typ string, body any) *answer {
	a := &answer{status: status, contentType: "application/json", errType: typ, body: mustJSON(body)}
	if typ != "" {
		// The suffix is the real service's.
		a.header = http.Header{"X-Amzn-Errortype": {typ + ":http://internal.amazon.com/coral/com.amazonaws.sso.oidc/"}}
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

// portalStatus is the HTTP status that an exception of the portal has.
func portalStatus(typ string) int {
	switch typ {
	case typeUnauthorized:
		return http.StatusUnauthorized
	case typeForbidden:
		return http.StatusForbidden
	case typeResourceNotFound:
		return http.StatusNotFound
	case typeTooManyRequests:
		return http.StatusTooManyRequests
	case wire.TypeInternalServer:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

// Error codes of STS. Some exceptions of its model have a code that is not
// their name.
const (
	stsAccessDenied     = "AccessDenied"
	stsInvalidToken     = "InvalidClientTokenId"
	stsExpiredToken     = "ExpiredToken" // of the credentials that signed
	stsMissingToken     = "MissingAuthenticationToken"
	stsIncomplete       = "IncompleteSignature"
	stsBadSignature     = "SignatureDoesNotMatch"
	stsThrottling       = "Throttling"
	stsValidation       = "ValidationError"
	stsExpiredAssertion = "ExpiredTokenException" // of what is exchanged for credentials
	stsIDPCommunication = "IDPCommunicationError"
	stsRejectedClaim    = "IDPRejectedClaim"
	stsInvalidIdentity  = "InvalidIdentityToken"
	stsMalformedPolicy  = "MalformedPolicyDocument"
	stsPolicyTooLarge   = "PackedPolicyTooLarge"
	stsRegionDisabled   = "RegionDisabledException"
)

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

// stsStatus is the HTTP status that an error code of STS has.
func stsStatus(code string) int {
	switch code {
	case stsAccessDenied, stsInvalidToken, stsExpiredToken, stsMissingToken, stsBadSignature, stsRejectedClaim, stsRegionDisabled:
		return http.StatusForbidden
	case "InternalFailure":
		return http.StatusInternalServerError
	case "ServiceUnavailable":
		return http.StatusServiceUnavailable
	}
	return portalStatus(code)
}

// unknownOperation answers what no operation answers for.
func unknownOperation(r *request) *answer {
	if atRoot(r.http) {
		if action := r.form.Get("Action"); action != "" {
			return stsError(r.requestID, http.StatusBadRequest, "InvalidAction", "Could not find operation "+action+" for version 2011-06-15")
		}
	}
	return oidcException(exception{Status: http.StatusNotFound, Type: "UnknownOperationException", Description: "no such operation"})
}
