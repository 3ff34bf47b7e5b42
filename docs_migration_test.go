package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
	"github.com/awsoidc/awsoidc/prompt"
)

// The programs of docs/from-….md, letter for letter, and tests of those that
// come after. TestDocsMigration compares them.

// Compiled, and not run: they need the service, or what "aws sso login" left.
var _ = []any{loginBefore, deviceBefore}

// loginBefore lets the AWS CLI sign the person in, and loads what it saved.
func loginBefore(ctx context.Context) (aws.Config, error) {
	login := exec.CommandContext(ctx, "aws", "sso", "login", "--profile", "dev")
	login.Stdout, login.Stderr = os.Stderr, os.Stderr
	if err := login.Run(); err != nil { // each time, or whenever a call fails
		return aws.Config{}, err
	}
	return config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile("dev"))
}

// loginAfter signs the person in where there is no session. Close the source
// when the program ends.
func loginAfter(ctx context.Context) (aws.Config, *awsoidc.TokenSource, error) {
	src, creds, err := profile.OpenRole(ctx, profile.Options{
		Profile: "dev",
		Prompt:  prompt.Terminal(os.Stderr),
	})
	if err != nil {
		return aws.Config{}, nil, err
	}
	_, err = src.TokenContext(ctx) // refreshes the session where that is due
	if errors.Is(err, awsoidc.ErrLoginRequired) {
		err = src.Login(ctx) // asks the person
	}
	if err != nil {
		src.Close()
		return aws.Config{}, nil, err
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithSharedConfigProfile("dev"), config.WithCredentialsProvider(creds))
	return cfg, src, err
}

// roleBefore makes credentials of a role out of the AWS CLI's files.
func roleBefore(cfg aws.Config) (aws.CredentialsProvider, error) {
	file, err := ssocreds.StandardCachedTokenFilepath("corp")
	if err != nil {
		return nil, err
	}
	tokens := ssocreds.NewSSOTokenProvider(ssooidc.NewFromConfig(cfg), file)
	return aws.NewCredentialsCache(ssocreds.New(sso.NewFromConfig(cfg), "123456789012", "ReadOnly",
		"https://d-1234567890.awsapps.com/start", func(o *ssocreds.Options) { o.SSOTokenProvider = tokens })), nil
}

// roleAfter makes them out of the same session.
func roleAfter(ctx context.Context) (aws.CredentialsProvider, *awsoidc.TokenSource, error) {
	src, err := profile.Open(ctx, profile.Options{SSOSession: "corp"})
	if err != nil {
		return nil, nil, err
	}
	return src.RoleCredentials("123456789012", "ReadOnly"), src, nil
}

// deviceBefore signs a person in with a code.
func deviceBefore(ctx context.Context, cfg *oauth2.Config) (*http.Client, error) {
	code, err := cfg.DeviceAuth(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "open %s and enter %s\n", code.VerificationURI, code.UserCode)
	token, err := cfg.DeviceAccessToken(ctx, code)
	if err != nil {
		return nil, err
	}
	return cfg.Client(ctx, token), nil // the next process asks the person again
}

// deviceAfter signs a person in with a code, unless they are. Close the source
// when the program ends.
func deviceAfter(ctx context.Context) (*http.Client, *awsoidc.TokenSource, error) {
	src, err := profile.Open(ctx, profile.Options{
		StartURL:   "https://d-1234567890.awsapps.com/start",
		Region:     "us-east-1",
		Scopes:     []string{"sso:account:access"},
		Grant:      awsoidc.GrantDevice,
		Prompt:     prompt.Terminal(os.Stderr),
		ClientName: "my-tool",
	})
	if err != nil {
		return nil, nil, err
	}
	_, err = src.TokenContext(ctx)
	if errors.Is(err, awsoidc.ErrLoginRequired) {
		err = src.Login(ctx)
	}
	if err != nil {
		src.Close()
		return nil, nil, err
	}
	return src.Client("https://api.example.com"), src, nil
}

// propagateBefore exchanges a user's JWT, each time it is called.
func propagateBefore(ctx context.Context, cfg aws.Config, jwt string) (aws.CredentialsProvider, error) {
	token, err := ssooidc.NewFromConfig(cfg).CreateTokenWithIAM(ctx, &ssooidc.CreateTokenWithIAMInput{
		ClientId:  aws.String("arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"),
		GrantType: aws.String("urn:ietf:params:oauth:grant-type:jwt-bearer"),
		Assertion: aws.String(jwt),
	})
	if err != nil {
		return nil, err
	}
	role, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn:         aws.String("arn:aws:iam::123456789012:role/reports"),
		RoleSessionName: aws.String("reports"),
		ProvidedContexts: []types.ProvidedContext{{
			ProviderArn:      aws.String("arn:aws:iam::aws:contextProvider/IdentityCenter"),
			ContextAssertion: token.AwsAdditionalDetails.IdentityContext,
		}},
	})
	if err != nil {
		return nil, err
	}
	c := role.Credentials
	return credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken), nil
}

// newPropagation is for the start of the program: one for all users.
func newPropagation(cfg aws.Config) (*awsoidc.Exchanger, error) {
	return awsoidc.NewExchanger(awsoidc.ExchangerConfig{
		Application: "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef",
		AWS:         cfg,
	})
}

// propagateAfter is for each request, whose JWT was verified to be the user's.
func propagateAfter(ex *awsoidc.Exchanger, user awsoidc.Subject, jwt string) aws.CredentialsProvider {
	role := awsoidc.Role{ARN: "arn:aws:iam::123456789012:role/reports"}
	return ex.Identity(user, awsoidc.JWT(jwt)).Credentials(role)
}

// TestDocsMigration compares the pages with what is compiled here.
func TestDocsMigration(t *testing.T) {
	compiled := readFile(t, "docs_migration_test.go")
	for page, programs := range map[string]int{"from-aws-sso-login": 4, "from-oauth2": 2, "from-tip-plugins": 2} {
		blocks := strings.Split(readFile(t, "docs/"+page+".md"), "\n```go\n")[1:]
		if len(blocks) != programs {
			t.Errorf("%s has %d programs, want %d", page, len(blocks), programs)
		}
		for _, block := range blocks {
			block, _, _ := strings.Cut(block, "```")
			if !strings.Contains(compiled, "\n"+block) {
				t.Errorf("not in docs_migration_test.go as %s has it:\n%s", page, block)
			}
		}
	}
}

func TestDocsFromLogin(t *testing.T) {
	idc := readmeMachine(t)
	idc.ApproveAfter(0)
	cfg, src, err := loginAfter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	role, again, err := roleAfter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, c := range []aws.CredentialsProvider{cfg.Credentials, role} {
		cfg.Credentials = c
		out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil || !strings.Contains(aws.ToString(out.Arn), ":assumed-role/AWSReservedSSO_ReadOnly_") {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if n := idc.Count(idctest.StartDeviceAuthorization).Requests; n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}

	// What comes before reads the same session.
	before, err := roleBefore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.Retrieve(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDocsFromOAuth2(t *testing.T) {
	idc := readmeMachine(t)
	idc.ApproveAfter(0)
	for range 2 {
		client, src, err := deviceAfter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		if client == nil {
			t.Error("no client")
		}
	}
	if n := idc.Count(idctest.StartDeviceAuthorization).Requests; n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

// Before and after give credentials of the same user.
func TestDocsFromPlugins(t *testing.T) {
	w := newWorkplace()
	defer w.Close()
	before, err := propagateBefore(t.Context(), w.aws, w.signIn("jane"))
	if err != nil {
		t.Fatal(err)
	}
	ex, err := newPropagation(w.aws)
	if err != nil {
		t.Fatal(err)
	}
	defer ex.Close()
	user := awsoidc.Subject{Issuer: w.issuer.URL, ID: "jane"}
	for _, c := range []aws.CredentialsProvider{before, propagateAfter(ex, user, w.signIn("jane")), propagateAfter(ex, user, "")} {
		creds, err := c.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if who, _ := w.idc.Identify(creds.AccessKeyID); who.Subject != "jane" || who.Issuer != w.issuer.URL {
			t.Errorf("credentials of %+v", who)
		}
	}
	if n := exchanges(w.idc); n != 2 {
		t.Errorf("%d exchanges, want one before and one after", n)
	}
}
