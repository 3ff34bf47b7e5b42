// Logout ends the session of a profile, and that session only:
//
//	go run ./examples/logout -profile dev
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/profile"
)

func main() {
	name := flag.String("profile", "", "profile `P` of the AWS config file; by default that of AWS_PROFILE, then \"default\"")
	program.Program{
		Name:  "logout",
		Usage: "[-profile P]",
		About: "Signs out of a profile's session, for every tool that shares it, and removes its role credentials. Other sessions stay.",
		Run: func(ctx context.Context, _ []string) error {
			return logout(ctx, *name)
		},
	}.Main()
}

func logout(ctx context.Context, name string) error {
	src, err := profile.Open(ctx, profile.Options{
		Profile:    name,
		ShareRoles: true, // as credential-process does: theirs are removed too
		Logger:     program.Logger(),
	})
	if err != nil {
		return err
	}
	defer program.CloseAfterResult(src)
	if err := src.Logout(ctx); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "Signed out.")
	return nil
}
