package idctest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// A program signs a person in with a device code. Here it is AWS's own client,
// with the in-memory transport.
func Example() {
	ctx := context.Background()
	srv := idctest.New()
	oidc := ssooidc.New(ssooidc.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}})

	reg, err := oidc.RegisterClient(ctx, &ssooidc.RegisterClientInput{
		ClientName: aws.String("my-tool"), ClientType: aws.String("public"), Scopes: []string{"sso:account:access"},
	})
	if err != nil {
		log.Fatal(err)
	}
	auth, err := oidc.StartDeviceAuthorization(ctx, &ssooidc.StartDeviceAuthorizationInput{
		ClientId: reg.ClientId, ClientSecret: reg.ClientSecret,
		StartUrl: aws.String("https://d-1234567890.awsapps.com/start"),
	})
	if err != nil {
		log.Fatal(err)
	}

	// The person's part.
	if err := srv.Approve(*auth.UserCode); err != nil {
		log.Fatal(err)
	}

	token, err := oidc.CreateToken(ctx, &ssooidc.CreateTokenInput{
		ClientId: reg.ClientId, ClientSecret: reg.ClientSecret,
		GrantType: aws.String(wire.GrantDeviceCode), DeviceCode: auth.DeviceCode,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*token.TokenType, time.Duration(token.ExpiresIn)*time.Second)
	fmt.Println(srv.Count(idctest.AnyOperation).Requests, "requests")
	// Output:
	// Bearer 1h0m0s
	// 3 requests
}

// Over a network any client works: set AWS_ENDPOINT_URL to the server's URL.
func Example_network() {
	srv := idctest.New()
	ts := httptest.NewServer(srv)
	defer ts.Close()

	session := srv.Issue("sso:account:access")
	req, err := http.NewRequest("GET", ts.URL+"/userinfo", nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+session.AccessToken)
	resp, err := ts.Client().Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	var who struct{ Sub string }
	if err := json.NewDecoder(resp.Body).Decode(&who); err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.StatusCode, who.Sub)
	// Output: 200 jane.doe@example.com
}

// The answer to a refresh is lost after the service carried it out. A client
// that sends the same token again loses its session.
func ExampleServer_Inject() {
	srv := idctest.New()
	session := srv.Issue("sso:account:access")
	srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{ResetAfter: true})

	oidc := ssooidc.New(ssooidc.Options{
		Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}, RetryMaxAttempts: 1,
	})
	for range 2 {
		_, err := oidc.CreateToken(context.Background(), &ssooidc.CreateTokenInput{
			ClientId: &session.ClientID, ClientSecret: &session.ClientSecret,
			GrantType: aws.String(wire.GrantRefreshToken), RefreshToken: &session.RefreshToken,
		})
		var invalid *types.InvalidGrantException
		fmt.Println("reset:", errors.Is(err, syscall.ECONNRESET), "session lost:", errors.As(err, &invalid))
	}
	fmt.Println("reuses:", srv.Reuses())
	// Output:
	// reset: true session lost: false
	// reset: false session lost: true
	// reuses: 1
}

// A session without the sign-in, as a token file of the AWS CLI.
func ExampleServer_Issue() {
	srv := idctest.New()
	srv.Now = func() time.Time { return time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC) }
	session := srv.Issue("sso:account:access")
	file, err := json.Marshal(session) // write it to ~/.aws/sso/cache/<sha1 of the session's name>.json
	if err != nil {
		log.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(file, &fields); err != nil {
		log.Fatal(err)
	}
	fmt.Println(fields["startUrl"], fields["expiresAt"])
	// Output: https://d-1234567890.awsapps.com/start 2026-11-23T06:00:00Z
}
