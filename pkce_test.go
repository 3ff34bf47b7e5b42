package awsoidc

import (
	"encoding/base64"
	"testing"
)

// TestChallenge is RFC 7636 appendix B.
func TestChallenge(t *testing.T) {
	if got := challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Errorf("got %s", got)
	}
	v := newVerifier()
	if b, err := base64.RawURLEncoding.DecodeString(v); err != nil || len(b) != 32 || v == newVerifier() {
		t.Errorf("verifier %s: %v", v, err)
	}
}
