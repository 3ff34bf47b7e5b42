// Token prints a valid access token of a profile's session, alone on a line,
// and refreshes it first where that is needed. It never asks anything:
//
//	curl -H "Authorization: Bearer $(go run ./examples/token -profile dev)" https://api.example.com/
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/profile"
)

func main() {
	name := flag.String("profile", "", "profile `P` of the AWS config file; by default that of AWS_PROFILE, then \"default\"")
	asJSON := flag.Bool("json", false, "print a JSON object with the expiry as well")
	program.Program{
		Name:  "token",
		Usage: "[-profile P] [-json]",
		About: "Prints a valid access token, refreshing it when needed. It never asks anything.",
		Run: func(ctx context.Context, _ []string) error {
			return printToken(ctx, *name, *asJSON)
		},
	}.Main()
}

func printToken(ctx context.Context, name string, asJSON bool) error {
	src, err := profile.Open(ctx, profile.Options{
		Profile:   name,
		LoginHint: "run: " + program.LoginCommand(name),
		Logger:    program.Logger(),
	})
	if err != nil {
		return err
	}
	defer program.CloseAfterResult(src) // waits for a refresh, and saves it

	token, err := src.TokenContext(ctx)
	if err != nil {
		return err
	}
	if !asJSON {
		_, err = fmt.Println(token.AccessToken)
		return err
	}
	// token.Expiry is when to ask again. This is when the token expires.
	expires, _ := token.Extra("expires_at").(time.Time)
	return json.NewEncoder(os.Stdout).Encode(struct {
		AccessToken string    `json:"access_token"`
		TokenType   string    `json:"token_type"`
		ExpiresAt   time.Time `json:"expires_at"`
	}{token.AccessToken, token.Type(), expires})
}
