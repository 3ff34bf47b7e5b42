package awsoidc

import (
	"bytes"
	"context"
	"errors"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

// obtained is the session that the service gave this source last. The store
// may not have taken it, or a tool that takes no lock may write the record
// back that it replaced: then the record's refresh token is spent, and only
// this process has the next.
type obtained struct {
	lease   *lease[*session] // nil: none
	spent   wire.Secret      // the refresh token of the record that it replaced
	unsaved bool
}

// supersedes reports whether o is to be put in the place of stored.
func (o *obtained) supersedes(stored *session) bool {
	if o.lease == nil {
		return false
	}
	v := o.lease.value
	return stored.refreshToken == o.spent && !stored.expiresAt.After(v.expiresAt) ||
		o.unsaved && bytes.Equal(stored.raw, v.raw) // only the last step of saving it failed
}

// remember keeps what was obtained and saved.
func (s *TokenSource) remember(l *lease[*session], spent wire.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.obtained = obtained{lease: l, spent: spent}
}

// forget is for when a person signed in: nothing older may come back.
func (s *TokenSource) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.obtained = obtained{}
}

// superseding returns what is to be put in the place of stored, or nil.
func (s *TokenSource) superseding(stored *session) *lease[*session] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.obtained.supersedes(stored) {
		s.obtained = obtained{}
		return nil
	}
	return s.obtained.lease
}

// keepUnsaved holds on to a session that the store did not take. It returns a
// lease that is due again soon, so that its next use tries to save it.
func (s *TokenSource) keepUnsaved(ctx context.Context, l *lease[*session], spent wire.Secret, cause error) *lease[*session] {
	s.mu.Lock()
	first := !s.obtained.unsaved
	s.obtained = obtained{lease: l, spent: spent, unsaved: true}
	s.mu.Unlock()
	if errors.Is(cause, cache.ErrLost) && s.saveUnsaved(ctx) == nil {
		return l
	}
	if first {
		s.warn("session refreshed but not saved; it is kept in memory and saved as soon as possible", cause)
	}
	soon := *l
	soon.refreshAt = l.refreshAt.earlier(s.tokens.now().add(maxBackoff))
	return &soon
}

// saveUnsaved saves what the store did not take before, if anything.
func (s *TokenSource) saveUnsaved(ctx context.Context) error {
	s.mu.Lock()
	unsaved := s.obtained.unsaved
	s.mu.Unlock()
	if !unsaved {
		return nil
	}
	err := s.update(ctx, func(_ context.Context, old []byte) ([]byte, error) {
		stored, _ := s.decode(old)
		if stored == nil {
			return nil, errUnchanged // signed out elsewhere
		}
		l := s.superseding(stored)
		if l == nil {
			return nil, errUnchanged
		}
		return l.value.raw, nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return &failure{what: "the refreshed session was not saved and is lost", cause: err,
			advice: "make " + s.place() + " writable and sign in again"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.obtained.unsaved = false
	return nil
}
