package idctest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// TrustedIssuer is a trusted token issuer: an authorization server whose JWTs
// are exchanged for tokens of Identity Center (CreateTrustedTokenIssuer and
// PutApplicationGrant of the service's administration API), and for credentials
// by AssumeRoleWithWebIdentity. [Issuer.Trusted] returns one for tests that do
// without a real issuer.
type TrustedIssuer struct {
	// Issuer is what the claim iss has to be, byte for byte: of an issuer with
	// many tenants, each that is trusted is one of its own.
	Issuer string
	// Audiences are accepted: the claim aud has to name one of them. nil accepts
	// any. A JWT without the claim is refused, such as an access token of Amazon
	// Cognito, which has client_id in its place: its ID token has aud.
	Audiences []string
	// Keys are the issuer's, by key ID (kid): *rsa.PublicKey for RS256, RS384
	// and RS512, *ecdsa.PublicKey for ES256, ES384 and ES512. A JWT that names a
	// key ID has to be signed with that key, or with the one under "", which has
	// no ID; a JWT that names none, with any of them.
	Keys map[string]crypto.PublicKey
	// HTTPClient, where Keys is nil, fetches the issuer's keys: its discovery
	// document (OpenID Connect Discovery 1.0 section 4), and the key set that
	// this names (RFC 7517). They are fetched again when a signature comes that
	// none of them verifies. Where the issuer's own transport is idctest's, or
	// any other in memory, that works in the virtual time of testing/synctest.
	//
	// Without Keys and HTTPClient every signature is refused: no network is
	// used that nobody asked for.
	HTTPClient *http.Client
}

const (
	discoveryPath = "/.well-known/openid-configuration"

	keysTimeout = 10 * time.Second // for fetching an issuer's keys
	maxRSABits  = 8192
)

var (
	errUntrusted = errors.New("its issuer is not trusted")
	errAudience  = errors.New("its audience is not one that the issuer is trusted for")
	errForged    = errors.New("its signature is not the issuer's")
)

// keysError is why an issuer's keys can't be had, for which a JWT is not to
// blame.
type keysError struct{ cause error }

func (e *keysError) Error() string { return "the issuer's keys can't be fetched: " + e.cause.Error() }

// issuerKey is a key that verifies an issuer's JWTs.
type issuerKey struct {
	id  string // "" where it has none
	key crypto.PublicKey
}

// checkTrust checks a JWT's issuer, audience and signature. The caller does not
// hold mu: the issuer may have to be asked for its keys.
func (s *Server) checkTrust(ctx context.Context, t *jwt) error {
	if s.TrustedIssuers == nil {
		if s.AssertionKey != nil && !t.signedBy(s.AssertionKey) {
			return errForged
		}
		return nil
	}
	i := slices.IndexFunc(s.TrustedIssuers, func(i TrustedIssuer) bool { return i.Issuer == t.issuer })
	if i < 0 {
		return errUntrusted
	}
	issuer := &s.TrustedIssuers[i]
	accepted := func(audience string) bool { return slices.Contains(issuer.Audiences, audience) }
	if issuer.Audiences != nil && !slices.ContainsFunc(t.audience, accepted) {
		return errAudience
	}
	if issuer.Keys != nil {
		return t.verify(issuer.configuredKeys())
	}
	return s.verifyOnline(ctx, issuer, t)
}

// verifyOnline verifies a signature with the keys that the issuer publishes.
func (s *Server) verifyOnline(ctx context.Context, issuer *TrustedIssuer, t *jwt) error {
	s.state.mu.Lock()
	known := s.state.issuerKeys[issuer.Issuer]
	s.state.mu.Unlock()
	if t.verify(known) == nil {
		return nil
	}
	fetched, err := issuer.fetchKeys(ctx)
	if err != nil {
		return &keysError{err}
	}
	s.state.mu.Lock()
	if s.state.issuerKeys == nil {
		s.state.issuerKeys = make(map[string][]issuerKey)
	}
	s.state.issuerKeys[issuer.Issuer] = fetched
	s.state.mu.Unlock()
	return t.verify(fetched)
}

// verify checks the signature: see TrustedIssuer.Keys.
func (t *jwt) verify(keys []issuerKey) error {
	for _, k := range keys {
		if (t.keyID == "" || k.id == "" || t.keyID == k.id) && t.signedBy(k.key) {
			return nil
		}
	}
	return errForged
}

func (i *TrustedIssuer) configuredKeys() (keys []issuerKey) {
	for id, key := range i.Keys {
		keys = append(keys, issuerKey{id, key})
	}
	return keys
}

// fetchKeys asks the issuer for its keys. Those that can't verify any signature
// here are left out.
func (i *TrustedIssuer) fetchKeys(ctx context.Context) ([]issuerKey, error) {
	if i.HTTPClient == nil {
		return nil, errors.New("TrustedIssuer has neither Keys nor HTTPClient")
	}
	ctx, cancel := context.WithTimeout(ctx, keysTimeout)
	defer cancel()
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := i.get(ctx, strings.TrimSuffix(i.Issuer, "/")+discoveryPath, &discovery); err != nil {
		return nil, err
	}
	if discovery.Issuer != i.Issuer {
		return nil, fmt.Errorf("its discovery document is that of %q", short(discovery.Issuer))
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := i.get(ctx, discovery.Keys, &set); err != nil {
		return nil, err
	}
	var keys []issuerKey
	for _, k := range set.Keys {
		if key := k.publicKey(); key != nil {
			keys = append(keys, issuerKey{k.ID, key})
		}
	}
	return keys, nil
}

// get reads a JSON document of at most maxBody bytes.
func (i *TrustedIssuer) get(ctx context.Context, url string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := i.HTTPClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%q answered with status %d", url, resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(v); err != nil {
		return fmt.Errorf("%q did not answer with the JSON that it should: %w", url, err)
	}
	return nil
}

// jwk is a JSON Web Key (RFC 7517, RFC 7518 section 6).
type jwk struct {
	Type      string `json:"kty"`
	Use       string `json:"use,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	ID        string `json:"kid,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
}

// publicKey returns nil where the key is not for signatures that are known here.
func (k *jwk) publicKey() crypto.PublicKey {
	switch {
	case k.Use != "" && k.Use != "sig":
	case k.Type == "RSA":
		n, e := new(big.Int).SetBytes(decode(k.N)), new(big.Int).SetBytes(decode(k.E))
		if n.BitLen() <= maxRSABits && e.BitLen() < 32 {
			return &rsa.PublicKey{N: n, E: int(e.Int64())} // one that is no key verifies nothing
		}
	case k.Type == "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Curve]
		if curve == nil {
			return nil
		}
		if key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, decode(k.X), decode(k.Y))); err == nil {
			return key
		}
	}
	return nil
}

// decode returns nil for what is not base64url.
func decode(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil
	}
	return b
}
