package wire

import (
	"cmp"
	"encoding/json"
)

// The members of the requests are in alphabetical order, as the official
// clients write them. Secrets become strings here and nowhere else.

// answer is what an operation's answer is read into.
type answer interface {
	check() error // why it can't be used, naming the member and not its value
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
	return checkPresent("ClientName", in.ClientName)
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
	AuthorizationEndpoint string      `json:"authorizationEndpoint"`
	ClientID              string      `json:"clientId"`
	ClientIDIssuedAt      json.Number `json:"clientIdIssuedAt"`
	ClientSecret          string      `json:"clientSecret"`
	ClientSecretExpiresAt json.Number `json:"clientSecretExpiresAt"`
	TokenEndpoint         string      `json:"tokenEndpoint"`
}

func (a *registerClientAnswer) check() error {
	return cmp.Or(
		checkPresent("clientId", a.ClientID),
		checkToken("clientId", a.ClientID),
		checkPresent("clientSecret", a.ClientSecret),
		checkToken("clientSecret", a.ClientSecret))
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
	return cmp.Or(
		checkPresent("ClientID", in.ClientID),
		checkPresent("ClientSecret", string(in.ClientSecret)),
		checkToken("ClientSecret", string(in.ClientSecret)),
		checkPresent("StartURL", in.StartURL))
}

func (in *StartDeviceAuthorizationInput) body() any {
	return &startDeviceAuthorizationBody{
		ClientID:     in.ClientID,
		ClientSecret: string(in.ClientSecret),
		StartURL:     in.StartURL,
	}
}

type startDeviceAuthorizationAnswer struct {
	DeviceCode              string      `json:"deviceCode"`
	ExpiresIn               json.Number `json:"expiresIn"`
	Interval                json.Number `json:"interval"`
	UserCode                string      `json:"userCode"`
	VerificationURI         string      `json:"verificationUri"`
	VerificationURIComplete string      `json:"verificationUriComplete"`
}

func (a *startDeviceAuthorizationAnswer) check() error {
	return cmp.Or(
		checkPresent("deviceCode", a.DeviceCode),
		checkToken("deviceCode", a.DeviceCode),
		checkPresent("userCode", a.UserCode),
		checkUserCode("userCode", a.UserCode),
		checkPresent("verificationUri", a.VerificationURI),
		checkPage("verificationUri", a.VerificationURI),
		checkPage("verificationUriComplete", a.VerificationURIComplete),
		checkLifetime("expiresIn", a.ExpiresIn))
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
	if err := cmp.Or(
		checkPresent("ClientID", in.ClientID),
		checkPresent("ClientSecret", string(in.ClientSecret)),
		checkPresent("GrantType", in.GrantType),
		checkToken("ClientSecret", string(in.ClientSecret)),
		checkToken("DeviceCode", string(in.DeviceCode)),
		checkToken("Code", string(in.Code)),
		checkToken("CodeVerifier", string(in.CodeVerifier)),
		checkToken("RefreshToken", string(in.RefreshToken))); err != nil {
		return err
	}
	switch in.GrantType {
	case GrantDeviceCode:
		return checkPresent("DeviceCode", string(in.DeviceCode))
	case GrantRefreshToken:
		return checkPresent("RefreshToken", string(in.RefreshToken))
	case GrantAuthorizationCode:
		return cmp.Or(
			checkPresent("Code", string(in.Code)),
			checkPresent("RedirectURI", in.RedirectURI),
			checkPresent("CodeVerifier", string(in.CodeVerifier)))
	}
	return nil // for the service to judge
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
	AccessToken  string      `json:"accessToken"`
	ExpiresIn    json.Number `json:"expiresIn"`
	IDToken      string      `json:"idToken"`
	RefreshToken string      `json:"refreshToken"`
	TokenType    string      `json:"tokenType"`
}

func (a *createTokenAnswer) check() error {
	return cmp.Or(
		checkPresent("accessToken", a.AccessToken),
		checkToken("accessToken", a.AccessToken),
		checkToken("refreshToken", a.RefreshToken),
		checkToken("idToken", a.IDToken),
		checkBearer("tokenType", a.TokenType),
		checkLifetime("expiresIn", a.ExpiresIn))
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
