package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/awsoidc/awsoidc/wire"
)

// NewSigner returns what a wire.Client signs CreateTokenWithIAM with: the AWS
// SDK's own signer (AWS Signature Version 4), with the given credentials, for
// the region of the client's endpoint. They must be those of a principal that
// the application lets call sso-oauth:CreateTokenWithIAM.
//
// Credentials are retrieved when they are first needed and again when they
// expire, once for all who wait, each of whom waits no longer than its context:
// a provider that is not an *aws.CredentialsCache is wrapped in one. A provider
// that is nil, one without keys, and a region that is no region's name are
// errors of the requests. The Signer is safe for concurrent use.
func NewSigner(credentials aws.CredentialsProvider, region string) wire.Signer {
	s := &signer{region: region, v4: v4.NewSigner()}
	if cache, ok := credentials.(*aws.CredentialsCache); ok {
		s.credentials = cache
	} else if credentials != nil {
		s.credentials = aws.NewCredentialsCache(credentials)
	}
	return s
}

type signer struct {
	credentials *aws.CredentialsCache // nil: there are none
	region      string
	v4          *v4.Signer
}

// Sign implements wire.Signer.
func (s *signer) Sign(ctx context.Context, req *http.Request, payloadHash string) error {
	if _, err := wire.EndpointFor(s.region, false, false); err != nil {
		return fmt.Errorf("awsoidc: no region to sign for: %w", err)
	}
	if s.credentials == nil {
		return errors.New("awsoidc: no AWS credentials; pass the Credentials of an aws.Config to NewSigner")
	}
	c, err := s.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("awsoidc: no AWS credentials: %w", err)
	}
	if !c.HasKeys() {
		return errors.New("awsoidc: the AWS credentials have no keys")
	}
	return s.v4.SignHTTP(ctx, c, req, payloadHash, wire.SigningName, s.region, time.Now())
}

// Format shows the region only, whatever the verb and flags.
func (s *signer) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "awsoidc.Signer(%s)", s.region) }
