package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// MaxRecordBytes is the size of the largest record, 1 MiB.
const MaxRecordBytes = 1 << 20

// Errors of a Store.
var (
	// ErrMiss means that there is no record under the key.
	ErrMiss = errors.New("cache: no such record")
	// ErrCorrupt means that there is something under the key that is no record,
	// such as a file that another tool left half written. It wraps ErrMiss: an
	// update function sees no record either.
	ErrCorrupt = fmt.Errorf("%w that could be read", ErrMiss)
	// ErrLost means that exclusion was lost while an update function ran; its
	// value was not written.
	ErrLost = errors.New("cache: lost the exclusive right to the record; nothing was written")
	// ErrLockTimeout means that the context ended before exclusion was had.
	// The error also wraps the context's. The update function did not run.
	ErrLockTimeout = errors.New("cache: the record's lock was not had in time")
	// ErrLock means that exclusion can't be had at all, as on a read-only file
	// system. The update function did not run.
	ErrLock = errors.New("cache: the record can't be locked")
	// ErrNotWritten means that the update function ran and its value could not
	// be written, although it was tried until the context ended; or that it is
	// a value that the store never takes, such as one over MaxRecordBytes.
	ErrNotWritten = errors.New("cache: the record could not be written")
	// ErrUnsafe means that a record was refused for how it is stored: a
	// symbolic link, a hard link, another user's file, a file that others may
	// write, an over-long one. In Update, the update function did not run.
	ErrUnsafe = errors.New("cache: the record is not safe to use")
)

var errEmptyKey = errors.New("cache: the key is empty")

// Store keeps records. It is safe for concurrent use.
//
// A record is 1 to MaxRecordBytes opaque bytes; a store may restrict them
// further, as Dir does to JSON and Encrypted to fewer bytes. A key is any
// non-empty string; an empty one is an error. A store shares no slice with its
// callers: what it was passed and what it returned may be changed.
type Store interface {
	// Get returns the record, or an error that wraps ErrMiss. It does not wait
	// for an Update, and shows the old record until that is over. Where ctx ends
	// first, its error wraps the context's.
	Get(ctx context.Context, key string) ([]byte, error)

	// Update runs fn once, alone among all who share the store, and writes
	// what it returns.
	//
	// fn receives the record, nil where there is none, and returns the record
	// to write: nil (or an empty slice) deletes it, and one equal to old
	// writes nothing, so that adopting a record can't overwrite a foreign
	// write. A value that fn returns together with an error is written all the
	// same, and the error returned; a nil value together with an error changes
	// nothing. Where fn panics, nothing is written, exclusion ends, and the
	// panic goes on.
	//
	// fn's context ends when ctx does, and when the store notices that
	// exclusion was lost: its cause then wraps ErrLost. After a loss, noticed
	// while fn runs or when it returns, nothing is written and the error wraps
	// ErrLost, even where nobody else has written.
	// Where the store knows before fn runs that it could not write, fn runs
	// all the same, and NotWritable tells it.
	//
	// fn must not call Update for the same key. It may for another, and it
	// may call Get.
	Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) (new []byte, err error)) error
}

type notWritableKey struct{}

// NotWritable reports, inside an update function, why the store already knows
// that a new record can't be written: nil where it reserved the write, or
// where it does not know. A function that would spend something to make the
// record may then prefer not to.
func NotWritable(ctx context.Context) error {
	err, _ := ctx.Value(notWritableKey{}).(error)
	return err
}

// WithNotWritable returns the context that a Store hands to an update
// function: err is why it can't reserve the write, or nil. A store calls it
// with nil too, because its own caller may be another record's update function.
func WithNotWritable(ctx context.Context, err error) context.Context {
	if err == nil && NotWritable(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, notWritableKey{}, err)
}

// apply is what every Update does once exclusion is had: it runs fn on a copy
// of old and saves a copy of what fn returns, nil to delete.
func apply(ctx context.Context, old []byte, fn func(context.Context, []byte) ([]byte, error), save func([]byte) error) error {
	value, err := fn(ctx, bytes.Clone(old))
	if bytes.Equal(value, old) || len(value) == 0 && err != nil {
		return err
	}
	saveErr := checkSize(value)
	if saveErr == nil && len(value) == 0 {
		saveErr = save(nil)
	} else if saveErr == nil {
		saveErr = save(bytes.Clone(value))
	}
	switch {
	case saveErr == nil:
		return err
	case err == nil:
		return saveErr
	default:
		return fmt.Errorf("%w; %w", err, saveErr)
	}
}

func checkSize(value []byte) error {
	if len(value) > MaxRecordBytes {
		return fmt.Errorf("%w: it has %d bytes; at most %d are allowed", ErrNotWritten, len(value), MaxRecordBytes)
	}
	return nil
}
