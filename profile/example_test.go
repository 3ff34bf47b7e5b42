package profile_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
)

// What the config file says of a profile.
func ExampleLoad() {
	p, err := profile.Load(context.Background(), profile.Options{Profile: "dev", ConfigFile: "testdata/config"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.SessionName, p.StartURL, p.SSORegion)
	fmt.Println(p.AccountID, p.RoleName, p.Region)
	// Output:
	// corp https://d-1234567890.awsapps.com/start us-east-1
	// 123456789012 ReadOnly eu-west-1
}

// An error says what to do.
func ExampleLoad_error() {
	_, err := profile.Load(context.Background(), profile.Options{Profile: "deb", ConfigFile: "testdata/config"})
	fmt.Println(errors.Is(err, profile.ErrNoProfile))
	fmt.Println(err)
	// Output:
	// true
	// profile: there is no profile "deb" in testdata/config; did you mean "dev"?
}

// A command-line tool signs its user in.
func ExampleOpen() {
	ctx := context.Background()
	service := idctest.New() // stands for AWS; a program leaves HTTPClient out
	src, err := profile.Open(ctx, profile.Options{
		Profile:    "dev",
		ConfigFile: "testdata/config",
		HTTPClient: &http.Client{Transport: service.Transport()},
		Prompt: awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
			fmt.Println("open", v.URI, "and compare the code shown")
			return service.Approve(v.UserCode) // the person does this
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	if err := src.Login(ctx); err != nil {
		fmt.Println(err)
		return
	}
	token, err := src.Token()
	fmt.Println(token.Valid(), err)
	// Output:
	// open https://oidc.us-east-1.amazonaws.com/device and compare the code shown
	// true <nil>
}

// A credential_process prints what it gets, with the true expiry.
func ExampleOpenRole() {
	ctx := context.Background()
	src, role, err := profile.OpenRole(ctx, profile.Options{
		Profile:    "dev",
		ConfigFile: "testdata/config",
		HTTPClient: signedIn("corp"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	c, err := role.Current(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.AccountID, c.HasKeys(), time.Until(c.Expires) > 30*time.Minute)
	// Output:
	// 123456789012 true true
}

// Any program on the AWS SDK for Go changes one call.
func ExampleLoadDefaultConfig() {
	ctx := context.Background()
	cfg, err := profile.LoadDefaultConfig(ctx, // config.LoadDefaultConfig before
		config.WithSharedConfigFiles([]string{"testdata/config"}),
		config.WithSharedConfigProfile("dev"),
		config.WithHTTPClient(signedIn("corp")),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	me, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(*me.Account)
	// Output:
	// 123456789012
}

// signedIn returns a client of a stand-in for AWS, with a session in the home
// folder as "aws sso login" leaves it.
func signedIn(name string) *http.Client {
	service := idctest.New()
	home, err := os.UserHomeDir()
	if err == nil {
		err = writeSession(home, name, service.Issue("sso:account:access"), "https://d-1234567890.awsapps.com/start")
	}
	if err != nil {
		panic(err)
	}
	return &http.Client{Transport: service.Transport()}
}
