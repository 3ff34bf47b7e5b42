package awsoidc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/awsoidc/awsoidc/cache"
)

// safeStore is a Store that gives way to memory once it finds its records
// unsafe to use: a link in their place, another user's file.
type safeStore struct {
	cache.Store
	warn func(msg string, err error)

	unsafe atomic.Bool
	once   sync.Once
	memory cache.Store // set by newSafeStore
}

func newSafeStore(store cache.Store, warn func(string, error)) *safeStore {
	return &safeStore{Store: store, warn: warn, memory: newMemoryStore()}
}

func (s *safeStore) Get(ctx context.Context, key string) ([]byte, error) {
	if !s.unsafe.Load() {
		raw, err := s.Store.Get(ctx, key)
		if !s.refuse(err) {
			return raw, err
		}
	}
	return s.memory.Get(ctx, key)
}

func (s *safeStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	if !s.unsafe.Load() {
		ran := false
		err := s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
			ran = true
			return fn(ctx, old)
		})
		if !s.refuse(err) || ran {
			return err
		}
	}
	return s.memory.Update(ctx, key, fn)
}

func (s *safeStore) refuse(err error) bool {
	if !errors.Is(err, cache.ErrUnsafe) {
		return false
	}
	s.unsafe.Store(true)
	s.once.Do(func() { s.warn("the store is not safe to use; the session is kept in memory only", err) })
	return true
}

// newMemoryStore returns a Store for the two records of one source.
func newMemoryStore() cache.Store {
	s, err := cache.NewLRU(2, 2*cache.MaxRecordBytes)
	if err != nil {
		panic(err) // its arguments are positive
	}
	return s
}
