package providers

import (
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
)

// The application is one registration of Microsoft Entra that users of many
// tenants sign in to.
const entraApplication = "6731de76-14a6-49ae-97bc-6eba6914391e"

// tenants of Entra, one of them Microsoft's own for personal accounts.
var tenants = []string{"72f988bf-86f1-41af-91ab-2d7cd011db47", "9188040d-6c67-4c5b-b112-36a304b66dad"}

// entraSub names a user to one application only; two tenants may give the same.
const entraSub = "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ"

func entra(t *testing.T, tenant string) *signer {
	return newSigner(t, "https://login.microsoftonline.com/"+tenant+"/v2.0")
}

// entraToken returns an ID token with the claims of version 2.0. It has no jti:
// what tells it apart is in uti.
func entraToken(t *testing.T, s *signer, tenant string, more map[string]any) string {
	return s.sign(t, map[string]any{
		"ver": "2.0", "aud": entraApplication, "sub": entraSub, "tid": tenant, "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
		"uti": rand.Text(), "rh": "0." + rand.Text(), "sid": rand.Text(), "nbf": time.Now().Unix(),
		"name": "Jane Doe", "preferred_username": "jane@example.com", "nonce": rand.Text(),
	}, more)
}

// entraSubject is what a service of many tenants makes of a token: it accepts
// the issuers whose tenant it knows.
func entraSubject(t *testing.T, s *signer, raw string) awsoidc.Subject {
	t.Helper()
	var claims struct{ TID string }
	subject := s.verify(t, raw, entraApplication, &claims)
	if subject.Issuer != "https://login.microsoftonline.com/"+claims.TID+"/v2.0" {
		t.Fatalf("the issuer of tenant %s is %s", claims.TID, subject.Issuer)
	}
	subject.Tenant = claims.TID
	return subject
}

// TestEntra has users of two tenants act who have the same sub.
func TestEntra(t *testing.T) {
	a, b := entra(t, tenants[0]), entra(t, tenants[1])
	for name, jti := range map[string]map[string]any{"without-jti": nil, "with-jti": {"jti": "one-for-both-tenants"}} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, func(c *awsoidc.ExchangerConfig) { c.Audiences = []string{entraApplication} },
				a.trusted(entraApplication), b.trusted(entraApplication))
			tokens := map[awsoidc.Subject]string{}
			for i, issuer := range []*signer{a, b} {
				raw := entraToken(t, issuer, tenants[i], jti)
				tokens[entraSubject(t, issuer, raw)] = raw
			}
			for subject, raw := range tokens {
				s.acts(subject, awsoidc.JWT(raw))
			}
			for subject := range tokens {
				s.acts(subject, awsoidc.Assertion{})
			}
			for subject, raw := range tokens {
				if err := s.Forget(t.Context(), subject); err != nil {
					t.Fatal(err)
				}
				_, err := s.Identity(subject, awsoidc.JWT(raw)).TokenContext(t.Context())
				if single := jti != nil; single != errors.Is(err, awsoidc.ErrReauthRequired) || !single && err != nil {
					t.Errorf("a second time: %v", err)
				}
				if n := s.sent.times(raw); (n == 1) != (jti != nil) {
					t.Errorf("the assertion was sent %d times", n)
				}
			}
		})
	}
}

// TestEntraTenants checks that nobody becomes the user of another tenant with
// the same sub.
func TestEntraTenants(t *testing.T) {
	a, b := entra(t, tenants[0]), entra(t, tenants[1])
	s := newService(t, nil, a.trusted(entraApplication)) // b is not trusted
	subject := entraSubject(t, a, entraToken(t, a, tenants[0], nil))
	other := entraToken(t, b, tenants[1], nil)
	for name, test := range map[string]struct {
		raw  string
		want error
	}{
		"the other tenant's":                 {other, awsoidc.ErrSubjectMismatch},
		"the other tenant's, in this issuer": {entraToken(t, a, tenants[1], nil), awsoidc.ErrSubjectMismatch},
		"signed by the other tenant":         {entraToken(t, b, tenants[0], map[string]any{"iss": a.issuer}), awsoidc.ErrReauthRequired},
	} {
		if _, err := s.Identity(subject, awsoidc.JWT(test.raw)).TokenContext(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if _, err := s.Identity(entraSubject(t, b, other), awsoidc.JWT(other)).TokenContext(t.Context()); !errors.Is(err, awsoidc.ErrReauthRequired) {
		t.Errorf("a tenant that is not trusted: %v", err)
	}
	s.acts(subject, awsoidc.JWT(entraToken(t, a, tenants[0], nil)))
}

// TestTenantsOfOneIssuer has one issuer give two tenants' users the same sub.
func TestTenantsOfOneIssuer(t *testing.T) {
	issuer := newSigner(t, "https://sts.windows.net/common/")
	s := newService(t, nil, issuer.trusted())
	seen := map[string]bool{}
	for _, tenant := range tenants {
		raw := entraToken(t, issuer, tenant, nil)
		subject := issuer.verify(t, raw, entraApplication, nil)
		subject.Tenant = tenant
		token, err := s.Identity(subject, awsoidc.JWT(raw)).TokenContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen[token.AccessToken] = true
	}
	if len(seen) != len(tenants) {
		t.Errorf("%d users share a token", len(tenants))
	}
}
