package filelock_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/awsoidc/awsoidc/internal/filelock"
)

// childFile makes the test binary lock the file that it names, say so, and
// hold the lock until it is killed.
const childFile = "FILELOCK_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			panic(err)
		}
		if ok, err := filelock.Try(f); !ok || err != nil {
			panic(err)
		}
		os.Stdout.WriteString("locked\n")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestTwoOpensExcludeEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	a, b := open(t, path), open(t, path)
	if !try(t, a) {
		t.Fatal("a free lock was not taken")
	}
	if try(t, b) {
		t.Fatal("both opens hold the lock")
	}
	if err := filelock.Unlock(a); err != nil {
		t.Fatal(err)
	}
	if !try(t, b) {
		t.Fatal("the lock was not free after Unlock")
	}
	if try(t, a) {
		t.Fatal("both opens hold the lock")
	}
	b.Close()
	if !try(t, a) {
		t.Fatal("the lock was not free after Close")
	}
}

func TestClosedFile(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "lock"))
	f.Close()
	if ok, err := filelock.Try(f); ok || err == nil {
		t.Fatalf("Try of a closed file: %v, %v", ok, err)
	}
	if filelock.Unlock(f) == nil {
		t.Fatal("Unlock of a closed file succeeded")
	}
}

func TestKilledProcessFreesItsLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFile+"="+path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
	f := open(t, path)
	if try(t, f) {
		t.Fatal("the lock was taken although another process holds it")
	}
	cmd.Process.Kill()
	cmd.Wait()
	if !try(t, f) {
		t.Fatal("the lock of a killed process is still held")
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func try(t *testing.T, f *os.File) bool {
	t.Helper()
	ok, err := filelock.Try(f)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}
