package cache

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// LRU is a Store in this process's memory. It forgets the records least
// recently used, by Get or by Update, when there are too many or when they are
// too large together. It starts no goroutine and needs no closing.
type LRU struct {
	maxBytes int64
	updates  keyLocks

	mu      sync.Mutex // guards what follows; never held while an update function runs
	records *simplelru.LRU[string, []byte]
	bytes   int64 // of all keys and records
}

// NewLRU returns an empty LRU for at most maxEntries records, which together
// with their keys take at most maxBytes bytes. Both must be positive. The
// record last written is kept even if it alone exceeds maxBytes.
func NewLRU(maxEntries int, maxBytes int64) (*LRU, error) {
	if maxEntries <= 0 || maxBytes <= 0 {
		return nil, errors.New("cache: an LRU needs a positive entry count and a positive byte budget")
	}
	l := &LRU{maxBytes: maxBytes}
	records, err := simplelru.NewLRU(maxEntries, func(key string, record []byte) {
		l.bytes -= size(key, record)
	})
	l.records = records
	return l, err
}

// Get implements Store.
func (l *LRU) Get(ctx context.Context, key string) ([]byte, error) {
	if key == "" {
		return nil, errEmptyKey
	}
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	record := l.lookup(key)
	if record == nil {
		return nil, ErrMiss
	}
	return bytes.Clone(record), nil
}

// Update implements Store. It excludes within this LRU, and always can write.
func (l *LRU) Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) (new []byte, err error)) error {
	if key == "" {
		return errEmptyKey
	}
	unlock, err := l.updates.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	return apply(WithNotWritable(ctx, nil), l.lookup(key), fn, func(record []byte) error {
		l.put(key, record)
		return nil
	})
}

// lookup returns the record itself, which nobody may change, or nil.
func (l *LRU) lookup(key string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	record, _ := l.records.Get(key)
	return record
}

func (l *LRU) put(key string, record []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records.Remove(key)
	if record == nil {
		return
	}
	l.bytes += size(key, record)
	l.records.Add(key, record)
	for l.bytes > l.maxBytes && l.records.Len() > 1 {
		l.records.RemoveOldest()
	}
}

func size(key string, record []byte) int64 { return int64(len(key)) + int64(len(record)) }
