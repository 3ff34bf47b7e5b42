package main_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// An issuer is a small OpenID Provider: it has keys, and signs JWTs.
type issuer struct {
	t   *testing.T
	url string

	mu      sync.Mutex // guards the rest
	key     *rsa.PrivateKey
	number  int // of the key
	fetches int // of the keys
	down    bool
	keysURL string
	signed  []string // signatures of the JWTs made here
	jtis    int
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t}
	i.rotate()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		json.NewEncoder(w).Encode(claims{
			"issuer": i.url, "jwks_uri": i.keysURL,
			// A careless provider: the service must not believe all of it.
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.fetches++
		if i.down {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		w.Write(i.jwksLocked())
	})
	server := httptest.NewUnstartedServer(mux)
	i.url = "http://" + server.Listener.Addr().String()
	i.keysURL = i.url + "/keys"
	server.Start()
	t.Cleanup(server.Close)
	return i
}

// rotate makes a new key take the place of the old one.
func (i *issuer) rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = newKey(i.t)
	i.number++
}

func (i *issuer) setDown() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = true
}

// setKeysURL is where the keys are said to be.
func (i *issuer) setKeysURL(url string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keysURL = url
}

func (i *issuer) keyFetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

func (i *issuer) jwksLocked() []byte {
	jwks, err := json.Marshal(claims{"keys": []any{jwk(&i.key.PublicKey, fmt.Sprint(i.number))}})
	if err != nil {
		i.t.Error(err)
	}
	return jwks
}

// jwk returns a key as RFC 7517 has it.
func jwk(key *rsa.PublicKey, id string) claims {
	return claims{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
}

// claims are those of a JWT, or any other JSON object.
type claims map[string]any

// jwt returns a JWT of a user with an ID of its own. Changes of nil remove a
// claim.
func (i *issuer) jwt(user string, changes claims) string {
	i.mu.Lock()
	key, header := i.key, claims{"alg": "RS256", "typ": "JWT", "kid": fmt.Sprint(i.number)}
	i.mu.Unlock()
	return i.signedBy(key, header, i.claims(user, changes))
}

// claims returns those of jwt.
func (i *issuer) claims(user string, changes claims) claims {
	i.mu.Lock()
	i.jtis++
	c := claims{
		"iss": i.url, "sub": user, "aud": audience, "jti": fmt.Sprint(i.jtis),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	i.mu.Unlock()
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// signedBy returns a JWT that is signed with RS256, whatever its header says.
func (i *issuer) signedBy(key *rsa.PrivateKey, header, body any) string {
	text := i.encode(header) + "." + i.encode(body)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		i.t.Error(err)
	}
	return i.joined(text, signature)
}

// signedBySecret returns a JWT that is signed with HS256.
func (i *issuer) signedBySecret(secret []byte, body claims) string {
	text := i.encode(claims{"alg": "HS256", "typ": "JWT"}) + "." + i.encode(body)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return i.joined(text, mac.Sum(nil))
}

func (i *issuer) encode(part any) string {
	raw, err := json.Marshal(part)
	if err != nil {
		i.t.Error(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (i *issuer) joined(text string, signature []byte) string {
	encoded := base64.RawURLEncoding.EncodeToString(signature)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.signed = append(i.signed, encoded)
	return text + "." + encoded
}

// secrets are what must not be shown of the JWTs.
func (i *issuer) secrets() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.signed[:len(i.signed):len(i.signed)]
}

func newKey(t *testing.T) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
