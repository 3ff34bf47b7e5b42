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

// A file is taken to be half written for tornFor. The AWS CLI was seen to take up
// to 25 ms; on a busy machine it may be stopped in between for longer, or all of
// tornFor may pass between two looks, so that there are tornLooks at least.
const (
	tornFor   = 200 * time.Millisecond
	tornLooks = 7
	tornPause = 10 * time.Millisecond // at most, between two looks
)

// maxReplaced bounds how often a file is opened again because it was replaced:
// on a file system that counts no links it would seem so every time.
const maxReplaced = 1000

var (
	errTorn     = errors.New("cache: the file is being written in place")
	errReplaced = errors.New("cache: the file was replaced after it was opened")
)

// read returns the contents of a record's file. The error wraps ErrMiss where
// there is none, and where it stays half written.
func (d *Dir) read(ctx context.Context, path string) ([]byte, error) {
	start, torn, replaced := time.Now(), 0, 0
	for {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cache: reading %s: %w", path, contextError(ctx))
		}
		record, err := readOnce(path)
		switch {
		case err == nil:
			return record, nil
		case isAbsent(err):
			return nil, d.missing()
		case errors.Is(err, errReplaced) && replaced < maxReplaced:
			replaced++
			continue
		case !errors.Is(err, errTorn):
			return nil, prefixed(err)
		}
		torn++
		if torn >= tornLooks && time.Since(start) >= tornFor {
			return nil, fmt.Errorf("%w: %s is not complete JSON", ErrCorrupt, path)
		}
		_ = pause(ctx, tornPause) // the loop looks at ctx
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
