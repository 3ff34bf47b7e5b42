package awsoidc

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/awsoidc/awsoidc/wire"
)

// NewSigner returns what a wire.Client signs CreateTokenWithIAM with: the AWS
// SDK's own signer (AWS Signature Version 4), with the given credentials, for
// the region of the client's endpoint. It is safe for concurrent use if the
// credentials are. Wrap those that are expensive to retrieve in
// aws.NewCredentialsCache.
func NewSigner(credentials aws.CredentialsProvider, region string) wire.Signer {
	return &signer{credentials: credentials, region: region, clock: newClock(nil), v4: v4.NewSigner()}
}

type signer struct {
	credentials aws.CredentialsProvider
	region      string
	clock       clock
	v4          *v4.Signer
}

// Sign implements wire.Signer.
func (s *signer) Sign(ctx context.Context, req *http.Request, payloadHash string) error {
	c, err := s.credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("no AWS credentials: %w", err)
	}
	return s.v4.SignHTTP(ctx, c, req, payloadHash, wire.SigningName, s.region, s.clock.now().time().UTC())
}

// Format shows the region only, whatever the verb and flags.
func (s *signer) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "awsoidc.Signer(%s)", s.region) }
