package idctest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// IDTokenKey returns the key that verifies the ID tokens of
// CreateTokenWithIAM (ES256). A Server has its own, for as long as it lives.
func (s *Server) IDTokenKey() *ecdsa.PublicKey {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return &s.idTokenKey().PublicKey
}

// idTokenKey returns the key of ID tokens. The caller holds mu.
func (s *Server) idTokenKey() *ecdsa.PrivateKey {
	if s.state.idTokenKey == nil {
		s.state.idTokenKey = generateKey()
	}
	return s.state.idTokenKey
}

// signingKey is a key that signs JWTs (ES256).
type signingKey struct {
	id  string // "" where it has none
	key *ecdsa.PrivateKey
}

func generateKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return key
}

// sign returns a JWT with these claims (RFC 7515 section 3.1).
func (k signingKey) sign(claims any) string {
	header := struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid,omitempty"`
		Type      string `json:"typ"`
	}{"ES256", k.id, "JWT"}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode(mustJSON(header)) + "." + encode(mustJSON(claims))
	r, s, err := ecdsa.Sign(rand.Reader, k.key, hashOf(crypto.SHA256, text))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + encode(signature)
}

// jwk returns the public key.
func (k signingKey) jwk() jwk {
	point, err := k.key.PublicKey.Bytes()
	if err != nil {
		panic(err) // the curve is a known one
	}
	encode := base64.RawURLEncoding.EncodeToString
	return jwk{Type: "EC", Use: "sig", Algorithm: "ES256", ID: k.id, Curve: "P-256", X: encode(point[1:33]), Y: encode(point[33:])}
}

// jwt is a JSON Web Token (RFC 7519) of another issuer, with the claims that
// the grants need.
type jwt struct {
	issuer, subject string
	audience        []string
	expires         time.Time
	notBefore       time.Time // zero: since ever
	id              string    // "": it may be presented again

	algorithm string
	keyID     string // "": not said
	signed    string // what the signature is over
	signature []byte
}

var errJWTExpired = errors.New("it has expired")

// readJWT reads a JWT that is valid now, of an issuer that is trusted. Its
// errors say what is wrong and show nothing of the token. The caller does not
// hold mu.
func (s *Server) readJWT(ctx context.Context, token string, now time.Time) (*jwt, error) {
	t, err := parseJWT(token)
	if err != nil {
		return nil, err
	}
	switch missing := t.missingClaim(); {
	case missing != "":
		return nil, errors.New("it lacks the claim " + missing)
	case len(t.issuer) > 2048 || len(t.subject) > 255:
		return nil, errors.New("its claim iss or sub is too long")
	case now.Before(t.notBefore):
		return nil, errors.New("it is not valid yet")
	}
	if err := s.checkTrust(ctx, t); err != nil {
		return nil, err
	}
	if !now.Before(t.expires) {
		return nil, errJWTExpired
	}
	return t, nil
}

// missingClaim returns the name of a claim that is required and absent, "" where
// all are there.
func (t *jwt) missingClaim() string {
	switch {
	case t.issuer == "":
		return "iss"
	case t.subject == "":
		return "sub"
	case len(t.audience) == 0:
		return "aud"
	case t.expires.IsZero():
		return "exp"
	}
	return ""
}

func parseJWT(token string) (*jwt, error) {
	notJWT := errors.New("it is no signed JWT")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, notJWT
	}
	var header, claims members
	for i, m := range []*members{&header, &claims} {
		b, err := base64.RawURLEncoding.Strict().DecodeString(parts[i])
		if err != nil || json.Unmarshal(b, &m.raw) != nil {
			return nil, notJWT
		}
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	t := &jwt{
		issuer: claims.text("iss"), subject: claims.text("sub"), audience: claims.textOrList("aud"),
		expires: claims.numericDate("exp"), notBefore: claims.numericDate("nbf"), id: claims.text("jti"),
		algorithm: header.text("alg"), keyID: header.text("kid"), signed: parts[0] + "." + parts[1], signature: signature,
	}
	if header.err == nil {
		header.err = claims.err
	}
	switch {
	case header.err != nil:
		return nil, fmt.Errorf("of its members %w", header.err)
	case err != nil || len(signature) == 0 || t.algorithm == "" || strings.EqualFold(t.algorithm, "none") || header.raw["crit"] != nil:
		return nil, notJWT
	}
	return t, nil
}

// textOrList returns a member that is a string or a list of strings.
func (m *members) textOrList(name string) []string {
	if bytes.HasPrefix(m.raw[name], []byte(`"`)) {
		return []string{m.text(name)}
	}
	return m.list(name)
}

// numericDate returns a member that is in seconds since 1970, the zero time
// where it is absent.
func (m *members) numericDate(name string) time.Time {
	var n *float64
	m.read(name, &n)
	if n == nil {
		return time.Time{}
	}
	const year9999 = 253402300799
	return time.Unix(int64(min(max(*n, 0), year9999)), 0)
}

// signedBy verifies the signature (RFC 7518 sections 3.3 and 3.4).
func (t *jwt) signedBy(key crypto.PublicKey) bool {
	if len(t.algorithm) != 5 {
		return false
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[t.algorithm[2:]]
	if hash == 0 {
		return false
	}
	digest := hashOf(hash, t.signed)
	switch key := key.(type) {
	case *rsa.PublicKey:
		return t.algorithm[:2] == "RS" && rsa.VerifyPKCS1v15(key, hash, digest, t.signature) == nil
	case *ecdsa.PublicKey:
		curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
		if key.Curve != curves[t.algorithm] {
			return false
		}
		size := (key.Params().BitSize + 7) / 8
		return len(t.signature) == 2*size &&
			ecdsa.Verify(key, digest, new(big.Int).SetBytes(t.signature[:size]), new(big.Int).SetBytes(t.signature[size:]))
	}
	return false
}

func hashOf(hash crypto.Hash, text string) []byte {
	h := hash.New()
	h.Write([]byte(text))
	return h.Sum(nil)
}
