package awsoidc

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/puzpuzpuz/xsync/v4"

	"github.com/awsoidc/awsoidc/wire"
)

// An entry is what an Exchanger holds of one identity.
type entry struct {
	subject   Subject
	tokens    renewal[*exchanged]
	used      atomic.Int64 // when recency was noted last, on the monotonic clock
	forgotten atomic.Bool
	holds     int // guarded by identities.mu: callers who may be about to renew something

	mu      sync.Mutex                       // guards changes of roles, and retired
	roles   atomic.Pointer[[]*assumableRole] // never changed in place
	retired *[2]wire.Secret                  // the refresh tokens that the service refused last
}

// retire keeps a refused refresh token from being sent again.
func (e *entry) retire(refreshToken wire.Secret) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.retired == nil {
		e.retired = new([2]wire.Secret)
	}
	e.retired[0], e.retired[1] = refreshToken, e.retired[0]
}

func (e *entry) isRetired(refreshToken wire.Secret) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retired != nil && (e.retired[0] == refreshToken || e.retired[1] == refreshToken)
}

// busy reports whether something is obtained for the entry, or may be at any
// moment: were it evicted, Forget could not find it, and the next caller would
// obtain the same again. identities.mu must be held.
func (e *entry) busy() bool {
	if e.holds > 0 || e.tokens.calling.Load() {
		return true
	}
	for _, r := range e.assumable() {
		if r.credentials.calling.Load() {
			return true
		}
	}
	return false
}

func (e *entry) assumable() []*assumableRole {
	if roles := e.roles.Load(); roles != nil {
		return *roles
	}
	return nil
}

// clear makes an entry that is out of the index end without effect.
func (e *entry) clear() {
	e.forgotten.Store(true)
	e.tokens.clear()
	for _, r := range e.assumable() {
		r.credentials.clear()
	}
}

// identities are an Exchanger's entries. Finding one takes no lock: the index
// is apart from the order of eviction, in which an entry moves up about once a
// second at most.
type identities struct {
	max   int
	rules *rules
	seed  maphash.Seed
	index *xsync.Map[uint64, *entry] // by a hash of the subject

	mu    sync.Mutex // guards order, and changes of index
	order *simplelru.LRU[*entry, struct{}]
}

func (s *identities) init(most int, rules *rules) {
	s.max, s.rules, s.seed = most, rules, maphash.MakeSeed()
	s.index = xsync.NewMap[uint64, *entry]()
	s.order, _ = simplelru.NewLRU[*entry, struct{}](math.MaxInt, nil) // evict does it
}

const (
	recencyStep   = time.Second
	evictionTries = 64 // bounds the search for an entry that is not busy
)

// get returns the entry of a subject, or nil.
func (s *identities) get(subject Subject, now instant) *entry {
	e, ok := s.index.Load(maphash.Comparable(s.seed, subject))
	if !ok || e.subject != subject {
		return nil
	}
	if used := e.used.Load(); now.mono-used >= int64(recencyStep) && e.used.CompareAndSwap(used, now.mono) {
		s.mu.Lock()
		s.order.Get(e)
		s.mu.Unlock()
	}
	return e
}

// acquire returns the entry of a subject, new if need be, with one more hold.
func (s *identities) acquire(subject Subject) *entry {
	hash := maphash.Comparable(s.seed, subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.index.Load(hash)
	if !ok || e.subject != subject {
		if ok {
			s.order.Remove(e) // two subjects with one hash: once in 2^64
		}
		e = &entry{subject: subject}
		e.tokens.rules = s.rules
		s.index.Store(hash, e)
	}
	e.holds++
	s.order.Add(e, struct{}{})
	s.evict()
	return e
}

// release takes a hold back.
func (s *identities) release(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.holds--
	s.evict()
}

// evict makes room. Where too many are busy, that has to wait: there are no
// more of those than callers.
func (s *identities) evict() {
	for tries := 0; s.order.Len() > s.max && tries < evictionTries; tries++ {
		e, _, _ := s.order.GetOldest()
		if e.busy() {
			s.order.Get(e)
			continue
		}
		s.order.Remove(e)
		s.index.Delete(maphash.Comparable(s.seed, e.subject))
	}
}

// forget drops a subject's entry. What is under way for it ends without effect.
func (s *identities) forget(subject Subject) {
	hash := maphash.Comparable(s.seed, subject)
	s.mu.Lock()
	e, ok := s.index.Load(hash)
	ok = ok && e.subject == subject
	if ok {
		s.index.Delete(hash)
		s.order.Remove(e)
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
	s.order.Purge()
}

func (s *identities) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len()
}

// assumable is what a role of an identity is told apart by: one of STS, or one
// of the portal.
type assumable struct {
	role   Role
	portal roleKey
}

func (a assumable) String() string {
	if a.role.ARN != "" {
		return a.role.ARN
	}
	return a.portal.accountID + "/" + a.portal.roleName
}

// assumableRole holds the credentials of one role of an identity.
type assumableRole struct {
	assumable
	credentials renewal[aws.Credentials]
}

// maxRoles bounds the roles of one identity that are held at a time.
const maxRoles = 32

// role returns what is held of a role, new if need be.
func (e *entry) role(a assumable, rules *rules) *assumableRole {
	if r := find(e.assumable(), a); r != nil {
		return r
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	roles := e.assumable()
	if r := find(roles, a); r != nil {
		return r
	}
	if len(roles) >= maxRoles {
		roles = roles[1:]
	}
	r := &assumableRole{assumable: a}
	r.credentials.rules = rules
	roles = append(slices.Clone(roles), r)
	e.roles.Store(&roles)
	return r
}

func find(roles []*assumableRole, a assumable) *assumableRole {
	for _, r := range roles {
		if r.assumable == a {
			return r
		}
	}
	return nil
}
