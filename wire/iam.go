package wire

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// SigningName is the service that CreateTokenWithIAM is signed for, in the
// credential scope of AWS Signature Version 4.
const SigningName = "sso-oauth"

// Token types of CreateTokenWithIAM (RFC 8693 section 3).
const (
	TokenTypeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"
	TokenTypeRefreshToken = "urn:ietf:params:oauth:token-type:refresh_token"
)

// Signer signs requests with AWS Signature Version 4 for SigningName and the
// region of the Client's endpoint.
type Signer interface {
	// Sign adds the signature to req's header. payloadHash is the SHA-256 of
	// req's body, in lower-case hexadecimal; Sign leaves the body alone. It is
	// called for each request, concurrently. An error keeps the request from
	// being sent.
	Sign(ctx context.Context, req *http.Request, payloadHash string) error
}

// CreateTokenWithIAMInput is the request of the CreateTokenWithIAM operation
// (POST /token?aws_iam=t). ClientID and GrantType are required, and what the
// grant needs: Assertion, or SubjectToken with its type, or RefreshToken, or
// Code with RedirectURI and CodeVerifier. Absent members are omitted from the
// request.
type CreateTokenWithIAMInput struct {
	ClientID           string // the ARN of the IAM Identity Center application
	GrantType          string // GrantJWTBearer, GrantTokenExchange, GrantRefreshToken or GrantAuthorizationCode
	Assertion          Secret // GrantJWTBearer: a JWT of a trusted issuer; with a "jti" it works once
	SubjectToken       Secret // GrantTokenExchange: an access token of Identity Center
	SubjectTokenType   string // GrantTokenExchange: TokenTypeAccessToken
	RequestedTokenType string // GrantTokenExchange: TokenTypeAccessToken or TokenTypeRefreshToken; "" is the former
	RefreshToken       Secret
	Code               Secret
	RedirectURI        string
	CodeVerifier       Secret   // RFC 7636 section 4.5
	Scopes             []string // none: all that the application was granted
}

// CreateTokenWithIAMOutput is the answer of the CreateTokenWithIAM operation.
// Tokens are as in CreateTokenOutput.
type CreateTokenWithIAMOutput struct {
	AccessToken     Secret
	TokenType       string        // "Bearer"
	ExpiresIn       time.Duration // positive; at most MaxExpiresIn
	RefreshToken    Secret        // may be absent
	IDToken         Secret        // may be absent; not verified
	IssuedTokenType string        // TokenTypeAccessToken or TokenTypeRefreshToken; may be absent
	Scopes          []string      // what was granted; may be absent
	IdentityContext Secret        // awsAdditionalDetails.identityContext: the context assertion for STS AssumeRole; may be absent
	Metadata        Metadata
}

// CreateTokenWithIAM exchanges an assertion, a token, a refresh token or an
// authorization code for tokens of an IAM Identity Center application, as IAM
// credentials that may act for it (POST /token?aws_iam=t). It needs
// Client.Signer.
//
// Its errors are described in the package documentation. Among those of the
// service are TypeAccessDenied and TypeInvalidRequest, each perhaps with a
// Reason for an administrator, TypeInvalidGrant, TypeInvalidRequestRegion,
// TypeInvalidScope, TypeUnauthorizedClient and TypeUnsupportedGrantType. After
// a *SendError that is not Unspent, and after a status of 500 or more, the
// service may have carried the operation out: an assertion with a "jti" or a
// code may be used up, a refresh token replaced.
func (c *Client) CreateTokenWithIAM(ctx context.Context, in *CreateTokenWithIAMInput) (*CreateTokenWithIAMOutput, error) {
	cl := &call{operation: "CreateTokenWithIAM", path: "/token", query: "aws_iam=t", signer: c.Signer}
	if err := in.check(); err != nil {
		return nil, cl.refuse(err)
	}
	if c.Signer == nil {
		return nil, cl.refuse(errors.New("Signer is missing; the operation is signed with IAM credentials"))
	}
	cl.secrets = secrets{in.Assertion, in.SubjectToken, in.RefreshToken, in.Code, in.CodeVerifier}
	var a createTokenWithIAMAnswer
	meta, err := c.do(ctx, cl, in.body(), &a)
	if err != nil {
		return nil, err
	}
	return a.output(meta), nil
}

type createTokenWithIAMBody struct {
	Assertion          string   `json:"assertion,omitempty"`
	ClientID           string   `json:"clientId"`
	Code               string   `json:"code,omitempty"`
	CodeVerifier       string   `json:"codeVerifier,omitempty"`
	GrantType          string   `json:"grantType"`
	RedirectURI        string   `json:"redirectUri,omitempty"`
	RefreshToken       string   `json:"refreshToken,omitempty"`
	RequestedTokenType string   `json:"requestedTokenType,omitempty"`
	Scope              []string `json:"scope,omitempty"`
	SubjectToken       string   `json:"subjectToken,omitempty"`
	SubjectTokenType   string   `json:"subjectTokenType,omitempty"`
}

func (in *CreateTokenWithIAMInput) check() error {
	if in == nil {
		return errNilInput
	}
	assertion := requiredIf(in.GrantType == GrantJWTBearer)
	subject := requiredIf(in.GrantType == GrantTokenExchange)
	refresh := requiredIf(in.GrantType == GrantRefreshToken)
	code := requiredIf(in.GrantType == GrantAuthorizationCode)
	return check([]member{
		{"ClientID", in.ClientID, required},
		{"GrantType", in.GrantType, required},
		{"Assertion", string(in.Assertion), assertion | token},
		{"SubjectToken", string(in.SubjectToken), subject | token},
		{"SubjectTokenType", in.SubjectTokenType, subject},
		{"RefreshToken", string(in.RefreshToken), refresh | token},
		{"Code", string(in.Code), code | token},
		{"RedirectURI", in.RedirectURI, code},
		{"CodeVerifier", string(in.CodeVerifier), code | token},
	})
}

func (in *CreateTokenWithIAMInput) body() any {
	return &createTokenWithIAMBody{
		Assertion:          string(in.Assertion),
		ClientID:           in.ClientID,
		Code:               string(in.Code),
		CodeVerifier:       string(in.CodeVerifier),
		GrantType:          in.GrantType,
		RedirectURI:        in.RedirectURI,
		RefreshToken:       string(in.RefreshToken),
		RequestedTokenType: in.RequestedTokenType,
		Scope:              in.Scopes,
		SubjectToken:       string(in.SubjectToken),
		SubjectTokenType:   in.SubjectTokenType,
	}
}

type createTokenWithIAMAnswer struct {
	createTokenAnswer
	IssuedTokenType      string   `json:"issuedTokenType"`
	Scope                []string `json:"scope"`
	AWSAdditionalDetails struct {
		IdentityContext string `json:"identityContext"`
	} `json:"awsAdditionalDetails"`
}

func (a *createTokenWithIAMAnswer) check() error {
	if err := a.createTokenAnswer.check(); err != nil {
		return err
	}
	return check([]member{{"identityContext", a.AWSAdditionalDetails.IdentityContext, token}})
}

func (a *createTokenWithIAMAnswer) output(m Metadata) *CreateTokenWithIAMOutput {
	return &CreateTokenWithIAMOutput{
		AccessToken:     Secret(a.AccessToken),
		TokenType:       "Bearer",
		ExpiresIn:       seconds(a.ExpiresIn, MaxExpiresIn),
		RefreshToken:    Secret(a.RefreshToken),
		IDToken:         Secret(a.IDToken),
		IssuedTokenType: a.IssuedTokenType,
		Scopes:          a.Scope,
		IdentityContext: Secret(a.AWSAdditionalDetails.IdentityContext),
		Metadata:        m,
	}
}
