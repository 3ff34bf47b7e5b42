package awsoidc_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
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

// Why a source gave no assertion can be told from the error.
func TestAssertionSourceFails(t *testing.T) {
	cause := errors.New("the issuer is down")
	src := oauth2TokenSource(func() (*oauth2.Token, error) { return nil, cause })
	nothing := oauth2TokenSource(func() (*oauth2.Token, error) { return nil, nil })
	for name, test := range map[string]struct {
		assertion awsoidc.Assertion
		is        error // nil: any
	}{
		"function":             {awsoidc.JWTFunc(func(context.Context) (string, error) { return "", cause }), cause},
		"ID token":             {awsoidc.IDTokenOf(src), cause},
		"access token":         {awsoidc.AccessTokenOf(src), cause},
		"subject token":        {awsoidc.SubjectTokenOf(src), cause},
		"no source":            {awsoidc.IDTokenOf(nil), nil},
		"neither token, error": {awsoidc.AccessTokenOf(nothing), nil},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				_, err := newExchanger(t, srv).Identity(jane, test.assertion).Token()
				if !errors.Is(err, awsoidc.ErrReauthRequired) || test.is != nil && !errors.Is(err, test.is) {
					t.Errorf("%v, want ErrReauthRequired and %v", err, test.is)
				}
				if n := exchanges(srv); n != 0 {
					t.Errorf("%d requests", n)
				}
			})
		})
	}
}

// Of two claims of one name, readers take different ones.
func TestClaimTwice(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv)
		parts := strings.Split(assertionOf(jane, nil), ".")
		claims, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, claim := range []string{`"sub":"jane"`, `"iss":"https://other.example"`, `"exp":9999999999`, `"jti":""`} {
			parts[1] = base64.RawURLEncoding.EncodeToString([]byte("{" + claim + "," + string(claims[1:])))
			if _, err := ex.Identity(jane, awsoidc.JWT(strings.Join(parts, "."))).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("%s twice: %v, want ErrReauthRequired", claim, err)
			}
		}
		if n := exchanges(srv); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// What the service may have taken is not sent again: a code neither.
func TestCodeIsSentOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv)
		srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Status: 503, Times: idctest.Always})
		user := ex.Identity(jane, awsoidc.Code("code", "https://app.example/callback", "verifier"))
		for range 2 {
			if _, err := user.Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("%v, want ErrReauthRequired", err)
			}
			time.Sleep(time.Minute)
		}
		if n := srv.Count(idctest.CreateTokenWithIAMAuthorizationCode).Requests; n != 1 {
			t.Errorf("sent %d times, want once", n)
		}
	})
}

// Sources that hang are so many at most, and none when they have returned.
func TestManyHungTokenSources(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		ex := newExchanger(t, srv)
		release := make(chan struct{})
		hung := oauth2TokenSource(func() (*oauth2.Token, error) { <-release; return nil, errors.New("released") })
		good := awsoidc.JWTFunc(func(context.Context) (string, error) { return assertionOf(jane, nil), nil })
		for range 2 {
			for i := range 64 {
				go ex.Identity(awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(i)}, awsoidc.IDTokenOf(hung)).Token()
			}
			time.Sleep(11 * time.Second)
			if _, err := ex.Identity(jane, good).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("beside 64 sources that hang: %v, want ErrReauthRequired", err)
			}
			close(release)
			synctest.Wait()
			release = make(chan struct{})
		}
		accessToken(t, ex.Identity(jane, good))
	})
}

// It is time to see whom others have forgotten, and too late.
func TestClosedExchangerWithAStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		_, all := replicas(t, srv, 1)
		user := all[0].Identity(jane, fresh(jane))
		accessToken(t, user)
		all[0].Close()
		time.Sleep(maxStale)
		if _, err := user.Token(); !errors.Is(err, awsoidc.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
}

// A refresh token that the service refused is not sent by those who share the
// store either.
func TestRefusedRefreshTokenIsNotShared(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		_, all := replicas(t, srv, 2)
		accessToken(t, all[0].Identity(jane, fresh(jane)))
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenWithIAMRefresh, idctest.Fault{Type: wire.TypeInvalidGrant, Times: idctest.Always})
		for _, e := range all {
			if _, err := e.Identity(jane, awsoidc.Assertion{}).Token(); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("%v, want ErrReauthRequired", err)
			}
		}
		if n := iamRefreshes(srv); n != 1 {
			t.Errorf("the refresh token was sent %d times, want once", n)
		}
	})
}

// A session that ended and an assertion of somebody else's: the latter is told.
func TestMismatchAfterARefusedRefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		ex := newExchanger(t, srv)
		accessToken(t, ex.Identity(jane, fresh(jane)))
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenWithIAMRefresh, idctest.Fault{Type: wire.TypeInvalidGrant})
		if _, err := ex.Identity(jane, fresh(awsoidc.Subject{Issuer: issuer, ID: "joe"})).Token(); !errors.Is(err, awsoidc.ErrSubjectMismatch) {
			t.Errorf("%v, want ErrSubjectMismatch", err)
		}
	})
}

// What the service certainly did not look at can be sent again.
func TestUnspentAssertion(t *testing.T) {
	for name, fault := range map[string]idctest.Fault{
		"region":      {Type: wire.TypeInvalidRequestRegion, Region: "eu-west-1", Endpoint: "https://oidc.eu-west-1.evil.example"},
		"forbidden":   {Type: wire.TypeAccessDenied, Status: 403},
		"unsigned":    {Type: wire.TypeAccessDenied, Status: 401},
		"throttle":    {Type: wire.TypeSlowDown, Times: 3},
		"no one home": {Dial: true, Times: 3},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				_, all := replicas(t, srv, 1)
				srv.Inject(idctest.CreateTokenWithIAM, fault)
				user := all[0].Identity(jane, fresh(jane))
				if _, err := user.Token(); err == nil || errors.Is(err, awsoidc.ErrReauthRequired) {
					t.Errorf("%v, want one for which another assertion is no help", err)
				}
				time.Sleep(time.Minute)
				accessToken(t, user)
			})
		})
	}
}

// What a refresh does not bring is kept.
func TestIdentityContextIsKept(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens, srv.RotateRefreshTokens = true, false
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.AWS.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				resp, err := srv.Transport().RoundTrip(r)
				if err == nil && strings.HasSuffix(r.URL.Path, "/token") && iamRefreshes(srv) > 0 {
					for _, member := range []string{"awsAdditionalDetails", "idToken", "refreshToken"} {
						edit(resp, member, nil)
					}
				}
				return resp, err
			})}
		})
		user := ex.Identity(jane, fresh(jane))
		accessToken(t, user)
		time.Sleep(56 * time.Minute)
		accessToken(t, user)
		synctest.Wait()
		callerOf(t, srv, user.Credentials(awsoidc.Role{ARN: accessRole}))
		time.Sleep(2 * time.Hour)
		accessToken(t, user)
		if iamRefreshes(srv) != 2 || exchanges(srv) != 1 {
			t.Errorf("%d refreshes and %d exchanges, want 2 and 1", iamRefreshes(srv), exchanges(srv))
		}
	})
}

// What the service answers is the error, also where there is a store.
func TestErrorBesideAStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		_, all := replicas(t, srv, 1)
		srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Type: wire.TypeAccessDenied})
		if _, err := all[0].Identity(jane, fresh(jane)).Token(); !errors.Is(err, awsoidc.ErrAccessDenied) || strings.Contains(err.Error(), "store") {
			t.Errorf("%v, want ErrAccessDenied, and nothing about the store", err)
		}
	})
}

func TestEventHasADuration(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		var took time.Duration
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.Observe = func(_ context.Context, ev awsoidc.Event) { took = ev.Duration }
		})
		time.Sleep(time.Minute)
		srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Latency: 3 * time.Second})
		accessToken(t, ex.Identity(jane, fresh(jane)))
		if took != 3*time.Second {
			t.Errorf("an exchange of 3 s took %v", took)
		}
	})
}
