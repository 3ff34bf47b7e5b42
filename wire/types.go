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
// Each member is printable, at most 128 bytes, and empty where the answer did
// not carry it.
type Metadata struct {
	RequestID         string // x-amzn-RequestId
	ExtendedRequestID string // x-amz-id-2
	CfID              string // X-Amz-Cf-Id, of CloudFront
}

// RegisterClientInput is the request of the RegisterClient operation. Absent
// members are omitted from it.
type RegisterClientInput struct {
	ClientName             string   // required; shown to the person who approves
	ClientType             string   // "" means ClientTypePublic
	Scopes                 []string // such as "sso:account:access"; without any, the service issues no refresh token
	RedirectURIs           []string // for the authorization code grant
	GrantTypes             []string // for the authorization code grant
	IssuerURL              string   // the start URL, for the authorization code grant
	EntitledApplicationARN string   // an IAM Identity Center application to bind the client to
}

// RegisterClientOutput is the answer of the RegisterClient operation (as RFC
// 7591 section 3.2.1). Times are in UTC, between the years 1970 and 9999.
type RegisterClientOutput struct {
	ClientID              string    // visible ASCII, at most MaxTokenBytes
	ClientSecret          Secret    // visible ASCII, at most MaxTokenBytes
	ClientIDIssuedAt      time.Time // zero where absent
	ClientSecretExpiresAt time.Time // zero where absent or 0, which means "never"
	AuthorizationEndpoint string    // https, or http on loopback; "" where absent or anything else
	TokenEndpoint         string    // https, or http on loopback; "" where absent or anything else
	Metadata              Metadata  // of the answer
}

// StartDeviceAuthorizationInput is the request of the StartDeviceAuthorization
// operation. All members are required.
type StartDeviceAuthorizationInput struct {
	ClientID     string // of a RegisterClientOutput
	ClientSecret Secret // of the same
	StartURL     string // the AWS access portal's URL, such as "https://d-1234567890.awsapps.com/start"
}

// StartDeviceAuthorizationOutput is the answer of the
// StartDeviceAuthorization operation (RFC 8628 section 3.2).
type StartDeviceAuthorizationOutput struct {
	DeviceCode              Secret        // visible ASCII, at most MaxTokenBytes
	UserCode                string        // what the person compares with the page; printable, at most 64 bytes
	VerificationURI         string        // where the person types the user code; https, or http on loopback
	VerificationURIComplete string        // the same with the user code in it; "" where absent
	ExpiresIn               time.Duration // of both codes; positive, at most MaxExpiresIn
	Interval                time.Duration // between polls; 5 s where the answer names none, at most 5 minutes
	Metadata                Metadata      // of the answer
}

// CreateTokenInput is the request of the CreateToken operation. Required are
// ClientID, ClientSecret and GrantType, and what the grant needs: DeviceCode,
// or RefreshToken, or Code with RedirectURI and CodeVerifier. Absent members
// are omitted from the request. Secrets are visible ASCII of at most
// MaxTokenBytes.
type CreateTokenInput struct {
	ClientID     string   // of a RegisterClientOutput
	ClientSecret Secret   // of the same
	GrantType    string   // GrantDeviceCode, GrantRefreshToken or GrantAuthorizationCode
	DeviceCode   Secret   // of a StartDeviceAuthorizationOutput
	Code         Secret   // the authorization code, from the redirect
	RedirectURI  string   // as in the authorization request
	CodeVerifier Secret   // RFC 7636 section 4.5
	RefreshToken Secret   // of an earlier CreateTokenOutput
	Scopes       []string // has no effect: scopes are bound at registration
}

// CreateTokenOutput is the answer of the CreateToken operation (RFC 6749
// section 5.1). Tokens are visible ASCII of at most MaxTokenBytes.
type CreateTokenOutput struct {
	AccessToken  Secret        // never empty
	TokenType    string        // always "Bearer", also where the answer named no type
	ExpiresIn    time.Duration // of the access token; positive, at most MaxExpiresIn
	RefreshToken Secret        // "" for a client registered without scopes, and perhaps on refresh: keep the old one
	IDToken      Secret        // "" where absent; not verified
	Metadata     Metadata      // of the answer
}

// Bounds that every answer is held to.
const (
	MaxResponseBytes = 1 << 20              // of a body, after decompression
	MaxTokenBytes    = 64<<10 - 1           // of one token, code or client secret, in requests too
	MaxExpiresIn     = 366 * 24 * time.Hour // longer lifetimes are clamped to it
)
