package awsoidc

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// An index finds the entry of a subject. Entries with the same slot are chained
// through their field next, which takes less memory than a map beside them.
//
// find takes no lock. There are as many slots from the beginning as there may be
// entries: to move a million of them when they have become too many takes
// seconds, in which nobody would find those that have not been moved yet.
type index struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]atomic.Pointer[entry]] // a power of two
	len   int
}

// maxSlots bounds the memory of an index that nothing else bounds. Chains are
// longer beyond it.
const maxSlots = 1 << 22

// newIndex returns an index for so many entries, about, and more.
func newIndex(most int) *index {
	x := &index{seed: maphash.MakeSeed()}
	x.reset(1 << bits.Len(uint(min(max(most, 1), maxSlots)-1)))
	return x
}

func (x *index) reset(n int) {
	slots := make([]atomic.Pointer[entry], n)
	x.slots.Store(&slots)
	x.len = 0
}

// find returns the entry of a subject, or nil.
func (x *index) find(s Subject) *entry {
	hash := x.hash(s)
	for e := x.slot(hash).Load(); e != nil; e = e.next.Load() {
		if e.hash == uint32(hash) && e.isOf(s) { // where the hash differs, all else stays out of the processor's caches
			return e
		}
	}
	return nil
}

func (x *index) hash(s Subject) uint64 {
	hash := maphash.String(x.seed, s.ID) + 3*maphash.String(x.seed, s.Issuer) // in half the time of maphash.Comparable
	if s.Tenant != "" {
		hash += 5 * maphash.String(x.seed, s.Tenant)
	}
	return hash
}

// slot returns the slot by the upper bits of a hash: entries keep the lower ones.
func (x *index) slot(hash uint64) *atomic.Pointer[entry] {
	slots := *x.slots.Load()
	return &slots[hash>>32&uint64(len(slots)-1)]
}

// add puts in e, whose subject must not have an entry.
func (x *index) add(e *entry) {
	x.len++
	hash := x.hash(e.subject())
	slot := x.slot(hash)
	e.hash = uint32(hash)
	e.next.Store(slot.Load())
	slot.Store(e)
}

// remove takes out e, which must be there. A find that is at e goes on from
// there, to those that were added before it.
func (x *index) remove(e *entry) {
	x.len--
	at := x.slot(x.hash(e.subject()))
	for at.Load() != e {
		at = &at.Load().next
	}
	at.Store(e.next.Load())
}

// clear takes out all, for good: it leaves one slot.
func (x *index) clear() { x.reset(1) }
