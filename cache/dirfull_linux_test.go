package cache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/internal/atomicfile/faultfs"
)

// On a disk without space the function is told; where the space was reserved,
// its record is written although the disk has filled up meanwhile.
func TestDirOnAFullDisk(t *testing.T) {
	folder, mounted := mountSmallDisk(t)
	if !mounted {
		testInjectedFullDisk(t)
		return
	}
	record := func(n string) string { return `{"n":"` + n + strings.Repeat("x", 12_000) + `"}` }
	d := newDir(t, filepath.Join(folder, "cache"))
	filler := filepath.Join(folder, "filler")
	put(t, d, "key", record("1"))

	ctx, cancel := context.WithCancel(t.Context())
	err := d.Update(ctx, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		check(t, cache.NotWritable(ctx))
		fill(t, filler)
		cancel() // one attempt to write must do
		return []byte(record("2")), nil
	})
	check(t, err)
	want(t, d, "key", record("2"))

	synctest.Test(t, func(t *testing.T) {
		fill(t, filler)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := d.Update(ctx, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
			wantError(t, cache.NotWritable(ctx), syscall.ENOSPC, folder)
			return []byte(record("3")), nil
		})
		wantError(t, err, cache.ErrNotWritten)
		wantError(t, err, syscall.ENOSPC)
		want(t, d, "key", record("2"))

		time.AfterFunc(10*time.Second, func() { os.Remove(filler) })
		put(t, d, "key", record("3")) // repeated until there is space
		want(t, d, "key", record("3"))
	})
	wantExtensions(t, filepath.Join(folder, "cache"), ".json", ".lock")
}

// testInjectedFullDisk is for where nothing can be mounted.
func testInjectedFullDisk(t *testing.T) {
	d := newDir(t, t.TempDir())
	put(t, d, "key", `{"n":1}`)
	d.SetFS(faultfs.FS{Before: func(op faultfs.Op) error {
		if op == faultfs.Write {
			return syscall.ENOSPC
		}
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Update(ctx, "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		wantError(t, cache.NotWritable(ctx), syscall.ENOSPC)
		cancel()
		return []byte(`{"n":2}`), nil
	})
	wantError(t, err, cache.ErrNotWritten)
	wantError(t, err, syscall.ENOSPC)
	want(t, d, "key", `{"n":1}`)
}

// On a read-only file system records can be read, and not locked.
func TestDirOnAReadOnlyMount(t *testing.T) {
	folder, mounted := mountSmallDisk(t)
	if !mounted {
		return // a file in the folder's place is the case that needs no mount
	}
	d, empty := newDir(t, folder), newDir(t, filepath.Join(folder, "missing"))
	put(t, d, "key", `{"n":1}`)
	check(t, syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for _, dir := range []*cache.Dir{d, empty} {
		err := dir.Update(t.Context(), "key", notCalled(t))
		wantError(t, err, cache.ErrLock, "in folder "+filepath.Dir(dir.Filename("key")), "writable")
		wantError(t, err, syscall.EROFS)
	}
	want(t, d, "key", `{"n":1}`)
	wantMiss(t, empty, "key")
}

// mountSmallDisk mounts a file system of 64 KiB for the test's duration, where
// that is permitted.
func mountSmallDisk(t *testing.T) (folder string, mounted bool) {
	t.Helper()
	folder = t.TempDir()
	err := syscall.Mount("none", folder, "tmpfs", 0, "size=64k,mode=700")
	if errors.Is(err, os.ErrPermission) {
		return "", false
	}
	check(t, err)
	t.Cleanup(func() { check(t, syscall.Unmount(folder, 0)) })
	return folder, true
}

// fill writes to path until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	check(t, err)
	defer file.Close()
	for {
		if _, err := file.Write(make([]byte, 4096)); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			return
		}
	}
}
