package wire_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/wire"
)

// call runs one operation of a client and returns its error.
type call func(context.Context, *wire.Client) error

func registerClient(in *wire.RegisterClientInput) call {
	return func(ctx context.Context, c *wire.Client) error { _, err := c.RegisterClient(ctx, in); return err }
}

func startDeviceAuthorization(in *wire.StartDeviceAuthorizationInput) call {
	return func(ctx context.Context, c *wire.Client) error {
		_, err := c.StartDeviceAuthorization(ctx, in)
		return err
	}
}

func createToken(in *wire.CreateTokenInput) call {
	return func(ctx context.Context, c *wire.Client) error { _, err := c.CreateToken(ctx, in); return err }
}

// The wanted bodies are those of the official clients, byte for byte.
func TestRequests(t *testing.T) {
	for _, test := range []struct {
		name string
		call call
		path string
		body string
	}{
		{
			"RegisterClient, all members",
			registerClient(&wire.RegisterClientInput{
				ClientName: "name", ClientType: "public", Scopes: []string{"s1", "s2"},
				RedirectURIs: []string{"http://127.0.0.1/oauth/callback"}, GrantTypes: []string{wire.GrantAuthorizationCode, wire.GrantRefreshToken},
				IssuerURL: "https://d-1234567890.awsapps.com/start", EntitledApplicationARN: "arn:aws:sso::123456789012:application/i/a",
			}),
			"/client/register",
			`{"clientName":"name","clientType":"public","entitledApplicationArn":"arn:aws:sso::123456789012:application/i/a","grantTypes":["authorization_code","refresh_token"],"issuerUrl":"https://d-1234567890.awsapps.com/start","redirectUris":["http://127.0.0.1/oauth/callback"],"scopes":["s1","s2"]}`,
		},
		{
			"RegisterClient, required members",
			registerClient(&wire.RegisterClientInput{ClientName: "name", Scopes: []string{}}),
			"/client/register",
			`{"clientName":"name","clientType":"public"}`,
		},
		{
			"RegisterClient, another client type is the service's to refuse",
			registerClient(&wire.RegisterClientInput{ClientName: "name", ClientType: "confidential"}),
			"/client/register",
			`{"clientName":"name","clientType":"confidential"}`,
		},
		{
			"StartDeviceAuthorization",
			startDeviceAuthorization(&wire.StartDeviceAuthorizationInput{ClientID: "id", ClientSecret: "secret", StartURL: "https://d-1234567890.awsapps.com/start"}),
			"/device_authorization",
			`{"clientId":"id","clientSecret":"secret","startUrl":"https://d-1234567890.awsapps.com/start"}`,
		},
		{
			"CreateToken, all members",
			createToken(&wire.CreateTokenInput{
				ClientID: "id", ClientSecret: "secret", GrantType: wire.GrantAuthorizationCode, DeviceCode: "device", Code: "code",
				RedirectURI: "http://127.0.0.1:1/oauth/callback", CodeVerifier: "verifier", RefreshToken: "refresh", Scopes: []string{"s1", "s2"},
			}),
			"/token",
			`{"clientId":"id","clientSecret":"secret","code":"code","codeVerifier":"verifier","deviceCode":"device","grantType":"authorization_code","redirectUri":"http://127.0.0.1:1/oauth/callback","refreshToken":"refresh","scope":["s1","s2"]}`,
		},
		{
			"CreateToken, refresh",
			createToken(&wire.CreateTokenInput{ClientID: "id", ClientSecret: "secret", GrantType: wire.GrantRefreshToken, RefreshToken: "refresh"}),
			"/token",
			`{"clientId":"id","clientSecret":"secret","grantType":"refresh_token","refreshToken":"refresh"}`,
		},
		{
			"CreateToken, device code",
			createToken(&wire.CreateTokenInput{ClientID: "id", ClientSecret: "secret", GrantType: wire.GrantDeviceCode, DeviceCode: "device"}),
			"/token",
			`{"clientId":"id","clientSecret":"secret","deviceCode":"device","grantType":"urn:ietf:params:oauth:grant-type:device_code"}`,
		},
		{
			"CreateToken, another grant type is the service's to refuse",
			createToken(&wire.CreateTokenInput{ClientID: "id", ClientSecret: "secret", GrantType: "password"}),
			"/token",
			`{"clientId":"id","clientSecret":"secret","grantType":"password"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			sent := 0
			c := newClient(func(req *http.Request) (*http.Response, error) {
				sent++
				body, err := io.ReadAll(req.Body)
				if err != nil {
					t.Error(err)
				}
				again, err := req.GetBody()
				if err != nil {
					t.Fatal(err)
				}
				if b, _ := io.ReadAll(again); string(b) != string(body) {
					t.Errorf("GetBody gives %q, want %q", b, body)
				}
				if string(body) != test.body {
					t.Errorf("body\n%s, want\n%s", body, test.body)
				}
				if got := req.Method + " " + req.URL.String(); got != "POST "+testEndpoint+test.path {
					t.Errorf("request %s", got)
				}
				if req.ContentLength != int64(len(body)) || req.Host != "oidc.us-east-1.amazonaws.com" {
					t.Errorf("content length %d, host %q", req.ContentLength, req.Host)
				}
				if got := req.Header; got.Get("Content-Type") != "application/json" || got.Get("User-Agent") != "awsoidc" || len(got) != 2 {
					t.Errorf("header %v", got)
				}
				return answer(req, 500, "{}"), nil
			})
			asError(t, test.call(t.Context(), c))
			if sent != 1 {
				t.Errorf("%d requests were sent, want 1", sent)
			}
		})
	}
}

func TestEndpointPath(t *testing.T) {
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:8080":          "http://127.0.0.1:8080/token",
		"http://127.0.0.1:8080/":         "http://127.0.0.1:8080/token",
		"https://example.com/oidc":       "https://example.com/oidc/token",
		"https://example.com/a/b/":       "https://example.com/a/b/token",
		"https://example.com/a%2Fb":      "https://example.com/a%2Fb/token",
		"https://example.com/a%2Fb/":     "https://example.com/a%2Fb/token",
		"http://localhost/base%20path":   "http://localhost/base%20path/token",
		"http://[::1]:8080":              "http://[::1]:8080/token",
		"HTTPS://OIDC.example.com:8443/": "https://OIDC.example.com:8443/token",
	} {
		var got string
		c := newClient(func(req *http.Request) (*http.Response, error) {
			got = req.URL.String()
			return answer(req, 500, "{}"), nil
		})
		c.Endpoint = endpoint
		asError(t, createToken(refreshInput())(t.Context(), c))
		if got != want {
			t.Errorf("%s: sent to %s, want %s", endpoint, got, want)
		}
	}
}

func TestUserAgent(t *testing.T) {
	var got string
	c := newClient(func(req *http.Request) (*http.Response, error) {
		got = req.Header.Get("User-Agent")
		return answer(req, 500, "{}"), nil
	})
	c.UserAgent = "my-tool/1.0 (linux)"
	asError(t, createToken(refreshInput())(t.Context(), c))
	if got != c.UserAgent {
		t.Errorf("User-Agent %q, want %q", got, c.UserAgent)
	}
}

// What can't be sent is refused, and nothing is sent.
func TestUnusableInput(t *testing.T) {
	refresh := func(change func(*wire.CreateTokenInput)) call {
		in := refreshInput()
		change(in)
		return createToken(in)
	}
	device := func(change func(*wire.StartDeviceAuthorizationInput)) call {
		in := deviceInput()
		change(in)
		return startDeviceAuthorization(in)
	}
	long := wire.Secret(strings.Repeat("x", wire.MaxTokenBytes+1))
	for _, test := range []struct {
		call call
		want string
	}{
		{registerClient(nil), "wire: RegisterClient: the input is nil"},
		{registerClient(&wire.RegisterClientInput{}), "wire: RegisterClient: ClientName is missing"},
		{startDeviceAuthorization(nil), "wire: StartDeviceAuthorization: the input is nil"},
		{device(func(in *wire.StartDeviceAuthorizationInput) { in.ClientID = "" }), "wire: StartDeviceAuthorization: ClientID is missing"},
		{device(func(in *wire.StartDeviceAuthorizationInput) { in.ClientSecret = "" }), "wire: StartDeviceAuthorization: ClientSecret is missing"},
		{device(func(in *wire.StartDeviceAuthorizationInput) { in.StartURL = "" }), "wire: StartDeviceAuthorization: StartURL is missing"},
		{device(func(in *wire.StartDeviceAuthorizationInput) { in.ClientSecret = "a\nb" }), "wire: StartDeviceAuthorization: ClientSecret holds"},
		{createToken(nil), "wire: CreateToken: the input is nil"},
		{refresh(func(in *wire.CreateTokenInput) { in.ClientID = "" }), "wire: CreateToken: ClientID is missing"},
		{refresh(func(in *wire.CreateTokenInput) { in.ClientSecret = "" }), "wire: CreateToken: ClientSecret is missing"},
		{refresh(func(in *wire.CreateTokenInput) { in.GrantType = "" }), "wire: CreateToken: GrantType is missing"},
		{refresh(func(in *wire.CreateTokenInput) { in.RefreshToken = "" }), "wire: CreateToken: RefreshToken is missing"},
		{refresh(func(in *wire.CreateTokenInput) { in.GrantType = wire.GrantDeviceCode }), "wire: CreateToken: DeviceCode is missing"},
		{refresh(func(in *wire.CreateTokenInput) { in.GrantType = wire.GrantAuthorizationCode }), "wire: CreateToken: Code is missing"},
		{refresh(func(in *wire.CreateTokenInput) { in.GrantType, in.Code = wire.GrantAuthorizationCode, "c" }), "wire: CreateToken: RedirectURI is missing"},
		{refresh(func(in *wire.CreateTokenInput) {
			in.GrantType, in.Code, in.RedirectURI = wire.GrantAuthorizationCode, "c", "http://127.0.0.1/"
		}), "wire: CreateToken: CodeVerifier is missing"},
		{refresh(func(in *wire.CreateTokenInput) { in.ClientSecret = "a b" }), "wire: CreateToken: ClientSecret holds"},
		{refresh(func(in *wire.CreateTokenInput) { in.RefreshToken = "a\r\nb" }), "wire: CreateToken: RefreshToken holds"},
		{refresh(func(in *wire.CreateTokenInput) { in.RefreshToken = "a\x00" }), "wire: CreateToken: RefreshToken holds"},
		{refresh(func(in *wire.CreateTokenInput) { in.DeviceCode = "é" }), "wire: CreateToken: DeviceCode holds"},
		{refresh(func(in *wire.CreateTokenInput) { in.Code = "\x7f" }), "wire: CreateToken: Code holds"},
		{refresh(func(in *wire.CreateTokenInput) { in.CodeVerifier = "\t" }), "wire: CreateToken: CodeVerifier holds"},
		{refresh(func(in *wire.CreateTokenInput) { in.RefreshToken = long }), "wire: CreateToken: RefreshToken has 64 KiB or more"},
		{func(ctx context.Context, c *wire.Client) error {
			_, err := c.CreateToken(nil, refreshInput()) //lint:ignore SA1012 what a careless caller does
			return err
		}, "wire: CreateToken: the context is nil"},
		{func(ctx context.Context, c *wire.Client) error {
			return createToken(refreshInput())(ctx, &wire.Client{HTTPClient: c.HTTPClient})
		}, "wire: CreateToken: the endpoint is missing"},
		{func(ctx context.Context, c *wire.Client) error {
			return createToken(refreshInput())(ctx, &wire.Client{HTTPClient: c.HTTPClient, Endpoint: "http://10.0.0.1"})
		}, "wire: CreateToken: the endpoint is http on 10.0.0.1"},
		{func(ctx context.Context, c *wire.Client) error {
			return createToken(refreshInput())(ctx, &wire.Client{HTTPClient: c.HTTPClient, Endpoint: testEndpoint, UserAgent: "a\r\nX: y"})
		}, "wire: CreateToken: UserAgent holds"},
	} {
		c := newClient(func(req *http.Request) (*http.Response, error) {
			t.Errorf("%s: a request was sent", test.want)
			return nil, io.EOF
		})
		err := test.call(t.Context(), c)
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("error %v, want %s", err, test.want)
			continue
		}
		checkText(t, err)
		var e *wire.Error
		var s *wire.SendError
		if errors.As(err, &e) || errors.As(err, &s) {
			t.Errorf("%v is a %T", err, err)
		}
	}
}

// A Client is safe for concurrent use; the race detector says so.
func TestConcurrentUse(t *testing.T) {
	c := answering(200, `{"accessToken":"a","expiresIn":1}`)
	done := make(chan error)
	for range 8 {
		go func() {
			for range 50 {
				if err := createToken(refreshInput())(t.Context(), c); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
