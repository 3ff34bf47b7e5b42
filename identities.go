package awsoidc

import (
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/puzpuzpuz/xsync/v4"
)

// identities are an Exchanger's entries. Finding one takes no lock: the index
// is apart from the order of eviction, in which an entry moves up about once a
// second at most.
//
// What is easy to obtain again is evicted first: credentials, where there are
// too many bytes; then entries that have no refresh token, or that the store
// has, as long as they are more than a few; then the others.
type identities struct {
	max      int
	maxBytes int64
	stored   bool // a store has the refresh tokens
	rules    *rules
	seed     maphash.Seed
	index    *xsync.Map[uint64, *entry] // by a hash of the subject

	mu        sync.Mutex                       // guards the rest, and changes of index
	plain     *simplelru.LRU[*entry, struct{}] // entries in the order of their use
	precious  *simplelru.LRU[*entry, struct{}] // those with refresh tokens that nobody else has
	withRoles *simplelru.LRU[*entry, struct{}] // those of both that have credentials
	bytes     int64
}

func (s *identities) init(cfg *ExchangerConfig, rules *rules) {
	s.max, s.maxBytes, s.stored = cfg.MaxIdentities, cfg.MaxBytes, cfg.Store != nil
	s.rules, s.seed = rules, maphash.MakeSeed()
	s.index = xsync.NewMap[uint64, *entry]()
	for _, order := range []**simplelru.LRU[*entry, struct{}]{&s.plain, &s.precious, &s.withRoles} {
		*order, _ = simplelru.NewLRU[*entry, struct{}](math.MaxInt, nil) // evict does it
	}
}

const (
	recencyStep   = time.Second
	evictionTries = 64 // bounds the search for an entry that is not busy
	// plainShare is the part of the entries that those without refresh tokens
	// are left, so that denials and new users have a place.
	plainShare = 8
)

// hash returns where the index has a subject.
func (s *identities) hash(subject Subject) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	h.WriteString(subject.ID)
	h.WriteString(subject.Issuer)
	h.WriteString(subject.Tenant)
	return h.Sum64()
}

// get returns the entry of a subject, or nil, and the present time.
func (s *identities) get(subject Subject) (*entry, instant) {
	now := s.rules.now()
	e, ok := s.index.Load(s.hash(subject))
	if !ok || e.subject != subject {
		return nil, now
	}
	if used := e.used.Load(); now.mono-used >= int64(recencyStep) && e.used.CompareAndSwap(used, now.mono) {
		s.mu.Lock()
		s.touch(e)
		s.mu.Unlock()
	}
	return e, now
}

// touch makes e the one that was used last. s.mu must be held.
func (s *identities) touch(e *entry) {
	s.plain.Get(e)
	s.precious.Get(e)
	s.withRoles.Get(e)
}

// acquire returns the entry of a subject, new if need be, with one more hold.
func (s *identities) acquire(subject Subject) *entry {
	hash := s.hash(subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.index.Load(hash)
	if !ok || e.subject != subject {
		if ok {
			s.remove(e) // two subjects with one hash: hardly ever
		}
		e = &entry{subject: subject}
		e.tokens.rules = s.rules
		s.index.Store(hash, e)
		s.plain.Add(e, struct{}{})
	}
	e.holds++
	e.used.Store(s.rules.now().mono)
	s.touch(e)
	s.evict()
	return e
}

// release takes a hold back, counts what the entry has become, and evicts.
func (s *identities) release(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.holds--
	if !s.plain.Contains(e) && !s.precious.Contains(e) {
		return // forgotten meanwhile
	}
	s.count(e)
	if precious := !s.stored && e.hasRefreshToken(); precious != s.precious.Contains(e) {
		s.plain.Remove(e)
		s.precious.Remove(e)
		if precious {
			s.precious.Add(e, struct{}{})
		} else {
			s.plain.Add(e, struct{}{})
		}
	}
	if len(e.assumable()) > 0 {
		s.withRoles.Add(e, struct{}{})
	}
	s.evict()
}

// count brings s.bytes up to date with e. s.mu must be held.
func (s *identities) count(e *entry) {
	n := e.size()
	s.bytes += n - e.bytes
	e.bytes = n
}

// evict makes room. Where too many are busy, that has to wait: there are no
// more of those than callers. s.mu must be held.
func (s *identities) evict() {
	for tries := 0; tries < evictionTries; tries++ {
		tooMany := s.plain.Len()+s.precious.Len() > s.max
		if !tooMany && s.bytes <= s.maxBytes {
			return
		}
		order := s.plain
		switch {
		case !tooMany && s.withRoles.Len() > 0:
			order = s.withRoles
		case s.precious.Len() > 0 && s.plain.Len() <= s.max/plainShare:
			order = s.precious
		}
		e, _, ok := order.GetOldest()
		switch {
		case !ok:
			return
		case e.busy():
			s.touch(e)
		case order == s.withRoles:
			e.roles.Store(nil)
			s.withRoles.Remove(e)
			s.count(e)
		default:
			s.remove(e)
			s.index.Delete(s.hash(e.subject))
		}
	}
}

// remove takes e out of the orders. s.mu must be held.
func (s *identities) remove(e *entry) {
	s.plain.Remove(e)
	s.precious.Remove(e)
	s.withRoles.Remove(e)
	s.bytes -= e.bytes
	e.bytes = 0
}

// forget drops a subject's entry. What is under way for it ends without effect.
func (s *identities) forget(subject Subject) {
	hash := s.hash(subject)
	s.mu.Lock()
	e, ok := s.index.Load(hash)
	ok = ok && e.subject == subject
	if ok {
		s.index.Delete(hash)
		s.remove(e)
	}
	s.mu.Unlock()
	if ok {
		e.clear()
	}
}

// clear drops all entries.
func (s *identities) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.Clear()
	s.plain.Purge()
	s.precious.Purge()
	s.withRoles.Purge()
	s.bytes = 0
}

// len returns how many entries there are, and about how many bytes they take.
func (s *identities) len() (entries int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plain.Len() + s.precious.Len(), s.bytes
}
