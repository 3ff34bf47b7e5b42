// Ssooidc is the program net-http, by the AWS SDK's client.
package main

import (
	"context"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
)

func main() {
	client := ssooidc.New(ssooidc.Options{Region: "us-east-1"})
	out, err := client.CreateToken(context.Background(), &ssooidc.CreateTokenInput{
		ClientId: aws.String("id"), ClientSecret: aws.String("secret"),
		GrantType: aws.String("refresh_token"), RefreshToken: aws.String("token"),
	})
	log.Print(out, err)
}
