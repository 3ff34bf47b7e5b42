package idctest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// assertion is a JWT that is good for an hour, with some claims changed; nil
// removes one.
func assertion(change map[string]any) string {
	claims := map[string]any{
		"iss": "https://issuer.example", "sub": "jane", "aud": "audience",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return unsigned(map[string]any{"alg": "RS256", "typ": "JWT"}, claims) + ".c2lnbmF0dXJl"
}

// unsigned is a JWT without its signature.
func unsigned(header, claims map[string]any) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(header) + "." + part(claims)
}

// claimsOf returns the claims of an ID token whose signature key verifies.
func claimsOf(t *testing.T, token string, key *ecdsa.PublicKey) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		t.Fatalf("signature: %v", err)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Error("the ID token does not verify")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(b, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestAssertionKey checks signatures of each kind, and each against the others'
// keys.
func TestAssertionKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	hashes := map[string]func() hash.Hash{"256": sha256.New, "384": sha512.New384, "512": sha512.New}
	keys := map[string]crypto.Signer{"RS256": rsaKey, "RS384": rsaKey, "RS512": rsaKey}
	for alg, curve := range curves {
		if keys[alg], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	sign := func(alg, named string) string {
		text := unsigned(map[string]any{"alg": named}, map[string]any{"iss": "i", "sub": "s", "aud": "a", "exp": time.Now().Unix() + 60})
		h := hashes[alg[2:]]()
		h.Write([]byte(text))
		var signature []byte
		switch key := keys[alg].(type) {
		case *rsa.PrivateKey:
			signature, err = rsa.SignPKCS1v15(nil, key, map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]], h.Sum(nil))
		case *ecdsa.PrivateKey:
			var r, s *big.Int
			r, s, err = ecdsa.Sign(rand.Reader, key, h.Sum(nil))
			size := (key.Params().BitSize + 7) / 8
			signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	for keyAlg, key := range keys {
		srv := idctest.New()
		srv.AssertionKey = key.Public()
		client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
		for alg := range keys {
			_, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(sign(alg, alg)))
			if keys[alg] == key {
				if err != nil {
					t.Errorf("%s with its own key: %v", alg, err)
				}
				continue
			}
			wantException(t, err, wire.TypeInvalidGrant)
		}
		for _, named := range []string{"XS256", "PS384", "RS1", "", "none"} { // a good signature under another name
			_, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(sign(keyAlg, named)))
			wantException(t, err, wire.TypeInvalidGrant)
		}
		for _, alg := range []string{"HS256", "RS999", "PS256", "RS", keyAlg} { // the last with another signature
			_, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(unsigned(map[string]any{"alg": alg},
				map[string]any{"iss": "i", "sub": "s", "aud": "a", "exp": time.Now().Unix() + 60})+".c2lnbmF0dXJl"))
			wantException(t, err, wire.TypeInvalidGrant)
		}
	}
}

// TestAssertionKeyOfAnotherKind checks that a key which can't verify anything
// lets nothing through.
func TestAssertionKeyOfAnotherKind(t *testing.T) {
	srv := idctest.New()
	srv.AssertionKey = ed25519.PublicKey("")
	_, err := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{})).CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil)))
	wantException(t, err, wire.TypeInvalidGrant)
}

// TestNotSigned checks that a JWT without a signature is refused even where
// none is verified.
func TestNotSigned(t *testing.T) {
	srv := idctest.New()
	client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	signed := assertion(nil)
	text := signed[:strings.LastIndexByte(signed, '.')]
	payload := text[strings.IndexByte(text, '.'):]
	header := func(h string) string { return base64.RawURLEncoding.EncodeToString([]byte(h)) }
	if _, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(signed)); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{
		text, text + ".", text + ".%", text + ".c2ln.c2ln",
		header(`{"alg":"none"}`) + payload + ".c2ln", header(`{"alg":"NONE"}`) + payload + ".c2ln", header(`{}`) + payload + ".c2ln",
		header(`{"alg":1}`) + payload + ".c2ln", header(`{"alg":"RS256","crit":["x"]}`) + payload + ".c2ln", header(`[]`) + payload + ".c2ln",
	} {
		_, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(token))
		wantException(t, err, wire.TypeInvalidGrant)
	}
}
