// Accounts shows how a program finds out what its user may use: it prints the
// accounts and roles of a profile's session as a table. It never asks anything.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/profile"
)

func main() {
	name := flag.String("profile", "", "profile `P` of the AWS config file; by default that of AWS_PROFILE, then \"default\"")
	program.Program{
		Name:  "accounts",
		Usage: "[-profile P]",
		About: "Prints the accounts and roles that the profile's session may use, as a table. It never asks anything.",
		Run: func(ctx context.Context, _ []string) error {
			return printAccounts(ctx, *name)
		},
	}.Main()
}

func printAccounts(ctx context.Context, name string) error {
	src, err := profile.Open(ctx, profile.Options{
		Profile:   name,
		LoginHint: "run: " + program.LoginCommand(name),
		Logger:    program.Logger(),
	})
	if err != nil {
		return err
	}
	defer program.CloseAfterResult(src) // waits for a refresh, and saves it

	var table strings.Builder // printed as a whole, or not at all
	w := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ACCOUNT\tNAME\tEMAIL\tROLE")
	for account, err := range src.Accounts(ctx) {
		if err != nil {
			return err
		}
		if err := printRoles(ctx, w, src, account); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = os.Stdout.WriteString(table.String())
	return err
}

// printRoles prints a line for each role.
func printRoles(ctx context.Context, w io.Writer, src *awsoidc.TokenSource, a awsoidc.Account) error {
	for role, err := range src.Roles(ctx, a.ID) {
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", printable(a.ID), printable(a.Name), printable(a.Email), printable(role))
	}
	return nil
}

// printable returns what a terminal shows as it is, on one line: administrators
// choose these names.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}
