package keyringcache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/awsoidc/awsoidc/cache"
)

// exportTimeout bounds one export, which goes on when the caller's context ends.
const exportTimeout = 5 * time.Second

var errTheirs = errors.New("another tool has a session of its own there, which was left as it is; end that with aws sso logout, and the next refresh is exported")

// session is what is exported of a record: enough to use the access token, and
// nothing to renew it with.
type session struct {
	StartURL    string `json:"startUrl"`
	Region      string `json:"region"`
	AccessToken string `json:"accessToken"`
	ExpiresAt   string `json:"expiresAt"`
}

// export brings the exported record up to date: whoever does so last reads what
// was stored last.
func (s *Store) export(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exportTimeout)
	defer cancel()
	err := s.options.Export.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		record, err := s.Get(ctx, key)
		if err != nil && !errors.Is(err, cache.ErrMiss) {
			return nil, err
		}
		next := exported(record)
		if old == nil || isExported(old) {
			return next, nil
		}
		if next != nil {
			return old, errTheirs
		}
		return old, nil
	})
	if err != nil && s.options.ExportFailed != nil {
		s.options.ExportFailed(fmt.Errorf("keyringcache: the session was saved and not exported for the AWS CLI: %w", err))
	}
}

// exported returns what is exported of a record: nil where it is no session.
func exported(record []byte) []byte {
	var v session
	if json.Unmarshal(record, &v) != nil || v.StartURL == "" || v.Region == "" || v.AccessToken == "" || v.ExpiresAt == "" {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

// isExported reports whether record is as this package exports it.
func isExported(record []byte) bool {
	again := exported(record)
	return again != nil && bytes.Equal(again, record)
}
