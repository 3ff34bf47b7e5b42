// Oauth2-client gets a URL with the access token of a profile's session as
// bearer token, and prints the answer's body. The token goes to that URL's
// host only, wherever a redirect may lead.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/profile"
)

func main() {
	name := flag.String("profile", "", "profile `P` of the AWS config file; by default that of AWS_PROFILE, then \"default\"")
	program.Program{
		Name:  "oauth2-client",
		Usage: "[-profile P] URL",
		About: "Gets the URL with the session's access token as bearer token, and prints the body.",
		Args:  1,
		Run: func(ctx context.Context, args []string) error {
			return get(ctx, *name, args[0])
		},
	}.Main()
}

func get(ctx context.Context, name, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	src, err := profile.Open(ctx, profile.Options{
		Profile:   name,
		LoginHint: "run: " + program.LoginCommand(name),
		Logger:    program.Logger(),
	})
	if err != nil {
		return err
	}
	defer program.CloseAfterResult(src) // waits for a refresh, and saves it

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	client := src.Client(u.Scheme + "://" + u.Host)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s: check the URL, and that this person may use it", u.Redacted(), resp.Status)
	}
	_, err = io.Copy(os.Stdout, resp.Body)
	return err
}
