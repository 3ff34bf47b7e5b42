package awsoidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

// Role credentials in a store are in the AWS CLI's format, with two members
// added: when they were issued, and with which access token. They are used
// only by who has that token: nobody who has signed out, or in as somebody
// else. The AWS CLI's own have no such member: they are used where the session
// is one that the AWS CLI has written too.

// roleRecord is what the store keeps of role credentials.
type roleRecord struct {
	credentials aws.Credentials
	issuedAt    time.Time // zero in the files of the AWS CLI
	with        string    // names the access token; "" in the files of the AWS CLI
}

const (
	memberIssuedAt = "issuedAt"
	memberToken    = "awsoidcToken"
)

// storeKey names the record of the role in the source's RoleStore.
func (r *RoleCredentials) storeKey() string {
	cfg := &r.source.cfg
	if s, ok := cfg.RoleStore.(interface{ AWSCLI() bool }); ok && s.AWSCLI() {
		// Python's json.dumps with sorted keys and no spaces.
		session := `"sessionName":` + pythonString(cfg.SessionName)
		if cfg.SessionName == "" {
			session = `"startUrl":` + pythonString(cfg.StartURL)
		}
		return `{"accountId":` + pythonString(r.role.accountID) + `,"roleName":` + pythonString(r.role.roleName) + `,` + session + `}`
	}
	return hashKey("role", []string{cfg.Namespace, cfg.Endpoints.OIDC, cfg.Region, cfg.StartURL, cfg.SessionName, r.role.accountID, r.role.roleName})
}

// renewShared takes the credentials from the store where another process has
// put good ones, and otherwise asks for all of them, alone. A store that can't
// be used costs a request.
func (r *RoleCredentials) renewShared(ctx context.Context) (*lease[aws.Credentials], error) {
	token, err := r.source.tokens.get(ctx, r.source)
	if err != nil {
		return nil, err
	}
	store, key := r.source.cfg.RoleStore, r.storeKey()
	if raw, err := readWithin(ctx, store, key); err == nil {
		if l := r.stored(raw, token.value); l != nil && !r.due(l) {
			return l, nil
		}
	}
	var got, last *lease[aws.Credentials]
	var refusal error
	err = updateWithin(ctx, store, r.source.rules.now, key, lockWait, func(ctx context.Context, old []byte) ([]byte, error) {
		if last = r.stored(old, token.value); last != nil && !r.due(last) {
			got = last
			return nil, errUnchanged
		}
		c, with, err := r.ask(ctx)
		if refusal = err; err != nil {
			return nil, err
		}
		now := r.source.rules.now()
		got = leaseCredentials(c, now)
		return encodeRole(roleRecord{c, now.time(), tokenName(with)}, old), nil
	})
	switch {
	case got != nil && (err == nil || errors.Is(err, errUnchanged)):
		return got, nil
	case refusal != nil && last != nil && isOutage(refusal):
		return last, nil
	case refusal != nil:
		return nil, refusal
	case got == nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	r.source.warn("role credentials can't be kept for other processes", err)
	if got != nil {
		return got, nil
	}
	c, _, err := r.ask(ctx)
	if err != nil {
		return nil, err
	}
	return leaseCredentials(c, r.source.rules.now()), nil
}

// removeStored removes the role's record, if it is one of SSO.
func (r *RoleCredentials) removeStored(ctx context.Context) error {
	store, key := r.source.cfg.RoleStore, r.storeKey()
	if _, err := readWithin(ctx, store, key); errors.Is(err, cache.ErrMiss) && !errors.Is(err, cache.ErrCorrupt) {
		return nil
	}
	err := updateWithin(ctx, store, r.source.rules.now, key, lockWait, func(_ context.Context, old []byte) ([]byte, error) {
		if record, err := parseFields(old); err != nil || record.string("ProviderType") != "sso" {
			return nil, errUnchanged
		}
		return nil, nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

// stored returns the credentials in a record where they may be used with the
// session v and have not expired.
func (r *RoleCredentials) stored(raw []byte, v *session) *lease[aws.Credentials] {
	record, ok := parseRole(raw, r.role.accountID)
	if !ok || record.with != tokenName(v.accessToken) && (record.with != "" || !v.issuedAt.IsZero()) {
		return nil
	}
	now := r.source.rules.now()
	lifetime := assumedLifetime
	left := min(record.credentials.Expires.Sub(now.time()), wire.MaxExpiresIn)
	if !record.issuedAt.IsZero() {
		lifetime = record.credentials.Expires.Sub(record.issuedAt)
		if lifetime <= 0 || record.issuedAt.After(now.time().Add(maxSkew)) {
			return nil // the clock was set back: who knows how old they are
		}
	}
	l := &lease[aws.Credentials]{
		value:     record.credentials,
		expiresAt: now.add(left),
		lead:      lead(lifetime, wire.Secret(record.credentials.AccessKeyID)),
	}
	if now.reached(l.expiresAt) {
		return nil
	}
	return l
}

func (r *RoleCredentials) due(l *lease[aws.Credentials]) bool {
	return r.source.rules.now().reached(l.refreshAt())
}

// isOutage reports whether the portal did not answer, or not as it should, so
// that credentials that have not expired are still good.
func isOutage(err error) bool {
	code := status(err)
	return !errors.Is(err, ErrLoginRequired) && (code == 0 || code >= 500 || code == http.StatusTooManyRequests)
}

// tokenName names an access token without telling it.
func tokenName(token wire.Secret) string {
	sum := sha256.Sum256([]byte("awsoidc role credentials\x00" + string(token)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// parseRole reads stored role credentials. Those of another account, and what
// is not of SSO, are none.
func parseRole(raw []byte, accountID string) (roleRecord, bool) {
	top, err := parseFields(raw)
	if err != nil || top.string("ProviderType") != "sso" {
		return roleRecord{}, false
	}
	f, err := parseFields(top["Credentials"])
	if err != nil {
		return roleRecord{}, false
	}
	id, secret, token, expires := f.secret("AccessKeyId"), f.secret("SecretAccessKey"), f.secret("SessionToken"), f.time("Expiration")
	if account := f.string("AccountId"); id == "" || secret == "" || token == "" || expires.IsZero() || account != "" && account != accountID {
		return roleRecord{}, false
	}
	return roleRecord{
		credentials: aws.Credentials{
			AccessKeyID:     string(id),
			SecretAccessKey: string(secret),
			SessionToken:    string(token),
			CanExpire:       true,
			Expires:         expires,
			Source:          credentialsSource,
			AccountID:       accountID,
		},
		issuedAt: top.time(memberIssuedAt),
		with:     top.string(memberToken),
	}, true
}

// encodeRole returns what is to be stored, with other tools' members of the
// record before.
func encodeRole(r roleRecord, old []byte) []byte {
	others, _ := parseFields(old)
	top := maps.Clone(others)
	if top == nil {
		top = fields{}
	}
	f := fields{}
	f.set("AccessKeyId", r.credentials.AccessKeyID)
	f.set("SecretAccessKey", r.credentials.SecretAccessKey)
	f.set("SessionToken", r.credentials.SessionToken)
	f.set("Expiration", r.credentials.Expires)
	f.set("AccountId", r.credentials.AccountID)
	top.set("ProviderType", "sso")
	top["Credentials"] = json.RawMessage(f.marshal())
	top.set(memberIssuedAt, r.issuedAt)
	top.set(memberToken, r.with)
	raw := top.marshal()
	if others != nil && len(raw) > cache.MaxRecordBytes {
		return encodeRole(r, nil)
	}
	return raw
}
