package providers

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
)

// proofs are the ways to show a session to an Exchanger: the token that it is
// shown by, its audience, and whether it has a jti.
var proofs = []struct {
	name     string
	of       func(*testing.T, *session) awsoidc.Assertion
	raw      func(*session) string
	audience func(p *provider, client string) string
	jti      func(client string) bool
}{
	{
		name:     "JWT",
		of:       func(_ *testing.T, s *session) awsoidc.Assertion { return awsoidc.JWT(s.idToken()) },
		raw:      (*session).idToken,
		audience: func(_ *provider, client string) string { return client },
		jti:      func(client string) bool { return client == withJTI },
	}, {
		name:     "IDTokenOf",
		of:       func(t *testing.T, s *session) awsoidc.Assertion { return awsoidc.IDTokenOf(s.source(t)) },
		raw:      (*session).idToken,
		audience: func(_ *provider, client string) string { return client },
		jti:      func(client string) bool { return client == withJTI },
	}, {
		name:     "AccessTokenOf",
		of:       func(t *testing.T, s *session) awsoidc.Assertion { return awsoidc.AccessTokenOf(s.source(t)) },
		raw:      func(s *session) string { return s.token.AccessToken },
		audience: func(p *provider, client string) string { return p.accessAudience(client) },
		jti:      func(string) bool { return true },
	},
}

// TestUsers signs two users in and lets each act, at the cost of one exchange.
func TestUsers(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		for _, client := range []string{withoutJTI, withJTI} {
			for _, proof := range proofs {
				t.Run(client+"/"+proof.name, func(t *testing.T) {
					audience := proof.audience(p, client)
					s := newService(t, func(c *awsoidc.ExchangerConfig) { c.Audiences = []string{audience} }, p.trusted(audience))
					for _, name := range users {
						signedIn := p.signIn(t, client, name)
						raw := proof.raw(signedIn)
						if _, has := claimsOf(t, raw)["jti"]; has != proof.jti(client) {
							t.Fatalf("the token has a jti: %t", has)
						}
						if subject := p.verify(t, raw, audience); subject != signedIn.subject {
							t.Fatalf("%v signed in, and the token is that of %v", signedIn.subject, subject)
						}
						for range 2 {
							s.acts(signedIn.subject, proof.of(t, signedIn))
						}
						if n := s.sent.times(raw); n != 1 {
							t.Errorf("the assertion was sent %d times, want 1", n)
						}
					}
					if n := s.exchanges(); n != len(users) {
						t.Errorf("%d exchanges for %d users", n, len(users))
					}
				})
			}
		}
	})
}

// TestSpentAssertion brings an assertion once more when what it was exchanged
// for is over, and then a new one.
func TestSpentAssertion(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		for _, client := range []string{withoutJTI, withJTI} {
			for _, proof := range proofs {
				t.Run(client+"/"+proof.name, func(t *testing.T) {
					var later atomic.Int64 // how far the service's clock is ahead
					s := newService(t, func(c *awsoidc.ExchangerConfig) {
						c.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
					}, p.trusted())
					first := p.signIn(t, client, "jane")
					s.acts(first.subject, proof.of(t, first))
					later.Store(int64(3 * time.Minute)) // the token is over, the assertion is not
					if proof.jti(client) {
						_, err := s.Identity(first.subject, proof.of(t, first)).TokenContext(t.Context())
						if !errors.Is(err, awsoidc.ErrReauthRequired) {
							t.Errorf("a second time: %v, want ErrReauthRequired", err)
						}
						if n := s.sent.times(proof.raw(first)); n != 1 {
							t.Errorf("the assertion was sent %d times, want 1", n)
						}
						first = p.signIn(t, client, "jane")
					}
					s.acts(first.subject, proof.of(t, first))
					if n := s.exchanges(); n != 2 {
						t.Errorf("%d exchanges, want 2", n)
					}
				})
			}
		}
	})
}

// TestRefreshedAtTheProvider lets the token source get the next assertion: the
// user need not come back.
func TestRefreshedAtTheProvider(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		for _, proof := range proofs[1:] {
			t.Run(proof.name, func(t *testing.T) {
				s := newService(t, nil, p.trusted())
				signedIn := p.signIn(t, withJTI, "jane")
				s.acts(signedIn.subject, proof.of(t, signedIn))
				if err := s.Forget(t.Context(), signedIn.subject); err != nil {
					t.Fatal(err)
				}
				s.acts(signedIn.subject, proof.of(t, signedIn.expired()))
				if n := s.exchanges(); n != 2 {
					t.Errorf("%d exchanges, want 2", n)
				}

				over := signedIn.expired()
				over.token.RefreshToken = "not-one-of-the-provider"
				if err := s.Forget(t.Context(), signedIn.subject); err != nil {
					t.Fatal(err)
				}
				_, err := s.Identity(signedIn.subject, proof.of(t, over)).TokenContext(t.Context())
				if refused := (*oauth2.RetrieveError)(nil); !errors.Is(err, awsoidc.ErrReauthRequired) || !errors.As(err, &refused) || refused.ErrorCode != "invalid_grant" {
					t.Errorf("a session that is over: %v", err)
				}
			})
		}
	})
}

// TestUsersAtOnce has many callers act for two users.
func TestUsersAtOnce(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		s := newService(t, nil, p.trusted())
		var all sync.WaitGroup
		for _, name := range users {
			signedIn := p.signIn(t, withJTI, name)
			for range 16 {
				all.Go(func() { s.acts(signedIn.subject, awsoidc.JWT(signedIn.idToken())) })
			}
		}
		all.Wait()
		if n := s.exchanges(); n != len(users) {
			t.Errorf("%d exchanges, want %d", n, len(users))
		}
	})
}
