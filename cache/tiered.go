package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/awsoidc/awsoidc/internal/flight"
)

// TieredOptions are the bounds of a Tiered store.
type TieredOptions struct {
	// MaxAge is how long Get serves a record from memory after it was read from
	// the shared store or written there. So long at most does it take until this
	// process sees what another one has changed or deleted. It must be positive.
	MaxAge time.Duration
	// MaxOutage is how much longer Get serves a record while the shared store
	// can't be read. By default it does not.
	MaxOutage time.Duration
	// MaxEntries and MaxBytes bound what memory holds, as those of NewLRU do. By
	// default they are 10,000 and 64 MiB.
	MaxEntries int
	MaxBytes   int64
}

// Tiered is a Store that keeps the records of a shared one, such as a
// database's, in this process's memory for a while. Update is the shared
// store's, with its exclusion, and what it wrote is in memory at once; so what
// this process has changed or deleted is never served again by the same Tiered.
// What another has, such as the end of a session, Get notices after MaxAge at
// the latest, or, in an outage, MaxAge and MaxOutage together. A TokenSource or
// an Exchanger above keeps what it has read until that is due, as it does over
// any store; whom another process has forgotten, an Exchanger drops after its
// MaxStale and these times together.
//
// That there is no record is not remembered, and within an update function Get
// asks the shared store for that function's record. All who ask for a record at
// a time share one read, of at most 5 seconds, which goes on without whoever
// gives up. After a failed one, a record that may still be served is asked for
// again after a second, and records that were read together are not read again
// together: no herd follows an outage.
//
// An outage is any error but ErrMiss and ErrUnsafe, which are the shared store's
// word on the record and end what memory has of it. MaxAge counts by the wall
// clock or the monotonic clock, whichever says more.
//
// A TokenSource and an Exchanger keep what they use in memory themselves: below
// them it saves reads only where they are made anew again and again.
//
// Over an Encrypted store, memory holds what was opened; under one, what is
// sealed. There is no goroutine but for a read, and nothing to close.
type Tiered struct {
	shared  Store
	options TieredOptions

	mu     sync.Mutex // guards what follows; never held during a read
	memory *bounded[tieredRecord]
	reads  map[string]*tieredRead
	writes map[string]*tieredWrites
}

// tieredRecord is what memory has of a record. It is immutable.
type tieredRecord struct {
	value      []byte
	asOf       time.Time // when the shared store had it for certain
	freshFor   time.Duration
	askAgainAt time.Time // after an outage
}

// tieredRead is a read of the shared store under way.
type tieredRead struct{ *flight.Call[[]byte] }

// tieredWrites are the updates of a record whose functions have run, and which
// have not all ended.
type tieredWrites struct {
	under int
	turns int // how many there were
}

const (
	tieredReadTimeout = 5 * time.Second
	tieredAskAgain    = time.Second
)

// NewTiered returns a Store that keeps the records of shared in memory for a
// while.
func NewTiered(shared Store, options TieredOptions) (*Tiered, error) {
	if shared == nil {
		return nil, errors.New("cache: a Tiered needs a shared Store")
	}
	if options.MaxAge <= 0 || options.MaxOutage < 0 || options.MaxEntries < 0 || options.MaxBytes < 0 {
		return nil, errors.New("cache: a Tiered needs a positive MaxAge, and no negative bounds")
	}
	if options.MaxEntries == 0 {
		options.MaxEntries = 10_000
	}
	if options.MaxBytes == 0 {
		options.MaxBytes = 64 << 20
	}
	memory, err := newBounded(options.MaxEntries, options.MaxBytes, func(r tieredRecord) int { return len(r.value) })
	return &Tiered{shared: shared, options: options, memory: memory, reads: map[string]*tieredRead{}, writes: map[string]*tieredWrites{}}, err
}

// AWSCLI reports whether keys and records must be those of the AWS CLI, as where
// the shared store is a Dir.
func (t *Tiered) AWSCLI() bool {
	s, ok := t.shared.(interface{ AWSCLI() bool })
	return ok && s.AWSCLI()
}

// MaxRecordBytes returns the size of the largest record that the shared store
// takes.
func (t *Tiered) MaxRecordBytes() int {
	if s, ok := t.shared.(interface{ MaxRecordBytes() int }); ok {
		return s.MaxRecordBytes()
	}
	return MaxRecordBytes
}

// Get implements Store.
func (t *Tiered) Get(ctx context.Context, key string) ([]byte, error) {
	if key == "" {
		return nil, errEmptyKey
	}
	if ctx.Value(tieredUpdate{t, key}) != nil {
		return t.shared.Get(ctx, key)
	}
	record, read := t.lookup(ctx, key)
	if record != nil {
		return bytes.Clone(record), nil
	}
	record, err := read.Wait(ctx)
	if err == nil {
		return bytes.Clone(record), nil
	}
	if isAnswer(err) {
		return nil, err
	}
	if record := t.inOutage(key); record != nil {
		return bytes.Clone(record), nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("cache: reading from the shared store: %w", contextError(ctx))
	}
	return nil, err
}

// Update implements Store.
func (t *Tiered) Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) (new []byte, err error)) error {
	if key == "" {
		return errEmptyKey
	}
	turn := 0
	var known *tieredRecord // what the shared store has
	defer func() {
		if turn > 0 {
			t.settle(key, turn, known)
		}
	}()
	var now tieredRecord
	err := t.shared.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		turn = t.begin(key)
		value, err := fn(context.WithValue(ctx, tieredUpdate{t, key}, true), old)
		now = tieredRecord{value: bytes.Clone(value), asOf: time.Now()}
		return value, err
	})
	if err == nil {
		known = &now
	}
	if turn == 0 && isAnswer(err) {
		turn = t.begin(key)
	}
	return err
}

// tieredUpdate is the key of a context's value within an update of that record.
type tieredUpdate struct {
	*Tiered
	key string
}

// isAnswer reports whether err is what the shared store says of the record.
func isAnswer(err error) bool { return errors.Is(err, ErrMiss) || errors.Is(err, ErrUnsafe) }

// lookup returns the record that is served from memory, or else the read to wait
// for.
func (t *Tiered) lookup(ctx context.Context, key string) ([]byte, *tieredRead) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.memory.get(key); ok {
		now := time.Now()
		if age := r.age(now); age < r.freshFor || t.bearable(age) && now.Before(r.askAgainAt) {
			return r.value, nil
		}
	}
	read := t.reads[key]
	if read == nil {
		read = &tieredRead{}
		t.reads[key] = read
		read.Call = flight.Start(ctx, func(ctx context.Context) ([]byte, error) { return t.read(ctx, key, read) })
	}
	return nil, read
}

// read reads the shared store, and puts what it finds in memory, unless an
// update has ended meanwhile.
func (t *Tiered) read(ctx context.Context, key string, read *tieredRead) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tieredReadTimeout)
	defer cancel()
	began := time.Now()
	value, err := t.shared.Get(ctx, key)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("cache: the shared store gave no answer in %v: %w", tieredReadTimeout, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reads[key] != read {
		return value, err
	}
	delete(t.reads, key)
	switch r, held := t.memory.get(key); {
	case err == nil:
		t.put(key, tieredRecord{value: value, asOf: began})
	case isAnswer(err):
		t.memory.remove(key)
	case held:
		r.askAgainAt = time.Now().Add(tieredAskAgain + rand.N(tieredAskAgain/4))
		t.memory.put(key, r)
	}
	return value, err
}

// begin returns the turn of an update that has the exclusive right to the record.
func (t *Tiered) begin(key string) (turn int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.writes[key]
	if w == nil {
		w = &tieredWrites{}
		t.writes[key] = w
	}
	w.under++
	w.turns++
	return w.turns
}

// settle puts in memory what is known after an update, nil where nothing is, or
// where a later one had its turn before this one got here. A read that began
// before the update ended has no say any more.
func (t *Tiered) settle(key string, turn int, known *tieredRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.reads, key)
	w := t.writes[key]
	if w.under--; w.under == 0 {
		delete(t.writes, key)
	}
	if known == nil || len(known.value) == 0 || turn < w.turns {
		t.memory.remove(key)
	} else {
		t.put(key, *known)
	}
}

// put requires that t.mu is held.
func (t *Tiered) put(key string, r tieredRecord) {
	r.freshFor = t.options.MaxAge - rand.N(t.options.MaxAge/8+1)
	t.memory.put(key, r)
}

// inOutage returns what may be served while the shared store can't be read.
func (t *Tiered) inOutage(key string) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.memory.get(key); ok && t.bearable(r.age(time.Now())) {
		return r.value
	}
	return nil
}

func (t *Tiered) bearable(age time.Duration) bool {
	return t.options.MaxOutage > 0 && age < t.options.MaxAge+t.options.MaxOutage
}

// age is how old the record is by the wall clock or the monotonic clock.
func (r tieredRecord) age(now time.Time) time.Duration {
	return max(now.Sub(r.asOf), now.Round(0).Sub(r.asOf.Round(0)))
}
