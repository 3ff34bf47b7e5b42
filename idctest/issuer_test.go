package idctest_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	oidctypes "github.com/aws/aws-sdk-go-v2/service/ssooidc/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// TestIssuerOffline checks that a server which was given the issuer's keys takes
// its JWTs, for the audiences named, and nobody else's.
func TestIssuerOffline(t *testing.T) {
	issuer, other := idctest.NewIssuer("https://issuer.example/tenant"), idctest.NewIssuer("https://other.example")
	impostor := idctest.NewIssuer(issuer.URL)
	srv := idctest.New()
	srv.TrustedIssuers = []idctest.TrustedIssuer{issuer.Trusted("service", "also"), other.Trusted()}
	for name, token := range map[string]string{
		"one":          issuer.Sign(map[string]any{"sub": "jane", "aud": "service"}),
		"list":         issuer.Sign(map[string]any{"sub": "jane", "aud": []string{"x", "also"}}),
		"any audience": other.Sign(map[string]any{"sub": "jane", "aud": "x"}),
	} {
		if err := exchangeJWT(t, srv, token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := assumeWeb(t, srv, token); err != nil {
			t.Errorf("%s: web identity: %v", name, err)
		}
	}
	for name, token := range map[string]string{
		"audience": issuer.Sign(map[string]any{"sub": "jane", "aud": "elsewhere"}),
		"impostor": impostor.Sign(map[string]any{"sub": "jane", "aud": "service"}),
		"issuer":   other.Sign(map[string]any{"iss": issuer.URL, "sub": "jane", "aud": "service"}),
		"expired":  issuer.Sign(map[string]any{"sub": "jane", "aud": "service", "exp": time.Now().Unix() - 1}),
	} {
		if err := exchangeJWT(t, srv, token); !isException(err, wire.TypeInvalidGrant) {
			t.Errorf("%s: %v, want InvalidGrantException", name, err)
		}
	}
}

// TestIssuerClaims checks which claims a token has.
func TestIssuerClaims(t *testing.T) {
	at := time.Unix(1_700_000_000, 5e8)
	issuer := &idctest.Issuer{URL: "https://issuer.example", Now: func() time.Time { return at }}
	for _, test := range []struct{ claims, want map[string]any }{
		{nil, map[string]any{"iss": issuer.URL, "iat": 1.7e9, "exp": 1.7e9 + 3600}},
		{map[string]any{"sub": "s", "aud": []string{"a"}, "jti": "1"}, map[string]any{"iss": issuer.URL, "iat": 1.7e9, "exp": 1.7e9 + 3600, "sub": "s", "aud": []any{"a"}, "jti": "1"}},
		{map[string]any{"iss": "x", "iat": 1, "exp": 2.5}, map[string]any{"iss": "x", "iat": 1.0, "exp": 2.5}},
		{map[string]any{"iss": nil, "iat": nil, "exp": nil, "sub": nil}, map[string]any{}},
	} {
		given := maps.Clone(test.claims)
		token := issuer.Sign(test.claims)
		parts := strings.Split(token, ".")
		var header, got map[string]any
		for i, into := range []*map[string]any{&header, &got} {
			b, err := base64.RawURLEncoding.DecodeString(parts[i])
			if err != nil || json.Unmarshal(b, into) != nil {
				t.Fatalf("%s: %v", token, err)
			}
		}
		if toJSON(t, got) != toJSON(t, test.want) {
			t.Errorf("claims %v, want %v", got, test.want)
		}
		if kid, _ := header["kid"].(string); header["alg"] != "ES256" || header["typ"] != "JWT" || issuer.Trusted().Keys[kid] == nil {
			t.Errorf("header %v", header)
		}
		if toJSON(t, given) != toJSON(t, test.claims) {
			t.Errorf("the caller's claims became %v", test.claims)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	issuer.Sign(map[string]any{"x": func() {}})
}

// TestIssuerOnline checks that a server which fetches the issuer's keys follows
// when they change.
func TestIssuerOnline(t *testing.T) {
	check := func(t *testing.T, issuer *idctest.Issuer, client *http.Client) {
		trusted := issuer.Trusted("service")
		trusted.Keys, trusted.HTTPClient = nil, client
		srv := idctest.New()
		srv.TrustedIssuers = []idctest.TrustedIssuer{trusted}
		sign := func() string { return issuer.Sign(map[string]any{"sub": "jane", "aud": "service"}) }
		first := sign()
		issuer.Rotate()
		for _, token := range []string{sign(), first} {
			if err := exchangeJWT(t, srv, token); err != nil {
				t.Fatal(err)
			}
		}
		issuer.Rotate()
		if err := exchangeJWT(t, srv, sign()); err != nil {
			t.Fatal(err)
		}
		wantException(t, exchangeJWT(t, srv, first), wire.TypeInvalidGrant)
	}
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			issuer := idctest.NewIssuer("https://issuer.example/tenant/")
			check(t, issuer, &http.Client{Transport: issuer.Transport()})
		})
	})
	t.Run("tcp", func(t *testing.T) {
		issuer := idctest.NewIssuer("")
		ts := httptest.NewServer(http.StripPrefix("/tenant", issuer))
		defer ts.Close()
		issuer.URL = ts.URL + "/tenant"
		check(t, issuer, ts.Client())
	})
}

// TestIssuerPages checks what is published: no private key, and no other page.
func TestIssuerPages(t *testing.T) {
	issuer := idctest.NewIssuer("https://issuer.example")
	issuer.Rotate()
	get := func(method, path string) (*http.Response, map[string]any) {
		t.Helper()
		resp, body := send(t, issuer.Transport(), method, issuer.URL+path, "", "")
		var document map[string]any
		if resp.StatusCode == 200 && json.Unmarshal([]byte(body), &document) != nil {
			t.Errorf("%s is no JSON: %s", path, body)
		}
		return resp, document
	}
	resp, discovery := get("GET", "/.well-known/openid-configuration")
	if resp.Header.Get("Content-Type") != "application/json" || discovery["issuer"] != issuer.URL || toJSON(t, discovery["id_token_signing_alg_values_supported"]) != `["ES256"]`+"\n" {
		t.Errorf("%v", discovery)
	}
	uri, _ := discovery["jwks_uri"].(string)
	path, ok := strings.CutPrefix(uri, issuer.URL)
	_, set := get("GET", path)
	keys, _ := set["keys"].([]any)
	if !ok || len(keys) != 2 {
		t.Fatalf("%s: %v", uri, set)
	}
	for _, key := range keys {
		names := slices.Sorted(maps.Keys(key.(map[string]any)))
		if !slices.Equal(names, []string{"alg", "crv", "kid", "kty", "use", "x", "y"}) {
			t.Errorf("a key with the members %v", names)
		}
	}
	for _, page := range []string{"GET /", "GET /authorize", "GET /token", "POST /.well-known/openid-configuration", "HEAD " + path} {
		method, path, _ := strings.Cut(page, " ")
		if resp, _ := get(method, path); resp.StatusCode != 404 {
			t.Errorf("%s: status %d, want 404", page, resp.StatusCode)
		}
	}
}

// TestIssuerConcurrency is for the race detector.
func TestIssuerConcurrency(t *testing.T) {
	issuer := &idctest.Issuer{URL: "https://issuer.example"}
	srv := idctest.New()
	srv.TrustedIssuers = []idctest.TrustedIssuer{{Issuer: issuer.URL, HTTPClient: &http.Client{Transport: issuer.Transport()}}}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				if err := exchangeJWT(t, srv, issuer.Sign(map[string]any{"sub": "jane", "aud": "service"})); err != nil && !isException(err, wire.TypeInvalidGrant) { // rotated twice meanwhile
					t.Error(err)
				}
				issuer.Rotate()
				issuer.Trusted()
			}
		})
	}
	all.Wait()
}

// TestMissingClaims checks that a refusal says which claim is missing. Access
// tokens of Amazon Cognito have no audience.
func TestMissingClaims(t *testing.T) {
	issuer := idctest.NewIssuer("https://cognito-idp.us-east-1.amazonaws.com/us-east-1_example")
	srv := idctest.New()
	srv.TrustedIssuers = []idctest.TrustedIssuer{issuer.Trusted()}
	cognito := map[string]any{
		"sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "client_id": "1example23456789", "token_use": "access", "scope": "openid", "username": "jane", "jti": "1",
	}
	for _, test := range []struct {
		claims map[string]any
		want   string
	}{
		{cognito, "it lacks the claim aud"},
		{map[string]any{"sub": "jane", "aud": []string{}}, "it lacks the claim aud"},
		{map[string]any{"sub": "jane", "aud": "a", "iss": nil}, "it lacks the claim iss"},
		{map[string]any{"aud": "a"}, "it lacks the claim sub"},
		{map[string]any{"sub": "jane", "aud": "a", "exp": nil}, "it lacks the claim exp"},
		{map[string]any{"sub": strings.Repeat("x", 256), "aud": "a"}, "its claim iss or sub is too long"},
	} {
		token := issuer.Sign(test.claims)
		var refused *oidctypes.InvalidGrantException
		if err := exchangeJWT(t, srv, token); !errors.As(err, &refused) || !strings.HasSuffix(*refused.Error_description, test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
		if err := assumeWeb(t, srv, token); !isException(err, "InvalidIdentityToken") || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("web identity: %v, want %s", err, test.want)
		}
	}
	cognito["aud"] = cognito["client_id"] // as a trigger of the user pool can add it, and ID tokens have it
	if err := exchangeJWT(t, srv, issuer.Sign(cognito)); err != nil {
		t.Error(err)
	}
	if n := srv.Replays(); n != 0 {
		t.Errorf("%d replays, want 0: a token that was refused is not spent", n)
	}
}
