//go:build unix

package cache

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/awsoidc/awsoidc/internal/atomicfile"
)

// openFlags makes an open refuse symbolic links, and not wait for the other
// end of a FIFO.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC

// isBusy reports whether a file can't be opened because another process has
// it open.
func isBusy(error) bool { return false }

// checkAccess refuses a file that others could change, now or through another
// of its names, or that has none left (errReplaced).
func checkAccess(file *os.File, info fs.FileInfo) error {
	stat, path, self := info.Sys().(*syscall.Stat_t), file.Name(), os.Geteuid()
	folder, err := newOwner(filepath.Dir(path))
	switch {
	case err != nil:
		return err
	case stat.Nlink == 0:
		return errReplaced
	case stat.Nlink > 1:
		return unsafeFile(path, fmt.Sprintf("is one of %d names of a file (hard links); remove it", stat.Nlink))
	case int(stat.Uid) != self && (folder == nil || int(stat.Uid) != folder.UID):
		return unsafeFile(path, fmt.Sprintf("belongs to user %d, not to user %d; remove it", stat.Uid, self))
	case info.Mode().Perm()&0o022 != 0:
		return unsafeFile(path, fmt.Sprintf("may be written by others (mode %04o); run: chmod 600 %s", info.Mode().Perm(), path))
	}
	return nil
}

// newOwner returns whom to give new files of a folder to: its owner where this
// process is root's, and otherwise nil.
func newOwner(folder string) (*atomicfile.Owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return nil, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	if stat.Uid == 0 {
		return nil, nil
	}
	return &atomicfile.Owner{UID: int(stat.Uid), GID: int(stat.Gid)}, nil
}
