package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// KV is a key-value store without a lock. It must be safe for concurrent use.
type KV interface {
	// Get returns the value, or an error that wraps ErrMiss.
	Get(ctx context.Context, key string) ([]byte, error)
	// Set puts value in place of what the key had, if anything.
	Set(ctx context.Context, key string, value []byte) error
	// Delete removes the key's value. A missing one is no error.
	Delete(ctx context.Context, key string) error
}

// Local returns a Store that keeps its records in kv, under the keys it is
// given.
//
// Exclusion holds within the returned Store only: use one for all, and share kv
// with no other process that updates the same keys. A write that kv refuses is
// repeated until the context ends.
func Local(kv KV) Store { return &local{kv: kv} }

type local struct {
	kv      KV
	updates keyLocks
}

// saveTimeout bounds one write, which goes on when the caller's context ends:
// the record may be one that can't be made again.
const saveTimeout = 5 * time.Second

func (l *local) Get(ctx context.Context, key string) ([]byte, error) {
	if key == "" {
		return nil, errEmptyKey
	}
	value, err := l.kv.Get(ctx, key)
	if errors.Is(err, ErrMiss) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("cache: reading from the key-value store: %w", err)
	}
	switch {
	case len(value) == 0:
		return nil, ErrMiss
	case len(value) > MaxRecordBytes:
		return nil, fmt.Errorf("%w: it has %d bytes; at most %d are allowed", ErrUnsafe, len(value), MaxRecordBytes)
	}
	return bytes.Clone(value), nil
}

func (l *local) Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) (new []byte, err error)) error {
	if key == "" {
		return errEmptyKey
	}
	unlock, err := l.updates.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := l.Get(ctx, key)
	if err != nil && !errors.Is(err, ErrMiss) {
		return err
	}
	return apply(WithNotWritable(ctx, nil), old, fn, func(record []byte) error {
		return persist(ctx, func() error { return l.write(ctx, key, record) })
	})
}

func (l *local) write(ctx context.Context, key string, record []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if record == nil {
		return l.kv.Delete(ctx, key)
	}
	return l.kv.Set(ctx, key, record)
}
