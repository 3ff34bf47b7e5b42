package idctest_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// A service exchanges the JWT of its user for credentials that act on the
// user's behalf. Here it does so with AWS's own clients.
func ExampleServer_AddAccessKey() {
	ctx := context.Background()
	srv := idctest.New()
	httpClient := &http.Client{Transport: srv.Transport()}
	key := srv.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:iam::123456789012:user/service"})
	credentials := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
	})

	claims := `{"iss":"https://issuer.example","sub":"jane","aud":"my-service","exp":4102444800}`
	encode := base64.RawURLEncoding.EncodeToString
	jwt := encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("not verified"))

	oidc := ssooidc.New(ssooidc.Options{Region: "us-east-1", HTTPClient: httpClient, Credentials: credentials})
	token, err := oidc.CreateTokenWithIAM(ctx, &ssooidc.CreateTokenWithIAMInput{
		ClientId:  aws.String("arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"),
		GrantType: aws.String(wire.GrantJWTBearer), Assertion: &jwt,
	})
	if err != nil {
		log.Fatal(err)
	}
	roles := sts.New(sts.Options{Region: "us-east-1", HTTPClient: httpClient, Credentials: credentials})
	_, err = roles.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::123456789012:role/Access"), RoleSessionName: aws.String("jane"),
		ProvidedContexts: []ststypes.ProvidedContext{{
			ProviderArn:      aws.String("arn:aws:iam::aws:contextProvider/IdentityCenter"),
			ContextAssertion: token.AwsAdditionalDetails.IdentityContext,
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, assumed := range srv.AssumedRoles() {
		fmt.Println(assumed.Caller, "assumed", assumed.ARN)
		fmt.Println("on behalf of", assumed.Subject, "of", assumed.Issuer)
	}
	// Output:
	// arn:aws:iam::123456789012:user/service assumed arn:aws:sts::123456789012:assumed-role/Access/jane
	// on behalf of jane of https://issuer.example
}

// A test plays the browser of the authorization code grant: it approves the URL
// that the program would open, and fetches the callback.
func ExampleServer_ApproveAuthorization() {
	srv := idctest.New()
	oidc := ssooidc.New(ssooidc.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}})
	client, err := oidc.RegisterClient(context.Background(), &ssooidc.RegisterClientInput{
		ClientName: aws.String("my-tool"), ClientType: aws.String("public"), Scopes: []string{"sso:account:access"},
		GrantTypes: []string{wire.GrantAuthorizationCode, wire.GrantRefreshToken},
		IssuerUrl:  aws.String("https://d-1234567890.awsapps.com/start"), RedirectUris: []string{"http://127.0.0.1/oauth/callback"},
	})
	if err != nil {
		log.Fatal(err)
	}

	// The program listens on a port of its own, and would open this URL.
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.URL.Path, "state:", r.FormValue("state"), "code:", r.FormValue("code") != "")
	}))
	defer listener.Close()
	query := url.Values{
		"response_type": {"code"}, "client_id": {*client.ClientId}, "redirect_uri": {listener.URL + "/oauth/callback"}, "state": {"xyz"},
		"code_challenge_method": {"S256"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
	}
	callback, err := srv.ApproveAuthorization("https://oidc.us-east-1.amazonaws.com/authorize?" + query.Encode())
	if err != nil {
		log.Fatal(err)
	}
	resp, err := http.Get(callback)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	// Output: /oauth/callback state: xyz code: true
}

// A client should be tried with every exception that an operation can have.
func ExampleExceptions() {
	for _, f := range idctest.Exceptions(idctest.StartDeviceAuthorization) {
		fmt.Println(strings.TrimSpace(fmt.Sprintln(f.Status, f.Type, f.Reason)))
	}
	// Output:
	// 500 InternalServerException
	// 401 InvalidClientException
	// 400 InvalidRequestException
	// 400 InvalidRequestException KMS_NotFoundException
	// 400 InvalidRequestException KMS_InvalidKeyUsageException
	// 400 InvalidRequestException KMS_InvalidStateException
	// 400 InvalidRequestException KMS_DisabledException
	// 400 SlowDownException
	// 400 UnauthorizedClientException
}
