package cache_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
)

// returning is an update function that returns record.
func returning(record string) func(context.Context, []byte) ([]byte, error) {
	return func(context.Context, []byte) ([]byte, error) { return []byte(record), nil }
}

// deleting is an update function that deletes the record.
func deleting(context.Context, []byte) ([]byte, error) { return nil, nil }

// notCalled is an update function that must not be called.
func notCalled(t *testing.T) func(context.Context, []byte) ([]byte, error) {
	return func(context.Context, []byte) ([]byte, error) {
		t.Helper()
		t.Error("the update function ran")
		return nil, nil
	}
}

func put(t *testing.T, s cache.Store, key, record string) {
	t.Helper()
	if err := s.Update(t.Context(), key, returning(record)); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

func want(t *testing.T, s cache.Store, key, record string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); string(got) != record || err != nil {
		t.Fatalf("Get: %.60q, %v; want %.60q", got, err, record)
	}
}

func wantMiss(t *testing.T, s cache.Store, key string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); got != nil || !errors.Is(err, cache.ErrMiss) {
		t.Fatalf("Get: %.60q, %v; want ErrMiss", got, err)
	}
}

// wantError fails the test where err does not wrap target, is more than one
// line, does not begin with the package's name, or lacks one of the words.
func wantError(t *testing.T, err, target error, words ...string) {
	t.Helper()
	if target != nil && !errors.Is(err, target) {
		t.Fatalf("error %v; want one that wraps %q", err, target)
	}
	if err == nil {
		t.Fatal("no error")
	}
	if text := err.Error(); !strings.HasPrefix(text, "cache: ") || strings.Contains(text, "\n") {
		t.Errorf("error %q; want one line that begins with cache:", text)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q lacks %q", err, word)
		}
	}
}

func newDir(t *testing.T, path string) *cache.Dir {
	t.Helper()
	d, err := cache.NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// names returns the names in a folder, sorted; none where there is no folder.
func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// extensions returns those of the names in a folder, sorted.
func extensions(t *testing.T, folder string) []string {
	t.Helper()
	var exts []string
	for _, name := range names(t, folder) {
		exts = append(exts, filepath.Ext(name))
	}
	slices.Sort(exts)
	return exts
}

func wantExtensions(t *testing.T, folder string, want ...string) {
	t.Helper()
	if got := extensions(t, folder); !slices.Equal(got, want) {
		t.Fatalf("the folder holds %q, want %q", got, want)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
