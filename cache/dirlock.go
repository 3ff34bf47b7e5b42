package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/awsoidc/awsoidc/internal/filelock"
)

// Pauses between attempts to lock a file.
const (
	firstPoll = time.Millisecond
	lastPoll  = 50 * time.Millisecond
)

// dirLock is the exclusive right to one record of a Dir.
type dirLock struct {
	file   *os.File
	unlock func() // of the goroutines of this Dir
}

// lock waits for the exclusive right to the record whose files begin with
// stem. The error wraps ErrLockTimeout or ErrLock.
func (d *Dir) lock(ctx context.Context, stem string) (*dirLock, error) {
	unlock, err := d.updates.lock(ctx, stem)
	if err != nil {
		return nil, err
	}
	file, err := d.lockFile(ctx, stem+".lock")
	if err != nil {
		unlock()
		return nil, err
	}
	return &dirLock{file, unlock}, nil
}

// check returns ErrLost where somebody removed or replaced the locked file:
// others may then lock its successor.
func (l *dirLock) check() error {
	if isCurrent(l.file) {
		return nil
	}
	return fmt.Errorf("%w: %s was removed", ErrLost, l.file.Name())
}

func (l *dirLock) release() {
	_ = filelock.Unlock(l.file) // closing does so at the latest
	l.file.Close()
	l.unlock()
}

func (d *Dir) lockFile(ctx context.Context, path string) (*os.File, error) {
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		file, err := d.tryLock(path)
		if err != nil {
			return nil, fmt.Errorf("%w in folder %s, which must be writable: %w", ErrLock, d.path, err)
		}
		if file != nil {
			return file, nil
		}
		if err := pause(ctx, wait); err != nil {
			return nil, fmt.Errorf("%w: another process holds %s: %w", ErrLockTimeout, path, err)
		}
	}
}

// tryLock returns the locked file, or nil where somebody else holds the lock.
func (d *Dir) tryLock(path string) (*os.File, error) {
	if err := makeFolder(d.path); err != nil {
		return nil, err
	}
	file, err := openLock(path)
	if errors.Is(err, errReplaced) || errors.Is(err, errTorn) {
		return nil, nil // removed just now, or another process has it open
	}
	if err != nil {
		return nil, err
	}
	locked, err := filelock.Try(file)
	if locked && isCurrent(file) { // or it was removed before it was locked
		return file, nil
	}
	file.Close()
	return nil, err
}

func openLock(path string) (*os.File, error) {
	file, info, err := openChecked(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	owner, err := newOwner(filepath.Dir(path))
	if owner != nil && info.Size() == 0 { // a file with contents is not of our making
		err = file.Chown(owner.UID, owner.GID)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// isCurrent reports whether an open file still has its name.
func isCurrent(file *os.File) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(opened, named)
}

// makeFolder creates a folder of mode 0700, and those above it. As root each is
// given to the owner of the one above.
func makeFolder(path string) error {
	err := checkFolder(path)
	if !isAbsent(err) {
		return err
	}
	parent := filepath.Dir(path)
	if parent == path {
		return err
	}
	if err := makeFolder(parent); err != nil {
		return err
	}
	err = os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return checkFolder(path) // another process was quicker
	}
	if err != nil {
		return err
	}
	owner, err := newOwner(parent)
	if owner != nil {
		err = os.Lchown(path, owner.UID, owner.GID)
	}
	return err
}
