// Awsoidc gets the token of a session, which the root package keeps.
package main

import (
	"log"

	"github.com/awsoidc/awsoidc"
)

func main() {
	src, err := awsoidc.New(awsoidc.Config{StartURL: "https://d-1234567890.awsapps.com/start", Region: "us-east-1"})
	if err != nil {
		log.Fatal(err)
	}
	log.Print(src.Token())
}
