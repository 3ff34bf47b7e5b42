package filelock_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/awsoidc/awsoidc/internal/filelock"
)

// What the system says of a lock is returned. A file that is open as a name only
// can't be locked.
func TestErrorOfTheSystem(t *testing.T) {
	const oPath = 0x200000 // O_PATH, which package syscall does not have
	path := filepath.Join(t.TempDir(), "lock")
	open(t, path)
	f, err := os.OpenFile(path, oPath, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if ok, err := filelock.Try(f); ok || !errors.Is(err, syscall.EBADF) {
		t.Fatalf("Try: %v, %v; want EBADF", ok, err)
	}
	if err := filelock.Unlock(f); !errors.Is(err, syscall.EBADF) {
		t.Fatalf("Unlock: %v, want EBADF", err)
	}
}
