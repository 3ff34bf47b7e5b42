package atomicfile_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/internal/atomicfile"
	"github.com/awsoidc/awsoidc/internal/atomicfile/faultfs"
)

var errStep = errors.New("step failed")

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	for _, data := range []string{"first", "", strings.Repeat("longer than what was reserved", 100), "short"} {
		r := &atomicfile.Replacement{FS: atomicfile.OS{}, Path: path}
		if err := r.Reserve(100); err != nil {
			t.Fatal(err)
		}
		if err := r.Commit([]byte(data)); err != nil {
			t.Fatal(err)
		}
		r.Discard()
		wantFile(t, path, data)
		wantNames(t, filepath.Dir(path), "record.json")
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Fatalf("mode %v, %v; want 0600", fi.Mode(), err)
	}
}

func TestReserveOccupiesSpaceInTheSameFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	r := &atomicfile.Replacement{FS: atomicfile.OS{}, Path: path}
	if err := r.Reserve(5000); err != nil {
		t.Fatal(err)
	}
	temp := names(t, filepath.Dir(path))
	if len(temp) != 1 || !strings.HasPrefix(temp[0], "record.") || !strings.HasSuffix(temp[0], ".tmp") {
		t.Fatalf("files %q, want one record.….tmp", temp)
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(path), temp[0]))
	if err != nil || !bytes.Equal(data, make([]byte, 5000)) {
		t.Fatalf("the reserved file has %d bytes, %v; want 5000 zeros", len(data), err)
	}
	r.Discard()
	wantNames(t, filepath.Dir(path))
	r.Discard()
	if err := r.Commit([]byte("after all")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "after all")
}

// Each step fails once; the same call again succeeds, and nothing remains but
// the new contents.
func TestEachStepFailsOnce(t *testing.T) {
	for _, test := range []struct {
		op       faultfs.Op
		nth      int    // which occurrence fails
		reserved bool   // whether Reserve succeeds
		then     string // the file after the failed call
	}{
		{faultfs.Create, 1, false, "old"},
		{faultfs.Chown, 1, false, "old"},
		{faultfs.Write, 1, false, "old"},
		{faultfs.Write, 2, true, "old"},
		{faultfs.Truncate, 1, true, "old"},
		{faultfs.Sync, 1, true, "old"},
		{faultfs.Close, 1, true, "old"},
		{faultfs.Rename, 1, true, "old"},
		{faultfs.SyncDir, 1, true, "new"},
	} {
		var owner *atomicfile.Owner
		if os.Getuid() >= 0 {
			owner = &atomicfile.Owner{UID: os.Getuid(), GID: os.Getgid()}
		} else if test.op == faultfs.Chown {
			continue // files have no such owner here
		}
		t.Run(string(test.op), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "record.json")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			seen, open := 0, 0
			r := &atomicfile.Replacement{
				FS: faultfs.FS{Before: func(op faultfs.Op) error {
					if op == faultfs.Close { // a Close that fails closes
						open--
					}
					if op == test.op {
						if seen++; seen == test.nth {
							return errStep
						}
					}
					if op == faultfs.Create {
						open++
					}
					return nil
				}},
				Path:  path,
				Owner: owner,
			}
			err := r.Reserve(100)
			if (err == nil) != test.reserved {
				t.Fatalf("Reserve: %v", err)
			}
			if test.reserved {
				err = r.Commit([]byte("new"))
			} else {
				wantNames(t, filepath.Dir(path), "record.json")
			}
			if !errors.Is(err, errStep) {
				t.Fatalf("error %v, want the step's", err)
			}
			wantFile(t, path, test.then)
			if err := r.Commit([]byte("new")); err != nil {
				t.Fatalf("second attempt: %v", err)
			}
			r.Discard()
			wantFile(t, path, "new")
			wantNames(t, filepath.Dir(path), "record.json")
			if open != 0 {
				t.Fatalf("%d files are still open", open)
			}
		})
	}
}

// Where the temporary file is gone by the time of the rename, another one is
// written.
func TestCommitAfterTheTemporaryFileWasRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	created, gone := 0, true
	r := &atomicfile.Replacement{Path: path, FS: faultfs.FS{Before: func(op faultfs.Op) error {
		switch {
		case op == faultfs.Create:
			created++
		case op == faultfs.Rename && gone:
			gone = false
			return fs.ErrNotExist
		}
		return nil
	}}}
	if err := r.Commit([]byte("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := r.Commit([]byte("new")); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "new")
	wantNames(t, filepath.Dir(path), "record.json")
	if created != 2 {
		t.Fatalf("%d temporary files were created, want 2", created)
	}
}

func TestCommitWithoutATemporaryFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	r := &atomicfile.Replacement{Path: path, FS: faultfs.FS{Before: func(op faultfs.Op) error {
		if op == faultfs.Create {
			return errStep
		}
		return nil
	}}}
	if err := r.Commit([]byte("new")); !errors.Is(err, errStep) {
		t.Fatalf("error %v, want that of creating the temporary file", err)
	}
}

// A name that exists, whatever it is, is not written to.
func TestCreateTakesNoExistingName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := (atomicfile.OS{}).Create(path); !errors.Is(err, fs.ErrExist) || f != nil {
		t.Fatalf("Create of an existing file: %v, %v", f, err)
	}
	wantFile(t, path, "other")
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a missing file is no error
		if err := atomicfile.Remove(atomicfile.OS{}, path); err != nil {
			t.Fatal(err)
		}
		wantNames(t, filepath.Dir(path))
	}
	if err := atomicfile.Remove(atomicfile.OS{}, filepath.Join(path, "no", "such", "folder")); err != nil {
		t.Fatal(err)
	}
	for _, step := range []faultfs.Op{faultfs.Remove, faultfs.SyncDir} {
		failing := faultfs.FS{Before: func(op faultfs.Op) error {
			if op == step {
				return errStep
			}
			return nil
		}}
		if err := atomicfile.Remove(failing, path); !errors.Is(err, errStep) {
			t.Fatalf("failed %s: error %v", step, err)
		}
	}
}

func TestRemoveLeftovers(t *testing.T) {
	folder := t.TempDir()
	keep := []string{"a.json", "a.lock", "ab.X.tmp", "b.X.tmp", "a.X.tmp.json"}
	for _, name := range append(keep, "a.X.tmp", "a.Y.tmp") {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := atomicfile.RemoveLeftovers(atomicfile.OS{}, filepath.Join(folder, "a.json")); err != nil {
		t.Fatal(err)
	}
	wantNames(t, folder, keep...)
	if err := atomicfile.RemoveLeftovers(atomicfile.OS{}, filepath.Join(folder, "missing", "a.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("error %v for a missing folder", err)
	}
	if err := atomicfile.RemoveLeftovers(atomicfile.OS{}, filepath.Join(folder, "a.json", "b.json")); err == nil {
		t.Fatal("no error for a file in the place of the folder")
	}
}

// More names than are read at once, and one that can't be removed: the others
// are.
func TestRemoveManyLeftovers(t *testing.T) {
	folder := t.TempDir()
	const many = 600
	for i := range many {
		if err := os.WriteFile(filepath.Join(folder, "a."+strconv.Itoa(i)+".tmp"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	removed := 0
	failing := faultfs.FS{Before: func(op faultfs.Op) error {
		if removed++; removed == 1 {
			return errStep
		}
		return nil
	}}
	if err := atomicfile.RemoveLeftovers(failing, filepath.Join(folder, "a.json")); !errors.Is(err, errStep) {
		t.Fatalf("error %v, want that of the one file", err)
	}
	if left := names(t, folder); len(left) != 1 {
		t.Fatalf("%d files are left, want 1", len(left))
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Fatalf("file holds %.40q, %v; want %.40q", got, err, want)
	}
}

func wantNames(t *testing.T, folder string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := names(t, folder); !slices.Equal(got, want) {
		t.Fatalf("folder holds %q, want %q", got, want)
	}
}

func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
