// Credential-process prints the credentials of a profile's role as AWS CLI and
// SDKs expect them from a credential_process. It never asks anything. In
// ~/.aws/config:
//
//	[profile tool]
//	credential_process = /usr/local/bin/credential-process -profile dev
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"time"

	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/profile"
)

func main() {
	name := flag.String("profile", "", "profile `P` of the AWS config file; by default that of AWS_PROFILE, then \"default\"")
	program.Program{
		Name:  "credential-process",
		Usage: "[-profile P]",
		About: "Prints credentials of the profile's account and role in the format of the AWS credential_process setting. It never asks anything.",
		Run: func(ctx context.Context, _ []string) error {
			return printCredentials(ctx, *name)
		},
	}.Main()
}

// output is what the AWS CLI and SDKs read from a credential_process.
type output struct {
	Version         int
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      time.Time
	AccountID       string `json:"AccountId"`
}

func printCredentials(ctx context.Context, name string) error {
	src, role, err := profile.OpenRole(ctx, profile.Options{
		Profile:    name,
		ShareRoles: true, // a tool may start this program a hundred times
		LoginHint:  "run: " + program.LoginCommand(name),
		Logger:     program.Logger(),
	})
	if err != nil {
		return err
	}
	defer program.CloseAfterResult(src) // waits for a refresh, and saves it

	// Current says when the credentials expire, Retrieve when to ask again.
	c, err := role.Current(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(output{
		Version:         1,
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: c.SecretAccessKey,
		SessionToken:    c.SessionToken,
		Expiration:      c.Expires.UTC(),
		AccountID:       c.AccountID,
	})
}
