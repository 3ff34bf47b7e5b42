package awsoidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	keyID     = "AKIDEXAMPLE"
	secretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// provider counts how often it is asked.
type provider struct {
	calls    atomic.Int64
	retrieve func(context.Context) (aws.Credentials, error)
}

func (p *provider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	p.calls.Add(1)
	return p.retrieve(ctx)
}

// static always has the same credentials.
func static(sessionToken string) *provider {
	return &provider{retrieve: func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secretKey, SessionToken: sessionToken}, nil
	}}
}

// exchange has a client with that signer exchange an assertion, and returns
// what it sent, nil where it sent nothing.
func exchange(ctx context.Context, signer wire.Signer) (sent *http.Request, err error) {
	client := &wire.Client{Endpoint: "https://oidc.us-east-1.amazonaws.com", Signer: signer, HTTPClient: &http.Client{
		Transport: answeredBy(func(req *http.Request) (*http.Response, error) {
			sent = req
			body := `{"accessToken":"a","expiresIn":3600}`
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
		}),
	}}
	_, err = client.CreateTokenWithIAM(ctx, &wire.CreateTokenWithIAMInput{
		ClientID:  "arn:aws:sso::123456789012:application/ssoins-1111111111111111/apl-2222222222222222",
		GrantType: wire.GrantJWTBearer,
		Assertion: "a.b.c",
	})
	return sent, err
}

// answeredBy is an in-memory transport.
type answeredBy func(*http.Request) (*http.Response, error)

func (f answeredBy) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestSignature compares with what botocore signs at the same time.
func TestSignature(t *testing.T) {
	const scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20000101/us-east-1/sso-oauth/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-date"
	for sessionToken, want := range map[string]string{
		"":              scope + ", Signature=d39ee88b0a389e3e7dca5277cb55daf8c5065e2958be62d79e39d606e9ed7667",
		"session-token": scope + ";x-amz-security-token, Signature=b39efa8ce6a09350afe8f915380f5abf417045a95ccec3a66e3e9c3e0edac141",
	} {
		virtual(t, func(t *testing.T) { // at 2000-01-01 00:00:00 UTC
			req, err := exchange(t.Context(), awsoidc.NewSigner(static(sessionToken), "us-east-1"))
			if err != nil {
				t.Fatal(err)
			}
			if got := req.Header.Get("Authorization"); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if req.Header.Get("X-Amz-Date") != "20000101T000000Z" || req.Header.Get("X-Amz-Security-Token") != sessionToken {
				t.Errorf("header %v", req.Header)
			}
		})
	}
}

// TestSignerRetrieves checks that credentials are retrieved when they are
// needed: once, by however many at once, and again when they expire. A cache of
// the caller's is not wrapped in another.
func TestSignerRetrieves(t *testing.T) {
	virtual(t, func(t *testing.T) {
		p := &provider{}
		p.retrieve = func(context.Context) (aws.Credentials, error) {
			time.Sleep(time.Second)
			return aws.Credentials{
				AccessKeyID: fmt.Sprint("KEY", p.calls.Load()), SecretAccessKey: secretKey, CanExpire: true, Expires: time.Now().Add(time.Hour),
			}, nil
		}
		signer := awsoidc.NewSigner(p, "us-east-1")
		if p.calls.Load() != 0 {
			t.Error("credentials were retrieved before they were needed")
		}
		for want := int64(1); want <= 2; want++ {
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					req, err := exchange(t.Context(), signer)
					if err != nil {
						t.Error(err)
					} else if key := fmt.Sprintf("Credential=KEY%d/", want); !strings.Contains(req.Header.Get("Authorization"), key) {
						t.Errorf("signed with %s, want %s", req.Header.Get("Authorization"), key)
					}
				})
			}
			all.Wait()
			if got := p.calls.Load(); got != want {
				t.Errorf("retrieved %d times, want %d", got, want)
			}
			time.Sleep(time.Hour)
		}
		p = static("")
		cached := aws.NewCredentialsCache(p)
		signer = awsoidc.NewSigner(cached, "us-east-1")
		for range 2 {
			if _, err := exchange(t.Context(), signer); err != nil {
				t.Error(err)
			}
			cached.Invalidate()
		}
		if got := p.calls.Load(); got != 2 {
			t.Errorf("after the caller's cache was emptied, retrieved %d times, want 2", got)
		}
	})
}

// TestSignerErrors checks that without usable credentials nothing is sent, and
// that the error says so.
func TestSignerErrors(t *testing.T) {
	cause := errors.New("no role")
	for want, signer := range map[string]wire.Signer{
		"awsoidc: no AWS credentials; pass the Credentials of an aws.Config to NewSigner": awsoidc.NewSigner(nil, "us-east-1"),
		"awsoidc: no AWS credentials: failed to refresh cached credentials, no role": awsoidc.NewSigner(&provider{retrieve: func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, cause
		}}, "us-east-1"),
		"awsoidc: the AWS credentials have no keys": awsoidc.NewSigner(&provider{retrieve: func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: keyID}, nil
		}}, "us-east-1"),
		"awsoidc: no region to sign for: wire: no region": awsoidc.NewSigner(static(""), ""),
		"awsoidc: no region to sign for: wire: \"a/b\"":   awsoidc.NewSigner(static(""), "a/b"),
	} {
		sent, err := exchange(t.Context(), signer)
		var e *wire.SendError
		if !errors.As(err, &e) || !e.Unspent || sent != nil {
			t.Errorf("%v (%+v), %v was sent", err, e, sent)
			continue
		}
		if want := "wire: CreateTokenWithIAM: the request was not sent: it can't be signed: " + want; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		if strings.Contains(want, "no role") && !errors.Is(err, cause) {
			t.Errorf("%v does not wrap the provider's error", err)
		}
	}
}

// TestSignerDeadline checks that a caller waits no longer for credentials than
// its context says, even where the provider ignores it, and that the wait of
// one is not ended by another's.
func TestSignerDeadline(t *testing.T) {
	virtual(t, func(t *testing.T) {
		signer := awsoidc.NewSigner(&provider{retrieve: func(ctx context.Context) (aws.Credentials, error) {
			time.Sleep(time.Minute)
			return static("").retrieve(ctx)
		}}, "us-east-1")
		patient := make(chan error, 1)
		start := time.Now()
		go func() {
			_, err := exchange(t.Context(), signer)
			patient <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sent, err := exchange(ctx, signer)
		var e *wire.SendError
		if !errors.As(err, &e) || !e.Unspent || !errors.Is(err, context.DeadlineExceeded) || sent != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v, %v was sent", err, time.Since(start), sent)
		}
		if err := <-patient; err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestSignerIsNotShown searches what is printed of a signer for its keys.
func TestSignerIsNotShown(t *testing.T) {
	signer := awsoidc.NewSigner(static("canary-session-token"), "us-east-1")
	if _, err := exchange(t.Context(), signer); err != nil { // so that it has them
		t.Fatal(err)
	}
	client := &wire.Client{Signer: signer}
	var b strings.Builder
	for _, v := range []any{signer, client, *client, []wire.Signer{signer}} {
		fmt.Fprintf(&b, "%v %+v %#v %s %q %x %d\n", v, v, v, v, v, v, v)
		slog.New(slog.NewTextHandler(&b, nil)).Info("", "v", v)
		slog.New(slog.NewJSONHandler(&b, nil)).Info("", "v", v)
	}
	data, _ := json.Marshal(signer)
	text := b.String() + string(data)
	for _, secret := range []string{keyID, secretKey, "canary-session-token"} {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s is shown:\n%s", secret, text)
		}
	}
	if got := fmt.Sprintf("%+v", signer); got != "awsoidc.Signer(us-east-1)" {
		t.Errorf("%s", got)
	}
}

// A service exchanges the JWT of a person for an access token of its
// application, on the service's own AWS credentials: those of a configuration
// that config.LoadDefaultConfig loaded.
func ExampleNewSigner() {
	var cfg aws.Config // config.LoadDefaultConfig(ctx)
	cfg.Region = "us-east-1"
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
	})
	endpoint, err := wire.EndpointFor(cfg.Region, false, false)
	if err != nil {
		log.Fatal(err)
	}
	client := &wire.Client{Endpoint: endpoint, Signer: awsoidc.NewSigner(cfg.Credentials, cfg.Region)}
	fmt.Println(client.Endpoint, client.Signer)
	// Output: https://oidc.us-east-1.amazonaws.com awsoidc.Signer(us-east-1)
}
