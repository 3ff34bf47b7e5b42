//go:build unix && !aix && !solaris

package cache_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/internal/atomicfile/faultfs"
)

// unsafeFiles makes, under the name path, what a Dir must refuse. Each returns
// words that the error must hold.
func unsafeFiles() map[string]func(t *testing.T, path string) []string {
	const record = `{"accessToken":"secret"}`
	return map[string]func(t *testing.T, path string) []string{
		"symbolic link": func(t *testing.T, path string) []string {
			writeFile(t, path+".target", record)
			check(t, os.Symlink(path+".target", path))
			return []string{"not a regular file"}
		},
		"dangling link": func(t *testing.T, path string) []string {
			check(t, os.Symlink(path+".missing", path))
			return []string{"not a regular file"}
		},
		"hard link": func(t *testing.T, path string) []string {
			writeFile(t, path+".target", record)
			check(t, os.Link(path+".target", path))
			return []string{"hard links"}
		},
		"FIFO": func(t *testing.T, path string) []string {
			check(t, syscall.Mkfifo(path, 0o600))
			return []string{"not a regular file"}
		},
		"socket": func(t *testing.T, path string) []string {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
			check(t, err)
			defer syscall.Close(fd)
			t.Chdir(filepath.Dir(path)) // a socket's path must be short
			check(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: filepath.Base(path)}))
			return []string{"not a regular file"}
		},
		"folder": func(t *testing.T, path string) []string {
			check(t, os.Mkdir(path, 0o700))
			return []string{"not a regular file"}
		},
		"group-writable": func(t *testing.T, path string) []string {
			writeFile(t, path, record)
			check(t, os.Chmod(path, 0o620))
			return []string{"mode 0620", "run: chmod 600 " + path}
		},
		"writable by all": func(t *testing.T, path string) []string {
			writeFile(t, path, record)
			check(t, os.Chmod(path, 0o602))
			return []string{"mode 0602", "run: chmod 600 " + path}
		},
	}
}

func TestDirRefusesUnsafeRecords(t *testing.T) {
	for name, create := range unsafeFiles() {
		t.Run(name, func(t *testing.T) {
			d := newDir(t, t.TempDir())
			file := d.Filename("key")
			words := append(create(t, file), file)
			before := describe(t, filepath.Dir(file))
			_, err := d.Get(t.Context(), "key")
			wantError(t, err, cache.ErrUnsafe, words...)
			err = d.Update(t.Context(), "key", notCalled(t))
			wantError(t, err, cache.ErrUnsafe, words...)
			check(t, os.Remove(strings.TrimSuffix(file, ".json")+".lock"))
			if after := describe(t, filepath.Dir(file)); after != before {
				t.Errorf("the folder was\n%sand is\n%s", before, after)
			}
			put(t, d, "other", `{}`) // other records are not concerned
		})
	}
	t.Run("too long", func(t *testing.T) {
		d := newDir(t, t.TempDir())
		writeFile(t, d.Filename("key"), `{"n":"`+strings.Repeat("x", cache.MaxRecordBytes)+`"}`)
		_, err := d.Get(t.Context(), "key")
		wantError(t, err, cache.ErrUnsafe, d.Filename("key"), "1048576")
		wantError(t, d.Update(t.Context(), "key", notCalled(t)), cache.ErrUnsafe)
	})
}

func TestDirRefusesUnsafeLocks(t *testing.T) {
	for name, create := range unsafeFiles() {
		t.Run(name, func(t *testing.T) {
			d := newDir(t, t.TempDir())
			lock := strings.TrimSuffix(d.Filename("key"), ".json") + ".lock"
			words := append(create(t, lock), lock)
			before := describe(t, filepath.Dir(lock))
			err := d.Update(t.Context(), "key", notCalled(t))
			wantError(t, err, cache.ErrLock, words...)
			wantError(t, err, cache.ErrUnsafe)
			if after := describe(t, filepath.Dir(lock)); after != before {
				t.Errorf("the folder was\n%sand is\n%s", before, after)
			}
		})
	}
}

// What others may only read is fine, and so is a link on the way to the folder.
func TestDirAccepts(t *testing.T) {
	real, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(real, link))
	d := newDir(t, link)
	writeFile(t, d.Filename("key"), `{"n":1}`)
	check(t, os.Chmod(d.Filename("key"), 0o644))
	want(t, d, "key", `{"n":1}`)
	put(t, d, "key", `{"n":2}`)
	if mode := stat(t, d.Filename("key")).Mode(); mode != 0o600 {
		t.Errorf("the new record's mode is %v", mode)
	}
}

func TestDirModes(t *testing.T) {
	top := t.TempDir()
	check(t, os.Chmod(top, 0o755))
	d := newDir(t, filepath.Join(top, "a", "b"))
	err := d.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
		wantModes(t, top)
		return []byte(`{}`), nil
	})
	check(t, err)
	wantModes(t, top)
}

func wantModes(t *testing.T, top string) {
	t.Helper()
	check(t, filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == top {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if info, err := entry.Info(); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode(), err, want)
		}
		return nil
	}))
}

// As root, files of the folder's owner are accepted, those of a third user are
// not, and everything new belongs to the folder's owner.
func TestDirAsRoot(t *testing.T) {
	const owner, third = 12345, 54321
	needRoot(t)
	top := t.TempDir()
	check(t, os.Chown(top, owner, owner))
	d := newDir(t, filepath.Join(top, "a", "b"))
	err := d.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
		wantOwner(t, top, owner)
		return []byte(`{"n":1}`), nil
	})
	check(t, err)
	wantOwner(t, top, owner)
	want(t, d, "key", `{"n":1}`)

	// Left by root's own use of another tool, or by a process killed early.
	lock := strings.TrimSuffix(d.Filename("key"), ".json") + ".lock"
	check(t, os.Chown(d.Filename("key"), 0, 0))
	check(t, os.Chown(lock, 0, 0))
	put(t, d, "key", `{"n":2}`)
	wantOwner(t, top, owner)

	// A lock file that is not empty was made by somebody else.
	other := strings.TrimSuffix(d.Filename("other"), ".json") + ".lock"
	writeFile(t, other, "contents")
	put(t, d, "other", `{}`)
	if uid := stat(t, other).Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("root's file was given to user %d", uid)
	}

	check(t, os.Chown(d.Filename("key"), third, third))
	_, err = d.Get(t.Context(), "key")
	wantError(t, err, cache.ErrUnsafe, d.Filename("key"), "user 54321")
	wantError(t, d.Update(t.Context(), "key", notCalled(t)), cache.ErrUnsafe)

	check(t, os.Chown(d.Filename("key"), owner, owner))
	check(t, os.Chown(lock, third, third))
	err = d.Update(t.Context(), "key", notCalled(t))
	wantError(t, err, cache.ErrLock, lock, "user 54321")
	wantError(t, err, cache.ErrUnsafe)
}

// Where files can't be given to the folder's owner, nothing is written that
// would lock that owner out.
func TestDirAsRootThatCannotGiveFilesAway(t *testing.T) {
	needRoot(t)
	d := newDir(t, t.TempDir())
	check(t, os.Chown(filepath.Dir(d.Filename("key")), 12345, 12345))
	put(t, d, "key", `{"n":1}`)
	fault := &diskFault{op: faultfs.Chown}
	fault.left.Store(forever)
	d.SetFS(fault.fs())
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Update(ctx, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		wantError(t, cache.NotWritable(ctx), errDisk)
		cancel()
		return []byte(`{"n":2}`), nil
	})
	wantError(t, err, cache.ErrNotWritten)
	want(t, d, "key", `{"n":1}`)
	wantExtensions(t, filepath.Dir(d.Filename("key")), ".json", ".lock")
}

// A folder of root's own holds only root's files.
func TestDirRefusesForeignFilesInItsOwnFolder(t *testing.T) {
	needRoot(t)
	d := newDir(t, t.TempDir())
	put(t, d, "key", `{}`)
	check(t, os.Chown(d.Filename("key"), 12345, 12345))
	_, err := d.Get(t.Context(), "key")
	wantError(t, err, cache.ErrUnsafe, "user 12345", "user 0")
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away and become another user")
	}
}

func wantOwner(t *testing.T, top string, uid uint32) {
	t.Helper()
	check(t, filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != uid || stat.Gid != uid {
			t.Errorf("%s belongs to %d:%d, want %d", path, stat.Uid, stat.Gid, uid)
		}
		return nil
	}))
}

// describe lists a folder with modes and contents.
func describe(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	check(t, err)
	var b strings.Builder
	for _, entry := range entries {
		info, err := entry.Info()
		check(t, err)
		content := ""
		if info.Mode().IsRegular() {
			raw, err := os.ReadFile(filepath.Join(folder, entry.Name()))
			check(t, err)
			content = string(raw)
		}
		fmt.Fprintln(&b, entry.Name(), info.Mode(), content)
	}
	return b.String()
}

// Somebody removed the lock file, or the whole folder: others may have had the
// record since, and nothing is written.
func TestDirThatLosesItsLock(t *testing.T) {
	d := newDir(t, filepath.Join(t.TempDir(), "folder"))
	folder := filepath.Dir(d.Filename("key"))
	put(t, d, "key", `{"n":1}`)
	err := d.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
		check(t, os.Remove(strings.TrimSuffix(d.Filename("key"), ".json")+".lock"))
		check(t, newDir(t, folder).Update(t.Context(), "key", increment))
		return []byte(`{"n":9}`), nil
	})
	wantError(t, err, cache.ErrLost, ".lock was removed")
	want(t, d, "key", `{"n":2}`)

	err = d.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
		check(t, os.RemoveAll(folder))
		return []byte(`{"n":9}`), nil
	})
	wantError(t, err, cache.ErrLost)
	if got := names(t, folder); got != nil {
		t.Errorf("the folder is back, with %q", got)
	}
	check(t, d.Update(t.Context(), "key", increment))
	want(t, d, "key", `{"n":1}`)
}
