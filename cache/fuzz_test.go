package cache_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/awsoidc/awsoidc/cache"
)

// Whatever a file holds, Get returns just that where it is JSON, and otherwise
// an error; the file stays as it is, and can be replaced.
func FuzzDirFile(f *testing.F) {
	for _, seed := range []string{
		"", "{", "{}", "null", " 1 ", `{"a":"` + strings.Repeat("x", 5000) + `"}`, `{"a":1}{"b":2}`, "\xef\xbb\xbf{}", "\x00", `"\ud800"`,
		strings.Repeat("[", 20_000), strings.Repeat(" ", cache.MaxRecordBytes) + "1",
	} {
		f.Add([]byte(seed))
	}
	fixtures, err := filepath.Glob("testdata/awscli/*/*.json")
	if err != nil || len(fixtures) != 6 {
		f.Fatalf("fixtures %q, %v", fixtures, err)
	}
	for _, path := range fixtures {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
		f.Add(content[:len(content)/2])
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		synctest.Test(t, func(t *testing.T) { // an incomplete file is waited for
			d := newDir(t, t.TempDir())
			writeFile(t, d.Filename("key"), string(content))
			record, err := d.Get(t.Context(), "key")
			switch {
			case len(content) > cache.MaxRecordBytes:
				wantError(t, err, cache.ErrUnsafe)
			case json.Valid(content):
				if err != nil || !bytes.Equal(record, content) {
					t.Fatalf("Get: %q, %v", record, err)
				}
			default:
				wantError(t, err, cache.ErrMiss)
			}
			if got, err := os.ReadFile(d.Filename("key")); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("the file became %q, %v", got, err)
			}
			if len(content) > cache.MaxRecordBytes {
				return
			}
			put(t, d, "key", `{"n":1}`)
			want(t, d, "key", `{"n":1}`)
		})
	})
}

// No key leaves the folder, none collides with another, and each holds its
// record.
func FuzzKeys(f *testing.F) {
	f.Add("corp", "Corp")
	f.Add("../../etc/passwd", "/etc/passwd")
	f.Add("https://d-0987654321.awsapps.com/start", "https://d-0987654321.awsapps.com/start/")
	f.Add("\x00", "\xff")
	f.Add("", "a")
	f.Add("a", "a")
	f.Add(strings.Repeat("k", 5000), strings.Repeat("k", 5001))
	f.Fuzz(func(t *testing.T, a, b string) {
		folder := t.TempDir()
		d := newDir(t, folder)
		for _, s := range []cache.Store{d, newLRU(t, 4, 1<<20), cache.Local(newMapKV())} {
			for _, key := range []string{a, b} {
				record := `{"of":1}`
				if key == b {
					record = `{"of":2}`
				}
				err := s.Update(t.Context(), key, returning(record))
				if key == "" {
					wantError(t, err, nil, "empty")
					if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, cache.ErrMiss) {
						t.Errorf("Get of the empty key: %v", err)
					}
					continue
				}
				check(t, err)
				want(t, s, key, record)
			}
			if a != "" && a != b {
				want(t, s, a, `{"of":1}`)
			}
		}
		for _, key := range []string{a, b} {
			file := d.Filename(key)
			if filepath.Dir(file) != folder || len(filepath.Base(file)) != len("0ad374308c5a4e22f723adf10145eafad7c4031c.json") {
				t.Errorf("Filename(%q) = %s", key, file)
			}
		}
	})
}
