package awsoidc_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// mortalStore notes for how long its records are to be kept, by kind; -1 where
// the writer did not say.
type mortalStore struct {
	cache.Store
	told map[string]time.Duration
}

func (s *mortalStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		ctx, lifetime := cache.WithLifetime(ctx)
		record, err := fn(ctx, old)
		if kind := strings.Split(key, "-")[1]; record != nil {
			s.told[kind] = -1
			if d, ok := lifetime(); ok {
				s.told[kind] = d
			}
		}
		return record, err
	})
}

func newMortalStore(t *testing.T) *mortalStore {
	return &mortalStore{newLRU(t), map[string]time.Duration{}}
}

// The store is told until when a record is of use, except where nobody knows:
// with a refresh token, and of who was forgotten.
func TestRecordsSayHowLongTheyLast(t *testing.T) {
	const skew = 5 * time.Minute
	about := func(t *testing.T, s *mortalStore, kind string, want time.Duration) {
		t.Helper()
		got, ok := s.told[kind]
		if !ok || got < want || want >= 0 && got > want+skew || want < 0 && got != want {
			t.Errorf("%s: %v (%v), want %v", kind, got, ok, want)
		}
	}
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RegistrationLifetime = 90 * 24 * time.Hour
		s := newMortalStore(t)
		src := signedIn(t, srv, withStore(s), func(c *awsoidc.Config) { c.Scopes = []string{"sso:account:access"} })
		about(t, s, "session", -1)
		about(t, s, "registration", 90*24*time.Hour)
		time.Sleep(2 * time.Hour)
		delete(s.told, "session")
		bearer(t, src)
		about(t, s, "session", -1)

		srv.JWTBearerRefreshTokens = true
		over := func(c *awsoidc.ExchangerConfig) { c.Store = s }
		accessToken(t, newExchanger(t, srv, over).Identity(jane, fresh(jane)))
		about(t, s, "identity", -1)
		srv.JWTBearerRefreshTokens = false
		joe := awsoidc.Subject{Issuer: issuer, ID: "joe"}
		ex := newExchanger(t, srv, over)
		accessToken(t, ex.Identity(joe, fresh(joe)))
		about(t, s, "identity", 24*time.Hour) // the assertion's: until then it must not be sent again
		if err := ex.Forget(t.Context(), joe); err != nil {
			t.Fatal(err)
		}
		about(t, s, "identity", -1)
	})
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		s := newMortalStore(t)
		signedIn(t, srv, withStore(s), func(c *awsoidc.Config) { c.SessionName = "" }) // without scopes there is no refresh token
		about(t, s, "session", 8*time.Hour)
	})
}
