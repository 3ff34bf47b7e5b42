package wire

import (
	"encoding/json"
	"reflect"
	"testing"
	"testing/synctest"

	"github.com/awsoidc/awsoidc/wire"
)

// TestRequests has both Go clients send several hundred inputs to each
// operation, in virtual time. They send equal requests; byte for byte, and with
// equal signatures, where JSON has one way to write the input.
func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a, b recorder
		a.status, b.status = 500, 500
		we, they := ours(&a), official(&b)
		for seed := range uint64(300) {
			for _, c := range newGenerator(seed).calls() {
				a.got, b.got = request{}, request{}
				if _, err := c.ours(t.Context(), we); err == nil || a.got.Method == "" {
					t.Fatalf("%s, seed %d: nothing was sent: %v", c.operation, seed, err)
				}
				if _, err := c.official(t.Context(), they); err == nil || b.got.Method == "" {
					t.Fatalf("%s, seed %d: the official client sent nothing: %v", c.operation, seed, err)
				}
				compareRequests(t, c.operation, a.got, b.got)
				if seed%2 == 1 {
					compareBytes(t, c.operation, a.got, b.got)
				}
				if signed := a.got.Header["authorization"] != ""; signed != (c.operation == "CreateTokenWithIAM") {
					t.Errorf("%s: signed: %v", c.operation, signed)
				}
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		}
	})
}

// TestRequestsOfJavaScript compares with what the AWS SDK for JavaScript sends.
func TestRequestsOfJavaScript(t *testing.T) {
	calls := fixedCalls()
	for seed := range uint64(20) {
		calls = append(calls, newGenerator(seed).calls()...)
	}
	var inputs []any
	var want []request
	for _, c := range calls {
		r := recorder{status: 500}
		if _, err := c.ours(t.Context(), ours(&r)); err == nil {
			t.Fatal("no error")
		}
		want = append(want, r.got)
		inputs = append(inputs, map[string]any{"operation": c.operation, "input": camelCase(t, c.input)})
	}
	var got []request
	node(t, &got, inputs, "requests.mjs")
	if len(got) != len(want) {
		t.Fatalf("%d requests, want %d", len(got), len(want))
	}
	for i := range got {
		compareRequests(t, calls[i].operation, want[i], got[i])
		if signed := got[i].Header["authorization"] != ""; signed != (want[i].Header["authorization"] != "") {
			t.Errorf("%s: the AWS SDK signs it: %v", calls[i].operation, signed)
		}
	}
}

// fixedCalls are every grant of every operation, as programs make them.
func fixedCalls() []call {
	id := wire.CreateTokenInput{ClientID: "client-id", ClientSecret: "client-secret"}
	device, code, refresh := id, id, id
	device.GrantType, device.DeviceCode = wire.GrantDeviceCode, "device-code"
	code.GrantType, code.Code, code.RedirectURI, code.CodeVerifier = wire.GrantAuthorizationCode, "code", "http://127.0.0.1:49152/oauth/callback", "verifier"
	refresh.GrantType, refresh.RefreshToken, refresh.Scopes = wire.GrantRefreshToken, "refresh-token", []string{"sso:account:access"}
	calls := []call{
		registerClient(wire.RegisterClientInput{ClientName: "my-tool", Scopes: []string{"sso:account:access"}}),
		registerClient(wire.RegisterClientInput{
			ClientName: "my-tool", Scopes: []string{"sso:account:access"}, RedirectURIs: []string{"http://127.0.0.1/oauth/callback"},
			GrantTypes: []string{wire.GrantAuthorizationCode, wire.GrantRefreshToken}, IssuerURL: "https://d-1234567890.awsapps.com/start", EntitledApplicationARN: application,
		}),
		startDeviceAuthorization(wire.StartDeviceAuthorizationInput{ClientID: "client-id", ClientSecret: "client-secret", StartURL: "https://d-1234567890.awsapps.com/start"}),
		createToken(device), createToken(code), createToken(refresh),
	}
	for _, in := range fixedSignedInputs() {
		calls = append(calls, createTokenWithIAM(in))
	}
	return calls
}

func fixedSignedInputs() []wire.CreateTokenWithIAMInput {
	return []wire.CreateTokenWithIAMInput{
		{ClientID: application, GrantType: wire.GrantJWTBearer, Assertion: "header.claims.signature"},
		{ClientID: application, GrantType: wire.GrantTokenExchange, SubjectToken: "subject", SubjectTokenType: wire.TokenTypeAccessToken, RequestedTokenType: wire.TokenTypeRefreshToken},
		{ClientID: application, GrantType: wire.GrantRefreshToken, RefreshToken: "refresh-token", Scopes: []string{"openid", "aws", "<é&>"}},
		{ClientID: application, GrantType: wire.GrantAuthorizationCode, Code: "code", RedirectURI: "https://example.com/callback?a=b", CodeVerifier: "verifier"},
	}
}

// compareRequests compares all but headers that say who is calling. The bodies
// are compared as JSON.
func compareRequests(t *testing.T, operation string, ours, theirs request) {
	t.Helper()
	a := []string{ours.Method, ours.Host, ours.Path, ours.Query, ours.Header["content-type"]}
	b := []string{theirs.Method, theirs.Host, theirs.Path, theirs.Query, theirs.Header["content-type"]}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("%s: sent %q, the official client %q", operation, a, b)
	}
	var ourBody, theirBody any
	if err := json.Unmarshal([]byte(ours.Body), &ourBody); err != nil {
		t.Errorf("%s: %v in %q", operation, err, ours.Body)
	}
	if err := json.Unmarshal([]byte(theirs.Body), &theirBody); err != nil {
		t.Errorf("%s: %v in the official client's %q", operation, err, theirs.Body)
	}
	if !reflect.DeepEqual(ourBody, theirBody) {
		t.Errorf("%s: the body is\n%q, the official client's\n%q", operation, ours.Body, theirs.Body)
	}
}

// compareBytes compares what a signature is over, and the signature.
func compareBytes(t *testing.T, operation string, ours, theirs request) {
	t.Helper()
	if ours.Body != theirs.Body {
		t.Errorf("%s: the body is\n%q, the official client's\n%q", operation, ours.Body, theirs.Body)
	}
	for _, name := range []string{"authorization", "x-amz-date", "x-amz-security-token"} {
		if ours.Header[name] != theirs.Header[name] {
			t.Errorf("%s: %s is\n%s, the official client's\n%s", operation, name, ours.Header[name], theirs.Header[name])
		}
	}
}

// camelCase returns an input of the AWS SDK for Go as the one for JavaScript
// has it.
func camelCase(t *testing.T, input any) map[string]any {
	t.Helper()
	members := map[string]any{}
	v := reflect.ValueOf(input).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && !v.Field(i).IsZero() {
			members[string(f.Name[0]|0x20)+f.Name[1:]] = v.Field(i).Interface()
		}
	}
	return members
}
