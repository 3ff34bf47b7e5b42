package cache_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Root in a container and the user whose folder is mounted there take turns.
func TestRootAndUserShareADir(t *testing.T) {
	needRoot(t)
	const user = 12345
	// Go's own temporary folders are closed to other users.
	top, err := os.MkdirTemp("", "cache")
	check(t, err)
	defer os.RemoveAll(top)
	check(t, os.Chmod(top, 0o755))
	folder := filepath.Join(top, "home")
	check(t, os.Mkdir(folder, 0o700))
	check(t, os.Chown(folder, user, user))

	asUser := func() *exec.Cmd {
		cmd := child("increment", folder, 1)
		cmd.Path = "/proc/self/exe" // this program, whose own folder is closed too
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		return cmd
	}

	d := newDir(t, folder)
	for n := 1; n <= 4; n += 2 {
		check(t, d.Update(t.Context(), "key", increment))
		if out, err := asUser().CombinedOutput(); err != nil {
			t.Fatalf("the user's process: %v\n%s", err, out)
		}
		want(t, d, "key", fmt.Sprintf(`{"n":%d}`, n+1))
	}
	// The user is not root: root's files are foreign.
	check(t, os.Chown(d.Filename("key"), 0, 0))
	check(t, os.Chmod(d.Filename("key"), 0o644))
	if out, err := asUser().CombinedOutput(); err == nil || !strings.Contains(string(out), "belongs to user 0, not to user 12345") {
		t.Errorf("the user's process took root's file: %v\n%s", err, out)
	}
}
