// Aws-config shows how a program uses the AWS SDK for Go with a profile's
// session: profile.LoadDefaultConfig stands in for config.LoadDefaultConfig,
// and all the rest stays as it is. It prints who the caller is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/profile"
)

func main() {
	name := flag.String("profile", "", "profile `P` of the AWS config file; by default that of AWS_PROFILE, then \"default\"")
	program.Program{
		Name:  "aws-config",
		Usage: "[-profile P]",
		About: "Prints the ARN of the profile's caller, as STS GetCallerIdentity says it.",
		Run: func(ctx context.Context, _ []string) error {
			return printCaller(ctx, *name)
		},
	}.Main()
}

func printCaller(ctx context.Context, name string) error {
	cfg, err := profile.LoadDefaultConfig(ctx,
		config.WithSharedConfigProfile(name),
		config.WithLogger(program.SDKLogger()),
	)
	if err != nil {
		return err
	}
	if cfg.Region == "" {
		return errors.New("no region is configured: add one to the profile, as in region = us-east-1, or set AWS_REGION")
	}
	// Service clients do this by themselves. Their errors are longer.
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return explain(ctx, err, cfg, name)
	}
	caller, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	_, err = fmt.Println(aws.ToString(caller.Arn))
	return err
}

// explain says why there are no credentials.
func explain(ctx context.Context, err error, cfg aws.Config, name string) error {
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, awsoidc.ErrLoginRequired):
		return fmt.Errorf("%w, or %s", err, program.LoginCommand(name))
	case aws.IsCredentialsProvider(cfg.Credentials, (*ec2rolecreds.Provider)(nil)):
		// The SDK's last resort: nothing else was configured.
		return errors.New("the profile has no credentials, and neither has the environment nor this machine: " +
			"add sso_session, sso_account_id and sso_role_name to the profile, or run \"aws configure sso\"")
	}
	return err
}
