package wire_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// exceptions are all that the service's model has, with their OAuth error codes.
var exceptions = []struct {
	typ, code string
	status    int
}{
	{wire.TypeAccessDenied, "access_denied", 400},
	{wire.TypeAuthorizationPending, "authorization_pending", 400},
	{wire.TypeExpiredToken, "expired_token", 400},
	{wire.TypeInternalServer, "server_error", 500},
	{wire.TypeInvalidClient, "invalid_client", 401},
	{wire.TypeInvalidClientMetadata, "invalid_client_metadata", 400},
	{wire.TypeInvalidGrant, "invalid_grant", 400},
	{wire.TypeInvalidRedirectURI, "invalid_redirect_uri", 400},
	{wire.TypeInvalidRequest, "invalid_request", 400},
	{wire.TypeInvalidRequestRegion, "invalid_request", 400},
	{wire.TypeInvalidScope, "invalid_scope", 400},
	{wire.TypeSlowDown, "slow_down", 400},
	{wire.TypeUnauthorizedClient, "unauthorized_client", 400},
	{wire.TypeUnsupportedGrantType, "unsupported_grant_type", 400},
}

func TestExceptions(t *testing.T) {
	for _, x := range exceptions {
		want := wire.Error{
			Operation: "CreateToken", Type: x.typ, Code: x.code, Description: "what the service says", StatusCode: x.status,
			RequestID: "req-1", ExtendedRequestID: "ext-1", CfID: "cf-1",
		}
		members := `"error":"` + x.code + `","error_description":"what the service says"`
		switch x.typ {
		case wire.TypeAccessDenied:
			want.Reason = "KMS_AccessDeniedException"
			members += `,"reason":"KMS_AccessDeniedException"`
		case wire.TypeInvalidRequest:
			want.Reason = "KMS_DisabledException"
			members += `,"reason":"KMS_DisabledException"`
		case wire.TypeInvalidRequestRegion:
			want.Region, want.Endpoint = "eu-west-1", "https://oidc.eu-west-1.amazonaws.com"
			members += `,"region":"eu-west-1","endpoint":"https://oidc.eu-west-1.amazonaws.com"`
		}
		typed := func(prefix, suffix string) string {
			return `{"__type":"` + prefix + x.typ + suffix + `",` + members + `}`
		}
		check := func(name, body string, header ...string) {
			err := createToken(refreshInput())(t.Context(), answering(x.status, body, append(header, requestIDs...)...))
			if got := asError(t, err); !reflect.DeepEqual(*got, want) {
				t.Errorf("%s, %s:\ngot  %+v\nwant %+v", x.typ, name, *got, want)
			}
			if errors.Is(err, wire.ErrResponse) {
				t.Errorf("%s, %s: wraps ErrResponse", x.typ, name)
			}
			checkText(t, err)
		}
		check("__type", typed("", ""))
		check("__type with a namespace", typed("com.amazonaws.ssooidc#", ""))
		check("__type with a suffix", typed("aws.protocoltests#", ":http://example.com/a#b"))
		check("header", `{`+members+`}`, "x-amzn-ErrorType", x.typ)
		check("header with a suffix", `{`+members+`}`, "x-amzn-ErrorType", x.typ+":http://internal.example.com/coral/")
		check("header before __type", `{"__type":"Other",`+members+`}`, "x-amzn-ErrorType", "a#"+x.typ)
		check("__type where the header says nothing", typed("", ""), "x-amzn-ErrorType", ":")
		if x.typ != wire.TypeInvalidRequestRegion {
			check("code alone", `{`+members+`}`)
		}
	}
}

// Every operation makes the same errors, under its own name.
func TestErrorsOfEveryOperation(t *testing.T) {
	for name, call := range map[string]call{
		"RegisterClient":           registerClient(&wire.RegisterClientInput{ClientName: "n"}),
		"StartDeviceAuthorization": startDeviceAuthorization(deviceInput()),
		"CreateToken":              createToken(refreshInput()),
		"CreateTokenWithIAM":       createTokenWithIAM(bearerInput()),
	} {
		e := asError(t, call(t.Context(), signed(answering(400, `{"error":"slow_down"}`))))
		if e.Operation != name || e.Type != wire.TypeSlowDown {
			t.Errorf("%s: %+v", name, e)
		}
		s := asSendError(t, call(t.Context(), signed(newClient(failing(errors.New("x"))))))
		if s.Operation != name {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestErrorText(t *testing.T) {
	long := strings.Repeat("long ", 1000)
	for _, test := range []struct {
		status int
		body   string
		header []string
		want   string
	}{
		{400, `{"__type":"InvalidGrantException","error":"invalid_grant","error_description":"Invalid refresh token"}`, requestIDs,
			"wire: CreateToken: HTTP 400 InvalidGrantException: Invalid refresh token (request ID req-1)"},
		{400, `{"error":"authorization_pending"}`, nil,
			"wire: CreateToken: HTTP 400 AuthorizationPendingException"},
		{400, `{"__type":"AccessDeniedException","reason":"KMS_AccessDeniedException","error_description":"d"}`, nil,
			"wire: CreateToken: HTTP 400 AccessDeniedException: KMS_AccessDeniedException: d"},
		{400, `{"__type":"InvalidRequestRegionException","region":"eu-west-1","error_description":"d"}`, nil,
			"wire: CreateToken: HTTP 400 InvalidRequestRegionException: d; send it to the region eu-west-1"},
		{418, `{"__type":"TeapotException","error":"teapot"}`, nil, "wire: CreateToken: HTTP 418 TeapotException"},
		{418, `{"error":"teapot"}`, nil, "wire: CreateToken: HTTP 418 teapot"},
		{429, `{"message":"Too Many Requests"}`, nil,
			"wire: CreateToken: HTTP 429: unusable answer: it names no error: Too Many Requests"},
		{403, `{"Message":"User is not authorized"}`, []string{"x-amzn-ErrorType", "ForbiddenException"},
			"wire: CreateToken: HTTP 403 ForbiddenException: User is not authorized"},
		{500, ``, nil, "wire: CreateToken: HTTP 500: unusable answer: it is empty"},
		{500, ``, []string{"x-amzn-ErrorType", "InternalServerException"}, "wire: CreateToken: HTTP 500 InternalServerException"},
		{503, `<h1>Service Unavailable</h1>`, []string{"Content-Type", "text/html"},
			"wire: CreateToken: HTTP 503: unusable answer: it is not JSON but text/html; see whether a proxy or another service answers at the endpoint"},
		{502, `{"error":`, nil, "wire: CreateToken: HTTP 502: unusable answer: it is not well-formed JSON"},
		{400, `[]`, nil, "wire: CreateToken: HTTP 400: unusable answer: it is not a JSON object"},
		{400, `{"error":7,"error_description":"d"}`, nil, "wire: CreateToken: HTTP 400: unusable answer: it names no error: d"},
		{400, `{"error":"invalid_grant","error_description":{"x":1},"reason":[]}`, nil, "wire: CreateToken: HTTP 400 InvalidGrantException"},
		{400, strings.Repeat(" ", wire.MaxResponseBytes+1), nil, "wire: CreateToken: HTTP 400: unusable answer: the answer is larger than 1 MiB"},
		{400, `{"error":"invalid_grant","error_description":"a\nb\u001b[31mc\u0000d\u202ee\u2028f\ufffdg"}`, nil,
			"wire: CreateToken: HTTP 400 InvalidGrantException: a b [31mc d e f\ufffdg"},
		{400, "{\"error\":\"invalid_grant\",\"error_description\":\"caf\xe9\"}", nil,
			"wire: CreateToken: HTTP 400 InvalidGrantException: caf\ufffd"},
		{400, `{"error":"invalid_grant","error_description":"` + long + `"}`, nil,
			"wire: CreateToken: HTTP 400 InvalidGrantException: " + long[:509] + "…"},
		{204, ``, nil, "wire: CreateToken: HTTP 204: unusable answer: it is empty"},
		{304, ``, nil, "wire: CreateToken: HTTP 304: unusable answer: a redirect to another URL was refused; check the endpoint"},
	} {
		err := createToken(refreshInput())(t.Context(), answering(test.status, test.body, test.header...))
		if err == nil || err.Error() != test.want {
			t.Errorf("%.100s:\n%v, want\n%v", test.body, err, test.want)
			continue
		}
		checkText(t, err)
		e := asError(t, err)
		if e.StatusCode != test.status {
			t.Errorf("status %d, want %d", e.StatusCode, test.status)
		}
		if unusable := strings.Contains(test.want, "unusable answer"); unusable != errors.Is(err, wire.ErrResponse) {
			t.Errorf("%v: errors.Is(err, ErrResponse) is %v", err, !unusable)
		}
	}
}

// Every string of an Error is bounded, whatever the server sends.
func TestErrorBounds(t *testing.T) {
	testErrorBounds(t, strings.Repeat("x", 10_000))
	testErrorBounds(t, strings.Repeat("é", 10_000))
	testErrorBounds(t, "x"+strings.Repeat("é", 10_000))
}

func testErrorBounds(t *testing.T, long string) {
	body, _ := json.Marshal(map[string]string{
		"__type": long, "error": long, "error_description": long, "reason": long, "region": long, "endpoint": long,
	})
	e := asError(t, createToken(refreshInput())(t.Context(), answering(400, string(body),
		"x-amzn-RequestId", long, "x-amz-id-2", long, "X-Amz-Cf-Id", long)))
	checkText(t, e)
	for name, s := range errorStrings(e) {
		limit := map[string]int{"Description": 512, "Endpoint": 255}[name]
		if limit == 0 {
			limit = 128
		}
		if name != "Operation" && len(s) < limit-3 {
			t.Errorf("%s has %d bytes, want about %d", name, len(s), limit)
		}
		checkLine(t, s, limit)
	}
}

func errorStrings(e *wire.Error) map[string]string {
	return map[string]string{
		"Operation": e.Operation, "Type": e.Type, "Code": e.Code, "Description": e.Description, "Reason": e.Reason, "Region": e.Region,
		"Endpoint": e.Endpoint, "RequestID": e.RequestID, "ExtendedRequestID": e.ExtendedRequestID, "CfID": e.CfID,
	}
}

// An Error that someone else made prints as safely.
func TestErrorByHand(t *testing.T) {
	for _, err := range []error{
		&wire.Error{},
		&wire.Error{Description: "a\nb\x1b[2J\xff", StatusCode: 400},
		&wire.Error{Operation: strings.Repeat("x", 9000), Err: errors.New("y")},
		&wire.SendError{},
		&wire.SendError{Unspent: true, Err: errors.New("a\nb" + strings.Repeat("x", 9000))},
	} {
		checkText(t, err)
	}
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands at 2000-01-01 00:00:00 UTC
		const date = "Tue, 14 Nov 2023 22:13:20 GMT"
		for _, test := range []struct {
			header []string
			want   time.Duration
		}{
			{nil, 0},
			{[]string{"Retry-After", "120"}, 2 * time.Minute},
			{[]string{"Retry-After", "0"}, 0},
			{[]string{"Retry-After", "-5"}, 0},
			{[]string{"Retry-After", "1.5"}, 0},
			{[]string{"Retry-After", "soon"}, 0},
			{[]string{"Retry-After", "86401"}, 24 * time.Hour},
			{[]string{"Retry-After", "99999999999999999999999999"}, 24 * time.Hour},
			{[]string{"Retry-After", "Tue, 14 Nov 2023 22:14:20 GMT", "Date", date}, time.Minute},
			{[]string{"Retry-After", "Tuesday, 14-Nov-23 22:14:20 GMT", "Date", date}, time.Minute},
			{[]string{"Retry-After", "Tue, 14 Nov 2023 22:13:19 GMT", "Date", date}, 0},
			{[]string{"Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT", "Date", date}, 24 * time.Hour},
			{[]string{"Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT"}, 30 * time.Second},
			{[]string{"Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT", "Date", "?"}, 30 * time.Second},
		} {
			e := asError(t, createToken(refreshInput())(t.Context(), answering(429, `{}`, test.header...)))
			if e.RetryAfter != test.want {
				t.Errorf("%q: %v, want %v", test.header, e.RetryAfter, test.want)
			}
		}
	})
}

// A redirect's text names the target's host alone.
func TestRedirectText(t *testing.T) {
	for location, want := range map[string]string{
		"https://user:password@evil.example:8443/path?query#fragment": "evil.example:8443",
		"//evil.example/path": "evil.example",
		"/path":               "another URL",
		"":                    "another URL",
		"https://%zz/":        "another URL",
		"http://[::1":         "another URL",
	} {
		err := createToken(refreshInput())(t.Context(), answering(307, `{"error":"invalid_grant"}`, "Location", location))
		e := asError(t, err)
		want := "wire: CreateToken: HTTP 307: unusable answer: a redirect to " + want + " was refused; check the endpoint"
		if err.Error() != want || !errors.Is(err, wire.ErrResponse) || e.Type != "" {
			t.Errorf("%q: %v, want %v", location, err, want)
		}
	}
}
