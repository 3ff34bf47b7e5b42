package awsoidc

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"time"
	"unique"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc/wire"
)

// exchanged is what an application got for one identity. It is immutable, and
// small: there may be a million.
type exchanged struct {
	secrets wire.Secret // those of issuance, one after the other: one allocation for all
	lengths [3]uint16   // of the first three, each at most wire.MaxTokenBytes
	n       uint32      // grows with each renewal
	seconds uint32      // the lifetime
	issued  int64       // nanoseconds since the Unix epoch
	kind    unique.Handle[tokenKind]
}

// issuance is what exchanged is made of.
type issuance struct {
	accessToken                            wire.Secret
	refreshToken, idToken, identityContext wire.Secret // "" where there is none
	kind                                   tokenKind
	at                                     time.Time
	lifetime                               time.Duration // in whole seconds
}

// tokenKind is what the tokens of many identities have in common.
type tokenKind struct {
	scope, issuedTokenType string // "" where the service did not say
}

// issued returns what the service answered to a request sent at a time, as the
// nth renewal.
func issued(out *wire.CreateTokenWithIAMOutput, sentAt time.Time, n uint32) *exchanged {
	return (&issuance{
		accessToken: out.AccessToken, refreshToken: out.RefreshToken, idToken: out.IDToken, identityContext: out.IdentityContext,
		kind: tokenKind{strings.Join(out.Scopes, " "), out.IssuedTokenType}, at: sentAt, lifetime: out.ExpiresIn,
	}).exchanged(n)
}

// maxRenewals is what a stored record may count at the most: far more than there
// are, so that nobody's count wraps.
const maxRenewals = math.MaxUint32 / 2

func (i *issuance) exchanged(n uint32) *exchanged {
	return &exchanged{
		secrets: i.accessToken + i.refreshToken + i.idToken + i.identityContext,
		lengths: [3]uint16{uint16(len(i.accessToken)), uint16(len(i.refreshToken)), uint16(len(i.idToken))},
		n:       min(n, maxRenewals),
		seconds: uint32(i.lifetime / time.Second),
		issued:  i.at.UnixNano(),
		kind:    unique.Make(i.kind),
	}
}

func (t *exchanged) issuance() issuance {
	var parts [3]wire.Secret
	rest := t.secrets
	for i, n := range t.lengths {
		parts[i], rest = rest[:n], rest[n:]
	}
	return issuance{parts[0], parts[1], parts[2], rest, t.kind.Value(), time.Unix(0, t.issued), time.Duration(t.seconds) * time.Second}
}

func (t *exchanged) accessToken() wire.Secret  { return t.secrets[:t.lengths[0]] }
func (t *exchanged) refreshToken() wire.Secret { return t.secrets[t.lengths[0]:][:t.lengths[1]] }
func (t *exchanged) identityContext() wire.Secret {
	return t.secrets[int(t.lengths[0])+int(t.lengths[1])+int(t.lengths[2]):]
}

func (t *exchanged) issuedAt() time.Time     { return time.Unix(0, t.issued) }
func (t *exchanged) lifetime() time.Duration { return time.Duration(t.seconds) * time.Second }
func (t *exchanged) expiresAt() time.Time    { return t.issuedAt().Add(t.lifetime()) }

// after reports whether t is a later renewal than u. Either may be nil.
func (t *exchanged) after(u *exchanged) bool {
	return t != nil && (u == nil || t.n > u.n || t.n == u.n && t.accessToken() != u.accessToken())
}

func (t *exchanged) withoutRefreshToken() *exchanged {
	i := t.issuance()
	i.refreshToken = ""
	return i.exchanged(t.n)
}

func (t *exchanged) oauth2() *oauth2.Token {
	i, extra := t.issuance(), map[string]any{"expires_at": t.expiresAt()}
	for name, value := range map[string]string{
		"id_token": string(i.idToken), "scope": i.kind.scope, "issued_token_type": i.kind.issuedTokenType,
	} {
		if value != "" {
			extra[name] = value
		}
	}
	return (&oauth2.Token{AccessToken: string(i.accessToken), TokenType: "Bearer"}).WithExtra(extra)
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
	N               uint32      `json:"n,omitempty"`
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
		i := t.issuance()
		stored = storedIdentity{
			Key: key, N: t.n,
			AccessToken: string(i.accessToken), RefreshToken: string(i.refreshToken),
			IDToken: string(i.idToken), IdentityContext: string(i.identityContext),
			Scope: i.kind.scope, IssuedTokenType: i.kind.issuedTokenType,
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
	inRange := time.Unix(0, s.IssuedAt.UnixNano()).Equal(s.IssuedAt)
	if !isToken(s.AccessToken) || !inRange || lifetime < time.Second || lifetime > wire.MaxExpiresIn || s.N > maxRenewals {
		return record
	}
	for _, secret := range []*string{&s.RefreshToken, &s.IDToken, &s.IdentityContext} {
		if !isToken(*secret) {
			*secret = ""
		}
	}
	record.tokens = (&issuance{
		accessToken: wire.Secret(s.AccessToken), refreshToken: wire.Secret(s.RefreshToken),
		idToken: wire.Secret(s.IDToken), identityContext: wire.Secret(s.IdentityContext),
		kind: tokenKind{s.Scope, s.IssuedTokenType}, at: s.IssuedAt, lifetime: lifetime,
	}).exchanged(s.N)
	return record
}

// A retiredSet remembers the refresh tokens that the service refused, so that
// they are not sent again.
type retiredSet struct{ prints printSet }

func (s *retiredSet) add(refreshToken wire.Secret) { s.prints.add(fingerprint(refreshToken)) }

func (s *retiredSet) has(refreshToken wire.Secret) bool {
	return s.prints.has(fingerprint(refreshToken))
}
