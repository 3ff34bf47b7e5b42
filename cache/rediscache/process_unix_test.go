//go:build unix

package rediscache_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache/rediscache"
	"github.com/awsoidc/awsoidc/idctest"
)

// workerVariable makes the test binary a worker: its value is a spec.
const workerVariable = "AWSOIDC_TEST_WORKER"

func TestMain(m *testing.M) {
	if text := os.Getenv(workerVariable); text != "" {
		if err := worker(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// spec is what a worker works with.
type spec struct {
	Worker   int
	Redis    []string // one address, or those of a Cluster
	Lease    time.Duration
	Endpoint string
}

// worker answers each line of its input, by how much its wall clock moves on,
// with how the wait for a token then ended.
func worker(text string) error {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	var wall skew
	src, err := s.source(&wall)
	if err != nil {
		return err
	}
	defer src.Close()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		by, err := time.ParseDuration(in.Text())
		if err != nil {
			return err
		}
		wall.jump(by)
		if err := json.NewEncoder(os.Stdout).Encode(insist(src)); err != nil {
			return err
		}
	}
	return nil
}

// outcome is how a worker's wait for a token ended.
type outcome struct {
	Token  string   // "" for ErrLoginRequired
	Errors []string // of the attempts before
}

// insist asks until there is a token, or nothing but a sign-in helps.
func insist(src *awsoidc.TokenSource) (o outcome) {
	const longest = time.Minute
	for deadline := time.Now().Add(longest); ; time.Sleep(50 * time.Millisecond) {
		token, err := src.Bearer(context.Background())
		if err == nil {
			o.Token = token
			return o
		}
		if errors.Is(err, awsoidc.ErrLoginRequired) {
			return o
		}
		o.Errors = append(o.Errors, err.Error())
		if time.Now().After(deadline) {
			o.Token = "none for " + longest.String()
			return o
		}
	}
}

// header names the worker that sent a request.
const header = "Test-Worker"

// source returns a TokenSource whose sessions are sealed and in Redis.
func (s spec) source(wall *skew) (*awsoidc.TokenSource, error) {
	store, err := rediscache.New(universalClient(s.Redis), rediscache.Options{Lease: s.Lease})
	if err != nil {
		return nil, err
	}
	sealed, err := sealedStore(store)
	if err != nil {
		return nil, err
	}
	return awsoidc.New(awsoidc.Config{
		StartURL: "https://d-1234567890.awsapps.com/start", Region: "us-east-1", SessionName: "corp", Store: sealed,
		Endpoints: awsoidc.Endpoints{OIDC: s.Endpoint, Portal: s.Endpoint}, Now: wall.now,
		HTTPClient: &http.Client{Transport: named(fmt.Sprint(s.Worker))},
	})
}

// named is a transport that says which worker sends.
type named string

func (n named) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(header, string(n))
	return http.DefaultTransport.RoundTrip(r)
}

// skew is a wall clock that can be moved on.
type skew struct {
	mu sync.Mutex
	by time.Duration
}

func (s *skew) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.by)
}

func (s *skew) jump(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by += by
}

// process is a worker as the test sees it.
type process struct {
	spec spec
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

// fleet is workers, and what they share.
type fleet struct {
	t         *testing.T
	spec      spec
	idc       *idctest.Server
	wall      skew
	processes []*process

	mu      sync.Mutex
	sending int // refreshes under way
	most    int // of them at a time
	onSend  func(worker string)
	errors  int
}

const processes = 16

// fleetLease is a lease that tests can wait out, and 16 processes on a busy
// machine can keep.
const fleetLease = 3 * time.Second

// newFleet starts workers whose session is in Redis.
func newFleet(t *testing.T, lease time.Duration, addrs ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, idc: idctest.New()}
	f.idc.Now, f.idc.SessionLifetime = f.wall.now, 48*time.Hour
	f.idc.RotateRefreshTokens, f.idc.DetectReuse = true, true
	network := httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(network.Close)
	f.spec = spec{Redis: addrs, Lease: lease, Endpoint: network.URL}
	f.signIn()
	for i := range processes {
		f.spec.Worker = i
		f.processes = append(f.processes, f.startWorker(f.spec))
	}
	return f
}

// serve watches the refreshes.
func (f *fleet) serve(w http.ResponseWriter, r *http.Request) {
	if worker := r.Header.Get(header); worker != "" && r.URL.Path == "/token" {
		f.mu.Lock()
		f.sending++
		f.most = max(f.most, f.sending)
		hook := f.onSend
		f.mu.Unlock()
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.sending--
		}()
		if hook != nil {
			hook(worker)
		}
	}
	f.idc.ServeHTTP(w, r)
}

// hook sets what happens when a worker sends a refresh.
func (f *fleet) hook(onSend func(worker string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onSend = onSend
}

// signIn puts a new session into Redis.
func (f *fleet) signIn() {
	f.t.Helper()
	store, err := rediscache.New(universalClient(f.spec.Redis), rediscache.Options{})
	check(f.t, err)
	sealed, err := sealedStore(store)
	check(f.t, err)
	src, err := awsoidc.New(awsoidc.Config{
		StartURL: "https://d-1234567890.awsapps.com/start", Region: "us-east-1", SessionName: "corp", Store: sealed,
		Endpoints: awsoidc.Endpoints{OIDC: f.spec.Endpoint, Portal: f.spec.Endpoint}, Now: f.wall.now,
		Prompt: awsoidc.PromptFunc(func(_ context.Context, v awsoidc.Verification) error { return f.idc.Approve(v.UserCode) }),
	})
	check(f.t, err)
	defer src.Close()
	check(f.t, src.Login(f.t.Context()))
}

func (f *fleet) startWorker(s spec) *process {
	f.t.Helper()
	text, err := json.Marshal(s)
	check(f.t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerVariable+"="+string(text),
		"GORACE=atexit_sleep_ms=0") // or it waits a second at its end, where it is built with -race
	cmd.Stderr = io.Discard // the client reports every failed connection there
	in, err := cmd.StdinPipe()
	check(f.t, err)
	out, err := cmd.StdoutPipe()
	check(f.t, err)
	check(f.t, cmd.Start())
	p := &process{spec: s, cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out))}
	f.t.Cleanup(p.end)
	return p
}

// end stops a worker, which may be dead.
func (p *process) end() {
	p.in.Close()
	p.cmd.Wait()
}

// errDied means that the worker is dead.
var errDied = errors.New("the worker died")

// expire lets all workers find their token expired at once, and returns how it
// ended for those that lived.
func (f *fleet) expire() (outcomes []outcome) {
	f.t.Helper()
	f.wall.jump(61 * time.Minute)
	return f.ask(61 * time.Minute)
}

// ask lets all workers ask for a token at once, after their wall clocks moved on.
func (f *fleet) ask(after time.Duration) (outcomes []outcome) {
	f.t.Helper()
	all := make([]outcome, len(f.processes))
	dead := make([]error, len(f.processes))
	var wg sync.WaitGroup
	for i, p := range f.processes {
		wg.Go(func() {
			fmt.Fprintln(p.in, after)
			if p.out.Decode(&all[i]) != nil {
				dead[i] = errDied
			}
		})
	}
	wg.Wait()
	distinct := map[string]int{}
	for i, o := range all {
		if dead[i] == nil {
			f.errors += len(o.Errors)
			outcomes = append(outcomes, o)
			for _, err := range o.Errors {
				distinct[err]++
			}
		}
	}
	for err, n := range distinct {
		f.t.Logf("%d times: %s", n, err)
	}
	return outcomes
}

// share fails the test unless all have one token.
func (f *fleet) share(outcomes []outcome) {
	f.t.Helper()
	for i, o := range outcomes {
		if o.Token == "" || o.Token != outcomes[0].Token {
			f.t.Fatalf("worker %d ended with %q, another with %q", i, o.Token, outcomes[0].Token)
		}
	}
}

// shareEveryExpiry fails the test unless each expiry costs one refresh and
// nobody an error.
func (f *fleet) shareEveryExpiry() {
	f.t.Helper()
	for range expiries {
		f.share(f.expire())
	}
	f.report(expiries, 0)
	if f.errors > 0 {
		f.t.Errorf("%d errors", f.errors)
	}
}

// report logs the counts, and fails the test unless they are these.
func (f *fleet) report(refreshes, reuses int) {
	f.t.Helper()
	n := f.idc.Count(idctest.CreateTokenRefresh).Requests
	f.t.Logf("%d processes: %d refreshes, %d at a time at most, %d reuses, %d errors on the way", processes, n, f.most, f.idc.Reuses(), f.errors)
	if n != refreshes || f.idc.Reuses() != reuses || f.most > 1 {
		f.t.Errorf("want %d refreshes, %d reuses, and one at a time", refreshes, reuses)
	}
}

const expiries = 20

func TestProcessesShareOneRefresh(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	f := newFleet(t, 0, s.addr)
	f.shareEveryExpiry()
}

func TestProcessesShareOneRefreshInACluster(t *testing.T) {
	t.Parallel()
	_, addrs := startCluster(t)
	f := newFleet(t, 0, addrs...)
	f.shareEveryExpiry()
}

// The server is killed and started again, with its data kept, while a refresh is
// under way.
func TestRestartsUnderWay(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	f := newFleet(t, 0, s.addr)
	restarts := 0
	for i := range expiries {
		if i%4 == 0 {
			restarts++
			f.hook(func(string) { s.restart() })
		}
		f.share(f.expire())
		f.hook(nil)
	}
	t.Logf("%d restarts", restarts)
	f.report(expiries, 0)
	if f.errors > 0 {
		t.Errorf("%d errors", f.errors)
	}
}

// The server stands still for longer than the lease while a refresh is under
// way.
func TestPausesUnderWay(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	f := newFleet(t, fleetLease, s.addr)
	pauses := 0
	for i := range expiries {
		if i%10 == 0 {
			pauses++
			f.hook(func(string) { s.pause(2 * fleetLease) })
		}
		f.share(f.expire())
		f.hook(nil)
	}
	t.Logf("%d pauses", pauses)
	f.report(expiries, 0)
}

// The server loses everything while a refresh is under way: whoever has the new
// token uses it, the others ask for a sign-in.
func TestFlushesUnderWay(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	f := newFleet(t, 0, s.addr)
	client, tokens, logins := s.client(t), 0, 0
	for i := range expiries {
		if i%5 != 0 {
			f.share(f.expire())
			continue
		}
		f.hook(func(string) {
			if err := client.FlushAll(t.Context()).Err(); err != nil {
				t.Error(err)
			}
		})
		distinct := map[string]bool{}
		for _, o := range f.expire() {
			if o.Token == "" {
				logins++
				continue
			}
			tokens++
			distinct[o.Token] = true
		}
		if len(distinct) > 1 {
			t.Errorf("%d different tokens after one refresh", len(distinct))
		}
		f.hook(nil)
		f.signIn()
	}
	t.Logf("after flushes %d ended with the token and %d with ErrLoginRequired", tokens, logins)
	f.report(expiries, 0)
}

// Two processes are killed, one after the other, while they hold the lease and
// their refresh is on its way.
func TestKilledUnderWay(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	f := newFleet(t, fleetLease, s.addr)
	f.share(f.expire())
	killed := 0
	var mu sync.Mutex
	f.idc.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 10 * time.Second, Times: 2}) // not carried out where the client leaves
	f.hook(func(worker string) {
		mu.Lock()
		defer mu.Unlock()
		if killed < 2 {
			killed++
			f.kill(worker)
		}
	})
	outcomes := f.expire()
	f.share(outcomes)
	if len(outcomes) != processes-2 {
		t.Errorf("%d processes lived", len(outcomes))
	}
	t.Logf("%d killed; %d ended with the token", killed, len(outcomes))
	f.report(1+2+1, 0)
	if f.errors > 0 {
		t.Errorf("%d errors", f.errors)
	}
}

// The process dies after the service took its refresh token and before it has
// saved the next: the only copy is gone.
func TestKilledWithTheAnswer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	f := newFleet(t, fleetLease, s.addr)
	f.share(f.expire())
	f.idc.Inject(idctest.CreateTokenRefresh, idctest.Fault{Commit: true, Hang: true})
	var once sync.Once
	f.hook(func(worker string) {
		once.Do(func() {
			go func() {
				time.Sleep(300 * time.Millisecond)
				f.kill(worker)
			}()
		})
	})
	outcomes := f.expire()
	for i, o := range outcomes {
		if o.Token != "" {
			t.Errorf("worker %d ended with %q, want ErrLoginRequired", i, o.Token)
		}
	}
	t.Logf("%d ended with ErrLoginRequired", len(outcomes))
	f.hook(nil)
	f.report(1+1+1, 1)
	f.signIn()
	f.share(f.expire())
}

// Without Redis, tokens that are valid are served, and errors say what to do;
// when it is back, what was due is refreshed once.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	f := newFleet(t, 0, s.addr)
	f.share(f.expire())
	s.kill()
	f.share(f.ask(0))
	if f.errors > 0 {
		t.Errorf("%d errors although the tokens are valid", f.errors)
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		time.Sleep(7 * time.Second) // longer than anyone is made to wait
		s.start()
	}()
	outcomes := f.expire()
	<-back
	f.share(outcomes)
	for i, o := range outcomes {
		for _, err := range o.Errors {
			if !contains(err, "see that Redis is up and can be reached") {
				t.Errorf("worker %d was told %q", i, err)
			}
		}
	}
	if f.errors == 0 {
		t.Error("no errors while Redis was down")
	}
	f.share(f.expire())
	f.report(3, 0)
}

// kill kills a worker at once.
func (f *fleet) kill(worker string) {
	for _, p := range f.processes {
		if fmt.Sprint(p.spec.Worker) == worker {
			p.cmd.Process.Kill()
		}
	}
}
