// Net-http refreshes a token by the standard library alone.
package main

import (
	"bytes"
	"encoding/json"
	"log"
	"net/http"
)

func main() {
	body, err := json.Marshal(map[string]string{"clientId": "id", "clientSecret": "secret", "grantType": "refresh_token", "refreshToken": "token"})
	if err != nil {
		log.Fatal(err)
	}
	resp, err := http.Post("https://oidc.us-east-1.amazonaws.com/token", "application/json", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		AccessToken string `json:"accessToken"`
	}
	err = json.NewDecoder(resp.Body).Decode(&out)
	log.Print(out.AccessToken, err)
}
