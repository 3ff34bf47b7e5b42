// Package cache keeps opaque records under a key, and lets one of all who
// share a record change it at a time.
//
// # Which store
//
//   - [Dir] is a folder that processes share, with the AWS CLI and AWS SDKs
//     among them: one file for each record, and an operating system's lock
//     beside it.
//   - [LRU] is this process's memory, under an entry count and a byte budget.
//   - [Local] makes a store of any key-value interface that has no lock, such as
//     an embedded database; it excludes within this process only.
//   - [Encrypted] seals the records of another store.
//   - [Tiered] keeps the records of another store, which processes share, in
//     memory for a while.
//   - Package keyringcache, a module of its own, is a folder whose records are
//     sealed with a key in the operating system's keyring.
//   - Package rediscache, a module of its own, has one in Redis, for a fleet.
//
// Whoever writes a [Store] runs the suite in package cachetest on it.
//
// # Changing a record
//
// There is no lock to take and no write to forget: [Store.Update] runs a
// function alone among all who share the store, and writes what it returns. So
// a function that looks at the record first, and returns it unchanged where
// somebody else has already done the work, makes that work happen once:
//
//	err := store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
//		if fresh(old) {
//			return old, nil // another process was quicker: nothing is written
//		}
//		if err := cache.NotWritable(ctx); err != nil {
//			return nil, err // the disk is full: better not spend a refresh token
//		}
//		return renew(ctx)
//	})
//
// Give ctx a deadline. It bounds the wait for the others, and after the
// function the attempts to write its record. A value that the function has
// made is written even if ctx has ended meanwhile: at least one attempt is
// made.
//
// # Errors
//
//   - [ErrMiss]: there is no such record.
//   - [ErrLockTimeout], [ErrLock]: the function did not run.
//   - [ErrUnsafe]: the record is not trusted; in Update, the function did
//     not run.
//   - [ErrSealed], [ErrTampered]: an Encrypted can't open the record; in Update,
//     the function did not run.
//   - [ErrLost], [ErrNotWritten]: the function ran, and its record is not
//     stored. Whoever can't make it again keeps it, and calls Update again.
//
// An error that the function itself returned is among those wrapped.
//
// # Secrets
//
// No store logs, and no error quotes a record. Keys are not secrets: they may
// appear in errors.
package cache
