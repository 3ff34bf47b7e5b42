package awsoidc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/internal/flight"
)

// A user whom one process forgets is in the memory of others, who do not look at
// the store before something is due. So Forget also adds the user to one record,
// of those forgotten last, which each process reads every few seconds while it is
// in use, without making anyone wait as long as that goes well.

// forgets is what a process knows of that record. The zero value is ready to use.
type forgets struct {
	mu      sync.Mutex // guards the rest; never held while anything waits
	reading *flight.Call[struct{}]
	read    bool  // at least once
	readAt  int64 // when the last reading that succeeded began, on the monotonic clock
	failing bool  // the last one failed
	log     string
	seen    uint64 // how many of the log were obeyed
	last    forgetLog
}

// forgetLog is the record.
type forgetLog struct {
	Key  string       `json:"key"`
	ID   string       `json:"id"` // a log that was lost has a successor of another ID
	N    uint64       `json:"n"`  // how many were forgotten, of whom the last are listed
	Last []forgetting `json:"last"`
}

type forgetting struct {
	Issuer string    `json:"issuer"`
	ID     string    `json:"id"`
	Tenant string    `json:"tenant,omitempty"`
	At     time.Time `json:"at"` // what was issued later is not meant
}

const (
	maxForgettings     = 256 // in the log
	maxForgettingBytes = 64 << 10
	// forgetsTimeout bounds one reading, and half of MaxStale does.
	forgetsTimeout = 2 * time.Second
)

func (e *Exchanger) forgetsKey() string { return e.recordKey("forgotten") }

// announceForget tells the other processes.
func (e *Exchanger) announceForget(ctx context.Context, s Subject) error {
	key := e.forgetsKey()
	return e.updateStore(ctx, key, func(_ context.Context, old []byte) ([]byte, error) {
		log, ok := decodeForgets(old, key)
		if !ok {
			log = forgetLog{Key: key, ID: rand.Text()}
		}
		log.N++
		log.Last = append(log.Last, forgetting{s.Issuer, s.ID, s.Tenant, e.rules.now().time().UTC()})
		log.Last = log.Last[max(0, len(log.Last)-maxForgettings):]
		for {
			raw, err := json.Marshal(log)
			if err != nil || len(raw) <= maxForgettingBytes {
				return raw, err
			}
			log.Last = log.Last[(len(log.Last)+1)/2:]
		}
	})
}

func decodeForgets(raw []byte, key string) (log forgetLog, ok bool) {
	if json.Unmarshal(raw, &log) != nil || log.Key != key || uint64(len(log.Last)) > log.N {
		return forgetLog{}, false
	}
	return log, true
}

// obeyForgets drops what others have forgotten, if it is time to look. It waits
// for that only where nobody has looked for MaxStale, and the store answers.
func (e *Exchanger) obeyForgets(ctx context.Context) {
	if now := e.rules.now().mono; now >= e.identities.lookAt.Load() {
		if reading, wait := e.readForgets(ctx, now); wait {
			reading.Wait(ctx)
		}
	}
}

// readForgets starts a reading unless one is under way, and reports whether to
// wait for it.
func (e *Exchanger) readForgets(ctx context.Context, now int64) (reading *flight.Call[struct{}], wait bool) {
	f := &e.forgets
	f.mu.Lock()
	defer f.mu.Unlock()
	timeout := min(forgetsTimeout, e.cfg.MaxStale/2)
	if f.reading == nil {
		if !e.rules.begin() {
			return nil, false
		}
		f.reading = flight.Start(ctx, func(ctx context.Context) (struct{}, error) {
			defer e.rules.calls.Done()
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			key := e.forgetsKey()
			raw, err := e.cfg.Store.Get(ctx, key)
			e.endReading(now, key, raw, err)
			return struct{}{}, err
		})
	}
	wait = !f.failing && (!f.read || now-f.readAt >= int64(e.cfg.MaxStale))
	if !wait {
		e.identities.lookAt.Store(now + int64(timeout)) // the others need not come here meanwhile
	}
	return f.reading, wait
}

// endReading takes the outcome of a reading that began at the time began.
func (e *Exchanger) endReading(began int64, key string, raw []byte, err error) {
	f := &e.forgets
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reading = nil
	e.identities.lookAt.Store(began + int64(e.cfg.MaxStale/2))
	failed := err != nil && !errors.Is(err, cache.ErrMiss)
	if failed && !f.failing {
		e.cfg.Logger.Warn("it can't be seen whom other processes have forgotten", "error", err)
	}
	if f.failing = failed; failed {
		return
	}
	first := !f.read
	f.read, f.readAt = true, began
	log, ok := decodeForgets(raw, key)
	if !ok {
		return
	}
	f.last = log
	if log.ID != f.log {
		f.log, f.seen = log.ID, 0
	}
	if first {
		f.seen = log.N - uint64(len(log.Last))
	}
	missed := max(log.N, f.seen) - f.seen
	f.seen = log.N
	if missed > uint64(len(log.Last)) {
		e.identities.forgetAll()
		return
	}
	for _, g := range log.Last[uint64(len(log.Last))-missed:] {
		e.identities.forgetIssued(Subject{Issuer: g.Issuer, ID: g.ID, Tenant: g.Tenant}, g.At)
	}
}

// mayBeForgotten reports whether a subject's tokens that were issued at a time
// may have been forgotten since, as far as the log tells. Who reads such tokens
// without the exclusive right to their record, perhaps from a memory that is
// behind, does not use them.
func (f *forgets) mayBeForgotten(s Subject, issued time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.last
	if len(log.Last) > 0 && log.N > uint64(len(log.Last)) && !issued.After(log.Last[0].At) {
		return true // the log does not list who was forgotten before
	}
	return slices.ContainsFunc(log.Last, func(g forgetting) bool {
		return Subject{Issuer: g.Issuer, ID: g.ID, Tenant: g.Tenant} == s && !issued.After(g.At)
	})
}

// forgetIssued drops a subject's entry if what it holds was issued at the time
// at, or before.
func (s *identities) forgetIssued(subject Subject, at time.Time) {
	s.mu.Lock()
	e := s.index.find(subject)
	s.mu.Unlock()
	if e == nil || !e.holdsSomething() {
		return
	}
	if l := e.tokens.current.Load(); l == nil || !l.value.issuedAt().After(at) {
		s.forget(subject)
	}
}

// forgetAll drops all entries that hold something: others have forgotten more
// users than the log lists.
func (s *identities) forgetAll() {
	var all []Subject
	s.mu.Lock()
	for _, order := range []*recency{&s.plain, &s.precious} {
		for e := order.newest; e != nil; e = e.older {
			if e.holdsSomething() {
				all = append(all, e.subject())
			}
		}
	}
	s.mu.Unlock()
	for _, subject := range all {
		s.forget(subject)
	}
}

// holdsSomething reports whether there are tokens or credentials in e, or were,
// and not just somebody who is about to obtain some.
func (e *entry) holdsSomething() bool {
	return e.tokens.current.Load() != nil || len(e.heldRoles()) > 0
}
