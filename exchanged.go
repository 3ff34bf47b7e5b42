package awsoidc

import (
	"encoding/json"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc/wire"
)

// exchanged is what an application got for one identity. It is immutable.
type exchanged struct {
	accessToken                            wire.Secret
	refreshToken, idToken, identityContext wire.Secret // "" where there is none
	scope, issuedTokenType                 string      // "" where the service did not say
	issuedAt, expiresAt                    time.Time
	origin                                 string // fingerprint of the assertion that it goes back to
	n                                      uint64 // grows with each renewal
}

func newExchanged(out *wire.CreateTokenWithIAMOutput, sentAt time.Time, n uint64) *exchanged {
	return &exchanged{
		accessToken:     out.AccessToken,
		refreshToken:    out.RefreshToken,
		idToken:         out.IDToken,
		identityContext: out.IdentityContext,
		scope:           strings.Join(out.Scopes, " "),
		issuedTokenType: out.IssuedTokenType,
		issuedAt:        sentAt,
		expiresAt:       sentAt.Add(out.ExpiresIn),
		n:               n,
	}
}

// after reports whether t is a later renewal than u. Either may be nil.
func (t *exchanged) after(u *exchanged) bool {
	return t != nil && (u == nil || t.n > u.n || t.n == u.n && t.accessToken != u.accessToken)
}

func (t *exchanged) withoutRefreshToken() *exchanged {
	u := *t
	u.refreshToken = ""
	return &u
}

func (t *exchanged) oauth2() *oauth2.Token {
	extra := map[string]any{"expires_at": t.expiresAt}
	for name, value := range map[string]string{
		"id_token": string(t.idToken), "scope": t.scope, "issued_token_type": t.issuedTokenType,
	} {
		if value != "" {
			extra[name] = value
		}
	}
	return (&oauth2.Token{AccessToken: string(t.accessToken), TokenType: "Bearer"}).WithExtra(extra)
}

// exchangedRecord is how exchanged is stored.
type exchangedRecord struct {
	Key             string    `json:"key"`
	N               uint64    `json:"n"`
	AccessToken     string    `json:"accessToken"`
	RefreshToken    string    `json:"refreshToken,omitempty"`
	IDToken         string    `json:"idToken,omitempty"`
	IdentityContext string    `json:"identityContext,omitempty"`
	Scope           string    `json:"scope,omitempty"`
	IssuedTokenType string    `json:"issuedTokenType,omitempty"`
	IssuedAt        time.Time `json:"issuedAt"`
	ExpiresAt       time.Time `json:"expiresAt"`
	Origin          string    `json:"origin,omitempty"`
}

// encode returns what is stored under key.
func (t *exchanged) encode(key string) []byte {
	raw, err := json.Marshal(exchangedRecord{
		Key: key, N: t.n,
		AccessToken: string(t.accessToken), RefreshToken: string(t.refreshToken),
		IDToken: string(t.idToken), IdentityContext: string(t.identityContext),
		Scope: t.scope, IssuedTokenType: t.issuedTokenType,
		IssuedAt: t.issuedAt.UTC(), ExpiresAt: t.expiresAt.UTC(), Origin: t.origin,
	})
	if err != nil {
		return nil // times beyond the year 9999: not kept
	}
	return raw
}

// decodeExchanged returns what is stored under key, nil where that can't be
// used.
func decodeExchanged(raw []byte, key string) *exchanged {
	var r exchangedRecord
	if raw == nil || json.Unmarshal(raw, &r) != nil || r.Key != key || !isToken(r.AccessToken) {
		return nil
	}
	for _, secret := range []*string{&r.RefreshToken, &r.IDToken, &r.IdentityContext} {
		if !isToken(*secret) {
			*secret = ""
		}
	}
	lifetime := r.ExpiresAt.Sub(r.IssuedAt)
	if lifetime <= 0 || lifetime > wire.MaxExpiresIn {
		return nil
	}
	return &exchanged{
		accessToken: wire.Secret(r.AccessToken), refreshToken: wire.Secret(r.RefreshToken),
		idToken: wire.Secret(r.IDToken), identityContext: wire.Secret(r.IdentityContext),
		scope: r.Scope, issuedTokenType: r.IssuedTokenType,
		issuedAt: r.IssuedAt, expiresAt: r.ExpiresAt, origin: r.Origin, n: r.N,
	}
}
