package awsoidc_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// A window is a Prompter of a program's own. It is a GrantChooser and a
// WaitingPrompter as well, which a Prompter need not be.
type window struct{}

var (
	_ awsoidc.GrantChooser    = window{}
	_ awsoidc.WaitingPrompter = window{}
)

func (window) Prompt(_ context.Context, v awsoidc.Verification) (func(error), error) {
	fmt.Println("open", v.URIComplete, "and compare", v.UserCode)
	return func(err error) { fmt.Println("close the window:", err) }, nil
}

func (window) ChooseGrant() (awsoidc.Grant, string) {
	return awsoidc.GrantDevice, "the browser may be on another machine"
}

func (window) Waiting(session, who string) {
	fmt.Println("another program signs in to", session+":", who)
}

func (window) Adopted(session string) {
	fmt.Println("signed in to", session, "by another program")
}

func ExamplePrompter() {
	var p awsoidc.Prompter = window{} // for Config.Prompt; Login then does what follows
	verification := awsoidc.Verification{
		URIComplete: "https://device.sso.us-east-1.amazonaws.com/?user_code=BCDF-GHJK",
		UserCode:    "BCDF-GHJK",
	}
	if w, ok := p.(awsoidc.WaitingPrompter); ok {
		w.Waiting("corp", "process 4711, since 10:15:00")
		w.Adopted("corp") // unless it was refused there, or this program's turn has come
	}
	if c, ok := p.(awsoidc.GrantChooser); ok {
		verification.Grant, verification.Reason = c.ChooseGrant()
	}
	finish, err := p.Prompt(context.Background(), verification)
	if err != nil {
		fmt.Println(err)
		return
	}
	finish(nil) // once the person has approved
	// Output:
	// another program signs in to corp: process 4711, since 10:15:00
	// signed in to corp by another program
	// open https://device.sso.us-east-1.amazonaws.com/?user_code=BCDF-GHJK and compare BCDF-GHJK
	// close the window: <nil>
}

// Endpoints lead to a stand-in, a proxy or a VPC endpoint. Package profile has
// them from the environment and the config file.
func ExampleEndpoints() {
	idc := idctest.New()
	server := httptest.NewServer(idc)
	defer server.Close()
	src, err := awsoidc.New(awsoidc.Config{
		StartURL:  "https://d-1234567890.awsapps.com/start",
		Region:    "us-east-1",
		Endpoints: awsoidc.Endpoints{OIDC: server.URL, Portal: server.URL},
		Prompt: awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error {
			return idc.Approve(v.UserCode)
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer src.Close()
	if err := src.Login(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	for account, err := range src.Accounts(context.Background()) {
		fmt.Println(account.ID, err)
	}
	// Output: 123456789012 <nil>
}
