// Package cache keeps opaque records under a key, and lets one of all who
// share a record change it at a time.
package cache

import (
	"context"
	"errors"
)

// Errors of a Store.
var (
	// ErrMiss means that there is no record under the key.
	ErrMiss = errors.New("cache: no such record")
	// ErrLost means that exclusion was lost while an update function ran; its
	// value was not written.
	ErrLost = errors.New("cache: lost the exclusive right to the record; nothing was written")
	// ErrLockTimeout means that the context ended before exclusion was had.
	// The error also wraps the context's.
	ErrLockTimeout = errors.New("cache: another process holds the record's lock")
	// ErrLock means that exclusion can't be had at all, as on a read-only file
	// system. The update function did not run.
	ErrLock = errors.New("cache: the record can't be locked")
	// ErrNotWritten means that the update function ran and its value could not
	// be written, although it was tried until the context ended.
	ErrNotWritten = errors.New("cache: the record could not be written")
	// ErrUnsafe means that a record was refused for how it is stored: a
	// symbolic link, a hard link, another user's file, a file that others may
	// write, an over-long one.
	ErrUnsafe = errors.New("cache: the record's file is not safe to use")
)

// Store keeps records. It is safe for concurrent use.
//
// A record is opaque bytes of at most 1 MiB; a caller must not change a slice
// after it was passed or received. A key is any non-empty string.
type Store interface {
	// Get returns the record, or an error that wraps ErrMiss.
	Get(ctx context.Context, key string) ([]byte, error)

	// Update runs fn once, alone among all who share the store, and writes
	// what it returns.
	//
	// fn receives the record, nil where there is none, and returns the record
	// to write: nil deletes it, and one equal to old writes nothing, so that
	// adopting a record can't overwrite a foreign write. A value that fn
	// returns together with an error is written all the same, and the error
	// returned; a nil value together with an error changes nothing.
	//
	// fn's context ends when ctx does and when exclusion is lost; in the
	// latter case nothing is written and the error wraps ErrLost. Where the
	// store knows before fn runs that it could not write, fn runs all the
	// same, and NotWritable tells it.
	//
	// fn must not call Update for the same key. It may call Get.
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
// function when it can't reserve the write because of err.
func WithNotWritable(ctx context.Context, err error) context.Context {
	return context.WithValue(ctx, notWritableKey{}, err)
}
