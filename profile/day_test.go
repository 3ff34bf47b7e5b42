package profile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
)

// The SDK's caches block their callers when what they hold expires. For a day
// of calls through both of an aws.Config, however it came by this library's
// sign-in, nobody waits, and what they get is always valid.
func TestADayOfCallsBlocksNobody(t *testing.T) {
	loaders := map[string]loader{"profile.LoadDefaultConfig": loadOurs, "config.LoadDefaultConfig": loadByHand}
	getters := map[string]getter{"credentials": getKey, "token": getToken}
	for loader, load := range loaders {
		for what, get := range getters {
			for _, every := range []time.Duration{time.Second, 30 * time.Second} {
				t.Run(fmt.Sprintf("%s/%s/%v", loader, what, every), func(t *testing.T) {
					home := newHome(t, ssoConfig)
					synctest.Test(t, func(t *testing.T) { testADay(t, home, load, get, every) })
				})
			}
		}
	}
}

type (
	loader func(*testing.T, *http.Client) aws.Config
	getter func(context.Context, aws.Config) (secret string, err error) // a token, or the ID of an access key
)

func testADay(t *testing.T, home string, load loader, get getter, every time.Duration) {
	srv := idctest.New()
	srv.SessionLifetime = 48 * time.Hour
	session := srv.Issue("sso:account:access")
	if err := writeSession(home, "corp", session, "https://d-1234567890.awsapps.com/start"); err != nil {
		t.Fatal(err)
	}
	watch := &watch{next: srv.Transport(), expiry: map[string]time.Time{session.AccessToken: session.ExpiresAt}}
	cfg := load(t, &http.Client{Transport: watch})
	srv.Inject(idctest.AnyOperation, idctest.Fault{Times: idctest.Always, Latency: 50 * time.Millisecond})
	if _, err := get(t.Context(), cfg); err != nil { // it may wait: there are no role credentials yet
		t.Fatal(err)
	}
	blocked, seen := 0, map[string]bool{}
	for begin := time.Now(); time.Since(begin) < 24*time.Hour; time.Sleep(every) {
		before := time.Now()
		secret, err := get(t.Context(), cfg)
		if err != nil {
			t.Fatalf("after %v: %v", before.Sub(begin), err)
		}
		if time.Since(before) != 0 {
			blocked++
		}
		if left := watch.left(secret); left <= 0 {
			t.Fatalf("after %v: got what is valid for %v", before.Sub(begin), left)
		}
		seen[secret] = true
	}
	if blocked > 0 {
		t.Errorf("%d calls were blocked", blocked)
	}
	if len(seen) < 24 {
		t.Errorf("got %d different ones, which live for an hour", len(seen))
	}
	for _, op := range []idctest.Operation{idctest.CreateTokenRefresh, idctest.GetRoleCredentials} {
		if n := srv.Count(op); n.Requests > 45 || n.Failed > 0 {
			t.Errorf("%s: %+v", op, n)
		}
	}
}

func loadOurs(t *testing.T, client *http.Client) aws.Config {
	cfg, err := profile.LoadDefaultConfig(t.Context(), config.WithSharedConfigProfile("dev"), config.WithHTTPClient(client))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func loadByHand(t *testing.T, client *http.Client) aws.Config {
	src, err := profile.Open(t.Context(), profile.Options{Profile: "dev", HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(src.RoleCredentials("123456789012", "ReadOnly")), config.WithBearerAuthTokenProvider(src))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func getKey(ctx context.Context, cfg aws.Config) (string, error) {
	c, err := cfg.Credentials.Retrieve(ctx)
	return c.AccessKeyID, err
}

func getToken(ctx context.Context, cfg aws.Config) (string, error) {
	token, err := cfg.BearerAuthTokenProvider.RetrieveBearerToken(ctx)
	return token.Value, err
}

// watch is a transport that notes when what the service issues will expire.
type watch struct {
	next   http.RoundTripper
	mu     sync.Mutex
	expiry map[string]time.Time // by access token and access key ID
}

func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var issued struct {
		AccessToken     string
		ExpiresIn       int64
		RoleCredentials struct {
			AccessKeyID string
			Expiration  int64
		}
	}
	if err := json.Unmarshal(body, &issued); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expiry[issued.AccessToken] = time.Now().Add(time.Duration(issued.ExpiresIn) * time.Second)
	w.expiry[issued.RoleCredentials.AccessKeyID] = time.UnixMilli(issued.RoleCredentials.Expiration)
	return resp, nil
}

// left returns how long a token or key is still good for.
func (w *watch) left(secret string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Until(w.expiry[secret])
}
