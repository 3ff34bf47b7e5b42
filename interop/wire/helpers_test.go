package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/smithy-go/middleware"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	region      = "us-east-1"
	endpoint    = "https://oidc.us-east-1.amazonaws.com"
	application = "arn:aws:sso::123456789012:application/ssoins-1111111111111111/apl-2222222222222222"
)

// keys are the AWS credentials that requests are signed with.
var keys = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", SessionToken: "session/token+=="}

func credentials() aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return keys, nil })
}

// ours is this library's client on any transport.
func ours(rt http.RoundTripper) *wire.Client {
	return &wire.Client{Endpoint: endpoint, HTTPClient: &http.Client{Transport: rt}, Signer: awsoidc.NewSigner(credentials(), region)}
}

// official is the AWS SDK's client on any transport. It sends each request
// once, and adds nothing to it that counts and times the SDK's own attempts.
func official(rt http.RoundTripper) *ssooidc.Client {
	return ssooidc.New(ssooidc.Options{
		Region: region, Credentials: credentials(), HTTPClient: &http.Client{Transport: rt}, Retryer: aws.NopRetryer{},
		APIOptions: []func(*middleware.Stack) error{func(stack *middleware.Stack) error {
			_, err1 := stack.Build.Remove("ClientRequestID")
			_, err2 := stack.Finalize.Remove("Retry")
			return errors.Join(err1, err2)
		}},
	})
}

// request is what a client sent.
type request struct {
	Method string            `json:"method"`
	Host   string            `json:"host"`
	Path   string            `json:"path"`
	Query  string            `json:"query"`
	Header map[string]string `json:"header"` // names in lower case
	Body   string            `json:"body"`
}

// recorder is a transport that keeps the last request and answers it.
type recorder struct {
	got    request
	status int
	header http.Header
	body   string
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	r.got = request{Method: req.Method, Host: req.Host, Path: req.URL.EscapedPath(), Query: req.URL.RawQuery, Header: map[string]string{}, Body: string(body)}
	if r.got.Host == "" {
		r.got.Host = req.URL.Host
	}
	for name, values := range req.Header {
		r.got.Header[strings.ToLower(name)] = strings.Join(values, ",")
	}
	header := http.Header{"Content-Type": {"application/json"}}
	for name, values := range r.header {
		header[name] = values
	}
	return &http.Response{
		StatusCode: r.status, Header: header, Body: io.NopCloser(strings.NewReader(r.body)), ContentLength: int64(len(r.body)), Request: req,
	}, nil
}

// node runs a script of the folder ../node with a value on its standard input,
// and reads one from its standard output.
func node(t *testing.T, out, in any, script string, args ...string) {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath("node"); err != nil {
		missing = "Node.js is not installed"
	} else if _, err := os.Stat("../node/node_modules/@aws-sdk/client-sso-oidc"); err != nil {
		missing = "the AWS SDK for JavaScript is not installed; run npm --prefix ../node ci --omit=dev"
	}
	switch {
	case missing != "" && os.Getenv("AWSOIDC_INTEROP") == "required":
		t.Fatalf("%s; AWSOIDC_INTEROP=required says that it must be there", missing)
	case missing != "":
		t.Skip(missing)
	}
	input, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"../node/" + script}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NODE_NO_WARNINGS=1"} // no configuration of the machine's
	cmd.Stdin = bytes.NewReader(input)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	if err := json.Unmarshal(output, out); err != nil {
		t.Fatalf("%s printed %.500q: %v", script, output, err)
	}
}

// pointer is a member of the AWS SDK's inputs; what is absent is nil there.
func pointer[S ~string](s S) *string {
	if s == "" {
		return nil
	}
	return aws.String(string(s))
}
