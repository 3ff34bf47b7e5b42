package awsoidc

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unique"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc/wire"
)

// exchanged is what an application got for one identity. It is immutable.
type exchanged struct {
	accessToken                            wire.Secret
	refreshToken, idToken, identityContext wire.Secret // "" where there is none
	kind                                   unique.Handle[tokenKind]
	issued                                 int64 // nanoseconds since the Unix epoch
	lifetime                               time.Duration
	n                                      uint64 // grows with each renewal
}

// tokenKind is what the tokens of many identities have in common.
type tokenKind struct {
	scope, issuedTokenType string // "" where the service did not say
}

func (t *exchanged) issuedAt() time.Time  { return time.Unix(0, t.issued) }
func (t *exchanged) expiresAt() time.Time { return t.issuedAt().Add(t.lifetime) }

func newExchanged(out *wire.CreateTokenWithIAMOutput, sentAt time.Time, n uint64) *exchanged {
	return &exchanged{
		accessToken:     out.AccessToken,
		refreshToken:    out.RefreshToken,
		idToken:         out.IDToken,
		identityContext: out.IdentityContext,
		kind:            unique.Make(tokenKind{strings.Join(out.Scopes, " "), out.IssuedTokenType}),
		issued:          sentAt.UnixNano(),
		lifetime:        out.ExpiresIn,
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
	extra, kind := map[string]any{"expires_at": t.expiresAt()}, t.kind.Value()
	for name, value := range map[string]string{
		"id_token": string(t.idToken), "scope": kind.scope, "issued_token_type": kind.issuedTokenType,
	} {
		if value != "" {
			extra[name] = value
		}
	}
	return (&oauth2.Token{AccessToken: string(t.accessToken), TokenType: "Bearer"}).WithExtra(extra)
}

// identityRecord is what is stored of one identity. Without tokens it keeps
// assertions from being sent twice, also after Forget.
type identityRecord struct {
	tokens    *exchanged
	spent     []spentMark
	forgotten time.Time // what was issued before is not to be used; zero: never
}

// without returns held, what somebody has in memory, unless it was forgotten
// since.
func (r *identityRecord) without(held *exchanged) *exchanged {
	if held != nil && !held.issuedAt().After(r.forgotten) {
		return nil
	}
	return held
}

// spentMark tells an assertion that must not be sent again from others.
type spentMark struct {
	Print string    `json:"print"`
	Until time.Time `json:"until"` // it has expired then
}

// maxMarks bounds the marks of one identity.
const maxMarks = 64

// live returns the marks that still matter.
func (r *identityRecord) live(now time.Time) []spentMark {
	marks := slices.DeleteFunc(slices.Clone(r.spent), func(m spentMark) bool {
		return m.Until.Before(now.Add(-maxSkew))
	})
	return marks[max(0, len(marks)-maxMarks):]
}

// storedIdentity is how an identityRecord is stored.
type storedIdentity struct {
	Key             string      `json:"key"`
	N               uint64      `json:"n,omitempty"`
	AccessToken     string      `json:"accessToken,omitempty"`
	RefreshToken    string      `json:"refreshToken,omitempty"`
	IDToken         string      `json:"idToken,omitempty"`
	IdentityContext string      `json:"identityContext,omitempty"`
	Scope           string      `json:"scope,omitempty"`
	IssuedTokenType string      `json:"issuedTokenType,omitempty"`
	IssuedAt        time.Time   `json:"issuedAt,omitzero"`
	ExpiresAt       time.Time   `json:"expiresAt,omitzero"`
	Spent           []spentMark `json:"spent,omitempty"`
	Forgotten       time.Time   `json:"forgotten,omitzero"`
}

// encode returns what is stored under key, nil where there is nothing.
func (r *identityRecord) encode(key string) []byte {
	stored := storedIdentity{Key: key, Spent: r.spent, Forgotten: r.forgotten.UTC()}
	if t := r.tokens; t != nil {
		kind := t.kind.Value()
		stored = storedIdentity{
			Key: key, N: t.n,
			AccessToken: string(t.accessToken), RefreshToken: string(t.refreshToken),
			IDToken: string(t.idToken), IdentityContext: string(t.identityContext),
			Scope: kind.scope, IssuedTokenType: kind.issuedTokenType,
			IssuedAt: t.issuedAt().UTC(), ExpiresAt: t.expiresAt().UTC(), Spent: r.spent,
			Forgotten: r.forgotten.UTC(),
		}
	} else if len(r.spent) == 0 && r.forgotten.IsZero() {
		return nil
	}
	raw, err := json.Marshal(stored)
	if err != nil {
		return nil // times beyond the year 9999: not kept
	}
	return raw
}

// decodeIdentity returns what is stored under key, without what can't be used.
func decodeIdentity(raw []byte, key string) (record identityRecord) {
	var s storedIdentity
	if raw == nil || json.Unmarshal(raw, &s) != nil || s.Key != key {
		return record
	}
	record.spent, record.forgotten = s.Spent, s.Forgotten
	lifetime := s.ExpiresAt.Sub(s.IssuedAt)
	issued := s.IssuedAt.UnixNano()
	if !isToken(s.AccessToken) || !time.Unix(0, issued).Equal(s.IssuedAt) || lifetime <= 0 || lifetime > wire.MaxExpiresIn {
		return record
	}
	for _, secret := range []*string{&s.RefreshToken, &s.IDToken, &s.IdentityContext} {
		if !isToken(*secret) {
			*secret = ""
		}
	}
	record.tokens = &exchanged{
		accessToken: wire.Secret(s.AccessToken), refreshToken: wire.Secret(s.RefreshToken),
		idToken: wire.Secret(s.IDToken), identityContext: wire.Secret(s.IdentityContext),
		kind: unique.Make(tokenKind{s.Scope, s.IssuedTokenType}), issued: issued, lifetime: lifetime, n: s.N,
	}
	return record
}
