package providers

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// claimsOf returns the claims of a JWT that was verified or signed here.
func claimsOf(t *testing.T, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatal("it is no JWT")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	if err == nil {
		err = json.Unmarshal(body, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// signer signs tokens as an issuer that can't be run here, or as one that is
// not what it says.
type signer struct {
	issuer string
	keyID  string
	key    *rsa.PrivateKey
}

func newSigner(t *testing.T, issuer string) *signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{issuer, rand.Text(), key}
}

// sign returns a JWT of the issuer with these claims, some of which others may
// replace. It is valid for an hour.
func (s *signer) sign(t *testing.T, claims ...map[string]any) string {
	t.Helper()
	key := jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: s.key, KeyID: s.keyID}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	all := map[string]any{"iss": s.issuer, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for _, c := range claims {
		maps.Copy(all, c)
	}
	raw, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// trusted is the issuer as a trusted token issuer of Identity Center.
func (s *signer) trusted(audiences ...string) idctest.TrustedIssuer {
	return idctest.TrustedIssuer{Issuer: s.issuer, Audiences: audiences, Keys: map[string]crypto.PublicKey{s.keyID: s.key.Public()}}
}

// verify verifies a token as a service does, with claims read into v where that
// is not nil. No audience means that the service checks another claim instead.
func (s *signer) verify(t *testing.T, raw, audience string, v any) awsoidc.Subject {
	t.Helper()
	keys := &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{s.key.Public()}}
	token, err := oidc.NewVerifier(s.issuer, keys, &oidc.Config{ClientID: audience, SkipClientIDCheck: audience == ""}).Verify(t.Context(), raw)
	if err == nil && v != nil {
		err = token.Claims(v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return awsoidc.Subject{Issuer: token.Issuer, ID: token.Subject}
}

// keyIDOf returns the ID of the key that signed a JWT.
func keyIDOf(t *testing.T, raw string) string {
	t.Helper()
	token, err := jose.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	return token.Signatures[0].Header.KeyID
}
