//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// BenchmarkShare has so many processes find the token in their one file expired
// at once, five times over; the server rotates refresh tokens, and ends a
// session that uses one twice.
func BenchmarkShare(b *testing.B) {
	for _, n := range scaled([]int{1, 8, 64}, []int{2}) {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			beside(b, sharing("awsoidc", n), sharing("ssocreds", n))
		})
	}
}

func sharing(impl string, processes int) contestant {
	const expiries = 5
	return contestant{impl, func(b *testing.B) {
		var took []time.Duration
		served, sent, reuses, lost := 0, 0, 0, 0
		for range b.N {
			a := newAccount(b)
			a.put(-time.Minute)
			var all []*process
			for range processes {
				all = append(all, a.start(b, "-impl", impl))
			}
			for range expiries {
				a.expire(b)
				answers := together(all)
				for _, answer := range answers {
					took = append(took, answer.took)
					if answer.err == nil {
						served++
					}
				}
			}
			sent += a.srv.Count(idctest.CreateTokenRefresh).Requests
			reuses += a.srv.Reuses()
			if !a.alive() {
				lost++
			}
			for _, p := range all {
				p.end()
			}
		}
		report(b, took)
		b.ReportMetric(100*float64(served)/float64(b.N*processes*expiries), "%served")
		perOp(b, sent, "refreshes/op")
		perOp(b, reuses, "reuses/op")
		perOp(b, lost, "lost/op")
	}}
}

// BenchmarkKill kills a process at a random time of a refresh, and looks at what
// it leaves: the record, the lock, and the session. "unexplained" are sessions
// that were lost although the server had not rotated the refresh token.
func BenchmarkKill(b *testing.B) {
	killing := func(impl string) contestant {
		return contestant{impl, func(b *testing.B) {
			a := newAccount(b)
			a.srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Latency: 2 * time.Millisecond, LatencyAfter: 2 * time.Millisecond})
			corrupt, held, lost, unexplained, rotated := 0, 0, 0, 0, 0
			for range b.N {
				a.put(-time.Minute)
				before := a.srv.Count(idctest.CreateTokenRefresh).Succeeded
				p := a.start(b, "-impl", impl)
				fmt.Fprintln(p.in)
				time.Sleep(time.Duration(rand.Int64N(int64(20 * time.Millisecond))))
				p.cmd.Process.Kill()
				p.end()
				time.Sleep(5 * time.Millisecond) // what the server does for it ends
				used := a.srv.Count(idctest.CreateTokenRefresh).Succeeded > before
				if used {
					rotated++
				}
				if a.record() == nil {
					corrupt++
				}
				switch err := a.use(); {
				case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cache.ErrLockTimeout):
					held++
				case err != nil:
					lost++
					if !used {
						unexplained++
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			perOp(b, corrupt, "corrupt/op")
			perOp(b, held, "locked/op")
			perOp(b, rotated, "rotated/op")
			perOp(b, lost, "lost/op")
			perOp(b, unexplained, "unexplained/op")
		}}
	}
	beside(b, killing("awsoidc"), killing("ssocreds"))
}

// BenchmarkFullDisk refreshes an expired token while the disk is full, and looks
// at whether the session is there once it no longer is.
func BenchmarkFullDisk(b *testing.B) {
	full := func(impl string) contestant {
		return contestant{impl, func(b *testing.B) {
			failed, lost := 0, 0
			for range b.N {
				a := newAccount(b)
				a.put(-time.Minute)
				p := a.start(b, "-impl", impl, "-full")
				if answer := p.ask(); answer.err != nil {
					failed++
				}
				p.end()
				if !a.alive() {
					lost++
				}
			}
			b.ReportMetric(0, "ns/op")
			perOp(b, failed, "errors/op")
			perOp(b, lost, "lost/op")
		}}
	}
	beside(b, full("awsoidc"), full("ssocreds"))
}

// BenchmarkShortProgram starts with a token that is due and valid, and ends
// 30 ms after it got one, while a refresh takes 60 ms.
func BenchmarkShortProgram(b *testing.B) {
	short := func(impl string) contestant {
		return contestant{impl, func(b *testing.B) {
			lost := 0
			for range b.N {
				a := newAccount(b)
				a.srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, LatencyAfter: 60 * time.Millisecond})
				a.put(5 * time.Minute)
				p := a.start(b, "-impl", impl, "-linger", "30ms")
				if answer := p.ask(); answer.err != nil {
					b.Error(answer.err)
				}
				p.end()
				time.Sleep(60 * time.Millisecond)
				a.srv.ClearFaults()
				if !a.alive() {
					lost++
				}
			}
			b.ReportMetric(0, "ns/op")
			perOp(b, lost, "lost/op")
		}}
	}
	beside(b, short("awsoidc"), short("bearer.TokenCache"))
}

// BenchmarkHungEndpoint has 16 processes find their token expired while the
// endpoint never answers.
func BenchmarkHungEndpoint(b *testing.B) {
	beside(b, contestant{"awsoidc", func(b *testing.B) {
		var slowest time.Duration
		sent := 0
		for range b.N {
			a := newAccount(b)
			a.put(-time.Minute)
			a.srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Hang: true})
			var all []*process
			for range scaled(16, 2) {
				all = append(all, a.start(b, "-impl", "awsoidc"))
			}
			for _, answer := range together(all) {
				if answer.err == nil {
					b.Error("a token from an endpoint that hangs")
				}
				slowest = max(slowest, answer.took)
			}
			sent += a.srv.Count(idctest.CreateTokenRefresh).Requests
			for _, p := range all {
				p.end()
			}
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(slowest.Seconds(), "slowest-s")
		perOp(b, sent, "requests/op")
	}})
}

// BenchmarkInPlace reads the token while another tool rewrites the file as the
// AWS CLI does: it truncates it, writes it in two pieces, and takes no lock.
func BenchmarkInPlace(b *testing.B) {
	reading := func(impl string, read func(*account) error) contestant {
		return contestant{impl, func(b *testing.B) {
			a := newAccount(b)
			a.put(time.Hour)
			stop := a.rewrite(b)
			defer stop()
			failed := 0
			for range b.N {
				if read(a) != nil {
					failed++
				}
			}
			b.ReportMetric(0, "ns/op")
			perOp(b, failed, "errors/op")
		}}
	}
	beside(b,
		reading("awsoidc", (*account).use),
		reading("ssocreds", func(a *account) error {
			_, err := ssocreds.NewSSOTokenProvider(nil, a.store.Filename("corp")).RetrieveBearerToken(context.Background())
			return err
		}),
	)
}

// An account is a session in a folder, and its server.
type account struct {
	srv   *idctest.Server
	url   string
	dir   string
	store *cache.Dir
	put   func(valid time.Duration) // a new session there, whose token is valid that long
}

func newAccount(b *testing.B) *account {
	a := &account{srv: idctest.New(), dir: b.TempDir()}
	network := httptest.NewServer(a.srv)
	b.Cleanup(network.Close)
	a.url = network.URL
	a.put = func(valid time.Duration) {
		s := a.srv.Issue("sso:account:access")
		s.ExpiresAt = time.Now().Add(valid)
		a.store = putSession(b, a.dir, s)
	}
	return a
}

// record returns what is stored, or nil where it is not whole.
func (a *account) record() map[string]any {
	raw, err := os.ReadFile(a.store.Filename("corp"))
	var m map[string]any
	if err != nil || json.Unmarshal(raw, &m) != nil || m["refreshToken"] == nil {
		return nil
	}
	return m
}

// expire makes the stored token one that has expired.
func (a *account) expire(b *testing.B) {
	m := a.record()
	if m == nil {
		return // nothing is left that could expire
	}
	m["expiresAt"] = time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	delete(m, "issuedAt")
	raw, err := json.Marshal(m)
	if err == nil {
		err = a.store.Update(b.Context(), "corp", func(context.Context, []byte) ([]byte, error) { return raw, nil })
	}
	if err != nil {
		b.Fatal(err)
	}
}

// alive reports whether the stored refresh token is good. It uses it up.
func (a *account) alive() bool {
	m := a.record()
	if m == nil {
		return false
	}
	secret := func(name string) wire.Secret {
		s, _ := m[name].(string)
		return wire.Secret(s)
	}
	client := &wire.Client{Endpoint: a.url}
	_, err := client.CreateToken(context.Background(), &wire.CreateTokenInput{
		ClientID: m["clientId"].(string), ClientSecret: secret("clientSecret"),
		GrantType: wire.GrantRefreshToken, RefreshToken: secret("refreshToken"),
	})
	return err == nil
}

// use gets a token with this library, as a program that just began.
func (a *account) use() error {
	src, err := awsoidc.New(awsoidc.Config{
		StartURL: startURL, Region: "us-east-1", SessionName: "corp", Store: a.store,
		Endpoints: awsoidc.Endpoints{OIDC: a.url, Portal: a.url},
	})
	if err != nil {
		return err
	}
	defer src.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = src.Bearer(ctx)
	return err
}

// rewrite rewrites the file in place every 20 ms, until stop.
func (a *account) rewrite(b *testing.B) (stop func()) {
	raw, err := json.Marshal(a.record())
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond) // more often, truncating it waits for the disk, and it is hardly ever whole
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			f, err := os.OpenFile(a.store.Filename("corp"), os.O_WRONLY|os.O_TRUNC, 0o600)
			if err != nil {
				continue
			}
			f.Write(raw[:len(raw)/2])
			f.Write(raw[len(raw)/2:])
			f.Close()
		}
	})
	return func() { close(done); writer.Wait() }
}

// A process is a worker and what it is talked to through.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a worker on the account's folder, and waits until it is ready.
func (a *account) start(b *testing.B, args ...string) *process {
	b.Helper()
	cmd := exec.Command(program(b, "./internal/worker"), append(args, "-dir", a.dir, "-endpoint", a.url)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	p := &process{cmd: cmd, in: in, out: bufio.NewReader(out)}
	if line, err := p.out.ReadString('\n'); err != nil || line != "ready\n" {
		b.Fatalf("a worker says %q, %v", line, err)
	}
	return p
}

// end lets the worker end, and waits for it.
func (p *process) end() {
	p.in.Close()
	p.cmd.Wait()
}

// An answer is what a worker said, and when.
type answer struct {
	err  error
	took time.Duration
}

func (p *process) ask() answer {
	begin := time.Now()
	fmt.Fprintln(p.in)
	line, err := p.out.ReadString('\n')
	line = strings.TrimSpace(line)
	if err == nil && line != "ok" {
		err = errors.New(line)
	}
	return answer{err, time.Since(begin)}
}

// together asks all at once.
func together(all []*process) []answer {
	answers := make([]answer, len(all))
	var asked sync.WaitGroup
	for i, p := range all {
		asked.Go(func() { answers[i] = p.ask() })
	}
	asked.Wait()
	return answers
}
