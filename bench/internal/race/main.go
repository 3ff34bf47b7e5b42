// Race has two wrappers of x/oauth2 use one source at the same time. Built with
// -race, it says whether that is a data race.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

func main() {
	impl := flag.String("impl", "awsoidc", "`source`: awsoidc or oauth2.StaticTokenSource")
	flag.Parse()
	src, err := source(*impl)
	if err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
	for range 100 {
		var users sync.WaitGroup
		start := make(chan struct{})
		for range 2 {
			client := oauth2.NewClient(context.Background(), src) // has a wrapper of its own
			users.Go(func() {
				<-start
				client.Transport.(*oauth2.Transport).Source.Token()
			})
		}
		close(start)
		users.Wait()
	}
}

func source(impl string) (oauth2.TokenSource, error) {
	if impl != "awsoidc" {
		return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "token", Expiry: time.Now().Add(time.Hour)}), nil
	}
	dir, err := os.MkdirTemp("", "race-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // the source has read it by then
	srv := idctest.New()
	store, err := cache.NewDir(dir)
	if err == nil {
		err = store.Update(context.Background(), "corp", func(context.Context, []byte) ([]byte, error) {
			return json.Marshal(srv.Issue("sso:account:access"))
		})
	}
	if err != nil {
		return nil, err
	}
	src, err := awsoidc.New(awsoidc.Config{
		StartURL: "https://d-1234567890.awsapps.com/start", Region: "us-east-1", SessionName: "corp", Store: store,
		HTTPClient: &http.Client{Transport: srv.Transport()},
	})
	if err == nil {
		_, err = src.Token()
	}
	return src, err
}
