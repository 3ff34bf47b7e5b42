package cachetest_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

// faults are ways to break the contract of a Store.
type faults struct {
	noExclusion       bool // between the two handles
	contextEndsIt     bool // exclusion, although the function still runs
	ignoreContext     bool // while waiting
	noTimeoutError    bool // the context's error alone where the wait ended with it
	runEnded          bool // run the function although the context has ended
	keepAfterPanic    bool // hold on to the record when the function panics
	writeAfterPanic   bool // delete the record when the function panics
	swallowPanic      bool // return an error in its place
	oneLock           bool // for all keys
	lockedGet         bool // Get waits for updates
	writeEarly        bool // the record is missing while the function runs
	ownContext        bool // the function's context is not the caller's
	endlessContext    bool // the function's context has the caller's values only
	contextMiss       bool // Get reports a miss where the context has ended
	inheritContext    bool // the caller's NotWritable reaches the function
	runTwice          bool // as an optimistic store does after a conflict
	shareOut          bool // Get returns the store's own slice
	shareOld          bool // the function gets the store's own slice
	shareIn           bool // keep the caller's slice
	compareInPlace    bool // compare the new record with the slice that the function got
	reformat          bool // change the record's white space
	onlyUTF8          bool // replace what is not
	emptyOld          bool // the function gets an empty record where there is none
	staleGet          bool // Get of a handle shows what the handle wrote last
	missIsNil         bool // no error for a missing record
	noDelete          bool // nil changes nothing
	emptyIsRecord     bool // the empty slice does not delete
	oldAfterDelete    bool // the function gets what was deleted
	dropWithError     bool // forget a value that came with an error
	deleteWithError   bool // delete where nil came with an error
	forgetError       bool // of the function
	dropAfterContext  bool // forget a value where the context has ended
	noLimit           bool // of a record's size
	smallLimit        bool // of half the size
	forgetErrorAtSize bool // forget the function's error where the record is too large
	emptyKey          bool // take it
	foldKeys          bool // to lower case
	cutKeys           bool // at 255 bytes
	lockedStore       bool // an update within an update waits for the first
	writeLost         bool // write though exclusion was lost
	compareAndSwap    bool // write though exclusion was lost, where the record is unchanged
	writeEqual        bool // write an equal record too
	forgetLostError   bool // of the function, where exclusion was lost
	freeOthers        bool // end whoever's exclusion it is
	keepLost          bool // never again after a loss
	unnoticedLoss     bool // the function's context goes on
	plainLoss         bool // the function's context ends without a cause
}

// records is what the handles of a memoryStore share.
type records struct {
	mu      sync.Mutex
	data    map[string][]byte
	deleted map[string][]byte
	locks   map[string]*lock
}

// lock is the exclusive right to a record, until it is lost: then another lock
// takes its place.
type lock struct {
	turn chan struct{} // holds one value while somebody has the right
	lost chan struct{} // closed at the loss
}

func newLock() *lock { return &lock{make(chan struct{}, 1), make(chan struct{})} }

// memoryStore is a simple Store, which keeps the contract but for its faults.
type memoryStore struct {
	faults
	*records
	name  string            // of the handle
	wrote map[string][]byte // by this handle
}

func newStores(f faults) (a, b *memoryStore) {
	r := &records{data: map[string][]byte{}, deleted: map[string][]byte{}, locks: map[string]*lock{}}
	return &memoryStore{f, r, "a", map[string][]byte{}}, &memoryStore{f, r, "b", map[string][]byte{}}
}

func newLosing(f faults) cachetest.Losing {
	a, b := newStores(f)
	return cachetest.Losing{A: a, B: b, Watched: true, Lose: func(_ *testing.T, key string) { a.lose(key) }}
}

// lose takes the right to the record from whoever has it.
func (s *memoryStore) lose(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.locks[key]; l != nil {
		close(l.lost)
		s.locks[key] = newLock()
		if s.keepLost {
			s.locks[key].turn <- struct{}{}
		}
	}
}

func (s *memoryStore) Get(ctx context.Context, key string) ([]byte, error) {
	key, err := s.key(key)
	if err != nil {
		return nil, err
	}
	if s.contextMiss && ctx.Err() != nil {
		return nil, cache.ErrMiss
	}
	if s.lockedGet {
		l := s.lock(key)
		l.turn <- struct{}{}
		defer func() { <-l.turn }()
	}
	record := s.load(key)
	if s.staleGet && s.wrote[key] != nil {
		record = s.wrote[key]
	}
	if record == nil && !s.missIsNil {
		return nil, cache.ErrMiss
	}
	if s.shareOut {
		return record, nil
	}
	return bytes.Clone(record), nil
}

func (s *memoryStore) Update(ctx context.Context, key string, fn updateFunc) (err error) {
	key, err = s.key(key)
	if err != nil {
		return err
	}
	if ctx.Err() != nil && !s.runEnded {
		return errors.Join(cache.ErrLockTimeout, ctx.Err())
	}
	if s.lockedStore {
		if inner, _ := ctx.Value(insideKey{}).(bool); inner {
			<-ctx.Done()
		}
	}
	l, err := s.acquire(ctx, key)
	if err != nil {
		return err
	}
	returned, free := false, sync.OnceFunc(func() { s.free(key, l) })
	if s.contextEndsIt {
		defer context.AfterFunc(ctx, free)()
	}
	defer func() {
		if returned || !s.keepAfterPanic {
			free()
		}
		if !returned && s.writeAfterPanic {
			s.save(key, nil)
		}
		if s.swallowPanic && recover() != nil {
			err = errors.New("panic")
		}
	}()
	err = s.change(ctx, key, l, fn)
	returned = true
	return err
}

func (s *memoryStore) acquire(ctx context.Context, key string) (*lock, error) {
	ended := ctx.Done()
	if s.ignoreContext || s.runEnded {
		ended = nil
	}
	for {
		l := s.lock(key)
		select {
		case l.turn <- struct{}{}:
			if !l.isLost() {
				return l, nil
			}
		case <-l.lost:
		case <-ended:
			if s.noTimeoutError {
				return nil, ctx.Err()
			}
			return nil, errors.Join(cache.ErrLockTimeout, ctx.Err())
		}
	}
}

func (l *lock) isLost() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

func (s *memoryStore) free(key string, l *lock) {
	<-l.turn
	if s.freeOthers {
		select {
		case <-s.lock(key).turn:
		default:
		}
	}
}

func (s *memoryStore) change(ctx context.Context, key string, l *lock, fn updateFunc) error {
	old := s.load(key)
	if s.writeEarly {
		s.save(key, nil)
		defer func() {
			if s.load(key) == nil && old != nil {
				s.save(key, old)
			}
		}()
	}
	value, passed, err := s.call(ctx, key, l, old, fn)
	if s.runTwice {
		value, passed, err = s.call(ctx, key, l, old, fn)
	}
	returned := err
	if s.forgetError {
		returned = nil
	}
	if s.compareInPlace {
		old = passed
	}
	limit := cache.MaxRecordBytes
	if s.smallLimit {
		limit /= 2
	}
	switch {
	case bytes.Equal(value, old) && (value == nil) == (old == nil) && !s.writeEqual,
		len(value) == 0 && err != nil && !s.deleteWithError,
		len(value) == 0 && s.noDelete,
		len(value) != 0 && err != nil && s.dropWithError,
		ctx.Err() != nil && s.dropAfterContext:
		return returned
	case l.isLost() && !s.writeLost && !s.writeEqual && !(s.compareAndSwap && bytes.Equal(old, s.load(key))):
		if s.forgetLostError {
			return cache.ErrLost
		}
		return errors.Join(cache.ErrLost, returned)
	case len(value) > limit && !s.noLimit:
		if s.forgetErrorAtSize {
			return cache.ErrNotWritten
		}
		return errors.Join(cache.ErrNotWritten, returned)
	}
	if s.reformat {
		value = bytes.ReplaceAll(value, []byte(" "), nil)
	}
	if s.onlyUTF8 {
		value = bytes.ToValidUTF8(value, []byte("?"))
	}
	if !s.shareIn {
		value = bytes.Clone(value)
	}
	if len(value) == 0 && !s.emptyIsRecord {
		value = nil
	}
	s.save(key, value)
	return returned
}

type (
	updateFunc = func(context.Context, []byte) ([]byte, error)
	insideKey  struct{} // of the context of an update function
)

func (s *memoryStore) call(ctx context.Context, key string, l *lock, old []byte, fn updateFunc) (value, passed []byte, err error) {
	if s.ownContext {
		ctx = context.Background()
	}
	if s.endlessContext {
		ctx = context.WithoutCancel(ctx)
	}
	if !s.inheritContext {
		ctx = cache.WithNotWritable(ctx, nil)
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, insideKey{}, true))
	defer cancel(nil)
	if !s.unnoticedLoss {
		go func() {
			select {
			case <-l.lost:
				if s.plainLoss {
					cancel(nil)
				}
				cancel(cache.ErrLost)
			case <-ctx.Done():
			}
		}()
	}
	passed = old
	if !s.shareOld {
		passed = bytes.Clone(old)
	}
	if s.oldAfterDelete && old == nil {
		passed = bytes.Clone(s.deletedRecord(key))
	}
	if s.emptyOld && old == nil {
		passed = []byte{}
	}
	value, err = fn(ctx, passed)
	return value, passed, err
}

func (s *memoryStore) key(key string) (string, error) {
	if key == "" && !s.emptyKey {
		return "", errors.New("the key is empty")
	}
	if s.foldKeys {
		key = strings.ToLower(key)
	}
	if s.cutKeys {
		key = key[:min(len(key), 255)]
	}
	return key, nil
}

func (s *memoryStore) lock(key string) *lock {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oneLock {
		key = ""
	}
	if s.noExclusion {
		key = s.name + key
	}
	if s.locks[key] == nil {
		s.locks[key] = newLock()
	}
	return s.locks[key]
}

func (s *memoryStore) load(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[key]
}

func (s *memoryStore) deletedRecord(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deleted[key]
}

func (s *memoryStore) save(key string, record []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote[key] = record
	if record == nil {
		s.deleted[key] = s.data[key]
		delete(s.data, key)
	} else {
		s.data[key] = record
	}
}
