package awsoidc

import (
	"hash/maphash"
	"sync/atomic"
)

// An index finds the entry of a subject. Entries with the same slot are chained
// through their field next, which takes less memory than a map beside them.
//
// find takes no lock, and may miss an entry while the index is changed: who
// misses one looks again under the lock that guards changes.
type index struct {
	seed  maphash.Seed
	slots atomic.Pointer[[]atomic.Pointer[entry]] // a power of two
	len   int
}

const firstSlots = 256

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	x.clear()
	return x
}

// find returns the entry of a subject, or nil.
func (x *index) find(s Subject) *entry {
	for e := x.slot(s).Load(); e != nil; e = e.next.Load() {
		if e.isOf(s) {
			return e
		}
	}
	return nil
}

func (x *index) slot(s Subject) *atomic.Pointer[entry] {
	slots := *x.slots.Load()
	hash := maphash.String(x.seed, s.ID) + 3*maphash.String(x.seed, s.Issuer) // in half the time of maphash.Comparable
	if s.Tenant != "" {
		hash += 5 * maphash.String(x.seed, s.Tenant)
	}
	return &slots[hash&uint64(len(slots)-1)]
}

// add puts in e, whose subject must not have an entry.
func (x *index) add(e *entry) {
	if x.len++; x.len > len(*x.slots.Load()) {
		x.grow()
	}
	x.link(e)
}

func (x *index) link(e *entry) {
	slot := x.slot(e.subject())
	e.next.Store(slot.Load())
	slot.Store(e)
}

// remove takes out e, which must be there. A find that is at e goes on from
// there.
func (x *index) remove(e *entry) {
	x.len--
	at := x.slot(e.subject())
	for at.Load() != e {
		at = &at.Load().next
	}
	at.Store(e.next.Load())
}

// grow doubles the slots. A find that is on its way in a chain may end up in
// another: it comes to an end there, since each entry is linked to those that
// moved before it.
func (x *index) grow() {
	old := *x.slots.Load()
	slots := make([]atomic.Pointer[entry], 2*len(old))
	x.slots.Store(&slots)
	for i := range old {
		for e := old[i].Load(); e != nil; {
			next := e.next.Load()
			x.link(e)
			e = next
		}
	}
}

// clear takes out all.
func (x *index) clear() {
	slots := make([]atomic.Pointer[entry], firstSlots)
	x.slots.Store(&slots)
	x.len = 0
}
