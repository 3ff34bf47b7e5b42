package cache_test

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
)

// The environment of a child process of the tests.
const (
	childRole   = "CACHE_TEST_ROLE"
	childFolder = "CACHE_TEST_FOLDER"
	childCount  = "CACHE_TEST_COUNT"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := runChild(role); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is this program in another role, on a folder.
func child(role, folder string, count int) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childFolder+"="+folder, childCount+"="+strconv.Itoa(count),
		"GORACE=atexit_sleep_ms=0") // or it waits a second at its end, where it is built with -race
	return cmd
}

func runChild(role string) error {
	d, err := cache.NewDir(os.Getenv(childFolder))
	if err != nil {
		return err
	}
	count, err := strconv.Atoi(os.Getenv(childCount))
	if err != nil {
		return err
	}
	switch role {
	case "increment": // as often as told, and say each time
		for range count {
			if err := d.Update(context.Background(), "key", increment); err != nil {
				return err
			}
			fmt.Println("done")
		}
		return nil
	case "hold": // an update that lasts until standard input ends
		return d.Update(context.Background(), "key", func(context.Context, []byte) ([]byte, error) {
			fmt.Println("held")
			_, err := io.Copy(io.Discard, os.Stdin)
			return []byte(`{"n":-1}`), err
		})
	case "refresh":
		return refreshInChild(d)
	case "fips":
		return useInFIPSMode(d)
	}
	return fmt.Errorf("no role %q", role)
}

// increment is an update function: {"n":1}, {"n":2} and so on.
func increment(_ context.Context, old []byte) ([]byte, error) {
	var counter struct {
		N int `json:"n"`
	}
	if old != nil {
		if err := json.Unmarshal(old, &counter); err != nil {
			return nil, err
		}
	}
	counter.N++
	return json.Marshal(counter)
}

func TestProcessesExcludeEachOther(t *testing.T) {
	const processes, each = 4, 25
	folder := filepath.Join(t.TempDir(), "created", "by", "the", "first")
	results := make(chan error)
	for range processes {
		cmd := child("increment", folder, each)
		go func() {
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			results <- err
		}()
	}
	for range processes {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	want(t, newDir(t, folder), "key", fmt.Sprintf(`{"n":%d}`, processes*each))
	wantExtensions(t, folder, ".json", ".lock")
}

// A process that is killed while it holds the lock leaves the old record, and
// space that the next holder frees.
func TestKilledHolderFreesTheLock(t *testing.T) {
	d := newDir(t, t.TempDir())
	folder := filepath.Dir(d.Filename("key"))
	put(t, d, "key", `{"n":1}`)
	cmd, _ := start(t, child("hold", folder, 0))
	wantExtensions(t, folder, ".json", ".lock", ".tmp")

	ctx, cancel := context.WithCancel(t.Context())
	waiter := make(chan error)
	go func() {
		waiter <- d.Update(ctx, "key", func(context.Context, []byte) ([]byte, error) {
			return nil, errors.New("ran while another process holds the lock")
		})
	}()
	cancel()
	wantError(t, <-waiter, cache.ErrLockTimeout)
	want(t, d, "key", `{"n":1}`)

	cmd.Process.Kill()
	cmd.Wait()
	if err := d.Update(t.Context(), "key", increment); err != nil {
		t.Fatal(err)
	}
	want(t, d, "key", `{"n":2}`)
	wantExtensions(t, folder, ".json", ".lock")
}

// Whenever a writing process is killed, the record is one that it wrote.
func TestKilledWriterLeavesAGoodRecord(t *testing.T) {
	d := newDir(t, t.TempDir())
	folder := filepath.Dir(d.Filename("key"))
	count := func() (n int) {
		record, err := d.Get(t.Context(), "key")
		if err != nil {
			t.Fatal(err)
		}
		var counter struct{ N int }
		if err := json.Unmarshal(record, &counter); err != nil {
			t.Fatalf("%q: %v", record, err)
		}
		return counter.N
	}
	atLeast := 0
	for range 20 {
		cmd, lines := start(t, child("increment", folder, 1_000_000))
		reported := 1
		for range rand.N(20) {
			if !lines.Scan() {
				t.Fatal("the child ended by itself")
			}
			reported++
		}
		cmd.Process.Kill()
		for lines.Scan() {
			reported++
		}
		cmd.Wait()
		atLeast += reported
		n := count()
		if n < atLeast || n > atLeast+1 { // it may have been killed before it could say
			t.Fatalf("the counter is %d after %d reported increments", n, atLeast)
		}
		if err := d.Update(t.Context(), "key", increment); err != nil {
			t.Fatal(err)
		}
		atLeast = n + 1
		wantExtensions(t, folder, ".json", ".lock")
	}
}

// start starts cmd, waits for its first line, and kills it with the test.
func start(t *testing.T, cmd *exec.Cmd) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		stdin.Close()
	})
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		t.Fatal("the child ended without a word")
	}
	if line := lines.Text(); line != "held" && line != "done" {
		t.Fatalf("the child says %q", line)
	}
	return cmd, lines
}

// In a process that may use FIPS 140-3 algorithms only, SHA-1 is refused, and
// file names are all the same the AWS CLI's.
func TestDirInFIPSMode(t *testing.T) {
	folder := t.TempDir()
	cmd := child("fips", folder, 0)
	cmd.Env = append(cmd.Env, "GODEBUG=fips140=only")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want(t, newDir(t, folder), "my-sso", `{"n":1}`)
}

func useInFIPSMode(d *cache.Dir) error {
	if !refusesSHA1() {
		return errors.New("SHA-1 works: this process is not in FIPS mode")
	}
	if name := filepath.Base(d.Filename("my-sso")); !strings.HasPrefix(name, "0ad374308c5a4e22f723adf10145eafad7c4031c") {
		return fmt.Errorf("the file's name is %s", name)
	}
	if err := d.Update(context.Background(), "my-sso", increment); err != nil {
		return err
	}
	if record, err := d.Get(context.Background(), "my-sso"); string(record) != `{"n":1}` {
		return fmt.Errorf("Get: %q, %w", record, err)
	}
	if !refusesSHA1() {
		return errors.New("SHA-1 works after a Dir used it")
	}
	return nil
}

func refusesSHA1() (refused bool) {
	defer func() { refused = recover() != nil }()
	sha1.Sum(nil)
	return false
}
