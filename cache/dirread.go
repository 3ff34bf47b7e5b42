package cache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// tornFor is how long a file may stay half written. The AWS CLI was seen
	// to take up to 25 ms.
	tornFor = 50 * time.Millisecond
	// tornPoll is the longest pause between two looks at such a file.
	tornPoll = 10 * time.Millisecond
)

// errTorn means that a file was met in the middle of a change.
var errTorn = errors.New("cache: the file is being written")

// read returns the contents of a record's file. The error wraps ErrMiss where
// there is none, and where it stays half written.
func (d *Dir) read(ctx context.Context, path string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	for start := time.Now(); ; {
		record, err := readOnce(path)
		switch {
		case isAbsent(err):
			return nil, d.missing()
		case err == nil:
			return record, nil
		case !errors.Is(err, errTorn):
			return nil, prefixed(err)
		case time.Since(start) >= tornFor:
			return nil, fmt.Errorf("%w: %s is not complete JSON", ErrMiss, path)
		}
		if err := pause(ctx, tornPoll); err != nil {
			return nil, fmt.Errorf("cache: waiting for %s to be complete: %w", path, err)
		}
	}
}

// readOnce reads a file in one call: in pieces, it could be put together from
// two versions of a file that is overwritten in place.
func readOnce(path string) ([]byte, error) {
	file, info, err := openChecked(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info.Size() > MaxRecordBytes {
		return nil, unsafeFile(path, fmt.Sprintf("has %d bytes, more than %d; remove it", info.Size(), MaxRecordBytes))
	}
	buf := make([]byte, info.Size()+1) // one more, to see whether it has grown
	n, err := file.Read(buf)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if n == len(buf) || !json.Valid(buf[:n]) {
		return nil, errTorn
	}
	return buf[:n:n], nil
}

// openChecked opens a file of the folder without following links, creates it
// with mode 0600 where flag says so, and refuses it with ErrUnsafe where it is
// not this user's alone.
func openChecked(path string, flag int) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(path, flag|openFlags, 0o600)
	if err != nil {
		if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
			return nil, nil, unsafeFile(path, "is not a regular file; remove it")
		}
		if isBusy(err) {
			return nil, nil, errTorn
		}
		return nil, nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = unsafeFile(path, "is not a regular file; remove it")
	default:
		err = checkAccess(file, info)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// prefixed makes an error of this package of one of the operating system's.
func prefixed(err error) error {
	if errors.Is(err, ErrUnsafe) {
		return err
	}
	return fmt.Errorf("cache: %w", err)
}

func unsafeFile(path, why string) error { return fmt.Errorf("%w: %s %s", ErrUnsafe, path, why) }

// missing is the error for a file that is not there: ErrMiss, unless there is a
// file where the folder, or one above it, should be.
func (d *Dir) missing() error {
	for path := d.path; ; path = filepath.Dir(path) {
		err := checkFolder(path)
		if err == nil || path == filepath.Dir(path) {
			return ErrMiss
		}
		if !isAbsent(err) {
			return prefixed(err)
		}
	}
}

// checkFolder returns nil where path is a folder, and an error for which
// isAbsent holds where there is nothing of that name.
func checkFolder(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is a file, not a folder; move it away, or choose another folder", path)
	}
	return nil
}

// isAbsent reports whether a name does not exist, or one above it is a file.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
