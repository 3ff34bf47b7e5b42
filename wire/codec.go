package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
)

// The members of the requests are in alphabetical order, as the official
// clients write them. Secrets become strings here and nowhere else.

// answer is what an operation's answer is read into.
type answer interface {
	fields() fields
	check() error // why it can't be used, naming the member and not its value
}

// encode writes a request as the official clients do: <, > and & as they are,
// no line end. A signature is over these bytes.
func encode(body any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(body)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

type registerClientBody struct {
	ClientName             string   `json:"clientName"`
	ClientType             string   `json:"clientType"`
	EntitledApplicationARN string   `json:"entitledApplicationArn,omitempty"`
	GrantTypes             []string `json:"grantTypes,omitempty"`
	IssuerURL              string   `json:"issuerUrl,omitempty"`
	RedirectURIs           []string `json:"redirectUris,omitempty"`
	Scopes                 []string `json:"scopes,omitempty"`
}

func (in *RegisterClientInput) check() error {
	if in == nil {
		return errNilInput
	}
	return check([]member{{"ClientName", in.ClientName, required}})
}

func (in *RegisterClientInput) body() any {
	return &registerClientBody{
		ClientName:             in.ClientName,
		ClientType:             cmp.Or(in.ClientType, ClientTypePublic),
		EntitledApplicationARN: in.EntitledApplicationARN,
		GrantTypes:             in.GrantTypes,
		IssuerURL:              in.IssuerURL,
		RedirectURIs:           in.RedirectURIs,
		Scopes:                 in.Scopes,
	}
}

type registerClientAnswer struct {
	AuthorizationEndpoint string
	ClientID              string
	ClientIDIssuedAt      json.Number
	ClientSecret          string
	ClientSecretExpiresAt json.Number
	TokenEndpoint         string
}

func (a *registerClientAnswer) fields() fields {
	return fields{
		{name: "authorizationEndpoint", into: &a.AuthorizationEndpoint},
		{name: "clientId", into: &a.ClientID},
		{name: "clientIdIssuedAt", into: &a.ClientIDIssuedAt},
		{name: "clientSecret", into: &a.ClientSecret},
		{name: "clientSecretExpiresAt", into: &a.ClientSecretExpiresAt},
		{name: "tokenEndpoint", into: &a.TokenEndpoint},
	}
}

func (a *registerClientAnswer) check() error {
	return check([]member{
		{"clientId", a.ClientID, required | token},
		{"clientSecret", a.ClientSecret, required | token},
	})
}

func (a *registerClientAnswer) output(m Metadata) *RegisterClientOutput {
	return &RegisterClientOutput{
		ClientID:              a.ClientID,
		ClientSecret:          Secret(a.ClientSecret),
		ClientIDIssuedAt:      epoch(a.ClientIDIssuedAt),
		ClientSecretExpiresAt: epoch(a.ClientSecretExpiresAt),
		AuthorizationEndpoint: usablePage(a.AuthorizationEndpoint),
		TokenEndpoint:         usablePage(a.TokenEndpoint),
		Metadata:              m,
	}
}

type startDeviceAuthorizationBody struct {
	ClientID     string `json:"clientId"`
	ClientSecret string `json:"clientSecret"`
	StartURL     string `json:"startUrl"`
}

func (in *StartDeviceAuthorizationInput) check() error {
	if in == nil {
		return errNilInput
	}
	return check([]member{
		{"ClientID", in.ClientID, required},
		{"ClientSecret", string(in.ClientSecret), required | token},
		{"StartURL", in.StartURL, required},
	})
}

func (in *StartDeviceAuthorizationInput) body() any {
	return &startDeviceAuthorizationBody{
		ClientID:     in.ClientID,
		ClientSecret: string(in.ClientSecret),
		StartURL:     in.StartURL,
	}
}

type startDeviceAuthorizationAnswer struct {
	DeviceCode              string
	ExpiresIn               json.Number
	Interval                json.Number
	UserCode                string
	VerificationURI         string
	VerificationURIComplete string
}

func (a *startDeviceAuthorizationAnswer) fields() fields {
	return fields{
		{name: "deviceCode", into: &a.DeviceCode},
		{name: "expiresIn", into: &a.ExpiresIn},
		{name: "interval", into: &a.Interval},
		{name: "userCode", into: &a.UserCode},
		{name: "verificationUri", into: &a.VerificationURI},
		{name: "verificationUriComplete", into: &a.VerificationURIComplete},
	}
}

func (a *startDeviceAuthorizationAnswer) check() error {
	return check([]member{
		{"deviceCode", a.DeviceCode, required | token},
		{"userCode", a.UserCode, required | userCode},
		{"verificationUri", a.VerificationURI, required | page},
		{"verificationUriComplete", a.VerificationURIComplete, page},
		{"expiresIn", string(a.ExpiresIn), required | positive},
	})
}

func (a *startDeviceAuthorizationAnswer) output(m Metadata) *StartDeviceAuthorizationOutput {
	return &StartDeviceAuthorizationOutput{
		DeviceCode:              Secret(a.DeviceCode),
		UserCode:                a.UserCode,
		VerificationURI:         a.VerificationURI,
		VerificationURIComplete: a.VerificationURIComplete,
		ExpiresIn:               seconds(a.ExpiresIn, MaxExpiresIn),
		Interval:                cmp.Or(seconds(a.Interval, maxInterval), defaultInterval),
		Metadata:                m,
	}
}

type createTokenBody struct {
	ClientID     string   `json:"clientId"`
	ClientSecret string   `json:"clientSecret"`
	Code         string   `json:"code,omitempty"`
	CodeVerifier string   `json:"codeVerifier,omitempty"`
	DeviceCode   string   `json:"deviceCode,omitempty"`
	GrantType    string   `json:"grantType"`
	RedirectURI  string   `json:"redirectUri,omitempty"`
	RefreshToken string   `json:"refreshToken,omitempty"`
	Scope        []string `json:"scope,omitempty"`
}

func (in *CreateTokenInput) check() error {
	if in == nil {
		return errNilInput
	}
	// What other grants need is for the service to say.
	device := requiredIf(in.GrantType == GrantDeviceCode)
	code := requiredIf(in.GrantType == GrantAuthorizationCode)
	refresh := requiredIf(in.GrantType == GrantRefreshToken)
	return check([]member{
		{"ClientID", in.ClientID, required},
		{"ClientSecret", string(in.ClientSecret), required | token},
		{"GrantType", in.GrantType, required},
		{"DeviceCode", string(in.DeviceCode), device | token},
		{"Code", string(in.Code), code | token},
		{"RedirectURI", in.RedirectURI, code},
		{"CodeVerifier", string(in.CodeVerifier), code | token},
		{"RefreshToken", string(in.RefreshToken), refresh | token},
	})
}

func (in *CreateTokenInput) body() any {
	return &createTokenBody{
		ClientID:     in.ClientID,
		ClientSecret: string(in.ClientSecret),
		Code:         string(in.Code),
		CodeVerifier: string(in.CodeVerifier),
		DeviceCode:   string(in.DeviceCode),
		GrantType:    in.GrantType,
		RedirectURI:  in.RedirectURI,
		RefreshToken: string(in.RefreshToken),
		Scope:        in.Scopes,
	}
}

type createTokenAnswer struct {
	AccessToken  string
	ExpiresIn    json.Number
	IDToken      string
	RefreshToken string
	TokenType    string
}

func (a *createTokenAnswer) fields() fields {
	return fields{
		{name: "accessToken", into: &a.AccessToken},
		{name: "expiresIn", into: &a.ExpiresIn},
		{name: "idToken", into: &a.IDToken},
		{name: "refreshToken", into: &a.RefreshToken},
		{name: "tokenType", into: &a.TokenType},
	}
}

func (a *createTokenAnswer) check() error {
	return check([]member{
		{"accessToken", a.AccessToken, required | token},
		{"refreshToken", a.RefreshToken, token},
		{"idToken", a.IDToken, token},
		{"tokenType", a.TokenType, bearer},
		{"expiresIn", string(a.ExpiresIn), required | positive},
	})
}

func (a *createTokenAnswer) output(m Metadata) *CreateTokenOutput {
	return &CreateTokenOutput{
		AccessToken:  Secret(a.AccessToken),
		TokenType:    "Bearer",
		ExpiresIn:    seconds(a.ExpiresIn, MaxExpiresIn),
		RefreshToken: Secret(a.RefreshToken),
		IDToken:      Secret(a.IDToken),
		Metadata:     m,
	}
}
