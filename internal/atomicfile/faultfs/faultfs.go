// Package faultfs makes file operations fail, for tests.
package faultfs

import "github.com/awsoidc/awsoidc/internal/atomicfile"

// Op names one file operation.
type Op string

// The operations of atomicfile.FS and atomicfile.File.
const (
	Create   Op = "create"
	Chown    Op = "chown"
	Write    Op = "write"
	Truncate Op = "truncate"
	Sync     Op = "sync"
	Close    Op = "close"
	Rename   Op = "rename"
	Remove   Op = "remove"
	SyncDir  Op = "sync folder"
)

// FS is the operating system's file operations, each of which first asks
// Before. What Before returns is what a failed operation returns: it is not
// carried out, except that a failed write writes half, and a failed Close
// closes.
type FS struct {
	Before func(Op) error
}

// Create implements atomicfile.FS.
func (f FS) Create(path string) (atomicfile.File, error) {
	if err := f.Before(Create); err != nil {
		return nil, err
	}
	file, err := atomicfile.OS{}.Create(path)
	if err != nil {
		return nil, err
	}
	return faultyFile{file, f.Before}, nil
}

// Rename implements atomicfile.FS.
func (f FS) Rename(from, to string) error {
	if err := f.Before(Rename); err != nil {
		return err
	}
	return atomicfile.OS{}.Rename(from, to)
}

// Remove implements atomicfile.FS.
func (f FS) Remove(path string) error {
	if err := f.Before(Remove); err != nil {
		return err
	}
	return atomicfile.OS{}.Remove(path)
}

// SyncDir implements atomicfile.FS.
func (f FS) SyncDir(path string) error {
	if err := f.Before(SyncDir); err != nil {
		return err
	}
	return atomicfile.OS{}.SyncDir(path)
}

type faultyFile struct {
	atomicfile.File
	before func(Op) error
}

func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.before(Write); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.File.WriteAt(p, off)
}

func (f faultyFile) Truncate(size int64) error {
	if err := f.before(Truncate); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f faultyFile) Chown(uid, gid int) error {
	if err := f.before(Chown); err != nil {
		return err
	}
	return f.File.Chown(uid, gid)
}

func (f faultyFile) Sync() error {
	if err := f.before(Sync); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f faultyFile) Close() error {
	err := f.before(Close)
	if closeErr := f.File.Close(); err == nil {
		err = closeErr
	}
	return err
}
