package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// A device authorization from its beginning to the token, against a server that
// approves at the second poll.
func Example() {
	server := httptest.NewServer(exampleService())
	defer server.Close()
	ctx := context.Background()
	client := &wire.Client{Endpoint: server.URL} // or what EndpointFor returns

	registered, err := client.RegisterClient(ctx, &wire.RegisterClientInput{
		ClientName: "my-tool",
		Scopes:     []string{"sso:account:access"},
	})
	if err != nil {
		log.Fatal(err)
	}
	device, err := client.StartDeviceAuthorization(ctx, &wire.StartDeviceAuthorizationInput{
		ClientID:     registered.ClientID,
		ClientSecret: registered.ClientSecret,
		StartURL:     "https://d-1234567890.awsapps.com/start",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("open", device.VerificationURI, "and compare", device.UserCode)

	interval := device.Interval
	for ; ; time.Sleep(interval) {
		token, err := client.CreateToken(ctx, &wire.CreateTokenInput{
			ClientID:     registered.ClientID,
			ClientSecret: registered.ClientSecret,
			GrantType:    wire.GrantDeviceCode,
			DeviceCode:   device.DeviceCode,
		})
		var e *wire.Error
		switch {
		case err == nil:
			fmt.Println("signed in for", token.ExpiresIn)
			return
		case errors.As(err, &e) && e.Type == wire.TypeAuthorizationPending:
		case errors.As(err, &e) && e.Type == wire.TypeSlowDown:
			interval += 5 * time.Second
		default:
			log.Fatal(err)
		}
	}
	// Output:
	// open https://device.example/ and compare ABCD-EFGH
	// signed in for 8h0m0s
}

func ExampleClient_RegisterClient() {
	server := httptest.NewServer(exampleService())
	defer server.Close()
	client := &wire.Client{Endpoint: server.URL, UserAgent: "my-tool/1.0"}

	out, err := client.RegisterClient(context.Background(), &wire.RegisterClientInput{
		ClientName: "my-tool",
		Scopes:     []string{"sso:account:access"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.ClientID, out.ClientSecret, "until", out.ClientSecretExpiresAt.Format(time.DateOnly))
	fmt.Println("AWS support asks for", out.Metadata.RequestID)
	// Output:
	// client-id [redacted] until 2033-05-18
	// AWS support asks for request-1
}

func ExampleClient_StartDeviceAuthorization() {
	server := httptest.NewServer(exampleService())
	defer server.Close()
	client := &wire.Client{Endpoint: server.URL}

	out, err := client.StartDeviceAuthorization(context.Background(), &wire.StartDeviceAuthorizationInput{
		ClientID:     "client-id",
		ClientSecret: "client-secret",
		StartURL:     "https://d-1234567890.awsapps.com/start",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out.VerificationURIComplete, out.UserCode, out.Interval)
	// Output: https://device.example/?user_code=ABCD-EFGH ABCD-EFGH 1s
}

// A refresh. An answer without a refresh token means that the old one stays.
func ExampleClient_CreateToken() {
	server := httptest.NewServer(exampleService())
	defer server.Close()
	client := &wire.Client{Endpoint: server.URL}

	refreshToken := wire.Secret("refresh-token-1")
	out, err := client.CreateToken(context.Background(), &wire.CreateTokenInput{
		ClientID:     "client-id",
		ClientSecret: "client-secret",
		GrantType:    wire.GrantRefreshToken,
		RefreshToken: refreshToken,
	})
	var sendError *wire.SendError
	switch {
	case errors.As(err, &sendError) && sendError.Unspent:
		fmt.Println("not sent: send it again")
	case err != nil:
		fmt.Println(err)
	default:
		if out.RefreshToken != "" {
			refreshToken = out.RefreshToken
		}
		fmt.Println("refreshed for", out.ExpiresIn)
	}
	// Output: refreshed for 8h0m0s
}

// A service acts for a person whom its identity provider signed in. The Signer
// is usually that of AWS credentials; what follows asks nobody for a signature.
func ExampleClient_CreateTokenWithIAM() {
	server := httptest.NewServer(exampleService())
	defer server.Close()
	client := &wire.Client{Endpoint: server.URL, Signer: exampleSigner{}}

	out, err := client.CreateTokenWithIAM(context.Background(), &wire.CreateTokenWithIAMInput{
		ClientID:  "arn:aws:sso::123456789012:application/ssoins-1111111111111111/apl-2222222222222222",
		GrantType: wire.GrantJWTBearer,
		Assertion: "header.claims.signature", // the person's JWT
	})
	var e *wire.Error
	switch {
	case errors.As(err, &e) && e.Type == wire.TypeInvalidGrant:
		fmt.Println("the assertion is spent or was refused: ask for another one")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(out.AccessToken, "for", out.ExpiresIn, "to", out.Scopes)
		fmt.Println("context for STS AssumeRole:", out.IdentityContext)
	}
	// Output:
	// [redacted] for 1h0m0s to [openid aws sts:identity_context]
	// context for STS AssumeRole: [redacted]
}

type exampleSigner struct{}

func (exampleSigner) Sign(_ context.Context, req *http.Request, payloadHash string) error {
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…")
	return nil
}

// The log of a request.
func ExampleClient_logger() {
	server := httptest.NewServer(exampleService())
	defer server.Close()
	withoutTimes := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "duration" {
			return slog.Attr{}
		}
		return a
	}
	client := &wire.Client{
		Endpoint: server.URL,
		Logger:   slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: withoutTimes})),
	}
	client.RegisterClient(context.Background(), &wire.RegisterClientInput{ClientName: "my-tool"})
	// Output:
	// level=DEBUG msg="request to IAM Identity Center" operation=RegisterClient method=POST path=/client/register status=200 request_id=request-1
}

func ExampleEndpointFor() {
	for _, region := range []string{"us-east-1", "cn-north-1", "evil.example/"} {
		fmt.Println(wire.EndpointFor(region, false, false))
	}
	// Output:
	// https://oidc.us-east-1.amazonaws.com <nil>
	// https://oidc.cn-north-1.amazonaws.com.cn <nil>
	//  wire: "evil.example/" is not a region; use a name such as "us-east-1"
}

func ExampleCheckEndpoint() {
	for _, raw := range []string{"https://example.com/oidc", "http://127.0.0.1:8080", "http://10.0.0.1"} {
		_, err := wire.CheckEndpoint(raw)
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// wire: the endpoint is http on 10.0.0.1; use https, which only a loopback address can do without
}

func ExampleCheckURL() {
	for _, raw := range []string{"https://device.example/?user_code=ABCD-EFGH", "file:///etc/passwd"} {
		_, err := wire.CheckURL(raw)
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// wire: the URL does not begin with https://
}

func ExampleSecret() {
	token := wire.Secret("a token")
	fmt.Printf("%v %q %#v %s\n", token, token, token, string(token))
	// Output: [redacted] [redacted] [redacted] a token
}

// exampleService answers every operation.
func exampleService() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /client/register", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-amzn-RequestId", "request-1")
		fmt.Fprint(w, `{"clientId":"client-id","clientSecret":"client-secret","clientSecretExpiresAt":2000000000}`)
	})
	mux.HandleFunc("POST /device_authorization", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"deviceCode":"device-code","userCode":"ABCD-EFGH","verificationUri":"https://device.example/","verificationUriComplete":"https://device.example/?user_code=ABCD-EFGH","expiresIn":600,"interval":1}`)
	})
	polled := false
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, req *http.Request) {
		if req.URL.RawQuery == "aws_iam=t" {
			fmt.Fprint(w, `{"accessToken":"access-token","tokenType":"Bearer","expiresIn":3600,"scope":["openid","aws","sts:identity_context"],"awsAdditionalDetails":{"identityContext":"identity-context"}}`)
			return
		}
		var in struct{ GrantType string }
		if err := json.NewDecoder(req.Body).Decode(&in); err != nil {
			log.Print(err)
		}
		if in.GrantType == wire.GrantDeviceCode && !polled {
			polled = true
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"AuthorizationPendingException","error":"authorization_pending"}`)
			return
		}
		fmt.Fprint(w, `{"accessToken":"access-token","tokenType":"Bearer","expiresIn":28800}`)
	})
	return mux
}
