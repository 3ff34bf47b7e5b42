package idctest_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc/idctest"
)

// What a program asked for, and what it was answered.
func ExampleServer_Log() {
	srv := idctest.New()
	oidc := ssooidc.New(ssooidc.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}})
	oidc.RegisterClient(context.Background(), &ssooidc.RegisterClientInput{
		ClientName: aws.String("my-tool"), ClientType: aws.String("confidential"),
	})
	for _, e := range srv.Log() {
		fmt.Println(e.Method, e.Path, e.Status, e.Type)
	}
	// Output: POST /client/register 400 InvalidClientMetadataException
}

// How often a program asked.
func ExampleServer_Count() {
	srv := idctest.New()
	oidc := ssooidc.New(ssooidc.Options{
		Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}, RetryMaxAttempts: 1,
	})
	srv.Inject(idctest.RegisterClient, idctest.Fault{Status: http.StatusServiceUnavailable})
	for range 2 {
		oidc.RegisterClient(context.Background(), &ssooidc.RegisterClientInput{
			ClientName: aws.String("my-tool"), ClientType: aws.String("public"),
		})
	}
	counts := srv.Count(idctest.RegisterClient)
	fmt.Println(counts.Requests, "requests,", counts.Failed, "failed,", counts.Faulted, "of them by a fault")
	// Output: 2 requests, 1 failed, 1 of them by a fault
}

// The portal of a person who may use one account.
func ExampleServer_accounts() {
	srv := idctest.New()
	srv.Accounts = []idctest.Account{{ID: "111122223333", Name: "sandbox", Roles: []string{"Admin"}}}
	session := srv.Issue("sso:account:access")
	portal := sso.New(sso.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}})
	out, err := portal.ListAccounts(context.Background(), &sso.ListAccountsInput{AccessToken: &session.AccessToken})
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range out.AccountList {
		fmt.Println(*a.AccountId, *a.AccountName)
	}
	// Output: 111122223333 sandbox
}

// Who assumed which role, and for how long.
func ExampleServer_AssumedRoles() {
	srv := idctest.New()
	key := srv.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:iam::123456789012:user/service"})
	client := sts.New(sts.Options{
		Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
		}),
	})
	if _, err := client.AssumeRole(context.Background(), &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::123456789012:role/Access"), RoleSessionName: aws.String("nightly"),
	}); err != nil {
		log.Fatal(err)
	}
	for _, r := range srv.AssumedRoles() {
		fmt.Println(r.Caller, "as", r.SessionName, "for", r.Duration)
	}
	// Output: arn:aws:iam::123456789012:user/service as nightly for 1h0m0s
}
