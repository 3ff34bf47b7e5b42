package wire

import (
	"testing"

	"github.com/awsoidc/awsoidc/wire"
)

// signedRequest is a request with what is needed to sign it once more.
type signedRequest struct {
	Request     request `json:"request"`
	Service     string  `json:"service"`
	Region      string  `json:"region"`
	Credentials struct {
		AccessKeyID     string `json:"accessKeyId"`
		SecretAccessKey string `json:"secretAccessKey"`
		SessionToken    string `json:"sessionToken,omitempty"`
	} `json:"credentials"`
}

// TestSignatureOfSmithy has @smithy/signature-v4 sign once more what was sent:
// it arrives at the same signatures.
func TestSignatureOfSmithy(t *testing.T) {
	inputs := fixedSignedInputs()
	var signed []signedRequest
	add := func(c call) {
		r := recorder{status: 500}
		if _, err := c.ours(t.Context(), ours(&r)); err == nil {
			t.Fatal("no error")
		}
		s := signedRequest{Request: r.got, Service: wire.SigningName, Region: region}
		s.Credentials.AccessKeyID, s.Credentials.SecretAccessKey, s.Credentials.SessionToken = keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken
		signed = append(signed, s)
	}
	for _, in := range inputs {
		add(createTokenWithIAM(in))
	}
	for seed := range uint64(100) {
		calls := newGenerator(seed).calls()
		add(calls[len(calls)-1])
	}
	var got []string
	node(t, &got, signed, "sign.mjs")
	if len(got) != len(signed) {
		t.Fatalf("%d signatures, want %d", len(got), len(signed))
	}
	for i := range got {
		if want := signed[i].Request.Header["authorization"]; got[i] != want {
			t.Errorf("%q:\nsent                 %s\n@smithy/signature-v4 %s", signed[i].Request.Body, want, got[i])
		}
	}
}
