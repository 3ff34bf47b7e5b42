package cache_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/internal/atomicfile/faultfs"
)

// The environment of a child that refreshes a session and is killed meanwhile.
const (
	childEndpoint = "CACHE_TEST_ENDPOINT"
	childClock    = "CACHE_TEST_CLOCK" // how far its wall clock is ahead
	childPoint    = "CACHE_TEST_POINT" // where it kills itself; "" nowhere
)

// The points of a refresh beside the file operations, which are named
// "operation number".
const (
	pointLocked   = "locked"   // the function begins
	pointObtained = "obtained" // the function ends, with the service's answer
	pointSaved    = "saved"    // Update ends
)

const sessionStartURL = "https://d-1234567890.awsapps.com/start"

// pointed is a Dir that kills its process at a point.
type pointed struct {
	*cache.Dir
	point string
}

func (p pointed) reach(point string) {
	if point != p.point {
		return
	}
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		self.Kill()
	}
	select {}
}

func (p pointed) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	err := p.Dir.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		p.reach(pointLocked)
		record, err := fn(ctx, old)
		p.reach(pointObtained)
		return record, err
	})
	p.reach(pointSaved)
	return err
}

// refreshInChild is the child's part: it asks for the session's token.
func refreshInChild(d *cache.Dir) error {
	ahead, err := time.ParseDuration(os.Getenv(childClock))
	if err != nil {
		return err
	}
	p := pointed{Dir: d, point: os.Getenv(childPoint)}
	counts := map[faultfs.Op]int{}
	d.SetFS(faultfs.FS{Before: func(op faultfs.Op) error {
		counts[op]++
		p.reach(fmt.Sprint(op, " ", counts[op]))
		return nil
	}})
	src, err := openSession(p, os.Getenv(childEndpoint), ahead)
	if err != nil {
		return err
	}
	defer src.Close()
	fmt.Println("ready")
	_, err = src.Bearer(context.Background())
	return err
}

func openSession(store cache.Store, endpoint string, ahead time.Duration) (*awsoidc.TokenSource, error) {
	return awsoidc.New(awsoidc.Config{
		StartURL: sessionStartURL, Region: "us-east-1", SessionName: "corp", Store: store,
		Endpoints: awsoidc.Endpoints{OIDC: endpoint, Portal: endpoint},
		Now:       func() time.Time { return time.Now().Add(ahead) },
	})
}

// sessionFolder is a folder with a session of a service of its own, and a
// clock that both go by.
type sessionFolder struct {
	*cache.Dir
	folder, endpoint string
	srv              *idctest.Server
	ahead            atomic.Int64
}

func newSessionFolder(t *testing.T, rotate bool) *sessionFolder {
	t.Helper()
	f := &sessionFolder{folder: t.TempDir(), srv: idctest.New()}
	const decade = 10 * 365 * 24 * time.Hour
	f.srv.RotateRefreshTokens = rotate
	f.srv.SessionLifetime, f.srv.RegistrationLifetime = decade, decade
	f.srv.Now = func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) }
	network := httptest.NewServer(f.srv)
	t.Cleanup(network.Close)
	f.endpoint = network.URL
	d, err := cache.NewDir(f.folder)
	check(t, err)
	f.Dir = d
	f.signIn(t)
	return f
}

// signIn puts a new session in the folder.
func (f *sessionFolder) signIn(t *testing.T) {
	t.Helper()
	record, err := json.Marshal(f.srv.Issue("sso:account:access"))
	check(t, err)
	check(t, f.Update(t.Context(), "corp", func(context.Context, []byte) ([]byte, error) { return record, nil }))
}

// killRefresh lets the session's token expire, and kills a process that
// refreshes it, at a point or after a while.
func (f *sessionFolder) killRefresh(t *testing.T, point string, after time.Duration) {
	t.Helper()
	f.ahead.Add(int64(61 * time.Minute))
	cmd := child("refresh", f.folder, 0)
	cmd.Env = append(cmd.Env, childEndpoint+"="+f.endpoint, childPoint+"="+point,
		childClock+"="+time.Duration(f.ahead.Load()).String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	if point == "" {
		time.Sleep(after) // any moment will do
		cmd.Process.Kill()
	}
	if cmd.Wait() == nil && point != "" {
		t.Errorf("the child never reached the point %q", point)
	}
}

// recover asks for the session's token in this process, and reports whether
// the session survived.
func (f *sessionFolder) recover(t *testing.T) bool {
	t.Helper()
	raw, err := os.ReadFile(f.Filename("corp"))
	if err != nil || !json.Valid(raw) {
		t.Errorf("the file is corrupt: %q, %v", raw, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = f.Update(ctx, "corp", func(_ context.Context, old []byte) ([]byte, error) { return old, nil })
	if err != nil {
		t.Errorf("the lock is still held: %v", err)
	}
	files, err := os.ReadDir(f.folder)
	check(t, err)
	for _, file := range files {
		if strings.HasSuffix(file.Name(), ".tmp") {
			t.Errorf("the killed process's %s was left", file.Name())
		}
	}
	src, err := openSession(f, f.endpoint, time.Duration(f.ahead.Load()))
	check(t, err)
	defer src.Close()
	_, err = src.Bearer(t.Context())
	if err != nil && !errors.Is(err, awsoidc.ErrLoginRequired) {
		t.Errorf("neither a token nor ErrLoginRequired: %v", err)
	}
	return err == nil
}

// TestKilledRefresh kills a process at each named step of a refresh.
func TestKilledRefresh(t *testing.T) {
	for _, test := range []struct {
		point string
		// Whether the session survives at a server that rotates: only an
		// answer that died with the process is lost.
		survives bool
	}{
		{"create 1", true}, {"write 1", true}, {pointLocked, true},
		{pointObtained, false}, {"write 2", false}, {"truncate 1", false}, {"sync 1", false}, {"close 1", false}, {"rename 1", false},
		{"sync folder 1", true}, {pointSaved, true},
	} {
		for _, rotate := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, rotating %v", test.point, rotate), func(t *testing.T) {
				t.Parallel()
				f := newSessionFolder(t, rotate)
				f.killRefresh(t, test.point, 0)
				if got, want := f.recover(t), test.survives || !rotate; got != want {
					t.Errorf("the session survived: %v, want %v", got, want)
				}
			})
		}
	}
}

// TestKilledRefreshAtRandom kills processes whenever it happens:
// AWSOIDC_TEST_KILLS times, by default 28.
func TestKilledRefreshAtRandom(t *testing.T) {
	kills := 28
	if n, err := strconv.Atoi(os.Getenv("AWSOIDC_TEST_KILLS")); err == nil {
		kills = n
	}
	for _, rotate := range []bool{true, false} {
		t.Run(fmt.Sprintf("rotating %v", rotate), func(t *testing.T) {
			t.Parallel()
			f := newSessionFolder(t, rotate)
			lost, reuses := 0, 0
			for range kills / 2 {
				f.killRefresh(t, "", rand.N(12*time.Millisecond))
				if f.recover(t) {
					continue
				}
				lost++
				// Spent by the process that was killed; or its request came
				// late, after another process had refreshed.
				if f.srv.Reuses() == reuses {
					t.Error("the session was lost although no refresh token was sent twice")
				}
				reuses = f.srv.Reuses()
				f.signIn(t)
			}
			if lost > 0 && !rotate {
				t.Errorf("%d sessions lost at a server that does not rotate", lost)
			}
			t.Logf("%d kills, %d sessions lost with the answer", kills/2, lost)
		})
	}
}
