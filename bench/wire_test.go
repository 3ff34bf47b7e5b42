package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/wire"
)

const oidcEndpoint = "https://oidc.us-east-1.amazonaws.com"

// BenchmarkCreateToken refreshes over one in-memory transport. "net/http" is
// what a program without a library would write; x/oauth2 speaks RFC 6749's own
// format, which the service does not, and is answered in that.
func BenchmarkCreateToken(b *testing.B) {
	hc := &http.Client{Transport: memoryTransport{}}
	client := &wire.Client{Endpoint: oidcEndpoint, HTTPClient: hc}
	sdk := ssooidc.New(ssooidc.Options{Region: "us-east-1", HTTPClient: hc})
	conf := oauth2.Config{ClientID: "client-id", ClientSecret: "client-secret", Endpoint: oauth2.Endpoint{
		TokenURL: "https://issuer.example/token", AuthStyle: oauth2.AuthStyleInParams,
	}}
	beside(b,
		calling("awsoidc/wire", func(ctx context.Context) error {
			_, err := client.CreateToken(ctx, &wire.CreateTokenInput{
				ClientID:     "client-id",
				ClientSecret: "client-secret",
				GrantType:    wire.GrantRefreshToken,
				RefreshToken: "refresh-token",
			})
			return err
		}),
		calling("net/http", func(ctx context.Context) error { return plainCreateToken(ctx, hc) }),
		calling("service/ssooidc", func(ctx context.Context) error {
			_, err := sdk.CreateToken(ctx, &ssooidc.CreateTokenInput{
				ClientId:     aws.String("client-id"),
				ClientSecret: aws.String("client-secret"),
				GrantType:    aws.String(wire.GrantRefreshToken),
				RefreshToken: aws.String("refresh-token"),
			})
			return err
		}),
		calling("x/oauth2", func(ctx context.Context) error {
			ctx = context.WithValue(ctx, oauth2.HTTPClient, hc)
			_, err := conf.TokenSource(ctx, &oauth2.Token{RefreshToken: "refresh-token"}).Token()
			return err
		}),
	)
}

// BenchmarkCreateTokenWithIAM exchanges a JWT over the same transport; the
// requests are signed.
func BenchmarkCreateTokenWithIAM(b *testing.B) {
	hc := &http.Client{Transport: memoryTransport{}}
	keys := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret"}, nil
	})
	client := &wire.Client{Endpoint: oidcEndpoint, HTTPClient: hc, Signer: awsoidc.NewSigner(keys, "us-east-1")}
	sdk := ssooidc.New(ssooidc.Options{Region: "us-east-1", HTTPClient: hc, Credentials: keys})
	jwt := strings.Repeat("j", 1000)
	beside(b,
		calling("awsoidc/wire", func(ctx context.Context) error {
			_, err := client.CreateTokenWithIAM(ctx, &wire.CreateTokenWithIAMInput{
				ClientID:  applicationARN,
				GrantType: wire.GrantJWTBearer,
				Assertion: wire.Secret(jwt),
			})
			return err
		}),
		calling("service/ssooidc", func(ctx context.Context) error {
			_, err := sdk.CreateTokenWithIAM(ctx, &ssooidc.CreateTokenWithIAMInput{
				ClientId:  aws.String(applicationARN),
				GrantType: aws.String(wire.GrantJWTBearer),
				Assertion: aws.String(jwt),
			})
			return err
		}),
	)
}

func calling(name string, call func(context.Context) error) contestant {
	return contestant{name, func(b *testing.B) {
		b.ReportAllocs()
		withCPU(b, false, func() {
			for range b.N {
				if err := call(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}}
}

func plainCreateToken(ctx context.Context, hc *http.Client) error {
	body, err := json.Marshal(struct {
		ClientID     string `json:"clientId"`
		ClientSecret string `json:"clientSecret"`
		GrantType    string `json:"grantType"`
		RefreshToken string `json:"refreshToken"`
	}{"client-id", "client-secret", wire.GrantRefreshToken, "refresh-token"})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, oidcEndpoint+"/token", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var out struct {
		AccessToken  string `json:"accessToken"`
		TokenType    string `json:"tokenType"`
		ExpiresIn    int    `json:"expiresIn"`
		RefreshToken string `json:"refreshToken"`
		IDToken      string `json:"idToken"`
	}
	return json.NewDecoder(resp.Body).Decode(&out)
}

// memoryTransport hands requests to a handler that answers with a token.
type memoryTransport struct{}

func (memoryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", "application/json")
	rec.Header().Set("x-amzn-RequestId", "6d7f5b0e-0d5c-4e8a-9f4e-2f0b7c1d3a55")
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return nil, err
	}
	if req.URL.Host == "issuer.example" {
		io.WriteString(rec, `{"access_token":"aoa-access-token","expires_in":3600,"refresh_token":"aor-refresh-token","token_type":"Bearer"}`)
	} else {
		io.WriteString(rec, `{"accessToken":"aoa-access-token","expiresIn":3600,"idToken":null,"refreshToken":"aor-refresh-token","tokenType":"Bearer"}`)
	}
	resp := rec.Result()
	resp.Request = req
	return resp, req.Body.Close()
}
