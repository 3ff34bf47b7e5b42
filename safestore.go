package awsoidc

import (
	"context"
	"errors"
	"sync"

	"github.com/awsoidc/awsoidc/cache"
)

// safeStore is a Store that keeps a record in memory once it finds the stored
// one unsafe to use: a link in its place, another user's file. It looks at that
// again as long as memory has none.
type safeStore struct {
	cache.Store
	warn   func(msg string, err error)
	memory cache.Store
	unsafe sync.Map // of keys, with why
}

func newSafeStore(store cache.Store, warn func(string, error)) *safeStore {
	return &safeStore{Store: store, warn: warn, memory: newMemoryStore()}
}

func (s *safeStore) Get(ctx context.Context, key string) ([]byte, error) {
	if !s.inMemory(ctx, key) {
		raw, err := s.Store.Get(ctx, key)
		if !s.refuse(key, err) {
			return raw, err
		}
	}
	return s.memory.Get(ctx, key)
}

func (s *safeStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	if !s.inMemory(ctx, key) {
		ran := false
		err := s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
			ran = true
			return fn(ctx, old)
		})
		if ran || !s.refuse(key, err) {
			return err
		}
	}
	return s.memory.Update(ctx, key, fn)
}

func (s *safeStore) inMemory(ctx context.Context, key string) bool {
	if s.refused(key) == nil {
		return false
	}
	_, err := s.memory.Get(ctx, key)
	return err == nil
}

// refused returns why the record of key is kept in memory, nil where it is not.
func (s *safeStore) refused(key string) error {
	why, _ := s.unsafe.Load(key)
	err, _ := why.(error)
	return err
}

func (s *safeStore) refuse(key string, err error) bool {
	if !errors.Is(err, cache.ErrUnsafe) {
		s.unsafe.Delete(key)
		return false
	}
	if _, known := s.unsafe.LoadOrStore(key, err); !known {
		s.warn("a record is not safe to use; it is kept in memory only", err)
	}
	return true
}

// newMemoryStore returns a Store for the records of one source: its session,
// its registrations, the notes of a failed attempt and of a sign-in.
func newMemoryStore() cache.Store {
	const records = 6
	s, err := cache.NewLRU(records, records*cache.MaxRecordBytes)
	if err != nil {
		panic(err) // its arguments are positive
	}
	return s
}
