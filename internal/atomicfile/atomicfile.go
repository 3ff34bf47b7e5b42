// Package atomicfile replaces a file's contents in one step, in disk space that
// was reserved before the new contents were known.
//
// A reader sees the old contents or the new ones, and so does whoever looks
// after a crash. The new contents are written to a temporary file in the same
// folder, whose random name ends in ".tmp", and renamed.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Owner is whom a new file is given to.
type Owner struct{ UID, GID int }

// Replacement is one pending replacement of the file Path. Its methods must
// not be called concurrently.
type Replacement struct {
	FS    FS     // required; OS{} is the operating system's
	Path  string // the file to replace; it need not exist, its folder must
	Owner *Owner // nil leaves the file to the process's user

	temp    string // "" where there is none
	file    File   // open while the temporary file is being written
	written bool   // the temporary file is complete and synced
	renamed bool
}

// Reserve creates the temporary file and fills it with size zeros, so that a
// Commit of as many bytes needs no further disk space. After an error nothing
// is reserved.
func (r *Replacement) Reserve(size int) error {
	err := r.create()
	if err == nil {
		_, err = r.file.WriteAt(make([]byte, size), 0)
	}
	if err != nil {
		r.Discard()
	}
	return err
}

// Commit puts data, which need not fit what was reserved, in the file's place,
// and returns when it would survive a power failure.
//
// After an error Commit may be called again with the same data: it goes on from
// the step that failed, with a new temporary file where the old one is not to
// be trusted. An error of the last step leaves data in place already.
func (r *Replacement) Commit(data []byte) error {
	if !r.written && !r.renamed {
		if err := r.write(data); err != nil {
			r.Discard()
			return err
		}
	}
	if !r.renamed {
		if err := r.FS.Rename(r.temp, r.Path); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				r.Discard() // somebody removed it: the next Commit writes another
			}
			return err
		}
		r.temp, r.renamed = "", true
	}
	return r.FS.SyncDir(filepath.Dir(r.Path))
}

// Discard gives the reserved space back. It does nothing after a successful
// Commit, and can be deferred.
func (r *Replacement) Discard() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
	if r.temp != "" {
		r.FS.Remove(r.temp) // RemoveLeftovers gets what remains
		r.temp = ""
	}
	r.written = false
}

// write makes the temporary file hold data and nothing else. It is closed
// before it is renamed: Windows renames no open file.
func (r *Replacement) write(data []byte) error {
	if r.file == nil {
		if err := r.create(); err != nil {
			return err
		}
	}
	// Written over the reserved zeros before these are cut off: cut off first,
	// the space could be lost to another file.
	if _, err := r.file.WriteAt(data, 0); err != nil {
		return err
	}
	if err := r.file.Truncate(int64(len(data))); err != nil {
		return err
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	err := r.file.Close()
	r.file = nil
	r.written = err == nil
	return err
}

func (r *Replacement) create() error {
	temp := tempPrefix(r.Path) + rand.Text() + tempSuffix
	file, err := r.FS.Create(temp)
	if err != nil {
		return err
	}
	r.temp, r.file = temp, file
	if r.Owner != nil {
		return file.Chown(r.Owner.UID, r.Owner.GID)
	}
	return nil
}

// Remove deletes the file path, and returns when it would stay deleted after
// a power failure. A missing file is no error.
func Remove(fsys FS, path string) error {
	if err := fsys.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.SyncDir(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// RemoveLeftovers deletes the temporary files of replacements of path that
// were neither committed nor discarded. The caller must know that no
// Replacement of path is pending in any process.
func RemoveLeftovers(fsys FS, path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	prefix := filepath.Base(tempPrefix(path))
	var failed error
	for {
		names, err := folder.Readdirnames(256)
		for _, name := range names {
			if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, tempSuffix) {
				failed = errors.Join(failed, fsys.Remove(filepath.Join(folder.Name(), name)))
			}
		}
		if err == io.EOF {
			return failed
		}
		if err != nil {
			return err
		}
	}
}

const tempSuffix = ".tmp"

// tempPrefix is path without its extension, so that a temporary file never
// looks like one of the files it replaces.
func tempPrefix(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + "."
}
