// Quickstart is the whole journey in one process, without an AWS account: it
// signs in at a fake IAM Identity Center on a loopback address, uses the
// session for an HTTP API and for the AWS SDK, and lets it be refreshed. It
// reads no configuration, and leaves nothing behind. On request it only serves
// that fake, for other programs, which the file config beside this one leads
// there.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/prompt"
)

func main() {
	browser := flag.Bool("browser", false, "let a person approve the sign-in in a browser, instead of approving it here")
	port := flag.Int("serve", 0, "only serve the fake IAM Identity Center on that `PORT` of 127.0.0.1, for other programs, until Ctrl-C")
	program.Program{
		Name:  "quickstart",
		Usage: "[-browser | -serve PORT]",
		About: "Shows a sign-in and what can be done with it, against a fake IAM Identity Center in this process. Needs no AWS account, and leaves nothing behind.",
		Run: func(ctx context.Context, _ []string) error {
			if *port != 0 {
				return serveOthers(ctx, *port)
			}
			return quickstart(ctx, *browser)
		},
	}.Main()
}

func quickstart(ctx context.Context, browser bool) (err error) {
	begun := time.Now()
	idc := idctest.New()
	address, stop, err := serve(idc, 0)
	if err != nil {
		return err
	}
	defer stop()
	say("A fake IAM Identity Center listens on %s.\n\n", address)

	src, err := awsoidc.New(awsoidc.Config{
		StartURL:    "https://d-1234567890.awsapps.com/start",
		Region:      "us-east-1",
		SessionName: "quickstart",
		Endpoints:   awsoidc.Endpoints{OIDC: address, Portal: address}, // a real program leaves this out
		Prompt:      prompter(idc, browser),
	})
	if err != nil {
		return err
	}
	defer program.Close(src, &err)

	var arn string
	for _, step := range []struct {
		title string
		run   func() error
	}{
		{"Sign in: register a client, show the code, wait for the approval", func() error { return src.Login(ctx) }},
		{"Call an HTTP API through oauth2.NewClient", func() error { return get(ctx, oauth2.NewClient(ctx, src), address) }},
		{"Call AWS: role credentials, then STS GetCallerIdentity", func() error { arn, err = callerARN(ctx, src, address); return err }},
		{"Call the API when it refuses the token: refreshed, and sent again", func() error {
			idc.RevokeAccessTokens()
			return get(ctx, src.Client(address), address)
		}},
	} {
		start := time.Now()
		if err := step.run(); err != nil {
			return err
		}
		say("%-68s %8s\n", step.title, rounded(time.Since(start)))
	}
	say("\n%d sign-in and %d refresh for %d requests in all, in %s. The caller is:\n",
		idc.Count(idctest.CreateTokenDeviceCode).Succeeded, idc.Count(idctest.CreateTokenRefresh).Succeeded,
		idc.Count(idctest.AnyOperation).Requests, rounded(time.Since(begun)))
	_, err = fmt.Println(arn)
	return err
}

// serveOthers serves a fake service until a person, or the system, ends it.
func serveOthers(ctx context.Context, port int) error {
	address, stop, err := serve(idctest.New(), port)
	if err != nil {
		return fmt.Errorf("%w; give another port", err)
	}
	defer stop()
	say("A fake IAM Identity Center listens, until you press Ctrl-C. Other programs find it by\n")
	fmt.Printf("AWS_ENDPOINT_URL=%s\n", address)
	<-ctx.Done()
	return nil
}

// prompter shows the sign-in as to a person. Unless there is one, it approves.
func prompter(idc *idctest.Server, browser bool) awsoidc.Prompter {
	terminal := prompt.Terminal(os.Stderr)
	if browser {
		terminal.OpenURL = prompt.OpenBrowser
		return terminal
	}
	return approver{terminal, idc}
}

// approver is the person who compares the code and approves.
type approver struct {
	awsoidc.Prompter
	idc *idctest.Server
}

func (a approver) Prompt(ctx context.Context, v awsoidc.Verification) (func(error), error) {
	finish, err := a.Prompter.Prompt(ctx, v)
	if err != nil {
		return nil, err
	}
	say("\n(This program approves it by itself. Use -browser to do it in yours.)\n\n")
	return finish, a.idc.Approve(v.UserCode)
}

// get asks the API of the fake service who the bearer of the token is.
func get(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/userinfo", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answered %s", resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// callerARN asks STS who the bearer of the role credentials is. The config is
// made by hand, so that no variable or file of this machine matters.
func callerARN(ctx context.Context, src *awsoidc.TokenSource, address string) (string, error) {
	cfg := aws.Config{
		Region:       "us-east-1",
		Credentials:  src.RoleCredentials("123456789012", "ReadOnly"),
		BaseEndpoint: &address,
	}
	caller, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return aws.ToString(caller.Arn), nil
}

// serve serves h on a port of 127.0.0.1, any free one for 0, until stop is
// called.
func serve(h http.Handler, port int) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	return "http://" + l.Addr().String(), func() { server.Close(); <-done }, nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format, args...) }

func rounded(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}
