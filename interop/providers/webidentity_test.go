package providers

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// TestWebIdentity has users act by their ID tokens alone, without Identity
// Center.
func TestWebIdentity(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		s := newService(t, nil, p.trusted(withJTI, withoutJTI))
		for _, client := range []string{withoutJTI, withJTI} {
			for _, name := range users {
				signedIn := p.signIn(t, client, name)
				for _, session := range []*session{signedIn, signedIn.expired()} {
					c := webIdentity(t, s, session.source(t))
					credentials, err := c.Retrieve(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if arn := s.caller(credentials); !strings.HasPrefix(arn, "arn:aws:sts::123456789012:assumed-role/Access/awsoidc-") {
						t.Errorf("STS takes the credentials for %s", arn)
					}
					assumed := s.assumed(credentials)
					if assumed.Operation != idctest.AssumeRoleWithWebIdentity || assumed.Issuer != p.issuer || assumed.Subject != signedIn.subject.ID {
						t.Errorf("the credentials of %s come from %+v", name, assumed)
					}
				}
			}
		}
		if n := s.exchanges(); n != 0 {
			t.Errorf("%d exchanges at Identity Center", n)
		}
	})
}

// TestWebIdentityRefused brings an ID token for another audience, one that is
// forged, and none.
func TestWebIdentityRefused(t *testing.T) {
	each(t, func(t *testing.T, p *provider) {
		s := newService(t, nil, p.trusted(withJTI))
		jane := p.signIn(t, withoutJTI, "jane")
		forged := newSigner(t, p.issuer).sign(t, claimsOf(t, jane.idToken()), map[string]any{"aud": withJTI})
		for name, source := range map[string]oauth2.TokenSource{
			"another audience": jane.source(t),
			"forged":           withIDToken(forged),
			"none":             withIDToken(""),
		} {
			_, err := webIdentity(t, s, source).Retrieve(t.Context())
			if err == nil || name == "none" && !errors.Is(err, awsoidc.ErrReauthRequired) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := len(s.idc.AssumedRoles()); n != 0 {
			t.Errorf("%d roles were assumed", n)
		}
	})
}

func webIdentity(t *testing.T, s *service, source oauth2.TokenSource) *awsoidc.WebIdentityCredentials {
	t.Helper()
	c, err := awsoidc.NewWebIdentityCredentials(s.aws, source, awsoidc.Role{ARN: role})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func withIDToken(raw string) oauth2.TokenSource {
	return oauth2.StaticTokenSource((&oauth2.Token{AccessToken: "unused"}).WithExtra(map[string]any{"id_token": raw}))
}
