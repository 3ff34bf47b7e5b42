package awsoidc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

func TestNewExchangerErrors(t *testing.T) {
	srv := idctest.New()
	for name, change := range map[string]func(*awsoidc.ExchangerConfig){
		"Application":     func(c *awsoidc.ExchangerConfig) { c.Application = "" },
		"no ARN":          func(c *awsoidc.ExchangerConfig) { c.Application = accessRole },
		"AWS.Credentials": func(c *awsoidc.ExchangerConfig) { c.AWS.Credentials = nil },
		"AWS.Region":      func(c *awsoidc.ExchangerConfig) { c.AWS.Region = "" },
		"Region":          func(c *awsoidc.ExchangerConfig) { c.Region = "no/region" },
		"Endpoints.OIDC":  func(c *awsoidc.ExchangerConfig) { c.Endpoints.OIDC = "http://10.0.0.1" },
		"MaxIdentities":   func(c *awsoidc.ExchangerConfig) { c.MaxIdentities = -1 },
	} {
		cfg := awsoidc.ExchangerConfig{Application: applicationARN, AWS: awsConfig(srv)}
		change(&cfg)
		if _, err := awsoidc.NewExchanger(cfg); !errors.Is(err, awsoidc.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
}

// TestCloseExchanger closes it while it waits for each of its services.
// A goroutine that is left fails the bubble.
func TestCloseExchanger(t *testing.T) {
	for _, op := range []idctest.Operation{idctest.CreateTokenWithIAM, idctest.AssumeRole} {
		virtual(t, func(t *testing.T) {
			srv := idctest.New()
			ex := newExchanger(t, srv)
			srv.Inject(op, idctest.Fault{Times: idctest.Always, Hang: true})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			user := ex.Identity(jane, fresh(jane))
			if _, err := user.Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want the deadline", err)
			}
			if err := ex.Close(); err != nil {
				t.Error(err)
			}
			if _, err := user.Token(); !errors.Is(err, awsoidc.ErrClosed) {
				t.Errorf("after Close: %v, want ErrClosed", err)
			}
			if _, err := user.Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context()); !errors.Is(err, awsoidc.ErrClosed) {
				t.Errorf("after Close: %v, want ErrClosed", err)
			}
			if s := ex.Stats(); s.Identities != 0 || s.Bytes != 0 {
				t.Errorf("%d identities of %d bytes are held after Close", s.Identities, s.Bytes)
			}
		})
	}
}

// TestExchangerIsObserved compares what the observer is told with what the
// service saw.
func TestExchangerIsObserved(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		var mu sync.Mutex
		seen := map[string]int{}
		var log bytes.Buffer
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.Observe = func(_ context.Context, e awsoidc.Event) {
				mu.Lock()
				defer mu.Unlock()
				seen[fmt.Sprint(e.Rung, e.Err == nil)]++
				if e.Err != nil && !errors.Is(e.Err, awsoidc.ErrThrottled) {
					t.Errorf("told of %v, want ErrThrottled", e.Err)
				}
				if e.Application != applicationARN || e.Subject != jane || e.Rung == awsoidc.RungCredentials && e.Role != accessRole {
					t.Errorf("told of %+v", e)
				}
				slog.New(slog.NewJSONHandler(&log, nil)).Info("exchange", "event", e)
			}
		})
		srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Status: 429, LatencyAfter: time.Second})
		user := ex.Identity(jane, fresh(jane))
		callerOf(t, srv, user.Credentials(awsoidc.Role{ARN: accessRole}))
		callerOf(t, srv, user.Credentials(awsoidc.Role{ARN: accessRole}))
		time.Sleep(2 * time.Hour)
		accessToken(t, user)
		want := map[string]int{"exchangefalse": 1, "exchangetrue": 1, "credentialstrue": 1, "refreshtrue": 1}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("told of %v, want %v", seen, want)
		}
		stats := awsoidc.Stats{Identities: 1, Hits: 1, Refreshes: 1, Exchanges: 2, Credentials: 1, Throttles: 1}
		got := ex.Stats()
		if got.Bytes < 1000 || got.Bytes > 10_000 {
			t.Errorf("one identity takes %d bytes", got.Bytes)
		}
		if got.Bytes = 0; got != stats {
			t.Errorf("Stats are %+v, want %+v", got, stats)
		}
		var record struct {
			Event struct{ Subject, Rung, Error string }
		}
		json.NewDecoder(&log).Decode(&record)
		if record.Event.Subject != "jane" || record.Event.Rung != "exchange" || !strings.Contains(record.Event.Error, "429") {
			t.Errorf("logged %+v", record)
		}
	})
}

// TestExchangerSecretsAreNotShown is TestSecretsAreNotShown for an Exchanger.
func TestExchangerSecretsAreNotShown(t *testing.T) {
	for _, fault := range []idctest.Fault{
		{}, {Status: 503}, {ResetBefore: true}, {Dial: true}, {Type: wire.TypeInvalidGrant}, {Type: wire.TypeAccessDenied, Reason: "KMS_AccessDeniedException"},
		{Body: []byte("garbage")}, {Status: 307}, {Status: 403, Type: "AccessDeniedException"}, {Hang: true},
	} {
		virtual(t, func(t *testing.T) {
			var shown syncBuffer
			logger := slog.New(slog.NewJSONHandler(&shown, &slog.HandlerOptions{Level: slog.LevelDebug}))
			srv := idctest.New()
			srv.JWTBearerRefreshTokens = true
			store := &spyStore{Store: newLRU(t)}
			ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
				c.Store, c.Logger = store, logger
				c.Observe = func(_ context.Context, e awsoidc.Event) { logger.Info("event", "event", e) }
			})
			raw := assertionOf(jane, nil)
			user := ex.Identity(jane, awsoidc.JWT(raw))
			c, err := user.Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			secrets := []string{raw, c.SecretAccessKey, c.SessionToken}
			for _, record := range store.written {
				var m map[string]any
				json.Unmarshal(record, &m)
				for _, name := range []string{"accessToken", "refreshToken", "idToken", "identityContext"} {
					secrets = append(secrets, m[name].(string))
				}
			}
			fault.Times = idctest.Always
			srv.Inject(idctest.AnyOperation, fault)
			time.Sleep(2 * time.Hour)
			last := assertionOf(jane, nil)
			secrets = append(secrets, last)
			user = ex.Identity(jane, awsoidc.JWT(last))
			_, tokenErr := user.Token()
			credentials := user.Credentials(awsoidc.Role{ARN: accessRole})
			_, credentialsErr := credentials.Retrieve(t.Context())
			_, portalErr := user.RoleCredentials(account, "ReadOnly").Retrieve(t.Context())
			for _, v := range []any{tokenErr, credentialsErr, portalErr, ex, user, &user, credentials, awsoidc.JWT(last), awsoidc.Code(last, last, last)} {
				fmt.Fprintf(&shown, "%v %+v %#v %s %q\n", v, v, v, v, v)
				logger.Info("value", "value", v)
			}
			for _, secret := range secrets {
				if secret == "" || strings.Contains(shown.String(), secret) {
					t.Errorf("a secret was shown, or is empty, after fault %+v", fault)
				}
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Audiences = []string{"my-service"} })
		if err := ex.Preflight(t.Context(), jane, fresh(jane), awsoidc.Role{ARN: accessRole, Duration: 12 * time.Hour}); err != nil {
			t.Errorf("all is well, and it says %v", err)
		}
		used := fresh(jane)
		accessToken(t, ex.Identity(jane, used))
		if err := ex.Preflight(t.Context(), jane, used); !errors.Is(err, awsoidc.ErrReauthRequired) {
			t.Errorf("used before: %v", err)
		}

		chained := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			key := srv.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:sts::123456789012:assumed-role/Service/i-1", SessionToken: "session"})
			c.AWS.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: key.SessionToken}, nil
			})
		})
		err := chained.Preflight(t.Context(), jane, awsoidc.JWT(assertionOf(jane, map[string]any{"sub": "joe"})),
			awsoidc.Role{ARN: "arn:aws:iam::123456789012:role/path/Service", Duration: 2 * time.Hour}, awsoidc.Role{ARN: "x"})
		for _, want := range []string{"sub is not the Subject's", "another role", "1 hour at most", `Role.ARN "x"`} {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want it to say %q", err, want)
			}
		}
		if !errors.Is(err, awsoidc.ErrSubjectMismatch) || !errors.Is(err, awsoidc.ErrConfig) {
			t.Errorf("%v wraps too little", err)
		}
		if err := ex.Preflight(t.Context(), awsoidc.Subject{}, awsoidc.Assertion{}, awsoidc.Role{ARN: accessRole}); err != nil {
			t.Errorf("a role alone: %v", err)
		}
		if n := exchanges(srv); n != 1 {
			t.Errorf("%d exchanges", n)
		}
	})
}

func TestWebIdentity(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Inject(idctest.AssumeRoleWithWebIdentity, idctest.Fault{Times: idctest.Always, Latency: 50 * time.Millisecond})
		idToken := oauth2TokenSource(func() (*oauth2.Token, error) {
			return (&oauth2.Token{AccessToken: "x"}).WithExtra(map[string]any{"id_token": assertionOf(jane, nil)}), nil
		})
		cfg := aws.Config{Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}}
		creds, err := awsoidc.NewWebIdentityCredentials(cfg, idToken, awsoidc.Role{ARN: accessRole})
		if err != nil {
			t.Fatal(err)
		}
		defer creds.Close()
		callerOf(t, srv, creds)
		cached := aws.NewCredentialsCache(creds)
		if _, err := cached.Retrieve(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 24 * 60 {
			time.Sleep(time.Minute)
			synctest.Wait()
			atOnce(t, "a call", func() {
				if _, err := cached.Retrieve(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		if a := srv.AssumedRoles(); len(a) < 24 || len(a) > 40 || a[0].Subject != "jane" {
			t.Errorf("assumed %d times in a day", len(a))
		}
		expired := oauth2TokenSource(func() (*oauth2.Token, error) {
			return (&oauth2.Token{}).WithExtra(map[string]any{"id_token": assertionOf(jane, map[string]any{"exp": 1})}), nil
		})
		late, err := awsoidc.NewWebIdentityCredentials(cfg, expired, awsoidc.Role{ARN: accessRole})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := late.Retrieve(t.Context()); !errors.Is(err, awsoidc.ErrReauthRequired) {
			t.Errorf("an expired ID token: %v", err)
		}
		for _, role := range []awsoidc.Role{{}, {ARN: accessRole, ExternalID: "x"}} {
			if _, err := awsoidc.NewWebIdentityCredentials(cfg, idToken, role); !errors.Is(err, awsoidc.ErrConfig) {
				t.Errorf("%+v: %v, want ErrConfig", role, err)
			}
		}
	})
}

type oauth2TokenSource func() (*oauth2.Token, error)

func (f oauth2TokenSource) Token() (*oauth2.Token, error) { return f() }

// A CredentialsCache around an identity's credentials never blocks, and keeps
// what is valid while STS is down.
func TestIdentityCredentialsInACredentialsCache(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		ex := newExchanger(t, srv)
		user := ex.Identity(jane, fresh(jane))
		cached := aws.NewCredentialsCache(user.Credentials(awsoidc.Role{ARN: accessRole}), func(o *aws.CredentialsCacheOptions) {
			o.ExpiryWindow = 10 * time.Minute
		})
		first, err := cached.Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		srv.Inject(idctest.AssumeRole, idctest.Fault{Times: idctest.Always, Status: 500})
		for range 59 {
			time.Sleep(time.Minute)
			synctest.Wait()
			c, err := cached.Retrieve(t.Context())
			if err != nil || c.AccessKeyID != first.AccessKeyID {
				t.Fatalf("while they are valid: %v", err)
			}
		}
		time.Sleep(2 * time.Minute)
		if _, err := cached.Retrieve(t.Context()); err == nil {
			t.Error("expired, and no error")
		}
	})
}

// Many users at once, each with more callers than entries: nobody gets
// another's. Run it with -race.
func TestManyUsersAtOnce(t *testing.T) {
	t.Parallel()
	srv := idctest.New()
	srv.JWTBearerRefreshTokens = true
	ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.MaxIdentities = 5 })
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n % 20)}
			user := ex.Identity(s, fresh(s))
			forgotten := func(err error) bool { // by another goroutine, which is asked for
				if err != nil && !errors.Is(err, awsoidc.ErrReauthRequired) {
					t.Error(err)
				}
				return err != nil
			}
			token, err := user.Token()
			if forgotten(err) {
				return
			}
			if id, _ := srv.Identify(token.AccessToken); id.Subject != s.ID {
				t.Errorf("%s got the token of %s", s.ID, id.Subject)
			}
			c, err := user.Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context())
			if forgotten(err) {
				return
			}
			if id, _ := srv.Identify(c.AccessKeyID); id.Subject != s.ID {
				t.Errorf("%s got the credentials of %s", s.ID, id.Subject)
			}
			if n%10 == 0 {
				ex.Forget(context.Background(), s)
			}
		})
	}
	all.Wait()
	if n := ex.Stats().Identities; n > 5 {
		t.Errorf("%d identities in memory, want at most 5", n)
	}
}

// FuzzAssertion shows whatever JWT to an Exchanger.
func FuzzAssertion(f *testing.F) {
	srv := idctest.New()
	ex := newExchanger(f, srv)
	f.Add(assertionOf(jane, nil))
	f.Add(assertionOf(jane, map[string]any{"aud": []string{"a", "b"}, "exp": 1e300, "tid": 7}))
	f.Add("a.e30.c")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := ex.Identity(jane, awsoidc.JWT(raw)).Token()
		if err != nil && (strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 4096) {
			t.Errorf("not one short line: %q", err)
		}
		ex.Forget(t.Context(), jane)
	})
}

// FuzzStoredIdentity reads whatever record a store has.
func FuzzStoredIdentity(f *testing.F) {
	srv := idctest.New()
	store := &spyStore{Store: newLRU(f)}
	ex := newExchanger(f, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store })
	if _, err := ex.Identity(jane, fresh(jane)).Token(); err != nil {
		f.Fatal(err)
	}
	f.Add(store.written[0])
	f.Add([]byte(`{"spent":[{"print":"x","until":"9999-12-31T23:59:59Z"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		with := &records{all: raw}
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = with })
		token, err := ex.Identity(jane, awsoidc.Assertion{}).TokenContext(t.Context())
		if err == nil && strings.ContainsFunc(token.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("a token that no header takes: %q", token.AccessToken)
		}
	})
}

// records is a store with the same record under each key.
type records struct{ all []byte }

func (s *records) Get(context.Context, string) ([]byte, error) { return s.all, nil }
func (s *records) Update(ctx context.Context, _ string, fn func(context.Context, []byte) ([]byte, error)) error {
	_, err := fn(ctx, s.all)
	return err
}
