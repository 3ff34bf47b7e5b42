package wire

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
// region of the Client's endpoint. The root of this module makes one of AWS
// credentials, with NewSigner.
type Signer interface {
	// Sign adds the signature to req's header, as Authorization and the
	// X-Amz headers that go with it, and changes nothing else that is sent.
	// payloadHash is the SHA-256 of req's body, in lower-case hexadecimal;
	// Sign leaves the body alone.
	//
	// It is called for each request, concurrently, and should return once ctx
	// ends, which has a deadline where HTTPClient has a Timeout. An error keeps
	// the request from being sent, and is wrapped by a *SendError that is
	// Unspent; its text must not show a credential.
	Sign(ctx context.Context, req *http.Request, payloadHash string) error
}

// CreateTokenWithIAMInput is the request of the CreateTokenWithIAM operation
// (POST /token?aws_iam=t). Required are ClientID and GrantType, and what the
// grant needs: Assertion, or SubjectToken with SubjectTokenType, or
// RefreshToken, or Code with RedirectURI and CodeVerifier. Absent members are
// omitted from the request. Secrets are visible ASCII of at most MaxTokenBytes.
type CreateTokenWithIAMInput struct {
	ClientID           string   // the ARN of the IAM Identity Center application
	GrantType          string   // GrantJWTBearer, GrantTokenExchange, GrantRefreshToken or GrantAuthorizationCode
	Assertion          Secret   // a JWT of a trusted token issuer (RFC 7523); with a "jti" it works once
	SubjectToken       Secret   // an Identity Center access token of another application (RFC 8693), in whose audience this one is
	SubjectTokenType   string   // of SubjectToken: TokenTypeAccessToken
	RequestedTokenType string   // for GrantTokenExchange: TokenTypeAccessToken or TokenTypeRefreshToken; "" leaves it to the service
	RefreshToken       Secret   // of an earlier CreateTokenWithIAMOutput
	Code               Secret   // the authorization code, from the redirect
	RedirectURI        string   // as in the authorization request
	CodeVerifier       Secret   // RFC 7636 section 4.5
	Scopes             []string // fewer than the application has; none means all of them
}

// CreateTokenWithIAMOutput is the answer of the CreateTokenWithIAM operation
// (RFC 6749 section 5.1, RFC 8693 section 2.2.1). Tokens and the identity
// context are visible ASCII of at most MaxTokenBytes.
type CreateTokenWithIAMOutput struct {
	AccessToken     Secret        // never empty
	TokenType       string        // always "Bearer", also where the answer named no type
	ExpiresIn       time.Duration // of the access token; positive, at most MaxExpiresIn
	RefreshToken    Secret        // "" where absent; on refresh: keep the old one
	IDToken         Secret        // "" where absent; not verified
	IssuedTokenType string        // TokenTypeAccessToken or TokenTypeRefreshToken; "" where absent; printable, at most 128 bytes
	Scopes          []string      // what was granted; nil where absent; each is printable, at most 128 bytes
	IdentityContext Secret        // awsAdditionalDetails.identityContext, the ContextAssertion for STS AssumeRole; "" where absent
	Metadata        Metadata      // of the answer
}

// CreateTokenWithIAM exchanges an assertion, a token, a refresh token or an
// authorization code for tokens of an IAM Identity Center application, as IAM
// credentials that may act for it (POST /token?aws_iam=t). It needs
// Client.Signer.
//
// Its errors are described in the package documentation. Among those of the
// service are TypeAccessDenied and TypeInvalidRequest, which may have a Reason
// that an administrator must act on, TypeInvalidGrant, TypeInvalidRequestRegion
// (sign again, for the region it names, after checking it), TypeInvalidScope,
// TypeUnauthorizedClient and TypeUnsupportedGrantType; a signature that AWS
// refuses has a Type of its own, with status 403. After a *SendError that is
// not Unspent, and after a status of 500 or more, the service may have carried
// the operation out: an assertion with a "jti" or a code may be used up, a
// refresh token replaced.
func (c *Client) CreateTokenWithIAM(ctx context.Context, in *CreateTokenWithIAMInput) (*CreateTokenWithIAMOutput, error) {
	cl := &call{operation: "CreateTokenWithIAM", path: "/token", query: "aws_iam=t", signer: c.Signer}
	if err := in.check(); err != nil {
		return nil, cl.refuse(err)
	}
	if c.Signer == nil {
		return nil, cl.refuse(errors.New("Signer is missing; the operation is signed with IAM credentials"))
	}
	cl.hidden.secrets = []Secret{in.Assertion, in.SubjectToken, in.RefreshToken, in.Code, in.CodeVerifier}
	var a createTokenWithIAMAnswer
	meta, err := c.do(ctx, cl, in.body(), &a)
	if err != nil {
		return nil, err
	}
	return a.output(meta), nil
}

// sign has the Signer sign a request. Its errors are *SendError.
func (cl *call) sign(ctx context.Context, req *http.Request, body []byte) error {
	hash := sha256.Sum256(body)
	err := cl.signer.Sign(ctx, req, hex.EncodeToString(hash[:]))
	cl.hidden.secrets = append(cl.hidden.secrets, Secret(req.Header.Get("X-Amz-Security-Token")))
	switch {
	case err != nil:
		return cl.notSigned(ctx, err)
	case req.Header.Get("Authorization") == "":
		return cl.notSigned(ctx, errors.New("the Signer added no signature"))
	case ctx.Err() != nil: // a transport would not say that it sent nothing
		return cl.sendError(ctx, ctx.Err(), true)
	}
	return nil
}

func (cl *call) notSigned(ctx context.Context, cause error) error {
	e := cl.sendError(ctx, cause, true)
	e.Err = fmt.Errorf("it can't be signed: %w", e.Err)
	return e
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
	IssuedTokenType string
	Scope           []string
	IdentityContext string
}

func (a *createTokenWithIAMAnswer) fields() fields {
	details := fields{{name: "identityContext", into: &a.IdentityContext}}
	return append(a.createTokenAnswer.fields(), fields{
		{name: "issuedTokenType", into: &a.IssuedTokenType},
		{name: "scope", into: &a.Scope},
		{name: "awsAdditionalDetails", into: details},
	}...)
}

func (a *createTokenWithIAMAnswer) check() error {
	if err := a.createTokenAnswer.check(); err != nil {
		return err
	}
	return check([]member{{"identityContext", a.IdentityContext, token}})
}

// output also bounds what no rule of check is for.
func (a *createTokenWithIAMAnswer) output(m Metadata) *CreateTokenWithIAMOutput {
	for i := range a.Scope {
		a.Scope[i] = clean(a.Scope[i], maxName, nil)
	}
	return &CreateTokenWithIAMOutput{
		AccessToken:     Secret(a.AccessToken),
		TokenType:       "Bearer",
		ExpiresIn:       seconds(a.ExpiresIn, MaxExpiresIn),
		RefreshToken:    Secret(a.RefreshToken),
		IDToken:         Secret(a.IDToken),
		IssuedTokenType: clean(a.IssuedTokenType, maxName, nil),
		Scopes:          a.Scope,
		IdentityContext: Secret(a.IdentityContext),
		Metadata:        m,
	}
}
