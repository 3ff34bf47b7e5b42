package main

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// BenchmarkExpired has 10,000 goroutines find their token expired at once. A
// refresh takes 50 ms.
func BenchmarkExpired(b *testing.B) { benchmarkCrowd(b, 0) }

// BenchmarkDue has 10,000 goroutines find that their token is to be refreshed,
// and still valid.
func BenchmarkDue(b *testing.B) { benchmarkCrowd(b, 10*time.Minute) }

func benchmarkCrowd(b *testing.B, left time.Duration) {
	eachCache(b, func(b *testing.B, stage stage) {
		var took []time.Duration
		calls := 0
		for range b.N {
			s := stage(b, left, 50*time.Millisecond)
			took = append(took, rush(b, scaled(10_000, 1_000), s.get)...)
			time.Sleep(100 * time.Millisecond) // what runs in the background ends
			calls += s.calls()
		}
		report(b, took)
		perOp(b, calls, "calls/op")
	})
}

// BenchmarkDown has 200 goroutines find their token expired while the endpoint
// takes 50 ms to fail.
func BenchmarkDown(b *testing.B) {
	eachCache(b, func(b *testing.B, stage stage) {
		var took []time.Duration
		calls := 0
		for range b.N {
			s := stage(b, 0, 50*time.Millisecond)
			s.fail()
			took = append(took, rush(b, scaled(200, 10), func(ctx context.Context) error {
				if s.get(ctx) == nil {
					b.Error("a token from a service that fails")
				}
				return nil
			})...)
			calls += s.calls()
		}
		report(b, took)
		perOp(b, calls, "calls/op")
	})
}

// rush calls get from n goroutines at once, and returns how long each took.
func rush(b *testing.B, n int, get func(context.Context) error) []time.Duration {
	took := make([]time.Duration, n)
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	for i := range took {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			begin := time.Now()
			err := get(context.Background())
			took[i] = time.Since(begin)
			if err != nil {
				b.Error(err)
			}
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return took
}

// BenchmarkOutage uses a token every millisecond for two seconds that is due
// and valid, while each refresh is answered by a server error.
func BenchmarkOutage(b *testing.B) {
	eachCache(b, func(b *testing.B, stage stage) {
		hits := scaled(2_000, 100)
		calls, failures := 0, 0
		for range b.N {
			s := stage(b, 10*time.Minute, 0)
			s.fail()
			for range hits {
				if s.get(context.Background()) != nil {
					failures++
				}
				time.Sleep(time.Millisecond)
			}
			calls += s.calls()
		}
		b.ReportMetric(0, "ns/op")
		perOp(b, calls, "calls/op")
		perOp(b, failures, "errors/op")
	})
}

// BenchmarkHang uses a token 10,000 times that is due and valid, while the
// endpoint does not answer, and looks at what is kept in memory meanwhile.
func BenchmarkHang(b *testing.B) {
	eachCache(b, func(b *testing.B, stage stage) {
		hits := scaled(10_000, 1_000)
		var kept int64
		blocked := 0
		for range b.N {
			s := stage(b, 10*time.Minute, 0)
			end := s.hang()
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			if first(ctx, s.get) != nil { // begins the refresh
				blocked++
			} else {
				before := heapBytes()
				for range hits {
					s.get(ctx)
				}
				kept += heapBytes() - before
			}
			cancel()
			end()
		}
		b.ReportMetric(0, "ns/op")
		perOp(b, blocked, "blocked/op")
		if blocked == 0 {
			b.ReportMetric(max(0, float64(kept)/float64(b.N)/float64(hits)), "B-kept/hit")
		}
	})
}

// first calls get, and gives up with the context where get does not.
func first(ctx context.Context, get func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- get(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// BenchmarkDeadline has a caller wait 50 ms at most for a refresh that takes
// 500 ms, and then another who waits for it.
func BenchmarkDeadline(b *testing.B) {
	eachCache(b, func(b *testing.B, stage stage) {
		var took []time.Duration
		calls := 0
		for range b.N {
			s := stage(b, 0, 500*time.Millisecond)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			begin := time.Now()
			s.get(ctx)
			took = append(took, time.Since(begin))
			cancel()
			if err := s.get(context.Background()); err != nil {
				b.Error(err)
			}
			calls += s.calls()
		}
		report(b, took)
		perOp(b, calls, "calls/op")
	})
}

// BenchmarkWindow uses a token 101 times that never is far from its expiry: the
// peers are told to ask two hours before it, and it lives for one. This library
// has no such setting; it gets tokens of a minute, which is less than the
// twenty that it refreshes ahead at most.
func BenchmarkWindow(b *testing.B) {
	const uses = 101
	all := []contestant{{"awsoidc", func(b *testing.B) {
		calls := 0
		for range b.N {
			var clock offset
			src, srv := newSource(b, &clock, nil)
			srv.AccessTokenLifetime = time.Minute
			clock.Store(int64(2 * time.Hour))
			for range uses {
				if _, err := src.Bearer(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			calls += srv.Count(idctest.CreateTokenRefresh).Requests
		}
		b.ReportMetric(0, "ns/op")
		perOp(b, calls, "calls/op")
	}}}
	for _, p := range peers() {
		all = append(all, contestant{p.name, func(b *testing.B) {
			var calls int64
			for range b.N {
				up := &upstream{lifetime: time.Hour}
				get := p.wrap(up, 2*time.Hour)
				for range uses {
					get(context.Background())
				}
				calls += up.calls.Load()
			}
			b.ReportMetric(0, "ns/op")
			perOp(b, calls, "calls/op")
		}})
	}
	beside(b, all...)
}

// A subject is a cache whose token is due, and what it asks.
type subject struct {
	get   func(context.Context) error
	calls func() int          // of the service for the next token
	fail  func()              // makes all further calls of the service fail
	hang  func() (end func()) // leaves them without an answer, until end
}

// A stage gives a cache a token that is due and valid for as long as is left,
// and a service that takes so long to answer.
type stage func(b *testing.B, left, latency time.Duration) subject

// eachCache runs f for this library and each peer.
func eachCache(b *testing.B, f func(*testing.B, stage)) {
	all := []contestant{{"awsoidc", func(b *testing.B) { f(b, stageOurs) }}}
	for _, p := range peers() {
		all = append(all, contestant{p.name, func(b *testing.B) { f(b, p.stage) }})
	}
	beside(b, all...)
}

func stageOurs(b *testing.B, left, latency time.Duration) subject {
	var clock offset
	src, srv := newSource(b, &clock, nil)
	get := func(ctx context.Context) error { _, err := src.Bearer(ctx); return err }
	if err := get(b.Context()); err != nil {
		b.Fatal(err)
	}
	clock.Store(int64(time.Hour + time.Second - left))
	refresh := func(f idctest.Fault) {
		f.Times, f.Latency = idctest.Always, latency
		srv.ClearFaults()
		srv.Inject(idctest.CreateTokenRefresh, f)
	}
	refresh(idctest.Fault{})
	return subject{
		get:   get,
		calls: func() int { return srv.Count(idctest.CreateTokenRefresh).Requests },
		fail:  func() { refresh(idctest.Fault{Status: http.StatusInternalServerError}) },
		hang: func() func() {
			refresh(idctest.Fault{Hang: true})
			return func() {}
		},
	}
}

func (p peer) stage(b *testing.B, left, latency time.Duration) subject {
	up := &upstream{lifetime: left + 5*time.Millisecond}
	get := p.wrap(up, left)
	if err := get(b.Context()); err != nil {
		b.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	up.lifetime, up.latency = time.Hour, latency
	return subject{
		get:   get,
		calls: func() int { return int(up.calls.Load()) - 1 },
		fail:  func() { up.err = errServer },
		hang: func() func() {
			up.hang = make(chan struct{})
			return func() { close(up.hang) }
		},
	}
}
