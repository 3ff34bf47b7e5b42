package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// exceptions returns all that any operation of the service has in its model. The
// official clients know each of them from every operation.
func exceptions() (all []idctest.Fault) {
	seen := map[[2]string]bool{}
	for _, op := range []idctest.Operation{idctest.RegisterClient, idctest.StartDeviceAuthorization, idctest.CreateToken, idctest.CreateTokenWithIAM} {
		for _, f := range idctest.Exceptions(op) {
			if id := [2]string{f.Type, f.Reason}; !seen[id] {
				seen[id], all = true, append(all, f)
			}
		}
	}
	return all
}

// failure is what a client tells of an exception.
type failure struct {
	Type              string `json:"type"`
	Typed             bool   `json:"typed"` // an error type of its own
	Code              string `json:"code"`
	Description       string `json:"description"`
	Reason            string `json:"reason"`
	Region            string `json:"region"`
	Endpoint          string `json:"endpoint"`
	Status            int    `json:"status"`
	RequestID         string `json:"requestId"`
	ExtendedRequestID string `json:"extendedRequestId"`
	CfID              string `json:"cfId"`
}

// TestExceptions has idctest answer each operation with each exception. All
// three clients tell the same of the same answer.
func TestExceptions(t *testing.T) {
	srv := idctest.New()
	var answers []map[string]any
	var want []failure
	for _, fault := range exceptions() {
		fault.Description = "what the service says of " + fault.Type
		fault.Header = http.Header{"X-Amz-Id-2": {"ext-1"}, "X-Amz-Cf-Id": {"cf-1"}, "Retry-After": {"7"}}
		for _, c := range newGenerator(1).calls() {
			srv.Inject(idctest.AnyOperation, fault)
			kept := &keeper{next: srv.Transport()}
			_, err := c.official(t.Context(), official(kept))
			theirs := officialFailure(t, err)
			_, err = c.ours(t.Context(), ours(&kept.recorder))
			our := ourFailure(t, err)

			theirs.ExtendedRequestID, theirs.CfID = our.ExtendedRequestID, our.CfID // the Go SDK leaves them in the raw answer
			if our != theirs {
				t.Errorf("%s:\ngot  %+v\nthe official client %+v", c.operation, our, theirs)
			}
			wanted := failure{fault.Type, true, fault.Code, fault.Description, fault.Reason, fault.Region, fault.Endpoint, fault.Status, our.RequestID, "ext-1", "cf-1"}
			if our != wanted || our.RequestID == "" {
				t.Errorf("%s:\ngot  %+v\nwant %+v", c.operation, our, wanted)
			}
			answers = append(answers, map[string]any{
				"operation": c.operation, "input": camelCase(t, c.input), "status": kept.status, "headers": kept.flat(), "body": kept.body,
			})
			want = append(want, our)
		}
	}
	var got []failure
	node(t, &got, answers, "answers.mjs")
	if len(got) != len(want) {
		t.Fatalf("%d answers, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s:\ngot  %+v\nthe AWS SDK for JavaScript %+v", answers[i]["operation"], want[i], got[i])
		}
	}
}

func ourFailure(t *testing.T, err error) failure {
	t.Helper()
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		t.Fatalf("%v is no *wire.Error", err)
	}
	if e.RetryAfter != 7*time.Second || errors.Is(err, wire.ErrResponse) {
		t.Errorf("%+v", e)
	}
	return failure{
		Type: e.Type, Typed: true, Code: e.Code, Description: e.Description, Reason: e.Reason, Region: e.Region, Endpoint: e.Endpoint,
		Status: e.StatusCode, RequestID: e.RequestID, ExtendedRequestID: e.ExtendedRequestID, CfID: e.CfID,
	}
}

func officialFailure(t *testing.T, err error) failure {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Fatalf("%v is no exception", err)
	}
	f := failure{Type: api.ErrorCode()}
	members := texts(reflect.ValueOf(api).Elem())
	f.Code, f.Description, f.Reason, f.Region, f.Endpoint = members["error_"], members["error_description"], members["reason"], members["region"], members["endpoint"]
	f.Typed = reflect.TypeOf(api).Elem().Name() == f.Type
	if resp, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		f.Status, f.RequestID = resp.HTTPStatusCode(), resp.ServiceRequestID()
	}
	return f
}

// TestOutputs has all three clients read the same answers of success.
func TestOutputs(t *testing.T) {
	answers := map[string]string{
		"RegisterClient": `{"authorizationEndpoint":"https://a.example/authorize","clientId":"id","clientIdIssuedAt":1700000000,` +
			`"clientSecret":"secret","clientSecretExpiresAt":1707776000,"tokenEndpoint":"https://a.example/token"}`,
		"StartDeviceAuthorization": `{"deviceCode":"dc","expiresIn":600,"interval":1,"userCode":"ABCD-EFGH",` +
			`"verificationUri":"https://device.example/","verificationUriComplete":"https://device.example/?user_code=ABCD-EFGH"}`,
		"CreateToken": `{"accessToken":"at","expiresIn":3600,"idToken":"it","refreshToken":"rt","tokenType":"Bearer"}`,
		"CreateTokenWithIAM": `{"accessToken":"at","expiresIn":3600,"idToken":"it","refreshToken":"rt","tokenType":"Bearer",` +
			`"issuedTokenType":"urn:ietf:params:oauth:token-type:access_token","scope":["openid","aws"],"awsAdditionalDetails":{"identityContext":"ctx"}}`,
	}
	var inputs []map[string]any
	var want []map[string]string
	for _, c := range newGenerator(1).calls() {
		r := &recorder{status: 200, body: answers[c.operation]}
		our, err := c.ours(t.Context(), ours(r))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := c.official(t.Context(), official(r))
		if err != nil {
			t.Fatal(err)
		}
		a, b := texts(reflect.ValueOf(our).Elem()), texts(reflect.ValueOf(theirs).Elem())
		if !maps.Equal(a, b) || len(a) < 5 {
			t.Errorf("%s:\ngot  %v\nthe official client %v", c.operation, a, b)
		}
		inputs = append(inputs, map[string]any{
			"operation": c.operation, "input": camelCase(t, c.input), "status": 200, "headers": map[string]string{}, "body": r.body,
		})
		want = append(want, a)
	}
	var got []struct{ Output map[string]any }
	node(t, &got, inputs, "answers.mjs")
	if len(got) != len(want) {
		t.Fatalf("%d outputs, want %d", len(got), len(want))
	}
	for i, a := range want {
		if b := flatten(got[i].Output); !maps.Equal(a, b) {
			t.Errorf("%s:\ngot  %v\nthe AWS SDK for JavaScript %v", inputs[i]["operation"], a, b)
		}
	}
}

// flatten is texts for an object of JSON.
func flatten(object map[string]any) map[string]string {
	m := map[string]string{}
	for name, value := range object {
		if inner, ok := value.(map[string]any); ok {
			maps.Copy(m, flatten(inner))
			continue
		}
		if n, ok := value.(float64); ok {
			value = int64(n)
		}
		text, _ := json.Marshal(value)
		m[strings.ToLower(name)] = strings.Trim(string(text), `"`)
	}
	return m
}

// texts returns the members of an answer that are not empty, under their names
// in lower case. Lifetimes are in seconds, times in seconds since 1970.
func texts(v reflect.Value) map[string]string {
	m := map[string]string{}
	for i := range v.NumField() {
		name := strings.ToLower(v.Type().Field(i).Name)
		if !v.Type().Field(i).IsExported() || v.Field(i).IsZero() || strings.HasSuffix(name, "metadata") {
			continue
		}
		var value any = reflect.Indirect(v.Field(i)).Interface()
		switch x := value.(type) {
		case wire.Secret:
			value = string(x)
		case time.Duration:
			value = int(x / time.Second)
		case time.Time:
			value = x.Unix()
		case []string:
			name = "scope"
		}
		if inner := reflect.Indirect(v.Field(i)); inner.Kind() == reflect.Struct && inner.Type() != reflect.TypeFor[time.Time]() {
			maps.Copy(m, texts(inner))
			continue
		}
		text, _ := json.Marshal(value)
		m[name] = strings.Trim(string(text), `"`)
	}
	return m
}

// keeper is a transport that keeps the answer, for others to be given.
type keeper struct {
	recorder
	next http.RoundTripper
}

func (k *keeper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := k.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	k.status, k.header, k.body = resp.StatusCode, resp.Header, string(body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// flat returns the kept header with one value a name.
func (k *keeper) flat() map[string]string {
	m := map[string]string{}
	for name := range k.header {
		m[strings.ToLower(name)] = k.header.Get(name)
	}
	return m
}
