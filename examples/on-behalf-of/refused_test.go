package main_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"
)

// victim is a user whose credentials the service holds while others try to get
// them.
const victim = "victim"

func TestRefused(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	s.whoami(w.issuer.jwt(victim, nil))
	roles := len(w.idc.AssumedRoles())

	for name, jwt := range map[string]string{
		"nothing like a JWT":   "secret-but-no-jwt",
		"empty parts":          "..",
		"another key":          w.issuer.signedBy(newKey(t), claims{"alg": "RS256", "kid": "1"}, w.issuer.claims(victim, nil)),
		"another key, no kid":  w.issuer.signedBy(newKey(t), claims{"alg": "RS256"}, w.issuer.claims(victim, nil)),
		"key of its own":       ownKey(t, w.issuer),
		"claims of another":    swapped(w.issuer.jwt("mallory", nil), w.issuer.jwt(victim, nil), 1),
		"signature of another": swapped(w.issuer.jwt(victim, nil), w.issuer.jwt("mallory", nil), 2),
		"no signature":         swapped(w.issuer.jwt(victim, nil), "..", 2),
		"JSON serialization":   serialized(w.issuer.jwt(victim, nil)),

		"expired":                      w.issuer.jwt(victim, claims{"exp": time.Now().Add(-time.Minute).Unix()}),
		"expired long ago":             w.issuer.jwt(victim, claims{"exp": 1}),
		"no expiry":                    w.issuer.jwt(victim, claims{"exp": nil}),
		"not valid yet":                w.issuer.jwt(victim, claims{"nbf": time.Now().Add(time.Hour).Unix()}),
		"foreign audience":             w.issuer.jwt(victim, claims{"aud": "another"}),
		"foreign audiences":            w.issuer.jwt(victim, claims{"aud": []string{"another", "reports2"}}),
		"no audience":                  w.issuer.jwt(victim, claims{"aud": nil}),
		"foreign issuer":               w.issuer.jwt(victim, claims{"iss": "https://issuer.example"}),
		"no issuer":                    w.issuer.jwt(victim, claims{"iss": nil}),
		"issuer with a slash":          w.issuer.jwt(victim, claims{"iss": w.issuer.url + "/"}),
		"foreign issuer, its own keys": newIssuer(t).jwt(victim, nil),

		"alg none":           unsigned(w.issuer, "none"),
		"alg None":           unsigned(w.issuer, "None"),
		"alg none, signed":   w.issuer.signedBy(w.issuer.key, claims{"alg": "none"}, w.issuer.claims(victim, nil)),
		"alg missing":        w.issuer.signedBy(w.issuer.key, claims{"typ": "JWT"}, w.issuer.claims(victim, nil)),
		"HS256, PEM":         w.issuer.signedBySecret(publicPEM(t, w.issuer), w.issuer.claims(victim, nil)),
		"HS256, DER":         w.issuer.signedBySecret(publicDER(t, w.issuer), w.issuer.claims(victim, nil)),
		"HS256, JWKS":        w.issuer.signedBySecret(w.issuer.jwksLocked(), w.issuer.claims(victim, nil)),
		"HS256, modulus":     w.issuer.signedBySecret(w.issuer.key.N.Bytes(), w.issuer.claims(victim, nil)),
		"HS256, empty":       w.issuer.signedBySecret(nil, w.issuer.claims(victim, nil)),
		"no subject":         w.issuer.jwt(victim, claims{"sub": nil}),
		"empty subject":      w.issuer.jwt("", nil),
		"subject a number":   w.issuer.jwt(victim, claims{"sub": 7}),
		"subject a list":     w.issuer.jwt(victim, claims{"sub": []string{victim}}),
		"subject too long":   w.issuer.jwt(strings.Repeat("v", 256), nil),
		"tenant a number":    w.issuer.jwt(victim, claims{"tid": 7}),
		"tenant too long":    w.issuer.jwt(victim, claims{"tid": strings.Repeat("v", 256)}),
		"claims not JSON":    swapped(w.issuer.jwt(victim, nil), "."+base64.RawURLEncoding.EncodeToString([]byte("{")), 1),
		"two claims sub":     withClaims(w.issuer, `"sub":"mallory","sub":"victim"`),
		"two claims iss":     withClaims(w.issuer, `"sub":"victim","iss":"https://issuer.example","iss":"`+w.issuer.url+`"`),
		"a claim SUB":        withClaims(w.issuer, `"sub":"mallory","SUB":"victim"`),
		"a claim SUB alone":  withClaims(w.issuer, `"SUB":"victim"`),
		"a claim SUB before": withClaims(w.issuer, `"SUB":"victim","sub":"mallory"`),
		"a claim \u017fub":   withClaims(w.issuer, `"sub":"mallory","\u017fub":"victim"`),
		"a claim Iss":        withClaims(w.issuer, `"sub":"victim","iss":"https://issuer.example","Iss":"`+w.issuer.url+`"`),
		"a claim Aud":        withClaims(w.issuer, `"sub":"victim","aud":"another","Aud":"`+audience+`"`),
		"a claim Exp":        withClaims(w.issuer, `"sub":"victim","exp":1,"Exp":4102444800`),
		"a claim TID":        withClaims(w.issuer, `"sub":"victim","tid":"mallorys","TID":""`),
		"nearly 64 KiB long": w.issuer.jwt("mallory", claims{"sub": nil, "filler": strings.Repeat("v", 40_000)}),
	} {
		t.Run(name, func(t *testing.T) {
			a := s.get("/whoami", "Bearer "+jwt)
			a.refuses(t, http.StatusUnauthorized)
			if strings.Contains(a.body, victim) || len(a.body) > 200 {
				t.Errorf("the answer says too much: %s", a.body)
			}
		})
	}
	if n := w.exchanges(); n != 1 {
		t.Errorf("%d exchanges, of which one is the victim's", n)
	}
	if n := len(w.idc.AssumedRoles()); n != roles {
		t.Errorf("%d roles were assumed for tokens that were refused", n-roles)
	}
}

func TestNoBearerToken(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	jwt := w.issuer.jwt(victim, nil)
	for name, authorization := range map[string][]string{
		"none":     nil,
		"empty":    {""},
		"alone":    {"Bearer"},
		"nothing":  {"Bearer "},
		"basic":    {"Basic " + jwt},
		"two":      {"Bearer " + jwt, "Bearer " + jwt},
		"no space": {"Bearer" + jwt},
	} {
		a := s.get("/whoami?access_token="+jwt, authorization...)
		if challenge := a.header.Get("WWW-Authenticate"); a.status != http.StatusUnauthorized || challenge != "Bearer" || !strings.Contains(a.body, `"error":`) {
			t.Errorf("%s: %d %q, %s", name, a.status, challenge, a.body)
		}
	}
	if n := w.exchanges(); n != 0 {
		t.Errorf("%d exchanges", n)
	}
	if a := s.get("/whoami", "bEaReR  "+jwt); a.status != http.StatusOK {
		t.Errorf("the scheme's case matters: %d %s", a.status, a.body)
	}
}

// A name that differs from another's as little as names can is another's.
func TestNamesAreApart(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	names := []string{"jane", "Jane", "jane ", "jane\x00", "jané", "jane\u0301", `","sub":"jane`, "jane\n", "%6aane"}
	seen := map[string]string{}
	for _, name := range names {
		arn := s.whoami(w.issuer.jwt(name, nil))
		if other, has := seen[arn]; has {
			t.Errorf("%q is %q to AWS: %s", name, other, arn)
		}
		seen[arn] = name
	}
	if n := w.exchanges(); n != len(names) {
		t.Errorf("%d exchanges of %d users", n, len(names))
	}
	for _, role := range w.idc.AssumedRoles() {
		if seen[role.ARN] != role.Subject {
			t.Errorf("%q got the role of %q", seen[role.ARN], role.Subject)
		}
	}
}

// withClaims returns a JWT with other claims than the usual, after them and in
// this order.
func withClaims(i *issuer, others string) string {
	usual := `{"iss":"` + i.url + `","aud":"` + audience + `","exp":4102444800,`
	return i.signedBy(i.key, claims{"alg": "RS256", "kid": "1"}, json.RawMessage(usual+others+"}"))
}

// swapped returns a JWT with one part of another.
func swapped(jwt, other string, part int) string {
	parts := strings.Split(jwt, ".")
	parts[part] = strings.Split(other, ".")[part]
	return strings.Join(parts, ".")
}

// serialized returns a JWT as JSON (RFC 7515 section 7.2.2).
func serialized(jwt string) string {
	parts := strings.Split(jwt, ".")
	return `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`
}

func unsigned(i *issuer, alg string) string {
	return i.encode(claims{"alg": alg, "typ": "JWT"}) + "." + i.encode(i.claims(victim, nil)) + "."
}

// ownKey returns a JWT that brings the key which verifies it along.
func ownKey(t *testing.T, i *issuer) string {
	key := newKey(t)
	return i.signedBy(key, claims{"alg": "RS256", "kid": "mine", "jwk": jwk(&key.PublicKey, "mine")}, i.claims(victim, nil))
}

func publicDER(t *testing.T, i *issuer) []byte {
	der, err := x509.MarshalPKIXPublicKey(&i.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func publicPEM(t *testing.T, i *issuer) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(t, i)})
}
