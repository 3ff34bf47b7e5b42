package cachetest_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/awsoidc/awsoidc/cache"
)

// faults are ways to break the contract of a Store.
type faults struct {
	noExclusion       bool // between the two handles
	ignoreContext     bool // while waiting
	noTimeoutError    bool // the context's error alone where the wait ended with it
	runEnded          bool // run the function although the context has ended
	keepAfterPanic    bool // hold on to the record when the function panics
	oneLock           bool // for all keys
	lockedGet         bool // Get waits for updates
	writeEarly        bool // the record is missing while the function runs
	ownContext        bool // the function's context is not the caller's
	inheritContext    bool // the caller's NotWritable reaches the function
	runTwice          bool // as an optimistic store does after a conflict
	shareOut          bool // Get returns the store's own slice
	shareOld          bool // the function gets the store's own slice
	shareIn           bool // keep the caller's slice
	compareInPlace    bool // compare the new record with the slice that the function got
	reformat          bool // change the record's white space
	missIsNil         bool // no error for a missing record
	noDelete          bool // nil changes nothing
	emptyIsRecord     bool // the empty slice does not delete
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
}

// records is what the handles of a memoryStore share.
type records struct {
	mu    sync.Mutex
	data  map[string][]byte
	locks map[string]chan struct{}
}

// memoryStore is a simple Store, which keeps the contract but for its faults.
type memoryStore struct {
	faults
	*records
	name string // of the handle
}

func newStores(f faults) (a, b cache.Store) {
	r := &records{data: map[string][]byte{}, locks: map[string]chan struct{}{}}
	return &memoryStore{f, r, "a"}, &memoryStore{f, r, "b"}
}

func (s *memoryStore) Get(ctx context.Context, key string) ([]byte, error) {
	key, err := s.key(key)
	if err != nil {
		return nil, err
	}
	if s.lockedGet {
		lock := s.lock(key)
		lock <- struct{}{}
		defer func() { <-lock }()
	}
	record := s.load(key)
	if record == nil && !s.missIsNil {
		return nil, cache.ErrMiss
	}
	if s.shareOut {
		return record, nil
	}
	return bytes.Clone(record), nil
}

func (s *memoryStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	key, err := s.key(key)
	if err != nil {
		return err
	}
	if ctx.Err() != nil && !s.runEnded {
		return errors.Join(cache.ErrLockTimeout, ctx.Err())
	}
	lock, ended := s.lock(key), ctx.Done()
	if s.ignoreContext || s.runEnded {
		ended = nil
	}
	select {
	case lock <- struct{}{}:
	case <-ended:
		if s.noTimeoutError {
			return ctx.Err()
		}
		return errors.Join(cache.ErrLockTimeout, ctx.Err())
	}
	left := true
	defer func() {
		if !left || !s.keepAfterPanic {
			<-lock
		}
	}()
	err = s.change(ctx, key, fn)
	left = false
	return err
}

func (s *memoryStore) change(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	old := s.load(key)
	if s.writeEarly {
		s.save(key, nil)
		defer func() {
			if s.load(key) == nil && old != nil {
				s.save(key, old)
			}
		}()
	}
	value, passed, err := s.call(ctx, old, fn)
	if s.runTwice {
		value, passed, err = s.call(ctx, old, fn)
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
	case bytes.Equal(value, old) && (value == nil) == (old == nil),
		len(value) == 0 && err != nil && !s.deleteWithError,
		len(value) == 0 && s.noDelete,
		len(value) != 0 && err != nil && s.dropWithError,
		ctx.Err() != nil && s.dropAfterContext:
		return returned
	case len(value) > limit && !s.noLimit:
		if s.forgetErrorAtSize {
			return cache.ErrNotWritten
		}
		return errors.Join(cache.ErrNotWritten, returned)
	}
	if s.reformat {
		value = bytes.ReplaceAll(value, []byte(" "), nil)
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

func (s *memoryStore) call(ctx context.Context, old []byte, fn func(context.Context, []byte) ([]byte, error)) (value, passed []byte, err error) {
	if s.ownContext {
		ctx = context.Background()
	}
	if !s.inheritContext {
		ctx = cache.WithNotWritable(ctx, nil)
	}
	passed = old
	if !s.shareOld {
		passed = bytes.Clone(old)
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

func (s *memoryStore) lock(key string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.oneLock {
		key = ""
	}
	if s.noExclusion {
		key = s.name + key
	}
	if s.locks[key] == nil {
		s.locks[key] = make(chan struct{}, 1)
	}
	return s.locks[key]
}

func (s *memoryStore) load(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data[key]
}

func (s *memoryStore) save(key string, record []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if record == nil {
		delete(s.data, key)
	} else {
		s.data[key] = record
	}
}
