// Ssocreds is the program profile, by the AWS SDK alone.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-sdk-go-v2/config"
)

func main() {
	cfg, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	c, err := cfg.Credentials.Retrieve(context.Background())
	log.Print(c.AccessKeyID, err)
}
