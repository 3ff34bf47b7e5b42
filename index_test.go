package awsoidc

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// While a great many come and go, those who are there are found each time,
// without a lock.
func TestIndexFindsAmongChanges(t *testing.T) {
	const regulars, others = 100, 100_000
	subjects := make([]Subject, regulars+others)
	for i := range subjects { // the same ID at many issuers, and in many tenants
		subjects[i] = Subject{Issuer: fmt.Sprint("https://", i%7), ID: fmt.Sprint(i / 21), Tenant: fmt.Sprint(i / 7 % 3)}
	}
	rules := new(rules)
	rules.init(nil)
	x := newIndex(len(subjects))
	for _, s := range subjects[:regulars] {
		x.add(newEntry(s, rules))
	}
	var over atomic.Bool
	var looking sync.WaitGroup
	for range 2 {
		looking.Go(func() {
			missed := 0
			for !over.Load() {
				for _, s := range subjects[:regulars] {
					if e := x.find(s); e == nil || e.subject() != s {
						missed++
					}
				}
			}
			if missed > 0 {
				t.Errorf("%d were not found", missed)
			}
		})
	}
	for i, s := range subjects[regulars:] {
		x.add(newEntry(s, rules))
		if i%3 == 0 {
			x.remove(x.find(subjects[regulars+i/2]))
			x.add(newEntry(subjects[regulars+i/2], rules))
		}
	}
	over.Store(true)
	looking.Wait()
	for _, s := range subjects {
		if e := x.find(s); e == nil || e.subject() != s {
			t.Fatalf("%v: found %v", s, e)
		}
		x.remove(x.find(s))
		if x.find(s) != nil {
			t.Fatalf("%v was found after its removal", s)
		}
	}
	if x.len != 0 {
		t.Errorf("%d are left", x.len)
	}
}

func TestIndexSize(t *testing.T) {
	for most, want := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 2, 3: 4, 1000: 1024, 1024: 1024, 1 << 30: maxSlots} {
		if got := len(*newIndex(most).slots.Load()); got != want {
			t.Errorf("%d slots for %d, want %d", got, most, want)
		}
	}
}
