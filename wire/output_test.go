package wire_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

var requestIDs = []string{"x-amzn-RequestId", "req-1", "x-amz-id-2", "ext-1", "X-Amz-Cf-Id", "cf-1"}

var wantMetadata = wire.Metadata{RequestID: "req-1", ExtendedRequestID: "ext-1", CfID: "cf-1"}

func TestRegisterClientOutput(t *testing.T) {
	for _, test := range []struct {
		body string
		want wire.RegisterClientOutput
	}{
		{
			`{"authorizationEndpoint":"https://a.example/authorize","clientId":"id","clientIdIssuedAt":1700000000,"clientSecret":"secret","clientSecretExpiresAt":1707776000,"tokenEndpoint":"http://127.0.0.1:1/token","unknown":{"x":[1]}}`,
			wire.RegisterClientOutput{
				ClientID: "id", ClientSecret: "secret",
				ClientIDIssuedAt:      time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC),
				ClientSecretExpiresAt: time.Date(2024, 2, 12, 22, 13, 20, 0, time.UTC),
				AuthorizationEndpoint: "https://a.example/authorize", TokenEndpoint: "http://127.0.0.1:1/token",
			},
		},
		{
			`{"authorizationEndpoint":null,"clientId":"id","clientIdIssuedAt":null,"clientSecret":"secret","clientSecretExpiresAt":0,"tokenEndpoint":null}`,
			wire.RegisterClientOutput{ClientID: "id", ClientSecret: "secret"},
		},
		{
			`{"authorizationEndpoint":"http://10.0.0.1/","clientId":"id","clientIdIssuedAt":-5,"clientSecret":"secret","clientSecretExpiresAt":1707776000000,"tokenEndpoint":"javascript:alert(1)"}`,
			wire.RegisterClientOutput{
				ClientID: "id", ClientSecret: "secret",
				ClientIDIssuedAt:      time.Unix(0, 0).UTC(),
				ClientSecretExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
			},
		},
		{
			`{"clientId":"id","clientSecret":"secret","clientIdIssuedAt":1e3,"clientSecretExpiresAt":99999999999999999999999}`,
			wire.RegisterClientOutput{
				ClientID: "id", ClientSecret: "secret",
				ClientIDIssuedAt:      time.Unix(1000, 0).UTC(),
				ClientSecretExpiresAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
			},
		},
	} {
		out, err := answering(200, test.body, requestIDs...).RegisterClient(t.Context(), &wire.RegisterClientInput{ClientName: "n"})
		if err != nil {
			t.Errorf("%s: %v", test.body, err)
			continue
		}
		test.want.Metadata = wantMetadata
		if !reflect.DeepEqual(*out, test.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.body, *out, test.want)
		}
		if out.ClientSecret != "secret" {
			t.Errorf("the client secret is not the answer's")
		}
	}
}

func TestStartDeviceAuthorizationOutput(t *testing.T) {
	const (
		uri      = `"verificationUri":"https://device.sso.us-east-1.amazonaws.com/"`
		required = `"deviceCode":"dc","userCode":"ABCD-EFGH",` + uri
	)
	want := wire.StartDeviceAuthorizationOutput{
		DeviceCode: "dc", UserCode: "ABCD-EFGH", VerificationURI: "https://device.sso.us-east-1.amazonaws.com/",
		ExpiresIn: 10 * time.Minute, Interval: 5 * time.Second, Metadata: wantMetadata,
	}
	for _, test := range []struct {
		body   string
		change func(*wire.StartDeviceAuthorizationOutput)
	}{
		{`{` + required + `,"expiresIn":600,"interval":1,"verificationUriComplete":"https://device.sso.us-east-1.amazonaws.com/?user_code=ABCD-EFGH"}`,
			func(o *wire.StartDeviceAuthorizationOutput) {
				o.Interval = time.Second
				o.VerificationURIComplete = "https://device.sso.us-east-1.amazonaws.com/?user_code=ABCD-EFGH"
			}},
		{`{` + required + `,"expiresIn":600}`, nil},
		{`{` + required + `,"expiresIn":600,"interval":null,"verificationUriComplete":null}`, nil},
		{`{` + required + `,"expiresIn":600,"interval":0}`, nil},
		{`{` + required + `,"expiresIn":600,"interval":-1}`, nil},
		{`{` + required + `,"expiresIn":600,"interval":0.9}`, nil},
		{`{` + required + `,"expiresIn":600,"interval":301}`, func(o *wire.StartDeviceAuthorizationOutput) { o.Interval = 5 * time.Minute }},
		{`{` + required + `,"expiresIn":600,"interval":9223372036854775808}`, func(o *wire.StartDeviceAuthorizationOutput) { o.Interval = 5 * time.Minute }},
		{`{` + required + `,"expiresIn":1e400}`, func(o *wire.StartDeviceAuthorizationOutput) { o.ExpiresIn = wire.MaxExpiresIn }},
		{`{"deviceCode":"dc","userCode":"ABCD-EFGH","verificationUri":"http://127.0.0.1:8080/device","expiresIn":600}`,
			func(o *wire.StartDeviceAuthorizationOutput) { o.VerificationURI = "http://127.0.0.1:8080/device" }},
	} {
		want := want
		if test.change != nil {
			test.change(&want)
		}
		out, err := answering(200, test.body, requestIDs...).StartDeviceAuthorization(t.Context(), deviceInput())
		if err != nil || *out != want {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", test.body, out, err, want)
		}
	}
}

func TestCreateTokenOutput(t *testing.T) {
	longest := strings.Repeat("~", wire.MaxTokenBytes)
	for _, test := range []struct {
		body string
		want wire.CreateTokenOutput
	}{
		{`{"accessToken":"at","expiresIn":3600,"idToken":"it","refreshToken":"rt","tokenType":"Bearer"}`,
			wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: time.Hour, IDToken: "it", RefreshToken: "rt"}},
		{`{"accessToken":"at","expiresIn":28800,"idToken":null,"refreshToken":null,"tokenType":null}`,
			wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: 8 * time.Hour}},
		{`{"accessToken":"at","expiresIn":1,"tokenType":"bearer"}`, wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: time.Second}},
		{`{"accessToken":"` + longest + `","expiresIn":1}`, wire.CreateTokenOutput{AccessToken: wire.Secret(longest), ExpiresIn: time.Second}},
		{`{"accessToken":"at","expiresIn":31622400}`, wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: wire.MaxExpiresIn}},
		{`{"accessToken":"at","expiresIn":31622401}`, wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: wire.MaxExpiresIn}},
		{`{"accessToken":"at","expiresIn":9223372036854775807}`, wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: wire.MaxExpiresIn}},
		{`{"accessToken":"at","expiresIn":9223372036854775808}`, wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: wire.MaxExpiresIn}},
		{`{"accessToken":"at","expiresIn":1e30}`, wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: wire.MaxExpiresIn}},
		{`{"accessToken":"at","expiresIn":1` + strings.Repeat("0", 5000) + `}`, wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: wire.MaxExpiresIn}},
		{`{"accessToken":"at","expiresIn":3600.9}`, wire.CreateTokenOutput{AccessToken: "at", ExpiresIn: time.Hour}},
	} {
		out, err := answering(200, test.body, requestIDs...).CreateToken(t.Context(), refreshInput())
		test.want.TokenType, test.want.Metadata = "Bearer", wantMetadata
		if err != nil || *out != test.want {
			t.Errorf("%.100s:\ngot  %+v, %v\nwant %+v", test.body, out, err, test.want)
		}
	}
}

// Answers of status 200 that can't be used.
func TestUnusableAnswers(t *testing.T) {
	start := func(changed string) string {
		members := map[string]string{
			"deviceCode": `"dc"`, "userCode": `"ABCD-EFGH"`, "expiresIn": "600", "verificationUri": `"https://device.example/"`,
		}
		name, value, _ := strings.Cut(changed, ":")
		members[name] = value
		var all []string
		for k, v := range members {
			if v != "" {
				all = append(all, fmt.Sprintf("%q:%s", k, v))
			}
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	long := `"` + strings.Repeat("x", wire.MaxTokenBytes+1) + `"`
	register := registerClient(&wire.RegisterClientInput{ClientName: "n"})
	device := startDeviceAuthorization(deviceInput())
	token := createToken(canaryInput())
	for _, test := range []struct {
		call call
		body string
		want string
	}{
		{register, `{"clientSecret":"s"}`, "clientId is missing"},
		{register, `{"clientId":"i"}`, "clientSecret is missing"},
		{register, `{"clientId":"a b","clientSecret":"s"}`, "clientId holds characters"},
		{register, `{"clientId":"i","clientSecret":"s\u0000"}`, "clientSecret holds characters"},
		{register, `{"clientId":"i","clientSecret":` + long + `}`, "clientSecret has 64 KiB or more"},
		{register, `{"clientId":"i","clientSecret":7}`, "its member clientSecret has the wrong type"},
		{register, `{"clientId":"i","clientSecret":"s","clientSecretExpiresAt":"soon"}`, "its member clientSecretExpiresAt has the wrong type"},
		{register, `{"clientId":"i","clientSecret":"s","clientSecretExpiresAt":[]}`, "its member clientSecretExpiresAt has the wrong type"},

		{device, start("deviceCode:"), "deviceCode is missing"},
		{device, start(`deviceCode:"\n"`), "deviceCode holds characters"},
		{device, start("deviceCode:" + long), "deviceCode has 64 KiB or more"},
		{device, start("userCode:"), "userCode is missing"},
		{device, start(`userCode:"AB\u001b[2J"`), "userCode is not a short printable text"},
		{device, start(`userCode:"AB\u202eCD"`), "userCode is not a short printable text"},
		{device, start(`userCode:" AB"`), "userCode is not a short printable text"},
		{device, start(`userCode:"` + strings.Repeat("A", 65) + `"`), "userCode is not a short printable text"},
		{device, start("expiresIn:"), "expiresIn is missing"},
		{device, start("expiresIn:0"), "expiresIn is not positive"},
		{device, start("verificationUri:"), "verificationUri is missing"},
		{device, start(`verificationUri:"http://10.0.0.1/"`), "verificationUri is http on 10.0.0.1"},
		{device, start(`verificationUri:"http://localhost.evil.example/"`), "verificationUri is http on localhost.evil.example"},
		{device, start(`verificationUri:"file:///etc/passwd"`), "verificationUri does not begin with https://"},
		{device, start(`verificationUri:"javascript:alert(1)"`), "verificationUri is not a URL"},
		{device, start(`verificationUri:"--help"`), "verificationUri does not begin with https://"},
		{device, start(`verificationUri:"-https://device.example/"`), "verificationUri is not a URL"},
		{device, start(`verificationUri:" https://device.example/"`), "verificationUri is not a URL"},
		{device, start(`verificationUri:"https://device.example/\u009b2J"`), "verificationUri is not a URL"},
		{device, start(`verificationUri:"https://amazon.com@evil.example/"`), "verificationUri has a user or a password"},
		{device, start(`verificationUri:"https:///path"`), "verificationUri has no host"},
		{device, start(`verificationUriComplete:"http://10.0.0.1/"`), "verificationUriComplete is http on 10.0.0.1"},
		{device, start(`verificationUriComplete:"-x"`), "verificationUriComplete does not begin with https://"},
		{device, start(`verificationUriComplete:"data:text/html,x"`), "verificationUriComplete is not a URL"},

		{token, `{"expiresIn":3600}`, "accessToken is missing"},
		{token, `{"accessToken":"","expiresIn":3600}`, "accessToken is missing"},
		{token, `{"accessToken":"a\rb","expiresIn":3600}`, "accessToken holds characters"},
		{token, `{"accessToken":"a\nb","expiresIn":3600}`, "accessToken holds characters"},
		{token, `{"accessToken":"a\u0000b","expiresIn":3600}`, "accessToken holds characters"},
		{token, `{"accessToken":"é","expiresIn":3600}`, "accessToken holds characters"},
		{token, "{\"accessToken\":\"\xff\",\"expiresIn\":3600}", "accessToken holds characters"},
		{token, `{"accessToken":` + long + `,"expiresIn":3600}`, "accessToken has 64 KiB or more"},
		{token, `{"accessToken":"a","refreshToken":"b c","expiresIn":3600}`, "refreshToken holds characters"},
		{token, `{"accessToken":"a","refreshToken":` + long + `,"expiresIn":3600}`, "refreshToken has 64 KiB or more"},
		{token, `{"accessToken":"a","idToken":"\t","expiresIn":3600}`, "idToken holds characters"},
		{token, `{"accessToken":"a","idToken":` + long + `,"expiresIn":3600}`, "idToken has 64 KiB or more"},
		{token, `{"accessToken":"a"}`, "expiresIn is missing"},
		{token, `{"accessToken":"a","expiresIn":null}`, "expiresIn is missing"},
		{token, `{"accessToken":"a","expiresIn":0}`, "expiresIn is not positive"},
		{token, `{"accessToken":"a","expiresIn":-3600}`, "expiresIn is not positive"},
		{token, `{"accessToken":"a","expiresIn":-1e400}`, "expiresIn is not positive"},
		{token, `{"accessToken":"a","expiresIn":0.5}`, "expiresIn is not positive"},
		{token, `{"accessToken":"a","expiresIn":-99999999999999999999}`, "expiresIn is not positive"},
		{token, `{"accessToken":"a","expiresIn":true}`, "its member expiresIn has the wrong type"},
		{token, `{"accessToken":"a","expiresIn":3600,"tokenType":"DPoP"}`, "tokenType is not Bearer"},
		{token, `{"accessToken":["a"],"expiresIn":3600}`, "its member accessToken has the wrong type"},
		{token, ``, "it is empty"},
		{token, `null`, "accessToken is missing"},
		{token, `[]`, "it is not a JSON object"},
		{token, `{"accessToken":"a"`, "it is not well-formed JSON"},
		{token, `{"accessToken":"a","expiresIn":3600} trailing`, "it is not well-formed JSON"},
		{token, strings.Repeat("[", 1<<19), "it is not well-formed JSON"},
		{token, strings.Repeat(" ", wire.MaxResponseBytes+1), "the answer is larger than 1 MiB"},
	} {
		err := test.call(t.Context(), answering(200, test.body, requestIDs...))
		if err == nil {
			t.Errorf("%.100s: no error, want %s", test.body, test.want)
			continue
		}
		e := asError(t, err)
		checkText(t, err)
		if !errors.Is(err, wire.ErrResponse) || e.StatusCode != 200 || e.RequestID != "req-1" || e.ExtendedRequestID != "ext-1" || e.CfID != "cf-1" {
			t.Errorf("%.100s: %#v", test.body, e)
		}
		if !strings.Contains(err.Error(), "HTTP 200: unusable answer: "+test.want) {
			t.Errorf("%.100s:\n%v, want\n%s", test.body, err, test.want)
		}
	}
}

func TestWrongContentType(t *testing.T) {
	html := answering(200, "<html><body>Log in to the airport's wifi</body></html>", "Content-Type", "text/html; charset=utf-8")
	_, err := html.CreateToken(t.Context(), refreshInput())
	const want = "wire: CreateToken: HTTP 200: unusable answer: it is not JSON but text/html; charset=utf-8; see whether a proxy or another service answers at the endpoint"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want\n%s", err, want)
	}
	// The content type is the server's affair where the body is as it should be.
	text := answering(200, `{"accessToken":"a","expiresIn":1}`, "Content-Type", "text/plain")
	if _, err := text.CreateToken(t.Context(), refreshInput()); err != nil {
		t.Error(err)
	}
	// A content type is text from the server as any other.
	odd := answering(200, "x", "Content-Type", "a\x1b[31m\n"+string(canaries[4])+strings.Repeat("b", 5000))
	_, err = odd.CreateToken(t.Context(), canaryInput())
	checkText(t, err)
	checkHidden(t, shown(err), canaries)
}
