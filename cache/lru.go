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
	updates keyLocks

	mu      sync.Mutex // guards what follows; never held while an update function runs
	records *bounded[[]byte]
}

// NewLRU returns an empty LRU for at most maxEntries records, which together
// with their keys take at most maxBytes bytes. Both must be positive. The
// record last written is kept even if it alone exceeds maxBytes.
func NewLRU(maxEntries int, maxBytes int64) (*LRU, error) {
	if maxEntries <= 0 || maxBytes <= 0 {
		return nil, errors.New("cache: an LRU needs a positive entry count and a positive byte budget")
	}
	records, err := newBounded(maxEntries, maxBytes, func(record []byte) int { return len(record) })
	return &LRU{records: records}, err
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
	record, _ := l.records.get(key)
	return record
}

func (l *LRU) put(key string, record []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if record == nil {
		l.records.remove(key)
	} else {
		l.records.put(key, record)
	}
}

// bounded is a map that forgets the entries least recently used when there are
// too many, or when they are too large together with their keys. The entry last
// put is kept. It is not safe for concurrent use.
type bounded[V any] struct {
	size     func(V) int
	maxBytes int64
	bytes    int64 // of all keys and values
	entries  *simplelru.LRU[string, V]
}

func newBounded[V any](maxEntries int, maxBytes int64, size func(V) int) (*bounded[V], error) {
	b := &bounded[V]{size: size, maxBytes: maxBytes}
	entries, err := simplelru.NewLRU(maxEntries, func(key string, value V) { b.bytes -= b.bytesOf(key, value) })
	b.entries = entries
	return b, err
}

func (b *bounded[V]) get(key string) (V, bool) { return b.entries.Get(key) }

func (b *bounded[V]) remove(key string) { b.entries.Remove(key) }

func (b *bounded[V]) put(key string, value V) {
	b.entries.Remove(key)
	b.bytes += b.bytesOf(key, value)
	b.entries.Add(key, value)
	for b.bytes > b.maxBytes && b.entries.Len() > 1 {
		b.entries.RemoveOldest()
	}
}

func (b *bounded[V]) bytesOf(key string, value V) int64 {
	return int64(len(key)) + int64(b.size(value))
}
