// Package filelock takes the operating system's advisory lock of an open file.
//
// A lock belongs to one open of a file: two opens exclude each other in one
// process just as in two. The system frees it when the file is closed, and so
// when its process is killed.
package filelock

import (
	"io/fs"
	"os"
)

// Try takes f's exclusive lock if nobody else holds it, and reports whether it
// did. It never waits. The error wraps errors.ErrUnsupported where the
// platform or the file system has no such locks.
//
// f must be open for writing: network file systems refuse an exclusive lock
// otherwise.
func Try(f *os.File) (bool, error) {
	locked := false
	err := control(f, "lock", func(fd uintptr) (err error) {
		locked, err = lock(fd)
		return err
	})
	return locked, err
}

// Unlock frees f's lock. Closing f frees it too, but possibly later: a child
// process that is just being started holds a copy of f for an instant.
func Unlock(f *os.File) error { return control(f, "unlock", unlock) }

func control(f *os.File, op string, call func(fd uintptr) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) { callErr = call(fd) })
	if err == nil {
		err = callErr
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}
