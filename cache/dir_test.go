package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
)

func TestDirConformance(t *testing.T) {
	t.Run("OneDir", func(t *testing.T) {
		cachetest.Run(t, func(t *testing.T) cache.Store { return newDir(t, t.TempDir()) })
	})
	t.Run("TwoDirs", func(t *testing.T) {
		cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
			path := filepath.Join(t.TempDir(), "not", "yet")
			return newDir(t, path), newDir(t, path)
		})
	})
}

func TestNewDirNeedsAPath(t *testing.T) {
	_, err := cache.NewDir("")
	wantError(t, err, nil, "path is empty")
}

func TestDirOfARelativePathStaysThere(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	d := newDir(t, "sub")
	t.Chdir(t.TempDir())
	put(t, d, "key", `{}`)
	wantExtensions(t, filepath.Join(folder, "sub"), ".json", ".lock")
}

// The names are those that the AWS CLI gave its files.
func TestDirNamesFilesAsTheAWSCLIDoes(t *testing.T) {
	const (
		device = "device"
		pkce   = "pkce"
		legacy = "legacy"
	)
	for _, test := range []struct{ folder, key, word string }{
		{device, "corp", `"accessToken": "aoaEXAMPLEhiTK4KVhMkFr`},
		{device, `{"region": "us-east-1", "scopes": ["sso:account:access"], "session_name": "corp", "startUrl": "https://d-1234567890.awsapps.com/start", "tool": "botocore"}`, `"clientId": "Q0CZqJ7sqp82Kfrq_69uGQ"`},
		{pkce, "corp", `"accessToken": "aoaEXAMPLEznf8kJKbEp4`},
		{pkce, `{"region": "us-east-1", "scopes": ["sso:account:access"], "session_name": "corp", "startUrl": "https://d-1234567890.awsapps.com/start", "tool": "botocore"}`, `"grantTypes": ["authorization_code", "refresh_token"]`},
		{legacy, "https://d-0987654321.awsapps.com/start", `"region": "us-west-2"`},
		{legacy, `{"region": "us-west-2", "scopes": null, "session_name": null, "startUrl": "https://d-0987654321.awsapps.com/start", "tool": "botocore"}`, `"clientId": "wQsv3fuCqlCbLdVqr-thVQ"`},
	} {
		d := newDir(t, copyFixture(t, test.folder))
		record, err := d.Get(t.Context(), test.key)
		if err != nil || !strings.Contains(string(record), test.word) {
			t.Errorf("%s, key %s: %v, and not %s", test.folder, test.key, err, test.word)
		}
	}

	d := newDir(t, "folder")
	if !d.AWSCLI() {
		t.Error("AWSCLI() is false")
	}
	for key, name := range map[string]string{
		"my-sso": "0ad374308c5a4e22f723adf10145eafad7c4031c.json",
		`{"region": "us-east-1", "scopes": ["sso:account:access"], "session_name": "my-sso", "startUrl": "https://d-1234567890.awsapps.com/start", "tool": "botocore"}`: "a8343d65418848d0bc13a5f25cbb32508ceec5d1.json",
		`{"accountId":"123456789012","roleName":"Admin","sessionName":"my-sso"}`:                                                                                        "c30b99aca80d8f5b3178e353f05b2abcc9a4ccd3.json",
	} {
		if got := d.Filename(key); filepath.Base(got) != name || !filepath.IsAbs(got) {
			t.Errorf("Filename(%q) = %s, want …/%s", key, got, name)
		}
	}
}

// copyFixture copies what the AWS CLI wrote: a checkout's files have the mode
// that its user's umask gave them.
func copyFixture(t *testing.T, name string) string {
	t.Helper()
	from, to := filepath.Join("testdata", "awscli", name), t.TempDir()
	for _, file := range names(t, from) {
		content, err := os.ReadFile(filepath.Join(from, file))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(to, file), string(content))
	}
	return to
}

// While a function runs, the folder holds the lock and the reserved space, and
// afterwards the lock: no name that the AWS CLI would take for a record.
func TestDirFiles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a", "b")
	d := newDir(t, folder)
	wantMiss(t, d, "key")
	if got := names(t, folder); got != nil {
		t.Fatalf("Get created %q", got)
	}
	err := d.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		wantExtensions(t, folder, ".lock", ".tmp")
		wantReserved(t, folder, 16<<10)
		if err := cache.NotWritable(ctx); err != nil {
			t.Errorf("NotWritable: %v", err)
		}
		return []byte(`{"n":"` + strings.Repeat("x", 20_000) + `"}`), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantExtensions(t, folder, ".json", ".lock")
	err = d.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
		wantExtensions(t, folder, ".json", ".lock", ".tmp")
		wantReserved(t, folder, 40_000)
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantExtensions(t, folder, ".lock")
	base := strings.TrimSuffix(filepath.Base(d.Filename("key")), ".json")
	if got := names(t, folder); got[0] != base+".lock" {
		t.Errorf("the lock is %s, want %s.lock", got[0], base)
	}
}

func wantReserved(t *testing.T, folder string, size int64) {
	t.Helper()
	for _, name := range names(t, folder) {
		if filepath.Ext(name) != ".tmp" {
			continue
		}
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Size() < size {
			t.Errorf("%d bytes reserved, %v; want %d", info.Size(), err, size)
		}
	}
}

// A record that is adopted, or not replaced, may have been written by a tool
// that takes no lock.
func TestDirDoesNotOverwriteWhenAdopting(t *testing.T) {
	d := newDir(t, t.TempDir())
	put(t, d, "key", `{"n":1}`)
	before := stat(t, d.Filename("key"))
	adopt := func(_ context.Context, old []byte) ([]byte, error) { return old, nil }
	if err := d.Update(t.Context(), "key", adopt); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, stat(t, d.Filename("key"))) {
		t.Error("an equal record was written")
	}
	for _, fn := range []func(context.Context, []byte) ([]byte, error){
		adopt,
		func(context.Context, []byte) ([]byte, error) { return nil, errors.New("something else") },
	} {
		d.Update(t.Context(), "key", func(ctx context.Context, old []byte) ([]byte, error) {
			writeFile(t, d.Filename("key"), `{"foreign":1}`)
			return fn(ctx, old)
		})
		want(t, d, "key", `{"foreign":1}`)
		put(t, d, "key", `{"n":1}`)
	}
}

func stat(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestDirTakesOnlyJSON(t *testing.T) {
	d := newDir(t, t.TempDir())
	put(t, d, "key", `{"n":1}`)
	for _, record := range []string{"text", `{"n":`, `{"n":1}}`, " "} {
		err := d.Update(t.Context(), "key", returning(record))
		wantError(t, err, cache.ErrNotWritten, "JSON", d.Filename("key"))
		want(t, d, "key", `{"n":1}`)
	}
}

// A file that is half written is waited for, and then a miss; it stays as it
// is until somebody writes it.
func TestDirWaitsForAHalfWrittenFile(t *testing.T) {
	for _, half := range []string{"", `{"n":`, `{"n":1}}`, "\x00\x00"} {
		synctest.Test(t, func(t *testing.T) {
			d := newDir(t, t.TempDir())
			writeFile(t, d.Filename("key"), half)
			time.AfterFunc(150*time.Millisecond, func() { writeFile(t, d.Filename("key"), `{"n":2}`) })
			want(t, d, "key", `{"n":2}`)

			writeFile(t, d.Filename("key"), half)
			start := time.Now()
			wantMiss(t, d, "key")
			if waited := time.Since(start); waited < 200*time.Millisecond || waited > 220*time.Millisecond {
				t.Errorf("waited %v, want 200 to 220 ms", waited)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if _, err := d.Get(ctx, "key"); errors.Is(err, cache.ErrMiss) {
				t.Errorf("Get: %v although the context ended before that was known", err)
			} else {
				wantError(t, err, context.DeadlineExceeded, d.Filename("key"))
			}
			for _, fn := range []func(context.Context, []byte) ([]byte, error){
				deleting,
				func(context.Context, []byte) ([]byte, error) { return nil, errors.New("something") },
			} {
				d.Update(t.Context(), "key", func(ctx context.Context, old []byte) ([]byte, error) {
					if old != nil {
						t.Errorf("the function got %q, want nil", old)
					}
					return fn(ctx, old)
				})
				if got, err := os.ReadFile(d.Filename("key")); string(got) != half || err != nil {
					t.Fatalf("the file became %q, %v", got, err)
				}
			}
			put(t, d, "key", `{"n":3}`)
			want(t, d, "key", `{"n":3}`)
		})
	}
}

// A file where a folder should be is named, and nothing runs.
func TestDirWhereAFileIsInTheWay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "not a folder")
	for _, folder := range []string{file, filepath.Join(file, "a"), filepath.Join(file, "a", "b")} {
		d := newDir(t, folder)
		_, err := d.Get(t.Context(), "key")
		wantError(t, err, nil, file, "is a file", "move it away")
		if errors.Is(err, cache.ErrMiss) {
			t.Errorf("Get: %v, which looks like a miss", err)
		}
		err = d.Update(t.Context(), "key", notCalled(t))
		wantError(t, err, cache.ErrLock, folder, file, "is a file", "move it away")
	}
	if got, err := os.ReadFile(file); string(got) != "not a folder" || err != nil {
		t.Errorf("the file became %q, %v", got, err)
	}
}

func TestDirLockTimeoutNamesTheLock(t *testing.T) {
	a, folder := newDir(t, t.TempDir()), ""
	folder = filepath.Dir(a.Filename("key"))
	b := newDir(t, folder)
	err := a.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return nil, b.Update(ctx, "key", notCalled(t))
	})
	wantError(t, err, cache.ErrLockTimeout, strings.TrimSuffix(a.Filename("key"), ".json")+".lock")
	wantError(t, err, context.DeadlineExceeded)
}

// The temporary files of killed processes go, those of other records stay.
func TestDirRemovesLeftovers(t *testing.T) {
	d := newDir(t, t.TempDir())
	stem := func(key string) string { return strings.TrimSuffix(d.Filename(key), ".json") }
	for _, path := range []string{stem("key") + ".A.tmp", stem("key") + ".B.tmp", stem("other") + ".C.tmp"} {
		writeFile(t, path, "left")
	}
	put(t, d, "key", `{}`)
	got := names(t, filepath.Dir(stem("key")))
	kept := []string{filepath.Base(stem("key")) + ".json", filepath.Base(stem("key")) + ".lock", filepath.Base(stem("other")) + ".C.tmp"}
	slices.Sort(kept)
	if !slices.Equal(got, kept) {
		t.Errorf("the folder holds %q, want %q", got, kept)
	}
}

// Goroutines that share a Dir wait without polling, in virtual time too.
func TestDirInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDir(t, t.TempDir())
		start, done := time.Now(), make(chan error)
		for range 5 {
			go func() {
				done <- d.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
					time.Sleep(time.Minute)
					return []byte(`{}`), nil
				})
			}()
		}
		for range 5 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(start); d != 5*time.Minute {
			t.Errorf("five updates of a minute took %v", d)
		}
	})
}

// A tool that truncates and writes in place, in pieces and without a lock,
// makes no reader see a record that it never wrote.
func TestDirBesideAToolThatWritesInPlace(t *testing.T) {
	d := newDir(t, t.TempDir())
	version := func(n int) string {
		return fmt.Sprintf(`{"first":%d,"pad":"%s","last":%d}`, n, strings.Repeat("x", n*7919%3000), n)
	}
	writeFile(t, d.Filename("key"), version(0))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			file, err := os.OpenFile(d.Filename("key"), os.O_WRONLY|os.O_TRUNC, 0)
			if err != nil {
				t.Error(err)
				return
			}
			whole := version(n)
			file.WriteString(whole[:len(whole)/2])
			runtime.Gosched()
			file.WriteString(whole[len(whole)/2:])
			file.Close()
			time.Sleep(100 * time.Microsecond) // about as long as it is torn
		}
	}()
	for range 300 {
		record, err := d.Get(t.Context(), "key")
		if errors.Is(err, cache.ErrMiss) {
			continue // the writer was not given the processor for 200 ms
		}
		var got struct{ First, Last int }
		if err == nil {
			err = json.Unmarshal(record, &got)
		}
		if err != nil || string(record) != version(got.First) {
			t.Errorf("Get: %v, a record that begins with %d and ends with %d", err, got.First, got.Last)
			break
		}
	}
	close(stop)
	<-stopped
}
