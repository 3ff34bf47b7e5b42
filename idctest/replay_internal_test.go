package idctest

import (
	"strconv"
	"testing"
	"time"
)

// TestPresentedSetIsBounded fills the set, which takes too long by requests.
func TestPresentedSetIsBounded(t *testing.T) {
	var p presentedSet
	now := time.Unix(0, 0)
	key := func(i int) [32]byte { return presentedKey(strconv.Itoa(i)) }
	at := func(i int) time.Time { return now.Add(time.Hour + time.Duration(i^0x155)*time.Second) } // in no order
	for i := range maxAssertions {
		if !p.add(now, key(i), at(i)) {
			t.Fatal("a new key is known")
		}
	}
	if p.add(now, key(0x155), at(0)) {
		t.Error("forgotten before the set was full")
	}
	p.add(now, key(-1), at(1<<20))
	if len(p.keys) != maxAssertions || len(p.byExpiry) != maxAssertions {
		t.Errorf("%d keys, %d expiries, want %d", len(p.keys), len(p.byExpiry), maxAssertions)
	}
	if p.add(now, key(0x155^1), at(0)) || !p.add(now, key(0x155), at(0)) {
		t.Error("what would expire next should have been forgotten, and nothing else")
	}
	p.add(at(1<<21), key(-2), at(1<<22))
	if len(p.keys) != 1 || len(p.byExpiry) != 1 {
		t.Errorf("%d keys after all expired but one", len(p.keys))
	}
}
