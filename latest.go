package awsoidc

import (
	"context"
	"errors"
	"slices"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

// latest is the newest session that this source knows of. The store may not
// have taken it, or a tool that takes no lock may write back a record that it
// had read before: that one's refresh token is spent, and sending it again
// could end the session.
type latest struct {
	lease    *lease[*session] // nil: none
	unsaved  bool
	signedIn bool       // unsaved came from a sign-in: no older record is newer
	spent    [32]string // fingerprints of the last refresh tokens that this source exchanged for others
	n        int        // how many were put in spent
}

// replace makes next the latest session, unless that is later.
func (l *latest) replace(next *lease[*session], unsaved, signedIn bool) {
	if l.lease != nil && next.seq < l.lease.seq {
		return
	}
	l.lease, l.unsaved, l.signedIn = next, unsaved, signedIn
}

// supersedes reports whether the latest session is to be put in the place of
// stored, which is nil where the record is gone, or corrupt. A record that is
// gone means that the person signed out.
func (l *latest) supersedes(stored *session, corrupt bool) bool {
	if l.lease == nil {
		return false
	}
	if stored == nil {
		return corrupt || l.unsaved && l.signedIn
	}
	v := l.lease.value
	if l.unsaved && l.signedIn && !stored.newerThan(v) {
		return true
	}
	if stored.refreshToken == v.refreshToken { // they do not rotate, or only the last step of saving failed
		return l.unsaved && !stored.newerThan(v)
	}
	return slices.Contains(l.spent[:], fingerprint(stored.refreshToken))
}

// spend notes that the refresh token sent was exchanged for another.
func (s *TokenSource) spend(sent, next wire.Secret) {
	if sent == next {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest.spent[s.latest.n%len(s.latest.spent)] = fingerprint(sent)
	s.latest.n++
}

// remember makes l, which is saved, the latest session.
func (s *TokenSource) remember(l *lease[*session]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latest.replace(l, false, false)
}

// superseding returns what is to be put in the place of stored, or nil.
func (s *TokenSource) superseding(stored *session, corrupt bool) *lease[*session] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest.supersedes(stored, corrupt) && s.latest.lease.value.refreshToken != s.retired {
		return s.latest.lease
	}
	return nil
}

// keepUnsaved holds on to a session that the store did not take. It returns a
// lease that is due again soon, so that its next use tries to save it.
func (s *TokenSource) keepUnsaved(ctx context.Context, l *lease[*session], cause error) *lease[*session] {
	s.mu.Lock()
	first := !s.latest.unsaved
	s.latest.replace(l, true, s.latest.unsaved && s.latest.signedIn)
	s.mu.Unlock()
	if errors.Is(cause, cache.ErrLost) && s.saveUnsaved(ctx) == nil {
		return l
	}
	if first {
		s.warn("session refreshed but not saved; it is kept in memory and saved as soon as possible", cause)
	}
	soon := *l
	soon.refreshAt = l.refreshAt.earlier(s.rules.now().add(maxBackoff))
	return &soon
}

// saveUnsaved saves what the store did not take before, if anything.
func (s *TokenSource) saveUnsaved(ctx context.Context) error {
	s.mu.Lock()
	saved, unsaved := s.latest.lease, s.latest.unsaved
	s.mu.Unlock()
	if !unsaved {
		return nil
	}
	err := s.update(ctx, func(ctx context.Context, old []byte) ([]byte, error) {
		stored, _, corrupt := s.find(ctx, old)
		l := s.superseding(stored, corrupt)
		if l == nil {
			return nil, errUnchanged // signed out, or in, elsewhere
		}
		saved = l
		return l.value.raw, nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return &failure{what: "the refreshed session was not saved and is lost", cause: err,
			advice: "make " + s.place() + " writable and sign in again"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest.lease == saved {
		s.latest.unsaved = false
	}
	return nil
}
