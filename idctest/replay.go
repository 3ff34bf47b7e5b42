package idctest

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Replays returns how often the JWT bearer grant was asked for with an
// assertion that had been presented before to an application of the same
// instance of Identity Center, told by its issuer and its ID (the claim jti).
// Such a request is answered with InvalidGrantException. A well-behaved client
// never makes one, save perhaps after a lost answer.
//
// An assertion counts as presented once it was found good, whatever the answer
// then was. One without a jti may be presented again until it expires.
func (s *Server) Replays() int {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.replays
}

// present notes that an assertion was presented to an application, and returns
// false where it had been before. The caller holds mu.
func (s *Server) present(now time.Time, application string, t *jwt) bool {
	if t.id == "" || s.state.presented.add(now, presentedKey(instanceID(application), t.issuer, t.id), t.expires) {
		return true
	}
	s.state.replays++
	return false
}

// presentedKey is the same for the same parts only. Hashed, a long ID takes no
// more memory than a short one.
func presentedKey(parts ...string) [sha256.Size]byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(p)))
		b = append(b, p...)
	}
	return sha256.Sum256(b)
}

// presentedSet remembers assertions until they expire: nobody can present them
// any more then. The zero value is empty and ready.
type presentedSet struct {
	keys     map[[sha256.Size]byte]bool
	byExpiry expiryHeap
}

// add returns false for a key that it knows. Where the set is full, the one
// that would expire next is forgotten.
func (p *presentedSet) add(now time.Time, key [sha256.Size]byte, expires time.Time) bool {
	for len(p.byExpiry) > 0 && !now.Before(p.byExpiry[0].expires) {
		p.forgetNext()
	}
	if p.keys[key] {
		return false
	}
	if len(p.byExpiry) >= maxAssertions {
		p.forgetNext()
	}
	if p.keys == nil {
		p.keys = make(map[[sha256.Size]byte]bool)
	}
	p.keys[key] = true
	heap.Push(&p.byExpiry, expiring{key, expires})
	return true
}

func (p *presentedSet) forgetNext() {
	delete(p.keys, heap.Pop(&p.byExpiry).(expiring).key)
}

type expiring struct {
	key     [sha256.Size]byte
	expires time.Time
}

// expiryHeap implements [heap.Interface]: what expires next comes first.
type expiryHeap []expiring

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].expires.Before(h[j].expires) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiring)) }
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
