package idctest_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// exchangeAssertion is what a service does with the JWT of a user.
func exchangeAssertion(srv *idctest.Server, region, jwt string) (*ssooidc.CreateTokenWithIAMOutput, error) {
	key := srv.AddAccessKey(idctest.AccessKey{})
	client := ssooidc.New(ssooidc.Options{
		Region: region, HTTPClient: &http.Client{Transport: srv.Transport()},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
		}),
	})
	return client.CreateTokenWithIAM(context.Background(), &ssooidc.CreateTokenWithIAMInput{
		ClientId:  aws.String("arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"),
		GrantType: aws.String(wire.GrantJWTBearer), Assertion: &jwt,
	})
}

// notVerified is a JWT that nobody signed.
func notVerified(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("not verified"))
}

// A test says what is in a user's token. Only what the issuer signed is accepted,
// for an audience that it is trusted for.
func ExampleIssuer() {
	issuer := idctest.NewIssuer("https://issuer.example")
	srv := idctest.New()
	srv.TrustedIssuers = []idctest.TrustedIssuer{issuer.Trusted("my-service")}

	token, err := exchangeAssertion(srv, "us-east-1", issuer.Sign(map[string]any{"sub": "jane", "aud": "my-service"}))
	if err != nil {
		log.Fatal(err)
	}
	identity, _ := srv.Identify(*token.AccessToken)
	fmt.Println(identity.Subject, "of", identity.Issuer)

	_, err = exchangeAssertion(srv, "us-east-1", issuer.Sign(map[string]any{"sub": "jane", "aud": "another"}))
	var refused *types.InvalidGrantException
	if errors.As(err, &refused) {
		fmt.Println(*refused.Error_description)
	}
	// Output:
	// jane of https://issuer.example
	// Invalid assertion provided: its audience is not one that the issuer is trusted for
}

// The server fetches the keys from the issuer, as the service does, and again
// when there is a new one.
func ExampleTrustedIssuer() {
	issuer := idctest.NewIssuer("https://issuer.example")
	srv := idctest.New()
	srv.TrustedIssuers = []idctest.TrustedIssuer{{
		Issuer: issuer.URL, Audiences: []string{"my-service"},
		HTTPClient: &http.Client{Transport: issuer.Transport()}, // of a real one: http.DefaultClient
	}}
	for range 2 {
		_, err := exchangeAssertion(srv, "us-east-1", issuer.Sign(map[string]any{"sub": "jane", "aud": "my-service"}))
		fmt.Println(err)
		issuer.Rotate()
	}
	// Output:
	// <nil>
	// <nil>
}

// A test proves that a token belongs to the user that it was handed to.
func ExampleServer_Identify() {
	srv := idctest.New()
	for _, issuer := range []string{"https://one.example", "https://two.example"} {
		token, err := exchangeAssertion(srv, "us-east-1", notVerified(`{"iss":"`+issuer+`","sub":"jane","aud":"my-service","exp":4102444800}`))
		if err != nil {
			log.Fatal(err)
		}
		identity, ok := srv.Identify(*token.AwsAdditionalDetails.IdentityContext)
		fmt.Println(identity.Subject, "of", identity.Issuer, ok)
	}
	// Output:
	// jane of https://one.example true
	// jane of https://two.example true
}

// An assertion with an ID works once.
func ExampleServer_Replays() {
	srv := idctest.New()
	jwt := notVerified(`{"iss":"https://issuer.example","sub":"jane","aud":"my-service","exp":4102444800,"jti":"1"}`)
	for range 2 {
		_, err := exchangeAssertion(srv, "us-east-1", jwt)
		var refused *types.InvalidGrantException
		fmt.Println("refused:", errors.As(err, &refused), "replays:", srv.Replays())
	}
	// Output:
	// refused: false replays: 0
	// refused: true replays: 1
}

// The instance of Identity Center is in another region, or so it says: a client
// has to look at the endpoint before it goes there.
func ExampleApplication() {
	srv := idctest.New()
	srv.Applications = []idctest.Application{{
		ARN:    "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef",
		Region: "eu-west-1", Endpoint: "https://oidc.eu-west-1.amazonaws.com.evil.example",
	}}
	jwt := notVerified(`{"iss":"https://issuer.example","sub":"jane","aud":"my-service","exp":4102444800}`)
	_, err := exchangeAssertion(srv, "us-east-1", jwt)
	var elsewhere *types.InvalidRequestRegionException
	if errors.As(err, &elsewhere) {
		fmt.Println(*elsewhere.Region, *elsewhere.Endpoint)
	}
	_, err = exchangeAssertion(srv, "eu-west-1", jwt)
	fmt.Println(err)
	// Output:
	// eu-west-1 https://oidc.eu-west-1.amazonaws.com.evil.example
	// <nil>
}
