package program

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestFullDisk(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		err := fmt.Errorf("not saved: %w", &os.PathError{Op: "write", Path: "x", Err: cause})
		got := advise(err)
		if want := err.Error() + "; the disk is full: free some space on it"; got.Error() != want || !errors.Is(got, cause) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	if err := errors.New("another"); advise(err) != err {
		t.Errorf("advice on %v", advise(err))
	}
}
