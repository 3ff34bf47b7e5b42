package providers

import (
	"errors"
	"testing"

	"github.com/awsoidc/awsoidc"
)

// TestAnotherUsersToken checks that a token makes nobody another user, whatever
// the caller says, and that it is not sent.
func TestAnotherUsersToken(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		s := newService(t, nil, p.trusted())
		jane, john := p.signIn(t, withJTI, "jane"), p.signIn(t, withJTI, "john")
		for _, proof := range proofs {
			if _, err := s.Identity(jane.subject, proof.of(t, john)).TokenContext(t.Context()); !errors.Is(err, awsoidc.ErrSubjectMismatch) {
				t.Errorf("%s: %v, want ErrSubjectMismatch", proof.name, err)
			}
		}
		if n := s.exchanges(); n != 0 {
			t.Errorf("%d exchanges", n)
		}
		s.acts(jane.subject, awsoidc.JWT(jane.idToken())) // nothing of it sticks
		s.acts(john.subject, awsoidc.JWT(john.idToken()))
	})
}

// TestAnotherAudience brings a token that was issued to another client.
func TestAnotherAudience(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		jane := p.signIn(t, withoutJTI, "jane")
		for name, audiences := range map[string][]string{"refused here": {withJTI}, "refused there": nil} {
			t.Run(name, func(t *testing.T) {
				s := newService(t, func(c *awsoidc.ExchangerConfig) { c.Audiences = audiences }, p.trusted(withJTI))
				_, err := s.Identity(jane.subject, awsoidc.JWT(jane.idToken())).TokenContext(t.Context())
				if !errors.Is(err, awsoidc.ErrReauthRequired) {
					t.Errorf("%v, want ErrReauthRequired", err)
				}
				if n := s.exchanges(); (n == 0) != (audiences != nil) {
					t.Errorf("%d exchanges", n)
				}
			})
		}
	})
}

// TestForgedToken brings the claims of a user's token in one that somebody else
// signed, by a key with the provider's key ID and with another: Identity Center
// has the provider's true keys.
func TestForgedToken(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		s := newService(t, nil, p.trusted())
		jane := p.signIn(t, withoutJTI, "jane")
		s.acts(jane.subject, awsoidc.JWT(jane.idToken()))
		if err := s.Forget(t.Context(), jane.subject); err != nil {
			t.Fatal(err)
		}
		forger := newSigner(t, p.issuer)
		for _, keyID := range []string{keyIDOf(t, jane.idToken()), forger.keyID} {
			forger.keyID = keyID
			forged := forger.sign(t, claimsOf(t, jane.idToken()))
			if _, err := s.Identity(jane.subject, awsoidc.JWT(forged)).TokenContext(t.Context()); !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("%v, want ErrReauthRequired", err)
			}
			if n := s.sent.times(forged); n != 1 {
				t.Errorf("it was sent %d times", n)
			}
		}
		s.acts(jane.subject, awsoidc.JWT(jane.idToken()))
	})
}
