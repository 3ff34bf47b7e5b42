package cache

import (
	"context"
	"crypto/fips140"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/awsoidc/awsoidc/internal/atomicfile"
)

// Dir is a Store in a folder that processes share: those of this library, and
// the AWS CLI and AWS SDKs, whose file names it uses. It holds no descriptor
// between calls and needs no closing.
//
// The record of a key is the file "<SHA-1 of the key>.json" of mode 0600, and
// must be JSON, as those tools expect of every such file. Exclusion is the
// operating system's lock of "<SHA-1 of the key>.lock", which stays: removing it
// breaks exclusion for whoever waits. A killed process frees its lock. The AWS
// CLI takes no lock and writes in place, so that a file may be found empty or
// half written: it is then read again for about 200 ms, and after that treated
// as missing. It is never deleted for that.
//
// A file is refused with ErrUnsafe where it is not a regular file of the
// process's own user with one name, where others may write it, and where it is
// larger than MaxRecordBytes. A process of root accepts the files of the
// folder's owner too, and gives what it creates to that owner, so that a
// container does not lock the user of a mounted folder out. On Windows the
// folder's access control list stands in for owner and mode.
type Dir struct {
	path    string
	updates keyLocks // between goroutines; the file's lock is between Dirs and processes
	fs      atomicfile.FS
}

// NewDir returns a Dir in the folder path, "" being refused. A relative path is
// resolved now. The folder need not exist: Update creates it, with mode 0700.
//
// The AWS CLI and SDKs share ~/.aws/sso/cache.
func NewDir(path string) (*Dir, error) {
	if path == "" {
		return nil, errors.New("cache: the folder's path is empty; name one, such as /home/me/.aws/sso/cache")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cache: folder %s: %w", path, err)
	}
	return &Dir{path: abs, fs: atomicfile.OS{}}, nil
}

// Filename returns the full name of the file that holds key's record, or would.
func (d *Dir) Filename(key string) string { return d.stem(key) + ".json" }

// AWSCLI reports that keys and records here must be those of the AWS CLI, for
// the folder to be shared with it. It returns true.
func (d *Dir) AWSCLI() bool { return true }

// Get implements Store. It takes no lock: a record is replaced as a whole.
// Nothing but the 200 ms of a half-written file makes it wait.
func (d *Dir) Get(ctx context.Context, key string) ([]byte, error) {
	if key == "" {
		return nil, errEmptyKey
	}
	return d.read(ctx, d.Filename(key))
}

// Update implements Store. The space for the new record is occupied before fn
// runs, so that a full disk is known in time; see NotWritable. The record is on
// the disk, not just in its cache, when Update returns.
//
// Loss of exclusion is noticed when fn returns: the lock file was removed, or
// the whole folder was.
func (d *Dir) Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) (new []byte, err error)) error {
	if key == "" {
		return errEmptyKey
	}
	lock, err := d.lock(ctx, d.stem(key))
	if err != nil {
		return err
	}
	defer lock.release()
	file := d.Filename(key)
	old, err := d.read(ctx, file)
	if err != nil && !errors.Is(err, ErrMiss) {
		return err
	}
	replacement, reserveErr := d.reserve(file, len(old))
	defer replacement.Discard()
	return apply(WithNotWritable(ctx, reserveErr), old, fn, func(record []byte) error {
		if record != nil && !json.Valid(record) {
			return fmt.Errorf("%w: %s must hold JSON, and the new record is not", ErrNotWritten, file)
		}
		return persist(ctx, func() error {
			if err := lock.check(); err != nil {
				return err
			}
			if record == nil {
				return atomicfile.Remove(d.fs, file)
			}
			return replacement.Commit(record)
		})
	})
}

// A record is expected to need at most this many times the space of the one it
// replaces, and at least minReserve bytes.
const (
	reserveFactor = 2
	minReserve    = 16 << 10
)

// reserve occupies the space for file's next record. The replacement it
// returns can be committed even after an error.
func (d *Dir) reserve(file string, oldSize int) (*atomicfile.Replacement, error) {
	// Under the lock nobody else writes this record: what temporary files
	// there are belong to processes that were killed. One that can't be
	// removed is left to the next.
	_ = atomicfile.RemoveLeftovers(d.fs, file)
	r := &atomicfile.Replacement{FS: d.fs, Path: file}
	var err error
	if r.Owner, err = newOwner(d.path); err == nil {
		err = r.Reserve(max(minReserve, reserveFactor*oldSize))
	}
	if err != nil {
		return r, fmt.Errorf("cache: no space could be reserved in %s: %w", d.path, err)
	}
	return r, nil
}

// stem is the name of key's files, without the extension.
func (d *Dir) stem(key string) string {
	var sum [sha1.Size]byte
	// The names are the AWS CLI's. The hash guards nothing, so that a process
	// that is restricted to FIPS 140-3 algorithms may use it.
	fips140.WithoutEnforcement(func() { sum = sha1.Sum([]byte(key)) })
	return filepath.Join(d.path, hex.EncodeToString(sum[:]))
}
