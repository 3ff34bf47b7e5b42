package wire

import "time"

// Grant types of CreateToken and CreateTokenWithIAM.
const (
	GrantAuthorizationCode = "authorization_code"                              // RFC 6749 section 4.1; both operations
	GrantRefreshToken      = "refresh_token"                                   // RFC 6749 section 6; both operations
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"    // RFC 8628; CreateToken only
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"     // RFC 7523; CreateTokenWithIAM only
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange" // RFC 8693; CreateTokenWithIAM only
)

// ClientTypePublic is the one client type that the service registers.
const ClientTypePublic = "public"

// Metadata identifies one answer of the service, for support cases and logs.
// Each member is empty where the answer did not carry it.
type Metadata struct {
	RequestID         string // x-amzn-RequestId
	ExtendedRequestID string // x-amz-id-2
	CfID              string // X-Amz-Cf-Id, of CloudFront
}

// RegisterClientInput is the request of the RegisterClient operation
// (POST /client/register). Absent members are omitted from the request.
type RegisterClientInput struct {
	ClientName             string   // required; shown to the person who approves
	ClientType             string   // "" means ClientTypePublic
	Scopes                 []string // without any, the service issues no refresh token
	RedirectURIs           []string // for the authorization code grant
	GrantTypes             []string // for the authorization code grant
	IssuerURL              string   // the start URL, for the authorization code grant
	EntitledApplicationARN string   // an IAM Identity Center application to bind the client to
}

// RegisterClientOutput is the answer of the RegisterClient operation.
type RegisterClientOutput struct {
	ClientID              string
	ClientSecret          Secret
	ClientIDIssuedAt      time.Time // zero where absent
	ClientSecretExpiresAt time.Time // zero where absent or 0, which RFC 7591 section 3.2.1 defines as "never"
	AuthorizationEndpoint string    // may be absent
	TokenEndpoint         string    // may be absent
	Metadata              Metadata
}

// StartDeviceAuthorizationInput is the request of the StartDeviceAuthorization
// operation (POST /device_authorization). All members are required.
type StartDeviceAuthorizationInput struct {
	ClientID     string
	ClientSecret Secret
	StartURL     string // the AWS access portal's URL
}

// StartDeviceAuthorizationOutput is the answer of the
// StartDeviceAuthorization operation (RFC 8628 section 3.2).
type StartDeviceAuthorizationOutput struct {
	DeviceCode              Secret
	UserCode                string // what the person compares with the page
	VerificationURI         string // where the person types the user code; https, or http on loopback
	VerificationURIComplete string // the same with the user code in it; may be absent
	ExpiresIn               time.Duration
	Interval                time.Duration // between polls; 5 s where the answer names none
	Metadata                Metadata
}

// CreateTokenInput is the request of the CreateToken operation (POST /token).
// ClientID, ClientSecret and GrantType are required, and what the grant needs:
// DeviceCode, or RefreshToken, or Code with RedirectURI and CodeVerifier.
// Absent members are omitted from the request.
type CreateTokenInput struct {
	ClientID     string
	ClientSecret Secret
	GrantType    string // GrantDeviceCode, GrantRefreshToken or GrantAuthorizationCode
	DeviceCode   Secret
	Code         Secret
	RedirectURI  string
	CodeVerifier Secret // RFC 7636 section 4.5
	RefreshToken Secret
	Scopes       []string // has no effect: scopes are bound at registration
}

// CreateTokenOutput is the answer of the CreateToken operation. Tokens are
// non-empty visible ASCII of at most 64 KiB, except that RefreshToken and
// IDToken may be absent.
type CreateTokenOutput struct {
	AccessToken  Secret
	TokenType    string        // "Bearer"
	ExpiresIn    time.Duration // positive; at most MaxExpiresIn
	RefreshToken Secret        // absent for a client registered without scopes; may be absent on refresh: keep the old one
	IDToken      Secret        // not verified
	Metadata     Metadata
}

// Bounds that every answer is held to.
const (
	MaxResponseBytes = 1 << 20              // of an answer's body, after decompression
	MaxTokenBytes    = 64 << 10             // of one token, code or client secret
	MaxExpiresIn     = 366 * 24 * time.Hour // larger values are clamped to it
)
