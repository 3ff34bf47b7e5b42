package wire_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// Names are matched as the service writes them, and in no other case.
func TestMemberNames(t *testing.T) {
	for body, want := range map[string]wire.CreateTokenOutput{
		`{"accessToken":"a","expiresIn":3600,"accesstoken":"b","EXPIRESIN":5,"REFRESHTOKEN":"r","IdToken":"i","TOKENTYPE":"mac"}`: {AccessToken: "a", ExpiresIn: time.Hour},
		`{"ACCESSTOKEN":{},"expiresin":"x","accessToken":"a","expiresIn":3600}`:                                                   {AccessToken: "a", ExpiresIn: time.Hour},
		`{"accessToken":"a","expiresIn":3600,"acce\u017fsToken":"b","refre\u017fhToken":"r","access\u212aToken":"k"}`:             {AccessToken: "a", ExpiresIn: time.Hour},
		`{"accessToken":"a","expiresIn":3600,"accessToken":"b","expiresIn":60}`:                                                   {AccessToken: "b", ExpiresIn: time.Minute},
		`{"accessToken":7,"accessToken":"b","expiresIn":60}`:                                                                      {AccessToken: "b", ExpiresIn: time.Minute},
		`{"\u0061ccessToke\u006E":"\u0061","expires\u0049n":60,"refreshToken":"\/\"\\\u002b"}`:                                    {AccessToken: "a", ExpiresIn: time.Minute, RefreshToken: `/"\+`},
		`{"accessToken":"a","expiresIn":60,"x":{"accessToken":"b","y":[{"refreshToken":"r"}]},"z":["idToken",{"idToken":"i"}]}`:   {AccessToken: "a", ExpiresIn: time.Minute},
		`{"x":{"y":"}]","z":["]{\"",{"]":"\\"}]},"accessToken":"a","expiresIn":60}`:                                               {AccessToken: "a", ExpiresIn: time.Minute},
		`{"x":"\"accessToken\":\"b\\","accessToken":"a}","expiresIn":60,"y":"{[\\\""}`:                                            {AccessToken: "a}", ExpiresIn: time.Minute},
		" \r\n\t{ \"accessToken\" : \"a\" ,\n\t\"expiresIn\"\r: 60 , \"x\" : [ ] , \"y\" : { } }\n ":                              {AccessToken: "a", ExpiresIn: time.Minute},
		`{"accessToken":"a","expiresIn":"60"}`:                                                                                    {AccessToken: "a", ExpiresIn: time.Minute},
		`{"accessToken":"a","accessToken":null,"expiresIn":60}`:                                                                   {AccessToken: "a", ExpiresIn: time.Minute},
	} {
		out, err := answering(200, body, requestIDs...).CreateToken(t.Context(), refreshInput())
		want.TokenType, want.Metadata = "Bearer", wantMetadata
		if err != nil || *out != want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", body, out, err, want)
		}
	}
	for body, want := range map[string]string{
		`{"AccessToken":"a","expiresIn":3600}`:                                 "accessToken is missing",
		`{"accessToken":"a","ExpiresIn":3600}`:                                 "expiresIn is missing",
		`{"accessToken":null,"expiresIn":60}`:                                  "accessToken is missing",
		`{"accessToken":"a","expiresIn":60,"expiresIn":[]}`:                    "its member expiresIn has the wrong type",
		`{"accessToken":"a","expiresIn":"soon"}`:                               "its member expiresIn has the wrong type",
		`{"accessToken":"a","expiresIn":3600,"accessToken":{"accessToken":1}}`: "its member accessToken has the wrong type",
	} {
		_, err := answering(200, body).CreateToken(t.Context(), refreshInput())
		if !errors.Is(err, wire.ErrResponse) || !strings.HasSuffix(err.Error(), "unusable answer: "+want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// The same for what is nested. Errors name members as the service does.
func TestMemberNamesWithIAM(t *testing.T) {
	const required = `"accessToken":"a","expiresIn":60,`
	out, err := signed(answering(200, `{`+required+`"Scope":["x"],"scope":["a",null,"b"],"awsAdditionalDetails":{"IdentityContext":"c"},"awsadditionaldetails":{"identityContext":"d"}}`)).
		CreateTokenWithIAM(t.Context(), bearerInput())
	if err != nil || !slices.Equal(out.Scopes, []string{"a", "", "b"}) || out.IdentityContext != "" {
		t.Errorf("%+v, %v", out, err)
	}
	for members, want := range map[string]string{
		`"accessToken":7,"expiresIn":60`:                             "its member accessToken has the wrong type",
		required + `"scope":"a b"`:                                   "its member scope has the wrong type",
		required + `"scope":["a",1]`:                                 "its member scope has the wrong type",
		required + `"awsAdditionalDetails":"x"`:                      "its member awsAdditionalDetails has the wrong type",
		required + `"awsAdditionalDetails":[]`:                       "its member awsAdditionalDetails has the wrong type",
		required + `"awsAdditionalDetails":{"identityContext":true}`: "its member awsAdditionalDetails.identityContext has the wrong type",
		required + `"issuedTokenType":{}`:                            "its member issuedTokenType has the wrong type",
	} {
		_, err := signed(answering(200, `{`+members+`}`)).CreateTokenWithIAM(t.Context(), bearerInput())
		if !errors.Is(err, wire.ErrResponse) || !strings.HasSuffix(err.Error(), "unusable answer: "+want) {
			t.Errorf("%s: %v, want %s", members, err, want)
		}
	}
}

// The name of an exception comes from the header, the body's __type, its code,
// and at last the OAuth error code.
func TestExceptionNames(t *testing.T) {
	header := []string{"x-amzn-ErrorType", "SlowDownException:http://x/"}
	for _, test := range []struct {
		body              string
		header            []string
		typ, code, detail string
	}{
		{`{"error":"authorization_pending","ERROR":"access_denied","Error_Description":"x"}`, nil, wire.TypeAuthorizationPending, "authorization_pending", ""},
		{`{"code":"InvalidGrantException","message":"m"}`, nil, wire.TypeInvalidGrant, "", "m"},
		{`{"Code":"a#InvalidGrantException:b","Message":"m"}`, nil, wire.TypeInvalidGrant, "", "m"},
		{`{"code":"InvalidGrantException","__type":"ExpiredTokenException","error":"invalid_client"}`, nil, wire.TypeExpiredToken, "invalid_client", ""},
		{`{"code":"InvalidGrantException","error":"invalid_client"}`, nil, wire.TypeInvalidGrant, "invalid_client", ""},
		{`{"code":"InvalidGrantException","__type":"ExpiredTokenException"}`, header, wire.TypeSlowDown, "", ""},
		{`{"code":400,"error":"invalid_client","message":"m"}`, nil, wire.TypeInvalidClient, "invalid_client", "m"},
		{`{"__type":7,"code":"InvalidGrantException"}`, nil, wire.TypeInvalidGrant, "", ""},
		{`{"__type":null,"code":null,"error":"invalid_client"}`, nil, wire.TypeInvalidClient, "invalid_client", ""},
		{`{"error":"invalid_client","error":"invalid_grant"}`, nil, wire.TypeInvalidGrant, "invalid_grant", ""},
	} {
		_, err := answering(400, test.body, test.header...).CreateToken(t.Context(), refreshInput())
		if e := asError(t, err); e.Type != test.typ || e.Code != test.code || e.Description != test.detail || e.Err != nil {
			t.Errorf("%s: %+v", test.body, e)
		}
	}
}

// FuzzMembers compares what is read with what encoding/json reads, one member
// after the other.
func FuzzMembers(f *testing.F) {
	for _, body := range []string{
		`{"accessToken":"a","expiresIn":1}`, `{"accessToken":"a\u0000\ud800","refreshToken":"\/","x":{"y":[{}]}}`, `{"\u0061ccessToken":"a"}`,
		` { "accessToken" : "}" , "accessToken" : [ ] , "accessToken" : null } `, `{"accessToken":"\\","":"","x":"\"","y":-1.5e+3,"z":[true,false,null]}`,
		"{\"accessToken\":\"\xff\",\"\xff\":1}", `null`, `{}`, `[]`, `0`, `"{}"`, `{"accessToken":"a"}}`, `{"expiresIn":"1"}`, "{\"accessToken\":\"\x7f\"}",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		all, readable := membersOf(body)
		text := func(name string) (s string) {
			if raw, ok := all[name]; ok && json.Unmarshal(raw, &s) != nil {
				readable = false
			}
			return s
		}
		access, refresh, id := text("accessToken"), text("refreshToken"), text("idToken")
		text("tokenType")
		var expires json.Number
		if raw, ok := all["expiresIn"]; ok && json.Unmarshal(raw, &expires) != nil {
			readable = false
		}
		out, err := answering(200, body).CreateToken(t.Context(), refreshInput())
		if err != nil {
			unreadable := regexp.MustCompile("it is|has the wrong type|larger than 1 MiB").MatchString(err.Error())
			if unreadable == readable && len(body) <= wire.MaxResponseBytes {
				t.Fatalf("%q: %v; encoding/json reads it: %v, %v", body, err, readable, all)
			}
			return
		}
		if !readable || string(out.AccessToken) != access || string(out.RefreshToken) != refresh || string(out.IDToken) != id {
			t.Fatalf("%q: %q %q %q; encoding/json reads it: %v, %v", body, string(out.AccessToken), string(out.RefreshToken), string(out.IDToken), readable, all)
		}
	})
}

// membersOf returns the members of a JSON object that are not null.
func membersOf(body string) (all map[string]json.RawMessage, ok bool) {
	d := json.NewDecoder(strings.NewReader(body))
	start, err := d.Token()
	if err != nil || start != json.Delim('{') || !json.Valid([]byte(body)) {
		return nil, strings.TrimSpace(body) == "null"
	}
	all = make(map[string]json.RawMessage)
	for d.More() {
		name, _ := d.Token()
		var raw json.RawMessage
		if d.Decode(&raw) == nil && string(raw) != "null" {
			all[name.(string)] = raw
		}
	}
	return all, true
}
