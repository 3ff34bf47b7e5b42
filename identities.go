package awsoidc

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// identities are an Exchanger's entries. Finding one takes no lock: it marks the
// entry, and who is about to evict a marked one takes the mark and lets it stay
// once more (the second-chance algorithm).
//
// What is easy to obtain again is evicted first: credentials, where there are
// too many bytes; then entries that have no refresh token, or that the store
// has, as long as they are more than a few; then the others.
type identities struct {
	max      int
	maxBytes int64
	stored   bool // a store has the refresh tokens
	rules    *rules
	retired  *retiredSet
	index    *index
	lookAt   atomic.Int64 // when to see whom others have forgotten, on the monotonic clock

	mu        sync.Mutex                       // guards the rest, and changes of index
	plain     recency                          // entries in the order of their use
	precious  recency                          // those with refresh tokens that nobody else has
	withRoles *simplelru.LRU[*entry, struct{}] // those of both that have credentials
	bytes     int64
}

func (s *identities) init(cfg *ExchangerConfig, rules *rules, retired *retiredSet) {
	s.max, s.maxBytes, s.stored = cfg.MaxIdentities, cfg.MaxBytes, cfg.Store != nil
	s.rules, s.retired = rules, retired
	s.index = newIndex(int(min(int64(s.max), s.maxBytes/leastSize)))
	s.withRoles, _ = simplelru.NewLRU[*entry, struct{}](math.MaxInt, nil) // evict does it
}

const (
	evictionTries = 1024 // bounds the search for an entry that is neither busy nor marked
	// plainShare is the part of the entries that those without refresh tokens
	// are left, so that denials and new users have a place.
	plainShare = 8
)

// get returns the entry of a subject, and the present time. It returns nil where
// there is none, or it is time to see whom others have forgotten.
func (s *identities) get(subject Subject) (*entry, instant) {
	now := s.rules.now()
	e := s.index.find(subject)
	if e == nil || now.mono >= s.lookAt.Load() {
		return nil, now
	}
	if !e.marked.Load() { // or all who find it would write to the same memory
		e.marked.Store(true)
	}
	return e, now
}

// touch makes e the one that was used last. s.mu must be held.
func (s *identities) touch(e *entry) {
	if e.listed {
		order := s.order(e)
		order.remove(e)
		order.add(e)
	}
	if e.roles.Load() != nil {
		s.withRoles.Get(e)
	}
}

// order returns the order that e is in, or belongs in. s.mu must be held.
func (s *identities) order(e *entry) *recency {
	if e.precious {
		return &s.precious
	}
	return &s.plain
}

// acquire returns the entry of a subject, new if need be, with one more hold.
func (s *identities) acquire(subject Subject) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.index.find(subject)
	if e == nil {
		e = newEntry(subject, s.rules)
		s.index.add(e)
		s.plain.add(e)
	}
	e.holds++
	s.touch(e)
	s.evict()
	return e
}

// release takes a hold back, counts what the entry has become, and evicts.
func (s *identities) release(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.holds--
	if !e.listed {
		return // forgotten meanwhile
	}
	s.count(e)
	if precious := !s.stored && s.hasRefreshToken(e); precious != e.precious {
		s.order(e).remove(e)
		e.precious = precious
		s.order(e).add(e)
	}
	if len(e.heldRoles()) > 0 {
		s.withRoles.Add(e, struct{}{})
	}
	s.evict()
}

// hasRefreshToken reports whether e has one that works as far as is known.
func (s *identities) hasRefreshToken(e *entry) bool {
	l := e.tokens.current.Load()
	return l != nil && l.value.refreshToken() != "" && !s.retired.has(l.value.refreshToken())
}

// count brings s.bytes up to date with e. s.mu must be held.
func (s *identities) count(e *entry) {
	n := int32(min(e.size(), math.MaxInt32))
	s.bytes += int64(n - e.bytes)
	e.bytes = n
}

// evict makes room. Where too many are busy, that has to wait: there are no
// more of those than callers. s.mu must be held.
func (s *identities) evict() {
	busy := 0 // found among those with credentials
	for tries := 0; tries < evictionTries; tries++ {
		tooMany := s.index.len > s.max
		if !tooMany && s.bytes <= s.maxBytes {
			return
		}
		e, dropRoles := s.plain.oldest, false
		switch {
		case !tooMany && busy < min(2*s.withRoles.Len(), evictionTries/2): // twice round: the first time takes the marks
			e, _, dropRoles = s.withRoles.GetOldest()
		case s.precious.len > 0 && s.plain.len <= min(s.max, s.index.len)/plainShare:
			e = s.precious.oldest
		}
		switch {
		case e == nil:
			return
		case e.busy():
			if dropRoles {
				busy++
			}
			s.touch(e)
		case tries < evictionTries/2 && e.marked.CompareAndSwap(true, false):
			s.touch(e)
		case dropRoles:
			e.roles.Store(nil)
			s.withRoles.Remove(e)
			s.count(e)
		default:
			s.remove(e)
		}
	}
}

// remove takes e out. s.mu must be held.
func (s *identities) remove(e *entry) {
	s.index.remove(e)
	s.order(e).remove(e)
	s.withRoles.Remove(e)
	s.bytes -= int64(e.bytes)
	e.bytes = 0
}

// forget drops a subject's entry. What is under way for it ends without effect.
func (s *identities) forget(subject Subject) {
	s.mu.Lock()
	e := s.index.find(subject)
	if e != nil {
		s.remove(e)
	}
	s.mu.Unlock()
	if e != nil {
		e.clear()
	}
}

// clear drops all entries.
func (s *identities) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.clear()
	s.plain.clear()
	s.precious.clear()
	s.withRoles.Purge()
	s.bytes = 0
}

// len returns how many entries there are, and about how many bytes they take.
func (s *identities) len() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.len, s.bytes
}
