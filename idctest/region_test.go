package idctest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	oidctypes "github.com/aws/aws-sdk-go-v2/service/ssooidc/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// TestApplicationRegion checks that applications can be in regions of their
// own, and which endpoint is named for them.
func TestApplicationRegion(t *testing.T) {
	srv := idctest.New()
	srv.Region = "us-west-2"
	srv.Applications = []idctest.Application{
		{ARN: application, Region: "eu-west-1"},
		{ARN: otherApplication, Region: "eu-south-1", Endpoint: "https://oidc.evil.example"},
		{ARN: application + "2"},
	}
	key := srv.AddAccessKey(idctest.AccessKey{})
	for _, test := range []struct{ application, region, endpoint string }{
		{application, "eu-west-1", "https://oidc.eu-west-1.amazonaws.com"},
		{otherApplication, "eu-south-1", "https://oidc.evil.example"},
		{application + "2", "us-west-2", "https://oidc.us-west-2.amazonaws.com"},
		{application + "3", "us-west-2", "https://oidc.us-west-2.amazonaws.com"}, // which it does not know
	} {
		in := jwtBearer(assertion(map[string]any{"jti": test.application}))
		in.ClientId = &test.application
		_, err := iamClient(srv.Transport(), "us-east-1", key).CreateTokenWithIAM(t.Context(), in)
		var elsewhere *oidctypes.InvalidRequestRegionException
		if !errors.As(err, &elsewhere) || *elsewhere.Region != test.region || *elsewhere.Endpoint != test.endpoint || *elsewhere.Error_ != "invalid_request" {
			t.Errorf("%s: %#v, want %s", test.application, err, test.region)
			continue
		}
		_, err = iamClient(srv.Transport(), test.region, key).CreateTokenWithIAM(t.Context(), in)
		if known := test.application != application+"3"; known && err != nil || !known && !isException(err, wire.TypeInvalidClient) {
			t.Errorf("%s: in its own region: %v", test.application, err)
		}
	}
}

// TestRegionOnLoopback follows the endpoint that a server on loopback names for
// itself: it answers for the region of the signature.
func TestRegionOnLoopback(t *testing.T) {
	srv := idctest.New()
	ts := httptest.NewServer(srv)
	defer ts.Close()
	srv.Applications = []idctest.Application{{ARN: application, Region: "eu-west-1", Endpoint: ts.URL}}
	key := srv.AddAccessKey(idctest.AccessKey{})
	exchange := func(region, endpoint string) error {
		client := ssooidc.New(ssooidc.Options{Region: region, BaseEndpoint: &endpoint, Credentials: static(key), RetryMaxAttempts: 1})
		_, err := client.CreateTokenWithIAM(context.Background(), jwtBearer(assertion(map[string]any{"jti": "1"})))
		return err
	}
	err := exchange("us-east-1", ts.URL)
	var elsewhere *oidctypes.InvalidRequestRegionException
	if !errors.As(err, &elsewhere) {
		t.Fatal(err)
	}
	if err := exchange(aws.ToString(elsewhere.Region), aws.ToString(elsewhere.Endpoint)); err != nil {
		t.Error(err)
	}
	if n := srv.Replays(); n != 0 {
		t.Errorf("%d replays: the first request should have spent nothing", n)
	}
	hosts := []string{}
	for _, e := range srv.Log() {
		hosts = append(hosts, e.Host)
	}
	if want := ts.Listener.Addr().String(); !slices.Equal(hosts, []string{want, want}) || srv.Log()[0].Status != http.StatusBadRequest {
		t.Errorf("requests for %q", hosts)
	}
}
