package atomicfile

import "os"

// FS is the file operations that a Replacement needs.
type FS interface {
	// Create creates a file that must not exist, for writing, with mode 0600.
	Create(path string) (File, error)
	// Rename gives the file from the name to, in place of a file of that name.
	Rename(from, to string) error
	// Remove deletes a file.
	Remove(path string) error
	// SyncDir returns when the names in a folder would survive a power
	// failure, and at once where the system can't promise it.
	SyncDir(path string) error
}

// File is a file that FS.Create created. Its methods are those of os.File.
type File interface {
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Chown(uid, gid int) error
	Sync() error
	Close() error
}

// OS is the operating system's FS.
type OS struct{}

// Create implements FS.
func (OS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err // not f, which would be a File that is not nil
	}
	return f, nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements FS.
func (OS) SyncDir(path string) error { return syncDir(path) }
