package awsoidc

import (
	"bytes"
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
	unsaved  bool             // it is not in the store, as far as is known
	signedIn bool             // it came from a sign-in: no older record is newer
	replaced []byte           // what the sign-in was to take the place of
	warned   bool             // that it is unsaved
	spent    []string         // fingerprints of the refresh tokens that this source exchanged for others
	n        int              // how many were put in spent
}

// maxSpent is more than the refreshes of the longest session, of 90 days.
const maxSpent = 4096

// replace makes next the latest session, unless that is later.
func (l *latest) replace(next *lease[*session], unsaved, signedIn bool) {
	if l.lease != nil && next.seq < l.lease.seq {
		return
	}
	l.lease, l.unsaved, l.signedIn = next, unsaved, signedIn
	if !unsaved {
		l.warned = false
	}
}

func (l *latest) isSpent(refreshToken wire.Secret) bool {
	return slices.Contains(l.spent, fingerprint(refreshToken))
}

// supersedes reports whether the latest session is to be put in the place of
// stored, which is nil where the record is gone, or corrupt. A record that is
// gone means that the person signed out. One that is corrupt may be half
// written, by somebody who has a newer session.
func (l *latest) supersedes(stored *session, corrupt bool) bool {
	switch {
	case l.lease == nil:
		return false
	case stored == nil:
		return l.unsaved && (corrupt || l.signedIn)
	case l.isSpent(stored.refreshToken):
		return true
	}
	v := l.lease.value
	olderOrSame := !stored.newerThan(v) || l.signedIn && bytes.Equal(stored.raw, l.replaced)
	return l.unsaved && olderOrSame && (l.signedIn || stored.refreshToken == v.refreshToken)
}

// spend notes that the refresh token sent was exchanged for that of next, which
// is not saved yet.
func (s *TokenSource) spend(sent wire.Secret, next *lease[*session]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sent != next.value.refreshToken {
		if len(s.latest.spent) < maxSpent {
			s.latest.spent = append(s.latest.spent, fingerprint(sent))
		} else {
			s.latest.spent[s.latest.n%maxSpent] = fingerprint(sent)
		}
		s.latest.n++
	}
	s.latest.replace(next, true, s.latest.unsaved && s.latest.signedIn)
}

// hadSession reports whether this source knows of a session.
func (s *TokenSource) hadSession() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest.lease != nil
}

// isSpent reports whether this source exchanged the refresh token for another.
func (s *TokenSource) isSpent(refreshToken wire.Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest.isSpent(refreshToken)
}

// signedOut forgets the latest session, unless it is later.
func (s *TokenSource) signedOut(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest.lease != nil && s.latest.lease.seq <= seq {
		s.latest.lease, s.latest.unsaved = nil, false
	}
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
	if !s.latest.supersedes(stored, corrupt) {
		return nil
	}
	if v := s.latest.lease.value; v.refreshToken != "" && v.refreshToken == s.retired {
		return nil
	}
	return s.latest.lease
}

// keepUnsaved holds on to a session that the store did not take. It returns a
// lease that is due again soon, so that its next use tries to save it.
func (s *TokenSource) keepUnsaved(ctx context.Context, l *lease[*session], cause error) *lease[*session] {
	if errors.Is(cause, cache.ErrLost) && s.saveUnsaved(ctx) == nil {
		return l
	}
	s.mu.Lock()
	first := s.latest.unsaved && !s.latest.warned
	s.latest.warned = true
	s.mu.Unlock()
	if first {
		s.warn("session refreshed but not saved; it is kept in memory and saved as soon as possible", cause)
	}
	soon := *l
	soon.dueBy(s.rules.now().add(maxBackoff))
	return &soon
}

// saveUnsaved saves what the store did not take before, if anything.
func (s *TokenSource) saveUnsaved(ctx context.Context) error {
	s.mu.Lock()
	saved, unsaved, signedIn := s.latest.lease, s.latest.unsaved, s.latest.signedIn
	s.mu.Unlock()
	if !unsaved {
		return nil
	}
	var inPlace *session
	err := s.update(ctx, func(ctx context.Context, old []byte) ([]byte, error) {
		stored, _, corrupt := s.find(ctx, old)
		l := s.superseding(stored, corrupt)
		if l == nil {
			inPlace = stored
			return nil, errUnchanged // signed out, or in, elsewhere
		}
		saved = l
		return s.merged(l.value, old), nil
	})
	if err == nil {
		err = s.store.refused(s.keys.token)
	}
	if err != nil && !errors.Is(err, errUnchanged) {
		return &failure{what: "the refreshed session was not saved and is lost", cause: err,
			advice: "make " + s.place() + " writable and sign in again"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest.lease == saved {
		s.latest.unsaved, s.latest.warned = false, false
	}
	if signedIn && inPlace != nil && inPlace.accessToken != saved.value.accessToken {
		return &failure{what: "the sign-in was not saved: there is another, later session in " + s.place(), advice: "sign in again if it is not the one you want"}
	}
	return nil
}

// merged returns v as it is stored in the place of old, whose members that are
// not ours are kept.
func (s *TokenSource) merged(v *session, old []byte) []byte {
	others, err := parseFields(old)
	if err != nil {
		return v.raw
	}
	next := *v
	s.encode(&next, others)
	return next.raw
}
