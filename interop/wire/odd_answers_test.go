package wire

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/awsoidc/awsoidc/wire"
)

// TestOddOutputs has both Go clients read answers that the service does not
// give, or not yet. Where one takes what the other refuses, ours says why.
func TestOddOutputs(t *testing.T) {
	const (
		required = `"accessToken":"a","expiresIn":3600`
		refused  = "deserialization failed"
	)
	for body, want := range map[string]struct{ ours, theirs string }{ // a part of the error; "": an output, the same for both
		`{` + required + `,"accesstoken":"b","EXPIRESIN":5,"REFRESHTOKEN":"r","IdToken":"i"}`:                              {},
		`{"ACCESSTOKEN":{},"expiresin":"x",` + required + `}`:                                                              {},
		`{` + required + `,"acce\u017f\u017fToken":"b","refre\u017fhToken":"r"}`:                                           {},
		`{"acce\u0073sToken":"\u0061\/\"","expires\u0049n":60}`:                                                            {},
		`{` + required + `,"accessToken":"b","refreshToken":"r","refreshToken":"s"}`:                                       {},
		`{` + required + `,"accessToken":null,"expiresIn":null,"refreshToken":null}`:                                       {},
		`{` + required + `,"refreshToken":null,"idToken":null,"tokenType":null,"scope":null}`:                              {},
		`{` + required + `,"awsAdditionalDetails":null}`:                                                                   {},
		`{` + required + `,"awsAdditionalDetails":{"identityContext":null}}`:                                               {},
		`{` + required + `,"awsAdditionalDetails":{"IdentityContext":"c"},"AwsAdditionalDetails":{"identityContext":"c"}}`: {},
		`{` + required + `,"awsAdditionalDetails":{"identityContext":"c","more":[{}]}}`:                                    {},
		`{` + required + `,"scope":["a",null,"b"]}`:                                                                        {},
		`{` + required + `,"scope":["a"],"Scope":["b"]}`:                                                                   {},
		`{` + required + `,"x":{"accessToken":"b","y":["}",{"expiresIn":1}]},"z":"\"accessToken\":\"b\""}`:                 {},
		" {\n" + required + "\r\n}\t ":                                                                                     {},

		// Neither takes what has the wrong type.
		`{"accessToken":7,"expiresIn":3600}`:                                 {"its member accessToken has the wrong type", refused},
		`{"accessToken":"a","expiresIn":true}`:                               {"its member expiresIn has the wrong type", refused},
		`{` + required + `,"scope":"a b"}`:                                   {"its member scope has the wrong type", refused},
		`{` + required + `,"awsAdditionalDetails":"x"}`:                      {"its member awsAdditionalDetails has the wrong type", refused},
		`{` + required + `,"awsAdditionalDetails":{"identityContext":true}}`: {"its member awsAdditionalDetails.identityContext has the wrong type", refused},
		`{` + required: {"it is not well-formed JSON", refused},
		`[]`:           {"it is not a JSON object", refused},
		`<html>`:       {"it is not well-formed JSON", refused},

		// A token that came is not thrown away for the way its lifetime is written.
		`{"accessToken":"a","expiresIn":"3600"}`: {"", refused},
		`{"accessToken":"a","expiresIn":3600.0}`: {"", refused},
		`{"accessToken":"a","expiresIn":36e2}`:   {"", refused},

		// What the official client takes, without a token to show for it.
		`{"AccessToken":"a","expiresIn":3600}`: {"accessToken is missing", ""},
		`{"accessToken":"a","ExpiresIn":3600}`: {"expiresIn is missing", ""},
		`{"accessToken":"a","expiresIn":-1}`:   {"expiresIn is not positive", ""},
		`{` + required + `}{}`:                 {"it is not well-formed JSON", ""},
		`null`:                                 {"accessToken is missing", refused},
		``:                                     {"it is empty", ""},
	} {
		r := &recorder{status: 200, body: body}
		c := newGenerator(1).calls()[3]
		our, ourErr := c.ours(t.Context(), ours(r))
		theirs, theirErr := c.official(t.Context(), official(r))
		if !fails(ourErr, want.ours) || !fails(theirErr, want.theirs) {
			t.Errorf("%s:\ngot  %v\nwant %s\nthe official client %v\nwant %s", body, ourErr, want.ours, theirErr, want.theirs)
			continue
		}
		if ourErr != nil || theirErr != nil {
			continue
		}
		a, b := texts(reflect.ValueOf(our).Elem()), texts(reflect.ValueOf(theirs).Elem())
		delete(a, "tokentype") // Bearer, where the answer names none
		delete(b, "tokentype")
		if !maps.Equal(a, b) {
			t.Errorf("%s:\ngot  %v\nthe official client %v", body, a, b)
		}
	}
}

// fails reports whether err has a text in it; whether it is nil, where that is
// "".
func fails(err error, text string) bool {
	if err == nil || text == "" {
		return err == nil && text == ""
	}
	return strings.Contains(err.Error(), text)
}

// TestOddExceptions has both Go clients name the exception of answers that the
// service does not give, or not yet.
func TestOddExceptions(t *testing.T) {
	slowDown := "SlowDownException:http://x/"
	const (
		none       = "UnknownError"         // what the official client says of an answer that names none
		unreadable = "DeserializationError" // what it says of any that it can't read, in a name of this test's
	)
	for _, test := range []struct {
		header, body string
		ours, theirs string // theirs "": the same
	}{
		{"", `{"code":"InvalidGrantException","message":"m"}`, "InvalidGrantException", ""},
		{"", `{"Code":"InvalidGrantException","Message":"m"}`, "InvalidGrantException", ""},
		{"", `{"code":"InvalidGrantException","__type":"SlowDownException"}`, "SlowDownException", ""},
		{"", `{"__type":"a#SlowDownException:http://x","error":"invalid_grant"}`, "SlowDownException", ""},
		{"", `{"code":"a#SlowDownException:http://x","error":"invalid_grant"}`, "SlowDownException", ""},
		{"", `{"__type":"SlowDownException","__type":"InvalidGrantException"}`, "InvalidGrantException", ""},
		{"", `{"__type":null,"code":"InvalidGrantException"}`, "InvalidGrantException", ""},
		{"", `{"code":429,"__type":"SlowDownException"}`, "SlowDownException", ""},
		{"", `{"__type":"FutureException","message":"m"}`, "FutureException", ""},
		{slowDown, `{"__type":"InvalidGrantException","code":"ExpiredTokenException"}`, "SlowDownException", ""},
		{slowDown, `{"error":"invalid_grant"}`, "SlowDownException", ""},
		{slowDown, `{"error":"invalid_grant","ERROR":"access_denied","Error_Description":"x"}`, "SlowDownException", ""},
		{slowDown, ``, "SlowDownException", ""},
		{"a#SlowDownException", `{}`, "SlowDownException", ""},
		{"slowdownexception", `{}`, "slowdownexception", ""},

		// The header is enough.
		{slowDown, `<html>`, "SlowDownException", unreadable},
		{slowDown, `{"error":`, "SlowDownException", unreadable},
		{slowDown, `{"error":7}`, "SlowDownException", unreadable},
		{slowDown, `[]`, "SlowDownException", unreadable},
		// The OAuth error code is, too.
		{"", `{"error":"invalid_grant","error_description":"d"}`, "InvalidGrantException", none},
		{"", `{"error":"authorization_pending","ERROR":"access_denied"}`, "AuthorizationPendingException", none},
		{":x", `{"__type":"SlowDownException"}`, "SlowDownException", "-"},
		{"", `{"__type":7,"code":"InvalidGrantException"}`, "InvalidGrantException", unreadable},

		{"", `{"Message":"M"}`, "", none},
		{"", `null`, "", none},
		{"", ``, "", none},
		{"", `<html>`, "", unreadable},
	} {
		r := &recorder{status: 400, body: test.body}
		if test.header != "" {
			r.header = http.Header{"X-Amzn-Errortype": {test.header}}
		}
		c := newGenerator(1).calls()[3]
		_, err := c.ours(t.Context(), ours(r))
		e, ok := errors.AsType[*wire.Error](err)
		if !ok || e.Type != test.ours || errors.Is(err, wire.ErrResponse) != (test.ours == "") {
			t.Errorf("%q %s: %v, want %s", test.header, test.body, err, test.ours)
			continue
		}
		_, err = c.official(t.Context(), official(r))
		theirs := unreadable
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			theirs = cmp.Or(api.ErrorCode(), "-")
			if members := texts(reflect.ValueOf(api).Elem()); members["error_"] != e.Code && reflect.TypeOf(api) != reflect.TypeFor[*smithy.GenericAPIError]() {
				t.Errorf("%q %s: %q, the official client %q", test.header, test.body, e.Code, members["error_"])
			}
		}
		if want := cmp.Or(test.theirs, test.ours); theirs != want {
			t.Errorf("%q %s: the official client says %s (%v), want %s", test.header, test.body, theirs, err, want)
		}
	}
}

// TestCutBodies breaks answers off in the middle. What the status and the header
// say is known to both Go clients, and ours tells the exception as well.
func TestCutBodies(t *testing.T) {
	for status, typ := range map[int]string{200: "", 400: wire.TypeInvalidGrant, 429: "", 500: wire.TypeInternalServer, 503: ""} {
		cut := transportFunc(func(req *http.Request) (*http.Response, error) {
			header := http.Header{"Content-Type": {"application/json"}, "X-Amzn-Requestid": {"req-1"}, "X-Amzn-Errortype": {typ + ":http://x/"}}
			body := io.MultiReader(strings.NewReader(`{"accessToken":"a","error":"inva`), iotest.ErrReader(io.ErrUnexpectedEOF))
			return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(body), ContentLength: 100, Request: req}, nil
		})
		c := newGenerator(1).calls()[2]
		_, err := c.official(t.Context(), official(cut))
		if resp, ok := errors.AsType[*awshttp.ResponseError](err); !ok || resp.HTTPStatusCode() != status || resp.ServiceRequestID() != "req-1" {
			t.Errorf("%d: the official client says %v", status, err)
		}
		_, err = c.ours(t.Context(), ours(cut))
		if status == 200 { // the token may be lost
			if e, ok := errors.AsType[*wire.SendError](err); !ok || e.Unspent || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v", err)
			}
			continue
		}
		if e, ok := errors.AsType[*wire.Error](err); !ok || e.StatusCode != status || e.RequestID != "req-1" || e.Type != typ || errors.Is(err, wire.ErrResponse) != (typ == "") {
			t.Errorf("%d: %+v", status, err)
		}
	}
}

// transportFunc is an in-memory transport.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
