package awsoidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// TestLadder goes down the rungs one by one.
func TestLadder(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens, srv.SessionLifetime = true, 6*time.Hour
		ex := newExchanger(t, srv)
		first := fresh(jane)
		accessToken(t, ex.Identity(jane, first))
		accessToken(t, ex.Identity(jane, fresh(jane))) // valid: nothing is sent
		time.Sleep(2 * time.Hour)
		accessToken(t, ex.Identity(jane, first)) // the refresh token
		if exchanges(srv) != 1 || iamRefreshes(srv) != 1 {
			t.Errorf("%d exchanges and %d refreshes, want 1 and 1", exchanges(srv), iamRefreshes(srv))
		}
		time.Sleep(5 * time.Hour) // the session is over
		if _, err := ex.Identity(jane, first).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
			t.Errorf("with a spent assertion: %v, want ErrReauthRequired", err)
		}
		dead := iamRefreshes(srv)
		for range 10 {
			if _, err := ex.Identity(jane, first).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("with a spent assertion: %v, want ErrReauthRequired", err)
			}
		}
		if n := iamRefreshes(srv); n != dead || exchanges(srv) != 1 {
			t.Errorf("a dead refresh token was sent %d times more; %d exchanges", n-dead, exchanges(srv))
		}
		accessToken(t, ex.Identity(jane, fresh(jane)))
		if n := exchanges(srv); n != 2 || srv.Replays() != 0 {
			t.Errorf("%d exchanges, %d replays", n, srv.Replays())
		}
	})
}

// TestExchangeErrors has every row of the service's errors: what they become,
// how often is asked for it, and what is remembered.
func TestExchangeErrors(t *testing.T) {
	const kms = "KMS_DisabledException"
	region := idctest.Fault{Type: wire.TypeInvalidRequestRegion, Region: "eu-west-1", Endpoint: "https://oidc.eu-west-1.evil.example"}
	for _, test := range []struct {
		name       string
		fault      idctest.Fault
		want       error // a sentinel, or nil for none
		sends      int   // of one assertion with a jti
		refreshes  int   // of one refresh token
		remembered bool  // another assertion is not sent at once
	}{
		{"access denied", idctest.Fault{Type: wire.TypeAccessDenied}, awsoidc.ErrAccessDenied, 1, 1, true},
		{"KMS access denied", idctest.Fault{Type: wire.TypeAccessDenied, Reason: "KMS_AccessDeniedException"}, awsoidc.ErrAccessDenied, 1, 1, true},
		{"IAM denies the caller", idctest.Fault{Type: wire.TypeAccessDenied, Status: 403}, awsoidc.ErrAccessDenied, 1, 1, true},
		{"KMS", idctest.Fault{Type: wire.TypeInvalidRequest, Reason: kms}, awsoidc.ErrAccessDenied, 1, 1, true},
		{"invalid request", idctest.Fault{Type: wire.TypeInvalidRequest}, nil, 1, 1, true},
		{"invalid grant", idctest.Fault{Type: wire.TypeInvalidGrant}, awsoidc.ErrReauthRequired, 1, 1, false},
		{"invalid client", idctest.Fault{Type: wire.TypeInvalidClient}, awsoidc.ErrConfig, 1, 1, true},
		{"invalid scope", idctest.Fault{Type: wire.TypeInvalidScope}, awsoidc.ErrConfig, 1, 1, true},
		{"unauthorized client", idctest.Fault{Type: wire.TypeUnauthorizedClient}, awsoidc.ErrConfig, 1, 1, true},
		{"unsupported grant", idctest.Fault{Type: wire.TypeUnsupportedGrantType}, awsoidc.ErrConfig, 1, 1, true},
		{"a region of nobody's", region, awsoidc.ErrConfig, 1, 1, true},
		{"slow down", idctest.Fault{Type: wire.TypeSlowDown}, awsoidc.ErrThrottled, 3, 3, true},
		{"429", idctest.Fault{Status: 429, Header: http.Header{"Retry-After": {"2"}}}, awsoidc.ErrThrottled, 3, 3, true},
		{"expired token", idctest.Fault{Type: wire.TypeExpiredToken}, nil, 1, 1, true},
		{"500", idctest.Fault{Type: wire.TypeInternalServer}, awsoidc.ErrReauthRequired, 1, 3, true},
		{"403 of a proxy", idctest.Fault{Status: 403}, awsoidc.ErrAccessDenied, 1, 1, true},
		{"503 of a proxy", idctest.Fault{Status: 503}, awsoidc.ErrReauthRequired, 1, 3, true},
		{"reset before", idctest.Fault{ResetBefore: true}, awsoidc.ErrReauthRequired, 1, 3, true},
		{"reset after", idctest.Fault{ResetAfter: true}, awsoidc.ErrReauthRequired, 1, 3, true},
		{"hangs", idctest.Fault{Hang: true}, awsoidc.ErrReauthRequired, 1, 3, true},
		{"garbage", idctest.Fault{Body: []byte("<html>")}, awsoidc.ErrReauthRequired, 1, 3, true},
	} {
		always := test.fault
		always.Times = idctest.Always
		t.Run("assertion/"+test.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				ex := newExchanger(t, srv)
				srv.Inject(idctest.CreateTokenWithIAMJWTBearer, always)
				assertion := fresh(jane)
				_, err := ex.Identity(jane, assertion).Token()
				if err == nil || test.want != nil && !errors.Is(err, test.want) || test.want == nil && isAny(err, awsoidc.ErrReauthRequired, awsoidc.ErrAccessDenied, awsoidc.ErrThrottled) {
					t.Errorf("got %v, want one that wraps %v", err, test.want)
				}
				if n := exchanges(srv); n != test.sends {
					t.Errorf("sent %d times, want %d", n, test.sends)
				}
				ex.Identity(jane, fresh(jane)).Token()
				if n := exchanges(srv) - test.sends; (n == 0) != test.remembered {
					t.Errorf("another assertion was sent %d times at once", n)
				}
				srv.ClearFaults()
				time.Sleep(time.Minute)
				accessToken(t, ex.Identity(jane, fresh(jane)))
				if n := srv.Replays(); n != 0 {
					t.Errorf("%d assertions were sent twice", n)
				}
			})
		})
		t.Run("refresh/"+test.name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.JWTBearerRefreshTokens, srv.RotateRefreshTokens = true, false
				ex := newExchanger(t, srv)
				accessToken(t, ex.Identity(jane, fresh(jane)))
				time.Sleep(2 * time.Hour)
				srv.Inject(idctest.CreateTokenWithIAMRefresh, always)
				_, err := ex.Identity(jane, awsoidc.Assertion{}).Token()
				if err == nil {
					t.Error("no error")
				}
				if n := iamRefreshes(srv); n != test.refreshes {
					t.Errorf("sent %d times, want %d", n, test.refreshes)
				}
				srv.ClearFaults()
				time.Sleep(time.Minute)
				user := ex.Identity(jane, awsoidc.Assertion{})
				if test.fault.Type == wire.TypeInvalidGrant {
					if _, err := user.Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
						t.Errorf("a refused refresh token: %v, want ErrReauthRequired", err)
					}
					return
				}
				accessToken(t, user)
			})
		})
	}
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func TestThrottledUntil(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv)
		srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Times: idctest.Always, Status: 429, Header: http.Header{"Retry-After": {"60"}}})
		_, err := ex.Identity(jane, fresh(jane)).Token()
		at, ok := awsoidc.RetryAt(err)
		if !errors.Is(err, awsoidc.ErrThrottled) || !ok || time.Until(at) < 50*time.Second || time.Until(at) > time.Minute {
			t.Errorf("%v, again at %v", err, at)
		}
	})
}

// An application may be in another region than configured: the request is
// signed once more, for the region that the service names.
func TestRegionRedirect(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Applications = []idctest.Application{{ARN: applicationARN, Region: "eu-west-1"}}
		ex := newExchanger(t, srv)
		accessToken(t, ex.Identity(jane, fresh(jane)))
		joe := awsoidc.Subject{Issuer: issuer, ID: "joe"}
		accessToken(t, ex.Identity(joe, fresh(joe)))
		if n := exchanges(srv); n != 3 {
			t.Errorf("%d requests for two users, want 3: the region is remembered", n)
		}
		log := srv.Log()
		if host := log[len(log)-1].Host; host != "oidc.eu-west-1.amazonaws.com" {
			t.Errorf("sent to %s", host)
		}
	})
}

func TestAssertionsOfOthersAreRefused(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Audiences = []string{"my-service"} })
		tenant := awsoidc.Subject{Issuer: issuer, ID: "jane", Tenant: "a"}
		for name, test := range map[string]struct {
			subject   awsoidc.Subject
			assertion awsoidc.Assertion
			want      error
		}{
			"issuer":             {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"iss": "https://other.example"})), awsoidc.ErrSubjectMismatch},
			"subject":            {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"sub": "joe"})), awsoidc.ErrSubjectMismatch},
			"no subject":         {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"sub": nil})), awsoidc.ErrSubjectMismatch},
			"tenant":             {tenant, awsoidc.JWT(assertionOf(jane, map[string]any{"tid": "b"})), awsoidc.ErrSubjectMismatch},
			"tenant of a number": {tenant, awsoidc.JWT(assertionOf(jane, map[string]any{"tid": 7})), awsoidc.ErrSubjectMismatch},
			"audience":           {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"aud": []string{"a", "b"}})), awsoidc.ErrReauthRequired},
			"no audience":        {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"aud": nil})), awsoidc.ErrConfig},
			"audience, a number": {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"aud": 7})), awsoidc.ErrReauthRequired},
			"audience, numbers":  {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"aud": []int{7}})), awsoidc.ErrReauthRequired},
			"sub twice":          {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"Sub": "joe"})), awsoidc.ErrReauthRequired},
			"jti twice":          {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"JTI": ""})), awsoidc.ErrReauthRequired},
			"jti of a number":    {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"jti": 7})), awsoidc.ErrReauthRequired},
			"expired":            {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"exp": time.Now().Unix()})), awsoidc.ErrReauthRequired},
			"no expiry":          {jane, awsoidc.JWT(assertionOf(jane, map[string]any{"exp": nil})), awsoidc.ErrReauthRequired},
			"no JWT":             {jane, awsoidc.JWT("opaque"), awsoidc.ErrReauthRequired},
			"no JSON":            {jane, awsoidc.JWT("a.b.c"), awsoidc.ErrReauthRequired},
			"empty":              {jane, awsoidc.JWT(""), awsoidc.ErrReauthRequired},
			"a header":           {jane, awsoidc.JWT("a.b.c\r\nX: y"), awsoidc.ErrReauthRequired},
			"none":               {jane, awsoidc.Assertion{}, awsoidc.ErrReauthRequired},
			"no source":          {jane, awsoidc.IDTokenOf(nil), awsoidc.ErrReauthRequired},
			"no ID token":        {jane, awsoidc.IDTokenOf(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "x"})), awsoidc.ErrReauthRequired},
			"nobody":             {awsoidc.Subject{}, fresh(jane), awsoidc.ErrConfig},
		} {
			_, err := ex.Identity(test.subject, test.assertion).Token()
			if !errors.Is(err, test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want one that wraps %v", name, err, test.want)
			}
		}
		if n := srv.Count(idctest.AnyOperation).Requests; n != 0 {
			t.Errorf("%d requests", n)
		}
		accessToken(t, ex.Identity(tenant, awsoidc.JWT(assertionOf(jane, map[string]any{"tid": "a", "aud": []string{"x", "my-service"}}))))
	})
}

// sourceFunc is an oauth2.TokenSource that takes a context.
type sourceFunc func(context.Context) (*oauth2.Token, error)

func (f sourceFunc) Token() (*oauth2.Token, error) {
	return nil, errors.New("the context was left out")
}
func (f sourceFunc) TokenContext(ctx context.Context) (*oauth2.Token, error) {
	return f(ctx)
}

// TestAssertionSources has each way to prove who a user is.
func TestAssertionSources(t *testing.T) {
	extra := func(idToken string) sourceFunc {
		return func(ctx context.Context) (*oauth2.Token, error) {
			if _, ok := ctx.Deadline(); !ok {
				return nil, errors.New("no deadline")
			}
			return (&oauth2.Token{AccessToken: assertionOf(jane, nil)}).WithExtra(map[string]any{"id_token": idToken}), nil
		}
	}
	for name, assertion := range map[string]func(*idctest.Server) awsoidc.Assertion{
		"function": func(*idctest.Server) awsoidc.Assertion {
			return awsoidc.JWTFunc(func(context.Context) (string, error) { return assertionOf(jane, nil), nil })
		},
		"ID token":     func(*idctest.Server) awsoidc.Assertion { return awsoidc.IDTokenOf(extra(assertionOf(jane, nil))) },
		"access token": func(*idctest.Server) awsoidc.Assertion { return awsoidc.AccessTokenOf(extra("")) },
		"subject token": func(srv *idctest.Server) awsoidc.Assertion {
			return awsoidc.SubjectToken(srv.Issue("sso:account:access").AccessToken)
		},
		"subject token source": func(srv *idctest.Server) awsoidc.Assertion {
			token := srv.Issue("sso:account:access").AccessToken
			return awsoidc.SubjectTokenOf(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: token}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.UserName = "jane"
				ex := newExchanger(t, srv)
				if id, ok := srv.Identify(accessToken(t, ex.Identity(jane, assertion(srv)))); !ok || id.Subject != "jane" {
					t.Errorf("the token is that of %+v", id)
				}
			})
		})
	}
}

// A JWT without a jti may be presented again, and one with a jti may not: also
// after the identity was evicted or forgotten.
func TestSpentAssertions(t *testing.T) {
	for name, jti := range map[string]any{"with": "unique", "without": nil} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.MaxIdentities = 1 })
				assertion := awsoidc.JWT(assertionOf(jane, map[string]any{"jti": jti}))
				accessToken(t, ex.Identity(jane, assertion))
				joe := awsoidc.Subject{Issuer: issuer, ID: "joe"}
				accessToken(t, ex.Identity(joe, fresh(joe)))
				_, err := ex.Identity(jane, assertion).Token()
				if (err == nil) != (jti == nil) || err != nil && !errors.Is(err, awsoidc.ErrReauthRequired) {
					t.Errorf("again: %v", err)
				}
				if n := srv.Replays(); n != 0 {
					t.Errorf("%d assertions were sent twice", n)
				}
			})
		})
	}
}

// An assertion may be used again by another process that shares the store.
func TestSpentAssertionIsKnownToThoseWhoShareTheStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := newLRU(t)
		withStore := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		assertion := fresh(jane)
		accessToken(t, newExchanger(t, srv, withStore).Identity(jane, assertion))
		time.Sleep(2 * time.Hour)
		_, err := newExchanger(t, srv, withStore).Identity(jane, assertion).Token()
		if !errors.Is(err, awsoidc.ErrReauthRequired) || srv.Replays() != 0 {
			t.Errorf("%v; %d replays", err, srv.Replays())
		}
	})
}

// A revoked token is replaced once, on the way to credentials.
func TestPortalCredentialsOfAnIdentity(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		srv.Applications = []idctest.Application{{ARN: applicationARN, Scopes: []string{"sso:account:access", "sts:identity_context"}}}
		ex := newExchanger(t, srv)
		user := ex.Identity(jane, fresh(jane))
		arn := callerOf(t, srv, user.RoleCredentials("123456789012", "ReadOnly"))
		if !strings.Contains(arn, "ReadOnly") {
			t.Errorf("STS takes it for %s", arn)
		}
		srv.RevokeAccessTokens()
		callerOf(t, srv, user.RoleCredentials("123456789012", "Admin"))
		if n := iamRefreshes(srv); n != 1 || exchanges(srv) != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
		if _, err := user.RoleCredentials("123456789012", "Nobody").Retrieve(t.Context()); !errors.Is(err, awsoidc.ErrNotAssigned) {
			t.Errorf("a role that is not assigned: %v", err)
		}
	})
}

func TestRoleErrors(t *testing.T) {
	for name, test := range map[string]struct {
		role  awsoidc.Role
		fault idctest.Fault
		want  error
		asked int // how often STS is asked by 5 callers
	}{
		"no ARN":           {awsoidc.Role{}, idctest.Fault{}, awsoidc.ErrConfig, 0},
		"not a role":       {awsoidc.Role{ARN: "arn:aws:iam::123456789012:user/x"}, idctest.Fault{}, awsoidc.ErrConfig, 0},
		"too long":         {awsoidc.Role{ARN: accessRole, Duration: 13 * time.Hour}, idctest.Fault{}, awsoidc.ErrConfig, 0},
		"denied":           {awsoidc.Role{ARN: accessRole}, idctest.Fault{Times: idctest.Always, Type: "AccessDenied", Status: 403}, awsoidc.ErrAccessDenied, 1},
		"session name":     {awsoidc.Role{ARN: accessRole, SessionName: "a b"}, idctest.Fault{}, awsoidc.ErrConfig, 0},
		"malformed policy": {awsoidc.Role{ARN: accessRole, Policy: "{"}, idctest.Fault{}, nil, 1},
		"throttled":        {awsoidc.Role{ARN: accessRole}, idctest.Fault{Times: idctest.Always, Type: "Throttling", Status: 400}, awsoidc.ErrThrottled, 3},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				ex := newExchanger(t, srv)
				if test.fault.Times != 0 {
					srv.Inject(idctest.AssumeRole, test.fault)
				}
				c := ex.Identity(jane, fresh(jane)).Credentials(test.role)
				for range 5 {
					_, err := c.Retrieve(t.Context())
					if err == nil || test.want != nil && !errors.Is(err, test.want) || strings.Contains(err.Error(), "\n") {
						t.Fatalf("%v, want one that wraps %v", err, test.want)
					}
				}
				if n := srv.Count(idctest.AssumeRole).Requests; n != test.asked {
					t.Errorf("STS was asked %d times, want %d", n, test.asked)
				}
			})
		})
	}
}

func TestApplicationWithoutIdentityContext(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Scopes = []string{"openid"} })
		_, err := ex.Identity(jane, fresh(jane)).Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context())
		if err == nil || !strings.Contains(err.Error(), "sts:identity_context") {
			t.Errorf("%v, want it to name the scope that is missing", err)
		}
	})
}

// A store that fails keeps nobody from the service who has an assertion, and
// sends no refresh token.
func TestExchangerWithoutItsStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		store := &failing{Store: newLRU(t)}
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Store = store })
		store.fail.Store(true)
		accessToken(t, ex.Identity(jane, fresh(jane)))
		time.Sleep(50 * time.Minute) // due
		for range 3 {
			accessToken(t, ex.Identity(jane, fresh(jane)))
			synctest.Wait()
		}
		if n := exchanges(srv); n != 1 || iamRefreshes(srv) != 0 {
			t.Errorf("%d exchanges and %d refreshes while the token was valid, want 1 and 0", n, iamRefreshes(srv))
		}
		time.Sleep(time.Hour)
		if _, err := ex.Identity(jane, awsoidc.Assertion{}).Token(); err == nil || !strings.Contains(err.Error(), "store") {
			t.Errorf("expired, and no assertion: %v", err)
		}
		time.Sleep(time.Minute)
		accessToken(t, ex.Identity(jane, fresh(jane)))
		store.fail.Store(false)
		time.Sleep(2 * time.Hour)
		accessToken(t, ex.Identity(jane, awsoidc.Assertion{})) // by the refresh token
	})
}

// A store whose records were swapped, or that anybody wrote to, gives nobody
// another's tokens.
func TestSwappedRecords(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		store := &keys{Store: newLRU(t)}
		with := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		joe := awsoidc.Subject{Issuer: issuer, ID: "joe"}
		ex := newExchanger(t, srv, with)
		accessToken(t, ex.Identity(jane, fresh(jane)))
		accessToken(t, ex.Identity(joe, fresh(joe)))
		a, b := store.seen[0], store.seen[len(store.seen)-1]
		if a == b {
			t.Fatal("two users have one key")
		}
		recordA, _ := store.Get(t.Context(), a)
		recordB, _ := store.Get(t.Context(), b)
		put := func(key string, record []byte) {
			store.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return record, nil })
		}
		put(a, recordB)
		put(b, recordA)
		for _, s := range []awsoidc.Subject{jane, joe} {
			again := newExchanger(t, srv, with)
			if _, err := again.Identity(s, awsoidc.Assertion{}).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("%s: %v, want ErrReauthRequired", s.ID, err)
			}
			if id, _ := srv.Identify(accessToken(t, again.Identity(s, fresh(s)))); id.Subject != s.ID {
				t.Errorf("%s got the token of %s", s.ID, id.Subject)
			}
		}
	})
}

// TestStoredIdentitiesOfOldTimes reads records that can't be used.
// A record that counts as many renewals as one may, by whomever it was written,
// is not lost with the next.
func TestIdentityRecordOfTooManyRenewals(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		store := &keys{Store: newLRU(t)}
		stored := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		accessToken(t, newExchanger(t, srv, stored).Identity(jane, fresh(jane)))
		err := store.Update(t.Context(), store.seen[0], func(_ context.Context, old []byte) ([]byte, error) {
			var record map[string]any
			if err := json.Unmarshal(old, &record); err != nil {
				return nil, err
			}
			record["n"] = math.MaxUint32 / 2
			return json.Marshal(record)
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			accessToken(t, newExchanger(t, srv, stored).Identity(jane, awsoidc.Assertion{}))
			time.Sleep(2 * time.Hour)
		}
		if n := iamRefreshes(srv); n != 2 {
			t.Errorf("%d refreshes, want 2", n)
		}
	})
}

func TestUnusableIdentityRecords(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &keys{Store: newLRU(t)}
		with := func(c *awsoidc.ExchangerConfig) { c.Store = store }
		accessToken(t, newExchanger(t, srv, with).Identity(jane, fresh(jane)))
		key := store.seen[0]
		good, _ := store.Get(t.Context(), key)
		for name, change := range map[string]func(map[string]any){
			"no token":        func(m map[string]any) { delete(m, "accessToken") },
			"a header":        func(m map[string]any) { m["accessToken"] = "a\r\nb" },
			"another key":     func(m map[string]any) { m["key"] = "x" },
			"no times":        func(m map[string]any) { delete(m, "issuedAt") },
			"ends at once":    func(m map[string]any) { m["expiresAt"] = m["issuedAt"] },
			"lasts for years": func(m map[string]any) { m["expiresAt"] = "9999-01-01T00:00:00Z" },
			"another type":    func(m map[string]any) { m["refreshToken"] = 7 },
		} {
			m := map[string]any{}
			json.Unmarshal(good, &m)
			change(m)
			raw, _ := json.Marshal(m)
			store.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return raw, nil })
			if _, err := newExchanger(t, srv, with).Identity(jane, awsoidc.Assertion{}).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("%s: %v, want ErrReauthRequired", name, err)
			}
		}
	})
}
