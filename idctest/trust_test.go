package idctest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// openIDProvider is an OpenID provider that signs with one key (ES256) at a time.
type openIDProvider struct {
	issuer string
	key    *ecdsa.PrivateKey
	kid    string
	doc    map[string]any // changes to the discovery document
	status int            // of every answer; 0: 200
	hits   atomic.Int32
}

func newProvider(t *testing.T, issuer string) *openIDProvider {
	t.Helper()
	p := &openIDProvider{issuer: issuer}
	p.rotate(t, "k1")
	return p
}

func (p *openIDProvider) rotate(t *testing.T, kid string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.key, p.kid = key, kid
}

// token is a JWT for an hour, with some claims changed.
func (p *openIDProvider) token(t *testing.T, change map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": p.issuer, "sub": "jane", "aud": "service", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, change)
	header := map[string]any{"alg": "ES256", "kid": p.kid}
	if p.kid == "" {
		delete(header, "kid")
	}
	text := unsigned(header, claims)
	r, s, err := ecdsa.Sign(rand.Reader, p.key, sha256Of(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

func (p *openIDProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.hits.Add(1)
	if p.status != 0 {
		w.WriteHeader(p.status)
		return
	}
	var out any
	switch {
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		doc := map[string]any{"issuer": p.issuer, "jwks_uri": strings.TrimSuffix(p.issuer, "/") + "/keys"}
		maps.Copy(doc, p.doc)
		out = doc
	case strings.HasSuffix(r.URL.Path, "/keys"):
		out = map[string]any{"keys": []any{
			map[string]any{"kty": "OKP", "crv": "Ed25519", "x": "AA"}, // of no use here
			map[string]any{"kty": "EC", "crv": "P-256", "kid": p.kid, "x": "AA", "y": "AA"},
			map[string]any{"kty": "EC", "crv": "secp256k1", "kid": p.kid, "x": "AA", "y": "AA"},
			map[string]any{"kty": "RSA", "kid": p.kid, "n": "AA", "e": "AQAB"},
			map[string]any{"kty": "RSA", "kid": p.kid, "n": "%", "e": "AQABAQABAQAB"},
			p.jwk("enc", "other"), p.jwk("sig", p.kid),
		}}
	default:
		http.NotFound(w, r)
		return
	}
	json.NewEncoder(w).Encode(out)
}

func (p *openIDProvider) jwk(use, kid string) map[string]any {
	point, err := p.key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return map[string]any{"kty": "EC", "use": use, "crv": "P-256", "kid": kid, "x": encode(point[1:33]), "y": encode(point[33:]) + "="}
}

func sha256Of(text string) []byte {
	h := sha256.Sum256([]byte(text))
	return h[:]
}

// onlineIssuer is trusted with the keys that p publishes.
func onlineIssuer(p *openIDProvider) idctest.TrustedIssuer {
	return idctest.TrustedIssuer{Issuer: p.issuer, HTTPClient: &http.Client{Transport: inMemory{p}}}
}

// inMemory brings every request to a handler.
type inMemory struct{ http.Handler }

func (h inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// exchangeJWT exchanges an assertion as a service with an access key.
func exchangeJWT(t *testing.T, srv *idctest.Server, assertion string) error {
	t.Helper()
	_, err := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{})).CreateTokenWithIAM(t.Context(), jwtBearer(assertion))
	return err
}

// assumeWeb is AssumeRoleWithWebIdentity.
func assumeWeb(t *testing.T, srv *idctest.Server, token string) error {
	t.Helper()
	client := sts.New(sts.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}, RetryMaxAttempts: 1})
	_, err := client.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(role), RoleSessionName: aws.String("pod"), WebIdentityToken: &token,
	})
	return err
}

// TestTrustedIssuers checks what is accepted of two tenants of one issuer, each
// with an audience and keys of its own, and what is not.
func TestTrustedIssuers(t *testing.T) {
	one, two := newProvider(t, "https://login.example/one/v2.0"), newProvider(t, "https://login.example/two/v2.0")
	old := newProvider(t, one.issuer)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	srv := idctest.New()
	srv.AssertionKey = &two.key.PublicKey // means nothing beside TrustedIssuers
	srv.TrustedIssuers = []idctest.TrustedIssuer{
		{Issuer: one.issuer, Audiences: []string{"service", "also"}, Keys: map[string]crypto.PublicKey{"k1": &one.key.PublicKey, "k0": &old.key.PublicKey, "rsa": &rsaKey.PublicKey}},
		{Issuer: two.issuer, Keys: map[string]crypto.PublicKey{"": &two.key.PublicKey}},
	}
	text := unsigned(map[string]any{"alg": "RS256", "kid": "rsa"}, map[string]any{"iss": one.issuer, "sub": "jane", "aud": "also", "exp": time.Now().Unix() + 60})
	signature, err := rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA256, sha256Of(text))
	if err != nil {
		t.Fatal(err)
	}
	byRSA := text + "." + base64.RawURLEncoding.EncodeToString(signature)
	withoutID := *one.clone()
	withoutID.kid = ""
	old.kid = "k0"
	for name, token := range map[string]string{
		"the first": one.token(t, nil), "the second": two.token(t, nil), "RS256": byRSA, "no key ID": withoutID.token(t, nil), "another key": old.token(t, nil),
		"one audience of two": one.token(t, map[string]any{"aud": []string{"x", "service"}}), "any audience": two.token(t, map[string]any{"aud": "x"}),
	} {
		if err := exchangeJWT(t, srv, token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := assumeWeb(t, srv, token); err != nil {
			t.Errorf("%s: web identity: %v", name, err)
		}
	}
	underOther := *old.clone()
	underOther.kid = "k1"
	forged := *newProvider(t, one.issuer)
	good := one.token(t, nil)
	for name, token := range map[string]string{
		"audience": one.token(t, map[string]any{"aud": "elsewhere"}), "issuer": one.token(t, map[string]any{"iss": "https://login.example/three/v2.0"}),
		"slash": one.token(t, map[string]any{"iss": one.issuer + "/"}), "case": one.token(t, map[string]any{"iss": "https://LOGIN.example/one/v2.0"}),
		"another tenant's key": two.token(t, map[string]any{"iss": one.issuer}), "another tenant": one.token(t, map[string]any{"iss": two.issuer}),
		"forged": forged.token(t, nil), "altered": good[:len(good)-8] + "AAAAAAAA", "another key's ID": underOther.token(t, nil),
		"an unknown key ID":   strings.Replace(byRSA, byRSA[:strings.IndexByte(byRSA, '.')], base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"?"}`)), 1),
		"key ID of no string": unsigned(map[string]any{"alg": "ES256", "kid": 1}, map[string]any{"iss": one.issuer, "sub": "s", "aud": "service", "exp": 9e9}) + ".c2ln",
		"expired":             one.token(t, map[string]any{"exp": time.Now().Unix() - 1}),
	} {
		if err := exchangeJWT(t, srv, token); !isException(err, wire.TypeInvalidGrant) {
			t.Errorf("%s: %v, want InvalidGrantException", name, err)
		}
		want := "InvalidIdentityToken"
		if name == "expired" {
			want = "ExpiredTokenException"
		}
		if err := assumeWeb(t, srv, token); !isException(err, want) {
			t.Errorf("%s: web identity: %v, want %s", name, err, want)
		}
	}
	srv = idctest.New()
	srv.TrustedIssuers = []idctest.TrustedIssuer{}
	wantException(t, exchangeJWT(t, srv, good), wire.TypeInvalidGrant)
}

func (p *openIDProvider) clone() *openIDProvider {
	return &openIDProvider{issuer: p.issuer, key: p.key, kid: p.kid}
}

// TestFetchedKeys checks that keys come from the issuer, are kept, and are
// fetched again when a signature is by none of them: in memory in virtual time,
// and over TCP.
func TestFetchedKeys(t *testing.T) {
	check := func(t *testing.T, p *openIDProvider, client *http.Client) {
		srv := idctest.New()
		srv.TrustedIssuers = []idctest.TrustedIssuer{{Issuer: p.issuer, Audiences: []string{"service"}, HTTPClient: client}}
		for range 3 {
			if err := exchangeJWT(t, srv, p.token(t, nil)); err != nil {
				t.Fatal(err)
			}
		}
		if n := p.hits.Load(); n != 2 {
			t.Errorf("%d requests to the issuer, want 2", n)
		}
		before := p.token(t, nil)
		for _, kid := range []string{"k2", "k2", ""} { // and a new key with an old ID, and none
			p.rotate(t, kid)
			if err := exchangeJWT(t, srv, p.token(t, nil)); err != nil {
				t.Errorf("rotated to %q: %v", kid, err)
			}
		}
		wantException(t, exchangeJWT(t, srv, before), wire.TypeInvalidGrant)
		wantException(t, exchangeJWT(t, srv, newProvider(t, p.issuer).token(t, nil)), wire.TypeInvalidGrant)
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := newProvider(t, "https://issuer.example/tenant/") // its documents are below, with one slash
			check(t, p, &http.Client{Transport: inMemory{p}})
		})
	})
	t.Run("tcp", func(t *testing.T) {
		p := newProvider(t, "")
		ts := httptest.NewServer(p)
		defer ts.Close()
		p.issuer = ts.URL
		check(t, p, ts.Client())
	})
}

// TestKeysOutOfReach checks what comes where the issuer's keys can't be had:
// the assertion is not to blame, and not spent.
func TestKeysOutOfReach(t *testing.T) {
	for name, breakIt := range map[string]func(*openIDProvider, *idctest.TrustedIssuer){
		"down":             func(p *openIDProvider, _ *idctest.TrustedIssuer) { p.status = 503 },
		"no client":        func(_ *openIDProvider, i *idctest.TrustedIssuer) { i.HTTPClient = nil },
		"another issuer's": func(p *openIDProvider, _ *idctest.TrustedIssuer) { p.doc = map[string]any{"issuer": p.issuer + "/"} },
		"no key set":       func(p *openIDProvider, _ *idctest.TrustedIssuer) { p.doc = map[string]any{"jwks_uri": ""} },
		"no URL":           func(p *openIDProvider, _ *idctest.TrustedIssuer) { p.doc = map[string]any{"jwks_uri": "%"} },
		"no such page": func(p *openIDProvider, _ *idctest.TrustedIssuer) {
			p.doc = map[string]any{"jwks_uri": p.issuer + "/none"}
		},
		"not JSON": func(p *openIDProvider, _ *idctest.TrustedIssuer) { p.doc = map[string]any{"jwks_uri": []int{1}} },
		"hangs": func(_ *openIDProvider, i *idctest.TrustedIssuer) {
			i.HTTPClient = &http.Client{Transport: inMemory{http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}}
		},
		"endless": func(_ *openIDProvider, i *idctest.TrustedIssuer) {
			i.HTTPClient = &http.Client{Transport: inMemory{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				io.WriteString(w, `{"issuer":"`+strings.Repeat("x", 2<<20))
			})}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(t, "https://issuer.example")
				srv := idctest.New()
				srv.TrustedIssuers = []idctest.TrustedIssuer{onlineIssuer(p)}
				breakIt(p, &srv.TrustedIssuers[0])
				token := p.token(t, map[string]any{"jti": "1"})
				wantException(t, exchangeJWT(t, srv, token), wire.TypeInternalServer)
				wantException(t, exchangeJWT(t, srv, token), wire.TypeInternalServer)
				var idp *ststypes.IDPCommunicationErrorException
				if err := assumeWeb(t, srv, token); !errors.As(err, &idp) {
					t.Errorf("web identity: %v, want IDPCommunicationError", err)
				}
				if n := srv.Replays(); n != 0 {
					t.Errorf("%d replays, want 0", n)
				}
			})
		})
	}
}

// FuzzKeySet checks that nothing an issuer publishes lets a signature through
// that its key did not make.
func FuzzKeySet(f *testing.F) {
	p := &openIDProvider{issuer: "https://issuer.example"}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	p.key = key
	b, err := json.Marshal(map[string]any{"keys": []any{p.jwk("sig", "k")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(b))
	f.Add(`{"keys":[{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes()) + `","e":"AQAB"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"AAAA","e":"AA"},{"kty":"EC","crv":"P-521","x":"AA","y":"AA"},{"kty":1},null]}`)
	f.Add(`{"keys":{}}`)
	f.Fuzz(func(t *testing.T, keySet string) {
		issuer := inMemory{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				io.WriteString(w, keySet)
				return
			}
			io.WriteString(w, `{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/keys"}`)
		})}
		srv := idctest.New()
		srv.TrustedIssuers = []idctest.TrustedIssuer{{Issuer: p.issuer, HTTPClient: &http.Client{Transport: issuer}}}
		for i, alg := range []string{"RS256", "ES256", "ES512"} {
			size := []int{256, 64, 132}[i]
			text := unsigned(map[string]any{"alg": alg}, map[string]any{"iss": p.issuer, "sub": "s", "aud": "a", "exp": 9999999999.0})
			form := url.Values{
				"Action": {"AssumeRoleWithWebIdentity"}, "RoleArn": {role}, "RoleSessionName": {"jane"},
				"WebIdentityToken": {text + "." + base64.RawURLEncoding.EncodeToString(make([]byte, size))},
			}
			r := httptest.NewRequest("POST", "https://sts.amazonaws.com/", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			srv.ServeHTTP(w, r)
			if w.Code != 400 {
				t.Errorf("%s: a signature of %d zeros: status %d", alg, size, w.Code)
			}
		}
	})
}
