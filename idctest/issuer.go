package idctest

import (
	"crypto"
	"encoding/hex"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Issuer stands in for an OpenID provider, such as Okta, Entra ID or a user pool
// of Amazon Cognito: it signs JWTs (ES256), and is an [http.Handler] that
// publishes the key which verifies them. Nobody signs in there; a test says what
// is in a token.
//
// The fields are settings, and must not change once the Issuer is in use.
// Everything else is safe for concurrent use.
type Issuer struct {
	// URL is the issuer's, as in the claim iss: https, or http on a test server.
	// Its documents are below it.
	URL string
	// Now is the issuer's clock. The default is time.Now, which is virtual time
	// inside a testing/synctest bubble.
	Now func() time.Time

	mu   sync.Mutex
	keys []signingKey // the one in use and, once rotated, the one before; nil: none was needed yet
}

// NewIssuer returns an Issuer with a key of its own. An httptest.Server tells its
// URL only once it serves: set Issuer.URL then.
func NewIssuer(url string) *Issuer {
	i := &Issuer{URL: url}
	i.Rotate()
	return i
}

// Sign returns a JWT with these claims. Of those that are not given it adds iss,
// the issuer's URL, iat, now, and exp, in an hour; no others: a service of AWS
// wants sub and aud as well, and accepts a token with a jti once. A claim that is
// nil is left out, and so is not added. Sign panics where a claim can't be
// written as JSON.
func (i *Issuer) Sign(claims map[string]any) string {
	now := i.now()
	all := map[string]any{"iss": i.URL, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return i.published()[0].sign(all)
}

// Trusted returns what makes a [Server] accept the issuer's JWTs for these
// audiences, for any where there are none, without asking it for its keys: put it
// into Server.TrustedIssuers. After Rotate it is out of date. For a server that
// fetches the keys, set Keys to nil and HTTPClient to a client with the issuer's
// Transport, or any other that reaches it.
func (i *Issuer) Trusted(audiences ...string) TrustedIssuer {
	t := TrustedIssuer{Issuer: i.URL, Audiences: audiences, Keys: make(map[string]crypto.PublicKey)}
	for _, k := range i.published() {
		t.Keys[k.id] = &k.key.PublicKey
	}
	return t
}

// Rotate makes a new key, under a new ID, sign from now on. The key before stays
// published, so that what it signed still verifies, until the next Rotate.
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append([]signingKey{i.newKey()}, i.keys[:min(len(i.keys), 1)]...)
}

// ServeHTTP answers GET for the discovery document (OpenID Connect Discovery 1.0
// section 4), at /.well-known/openid-configuration below the URL, and for the key
// set that this names (RFC 7517). It knows no other page.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const keySet = "/jwks.json"
	var document any
	switch {
	case r.Method != http.MethodGet:
	case strings.HasSuffix(r.URL.Path, discoveryPath):
		document = map[string]any{
			"issuer": i.URL, "jwks_uri": strings.TrimSuffix(i.URL, "/") + keySet, "id_token_signing_alg_values_supported": []string{"ES256"},
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		}
	case strings.HasSuffix(r.URL.Path, keySet):
		var keys []jwk
		for _, k := range i.published() {
			keys = append(keys, k.jwk())
		}
		document = map[string]any{"keys": keys}
	}
	if document == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(mustJSON(document))
}

// Transport returns an [http.RoundTripper] that brings every request, whatever
// its host, to the issuer without a network: see [Server.Transport].
func (i *Issuer) Transport() http.RoundTripper { return transport{i} }

func (i *Issuer) now() time.Time {
	if i.Now != nil {
		return i.Now()
	}
	return time.Now()
}

// published returns the issuer's keys, the one in use first.
func (i *Issuer) published() []signingKey {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.keys == nil {
		i.keys = []signingKey{i.newKey()}
	}
	return i.keys
}

func (i *Issuer) newKey() signingKey {
	return signingKey{hex.EncodeToString(randomBytes(8)), generateKey()}
}
