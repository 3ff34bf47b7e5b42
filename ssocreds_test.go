package awsoidc_test

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// TestBesideTheSDK refreshes a session while the official SDK refreshes the
// same file, without a lock and in place, several times over.
func TestBesideTheSDK(t *testing.T) {
	t.Parallel()
	srv := idctest.New()
	srv.DetectReuse = false // or a collision would end the session for both
	srv.AccessTokenLifetime = 2 * time.Second
	network := httptest.NewServer(srv)
	defer network.Close()
	store := putIssued(t, srv, t.TempDir())

	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(scale(4, 8))*time.Second)
	defer cancel()
	client := ssooidc.New(ssooidc.Options{Region: "us-east-1", BaseEndpoint: aws.String(network.URL)})
	var users sync.WaitGroup
	users.Go(func() {
		for ctx.Err() == nil {
			ssocreds.NewSSOTokenProvider(client, store.Filename("corp")).RetrieveBearerToken(ctx)
			time.Sleep(20 * time.Millisecond)
		}
	})
	for range 2 {
		src := newSource(t, srv, withStore(store), func(c *awsoidc.Config) {
			c.HTTPClient = nil
			c.Endpoints = awsoidc.Endpoints{OIDC: network.URL, Portal: network.URL}
		})
		users.Go(func() {
			for ctx.Err() == nil {
				if _, err := src.Bearer(ctx); err != nil && ctx.Err() == nil {
					t.Errorf("a caller saw an error: %v", err)
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	users.Wait()
}
