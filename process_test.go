package awsoidc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// workerVariable makes the test binary a worker: it names the cache folder, the
// endpoint and how long a request may take, at most.
const workerVariable = "AWSOIDC_TEST_WORKER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(workerVariable); spec != "" {
		worker(spec)
		return
	}
	os.Exit(m.Run())
}

// worker answers each line of its input, the time of its wall clock, with its
// access token at that time.
func worker(spec string) {
	dir, rest, _ := strings.Cut(spec, "|")
	endpoint, most, _ := strings.Cut(rest, "|")
	timeout, err := time.ParseDuration(most)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	store, err := cache.NewDir(dir)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var wall skew
	src, err := awsoidc.New(awsoidc.Config{
		StartURL: startURL, Region: "us-east-1", SessionName: "corp", Store: store,
		Endpoints: awsoidc.Endpoints{OIDC: endpoint, Portal: endpoint}, Now: wall.now,
		HTTPClient: &http.Client{Timeout: timeout},
	})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	defer src.Close()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		by, err := time.ParseDuration(in.Text())
		if err != nil {
			fmt.Println("error", err)
			return
		}
		wall.jump(by)
		token, err := src.Bearer(context.Background())
		if err != nil {
			token = "error " + err.Error()
		}
		fmt.Println(token)
	}
}

// process is a worker and what it is talked to through.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startWorker(t *testing.T, dir, endpoint string, timeout time.Duration) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerVariable+"="+dir+"|"+endpoint+"|"+timeout.String(),
		"GORACE=atexit_sleep_ms=0") // or it waits a second at its end, where it is built with -race
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if cmd.ProcessState != nil {
			return // the test has waited for it
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("a worker: %v", err)
		}
	})
	return &process{cmd: cmd, in: in, out: bufio.NewReader(out)}
}

// token returns the worker's token after its wall clock was moved on.
func (p *process) token(after time.Duration) string {
	fmt.Fprintln(p.in, after)
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "error " + err.Error()
	}
	return strings.TrimSpace(line)
}

// TestProcessesShareOneRefresh lets 8 or 16 processes find their token expired
// at once, 5 or 20 times, against servers of each kind.
func TestProcessesShareOneRefresh(t *testing.T) {
	t.Parallel()
	processes, expiries := scale(8, 16), scale(5, 20)
	for _, test := range []struct {
		name   string
		server func(*idctest.Server)
	}{
		{"rotating", func(*idctest.Server) {}},
		{"not rotating", func(s *idctest.Server) { s.RotateRefreshTokens = false }},
		{"no refresh token in the answer", func(s *idctest.Server) { s.OmitRefreshToken = true }},
	} {
		t.Run(test.name, func(t *testing.T) {
			var wall skew
			srv := idctest.New()
			srv.Now = wall.now
			srv.SessionLifetime = 48 * time.Hour
			test.server(srv)
			network := httptest.NewServer(srv)
			defer network.Close()
			dir := t.TempDir()
			putIssued(t, srv, dir)

			var workers []*process
			for range processes {
				workers = append(workers, startWorker(t, dir, network.URL, time.Minute))
			}
			for range expiries {
				wall.jump(61 * time.Minute)
				tokens := make([]string, processes)
				var all sync.WaitGroup
				for i, w := range workers {
					all.Go(func() { tokens[i] = w.token(61 * time.Minute) })
				}
				all.Wait()
				for _, token := range tokens {
					if token != tokens[0] || strings.HasPrefix(token, "error") {
						t.Fatalf("got %q and %q", token, tokens[0])
					}
				}
			}
			if n := refreshes(srv); n != expiries || srv.Reuses() != 0 {
				t.Errorf("%d refreshes for %d expiries, %d reuses", n, expiries, srv.Reuses())
			}
		})
	}
}

// TestProcessesShareATimeout lets 16 processes find their token expired while
// the endpoint hangs: they all fail after the one timeout. On the small scale a
// request has less time than the source would give it.
func TestProcessesShareATimeout(t *testing.T) {
	t.Parallel()
	var wall skew
	srv := idctest.New()
	srv.Now = wall.now
	srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Hang: true, Times: idctest.Always})
	network := httptest.NewServer(srv)
	defer network.Close()
	dir := t.TempDir()
	putIssued(t, srv, dir)
	wall.jump(61 * time.Minute)
	timeout := time.Duration(scale(1, 60)) * time.Second
	var all sync.WaitGroup
	for range 16 {
		w := startWorker(t, dir, network.URL, timeout)
		all.Go(func() {
			if answer := w.token(61 * time.Minute); !strings.HasPrefix(answer, "error") {
				t.Errorf("a token from an endpoint that hangs: %s", answer)
			}
		})
	}
	all.Wait()
	if n := refreshes(srv); n > 3 {
		t.Errorf("%d requests by 16 processes, want the 3 of one", n)
	}
}
