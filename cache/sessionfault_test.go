package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/internal/atomicfile/faultfs"
)

// failingDisk is a session in a folder on a disk that can be made to fail.
type failingDisk struct {
	srv   *idctest.Server
	dir   *cache.Dir
	fault diskFault
	src   *awsoidc.TokenSource
}

func onFailingDisk(t *testing.T, op faultfs.Op, f func(t *testing.T, d *failingDisk)) {
	t.Helper()
	t.Run(string(op), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			dir, err := cache.NewDir(t.TempDir())
			check(t, err)
			d := &failingDisk{srv: idctest.New(), dir: dir, fault: diskFault{op: op}}
			dir.SetFS(d.fault.fs())
			record, err := json.Marshal(d.srv.Issue("sso:account:access"))
			check(t, err)
			check(t, dir.Update(t.Context(), "corp", func(context.Context, []byte) ([]byte, error) { return record, nil }))
			d.src = d.open(t)
			f(t, d)
		})
	})
}

func (d *failingDisk) open(t *testing.T) *awsoidc.TokenSource {
	t.Helper()
	src, err := awsoidc.New(awsoidc.Config{
		StartURL: sessionStartURL, Region: "us-east-1", SessionName: "corp", Store: d.dir,
		HTTPClient: &http.Client{Transport: d.srv.Transport()},
	})
	check(t, err)
	t.Cleanup(func() { src.Close() })
	return src
}

func (d *failingDisk) token(t *testing.T, src *awsoidc.TokenSource) string {
	t.Helper()
	token, err := src.Bearer(t.Context())
	check(t, err)
	return token
}

func (d *failingDisk) refreshes() int { return d.srv.Count(idctest.CreateTokenRefresh).Requests }

// Where the disk says beforehand that it can't take the new session, no refresh
// token is spent as long as the old access token is valid.
func TestDueRefreshOnAFailingDisk(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Create, faultfs.Write} {
		onFailingDisk(t, op, func(t *testing.T, d *failingDisk) {
			first := d.token(t, d.src)
			d.fault.left.Store(forever)
			for time.Sleep(41 * time.Minute); ; time.Sleep(10 * time.Second) {
				token, err := d.src.RetrieveBearerToken(t.Context())
				check(t, err)
				if token.Value != first {
					t.Fatal("the old token was not served")
				}
				if time.Until(token.Expires) < time.Minute {
					break
				}
			}
			if n := d.refreshes(); n != 0 {
				t.Errorf("%d refreshes were spent", n)
			}
		})
	}
}

// Whichever step fails, a caller whose token has expired gets one, the old
// record stays whole, and the new session is saved once the disk works again:
// by the next use, or by Close.
func TestExpiredRefreshOnAFailingDisk(t *testing.T) {
	steps := []faultfs.Op{
		faultfs.Create, faultfs.Write, faultfs.Truncate, faultfs.Sync, faultfs.Close, faultfs.Rename, faultfs.SyncDir,
	}
	for _, op := range steps {
		for _, byClose := range []bool{false, true} {
			onFailingDisk(t, op, func(t *testing.T, d *failingDisk) {
				first := d.token(t, d.src)
				time.Sleep(2 * time.Hour)
				d.fault.left.Store(forever)
				begin := time.Now()
				second := d.token(t, d.src)
				if second == first {
					t.Fatal("an expired token was served")
				}
				if waited := time.Since(begin); waited > 2*time.Second {
					t.Errorf("the caller waited %v for the disk", waited)
				}
				for range 20 {
					if d.token(t, d.src) != second {
						t.Fatal("refreshed again")
					}
					time.Sleep(20 * time.Second)
				}
				if _, err := d.dir.Get(t.Context(), "corp"); err != nil {
					t.Errorf("the record can't be read: %v", err)
				}

				d.fault.left.Store(0)
				if byClose {
					check(t, d.src.Close())
				} else {
					time.Sleep(time.Minute)
					d.token(t, d.src)
					time.Sleep(time.Second)
				}
				if got := d.token(t, d.open(t)); got != second {
					t.Error("the new session was not saved")
				}
				if d.refreshes() != 1 || d.srv.Reuses() != 0 {
					t.Errorf("%d refreshes, %d reuses", d.refreshes(), d.srv.Reuses())
				}
			})
		}
	}
}

// A session that can't be saved to the end is lost, and Close says so.
func TestCloseOnAFailingDisk(t *testing.T) {
	onFailingDisk(t, faultfs.Rename, func(t *testing.T, d *failingDisk) {
		time.Sleep(2 * time.Hour)
		d.fault.left.Store(forever)
		d.token(t, d.src)
		if err := d.src.Close(); !errors.Is(err, errDisk) {
			t.Errorf("Close says %v", err)
		}
	})
}
