// Profile gets the credentials of an AWS config file's profile, by package
// profile.
package main

import (
	"context"
	"log"

	"github.com/awsoidc/awsoidc/profile"
)

func main() {
	cfg, err := profile.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	c, err := cfg.Credentials.Retrieve(context.Background())
	log.Print(c.AccessKeyID, err)
}
