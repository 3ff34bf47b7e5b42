package cache_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/internal/atomicfile"
	"github.com/awsoidc/awsoidc/internal/atomicfile/faultfs"
)

var errDisk = errors.New("the disk is on fire")

// diskFault makes one operation fail with errDisk while it is on: left times,
// or forever where left is negative.
type diskFault struct {
	op   faultfs.Op
	left atomic.Int64
}

func (f *diskFault) fs() atomicfile.FS {
	return faultfs.FS{Before: func(op faultfs.Op) error {
		if op != f.op || f.left.Load() == 0 {
			return nil
		}
		f.left.Add(-1)
		return errDisk
	}}
}

const forever = -1

// Where the space can't be reserved, the function knows it. What it returns all
// the same is written as soon as that is possible.
func TestDirThatCannotReserve(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Create, faultfs.Write} {
		for _, times := range []int{1, 3, forever} {
			inDirWithFault(t, op, func(t *testing.T, d *cache.Dir, fault *diskFault) {
				fault.left.Store(int64(times))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := d.Update(ctx, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
					wantError(t, cache.NotWritable(ctx), errDisk, filepath.Dir(d.Filename("key")))
					return []byte(`{"n":2}`), nil
				})
				if times != forever {
					check(t, err)
					want(t, d, "key", `{"n":2}`)
					return
				}
				wantError(t, err, cache.ErrNotWritten)
				wantError(t, err, errDisk)
				if waited := time.Since(start); waited != time.Minute {
					t.Errorf("gave up after %v, want the context's minute", waited)
				}
				want(t, d, "key", `{"n":1}`)
			})
		}
	}
}

// A function that decides not to spend anything for a record that could not be
// written leaves everything as it is.
func TestDirThatCannotReserveAndFunctionThatMinds(t *testing.T) {
	inDirWithFault(t, faultfs.Create, func(t *testing.T, d *cache.Dir, fault *diskFault) {
		fault.left.Store(forever)
		err := d.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
			return nil, cache.NotWritable(ctx)
		})
		wantError(t, err, errDisk)
		want(t, d, "key", `{"n":1}`)
	})
}

// Each step of the write fails, after the function ran: a few times, and it is
// repeated until it succeeds; forever, and it is given up when the context
// ends, with the old record in place.
func TestDirWhoseWriteFails(t *testing.T) {
	for _, op := range []faultfs.Op{
		faultfs.Write, faultfs.Truncate, faultfs.Sync, faultfs.Close, faultfs.Rename, faultfs.SyncDir,
	} {
		for _, times := range []int{1, 2, 5, forever} {
			for _, fnErr := range []error{nil, errors.New("the function's error")} {
				inDirWithFault(t, op, func(t *testing.T, d *cache.Dir, fault *diskFault) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					err := d.Update(ctx, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
						check(t, cache.NotWritable(ctx))
						fault.left.Store(int64(times))
						return []byte(`{"n":2}`), fnErr
					})
					if fnErr != nil && !errors.Is(err, fnErr) {
						t.Errorf("Update: %v, want an error that wraps the function's", err)
					}
					if times == forever {
						if !errors.Is(err, cache.ErrNotWritten) || !errors.Is(err, errDisk) || strings.Contains(err.Error(), "\n") {
							t.Errorf("Update: %v", err)
						}
					} else if fnErr == nil {
						check(t, err)
					} else if errors.Is(err, errDisk) {
						t.Errorf("Update: %v although it was written at last", err)
					}
					if times == forever && op != faultfs.SyncDir {
						want(t, d, "key", `{"n":1}`)
					} else {
						want(t, d, "key", `{"n":2}`)
					}
				})
			}
		}
	}
}

func TestDirWhoseDeleteFails(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Remove, faultfs.SyncDir} {
		for _, times := range []int{1, 5, forever} {
			inDirWithFault(t, op, func(t *testing.T, d *cache.Dir, fault *diskFault) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := d.Update(ctx, "key", func(context.Context, []byte) ([]byte, error) {
					fault.left.Store(int64(times))
					return nil, nil
				})
				if times == forever {
					wantError(t, err, cache.ErrNotWritten)
					wantError(t, err, errDisk)
				} else {
					check(t, err)
				}
				if times == forever && op == faultfs.Remove {
					want(t, d, "key", `{"n":1}`)
				} else {
					wantMiss(t, d, "key")
				}
			})
		}
	}
}

// A record is written at least once, even where the context has ended.
func TestDirWritesAfterTheContextEnded(t *testing.T) {
	inDirWithFault(t, faultfs.Sync, func(t *testing.T, d *cache.Dir, fault *diskFault) {
		for _, times := range []int{0, 1} {
			ctx, cancel := context.WithCancel(t.Context())
			err := d.Update(ctx, "key", func(_ context.Context, old []byte) ([]byte, error) {
				cancel()
				fault.left.Store(int64(times))
				return []byte(`{"n":2}`), nil
			})
			if times == 0 {
				check(t, err)
				want(t, d, "key", `{"n":2}`)
				put(t, d, "key", `{"n":1}`)
			} else {
				wantError(t, err, cache.ErrNotWritten)
				want(t, d, "key", `{"n":1}`)
			}
		}
	})
}

// The lock is held while a write is repeated.
func TestDirKeepsTheLockWhileItRepeats(t *testing.T) {
	inDirWithFault(t, faultfs.Rename, func(t *testing.T, d *cache.Dir, fault *diskFault) {
		first := make(chan error)
		go func() {
			first <- d.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
				fault.left.Store(5)
				return []byte(`{"n":2}`), nil
			})
		}()
		synctest.Wait() // it pauses before it tries again
		other := newDir(t, filepath.Dir(d.Filename("key")))
		check(t, other.Update(t.Context(), "key", increment))
		check(t, <-first)
		want(t, d, "key", `{"n":3}`)
	})
}

// inDirWithFault runs test, in virtual time, on a Dir that holds {"n":1} and
// whose operation op can be made to fail. Afterwards the Dir must work again
// and hold no temporary file.
func inDirWithFault(t *testing.T, op faultfs.Op, test func(t *testing.T, d *cache.Dir, fault *diskFault)) {
	t.Helper()
	t.Run(string(op), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := newDir(t, t.TempDir())
			put(t, d, "key", `{"n":1}`)
			fault := &diskFault{op: op}
			d.SetFS(fault.fs())
			test(t, d, fault)
			fault.left.Store(0)
			put(t, d, "key", `{"n":100}`)
			want(t, d, "key", `{"n":100}`)
			wantExtensions(t, filepath.Dir(d.Filename("key")), ".json", ".lock")
		})
	})
}
