package wire

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

const startURL = "https://d-1234567890.awsapps.com/start"

// TestJourneys has each client register, sign a person in and refresh, at
// idctest on a loopback port.
func TestJourneys(t *testing.T) {
	for name, journey := range map[string]func(t *testing.T, url string) (tokens []string){
		"wire": ourJourney, "Go": officialJourney,
		"JavaScript": func(t *testing.T, url string) (tokens []string) {
			node(t, &tokens, nil, "journey.mjs", url, startURL)
			return tokens
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := idctest.New()
			srv.ApproveAfter(0)
			ts := httptest.NewServer(srv)
			defer ts.Close()
			tokens := journey(t, ts.URL)
			if len(tokens) != 2 || tokens[0] == "" || tokens[1] == "" || tokens[0] == tokens[1] {
				t.Errorf("got %d access tokens", len(tokens))
			}
			for i, token := range tokens {
				if status := userInfo(t, ts.URL, token); status != 200 {
					t.Errorf("access token %d: HTTP %d", i, status)
				}
			}
			for _, op := range []idctest.Operation{idctest.RegisterClient, idctest.StartDeviceAuthorization, idctest.CreateTokenDeviceCode, idctest.CreateTokenRefresh} {
				if n := srv.Count(op); n.Succeeded != 1 || n.Failed != 0 {
					t.Errorf("%s: %+v", op, n)
				}
			}
		})
	}
}

// userInfo asks a resource of idctest's what it thinks of an access token.
func userInfo(t *testing.T, url, token string) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func ourJourney(t *testing.T, url string) (tokens []string) {
	ctx, c := t.Context(), &wire.Client{Endpoint: url}
	registered, err := c.RegisterClient(ctx, &wire.RegisterClientInput{ClientName: "journey", Scopes: []string{"sso:account:access"}})
	if err != nil {
		t.Fatal(err)
	}
	device, err := c.StartDeviceAuthorization(ctx, &wire.StartDeviceAuthorizationInput{
		ClientID: registered.ClientID, ClientSecret: registered.ClientSecret, StartURL: startURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.CreateToken(ctx, &wire.CreateTokenInput{
		ClientID: registered.ClientID, ClientSecret: registered.ClientSecret, GrantType: wire.GrantDeviceCode, DeviceCode: device.DeviceCode,
	})
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.CreateToken(ctx, &wire.CreateTokenInput{
		ClientID: registered.ClientID, ClientSecret: registered.ClientSecret, GrantType: wire.GrantRefreshToken, RefreshToken: first.RefreshToken,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []string{string(first.AccessToken), string(second.AccessToken)}
}

func officialJourney(t *testing.T, url string) (tokens []string) {
	ctx, c := t.Context(), ssooidc.New(ssooidc.Options{Region: region, BaseEndpoint: &url, RetryMaxAttempts: 1})
	registered, err := c.RegisterClient(ctx, &ssooidc.RegisterClientInput{
		ClientName: aws.String("journey"), ClientType: aws.String("public"), Scopes: []string{"sso:account:access"},
	})
	if err != nil {
		t.Fatal(err)
	}
	device, err := c.StartDeviceAuthorization(ctx, &ssooidc.StartDeviceAuthorizationInput{
		ClientId: registered.ClientId, ClientSecret: registered.ClientSecret, StartUrl: aws.String(startURL),
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.CreateToken(ctx, &ssooidc.CreateTokenInput{
		ClientId: registered.ClientId, ClientSecret: registered.ClientSecret, GrantType: aws.String(wire.GrantDeviceCode), DeviceCode: device.DeviceCode,
	})
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.CreateToken(ctx, &ssooidc.CreateTokenInput{
		ClientId: registered.ClientId, ClientSecret: registered.ClientSecret, GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: first.RefreshToken,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []string{*first.AccessToken, *second.AccessToken}
}
