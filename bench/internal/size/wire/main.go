// Wire is the program net-http, by package wire.
package main

import (
	"context"
	"log"

	"github.com/awsoidc/awsoidc/wire"
)

func main() {
	client := wire.Client{Endpoint: "https://oidc.us-east-1.amazonaws.com"}
	out, err := client.CreateToken(context.Background(), &wire.CreateTokenInput{
		ClientID: "id", ClientSecret: "secret", GrantType: wire.GrantRefreshToken, RefreshToken: "token",
	})
	log.Print(out, err)
}
