//go:build unix

package rediscache_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache/rediscache"
)

func newLimiter(t *testing.T, s *server, o rediscache.LimiterOptions) *rediscache.Limiter {
	t.Helper()
	l, err := rediscache.NewLimiter(s.client(t), o)
	check(t, err)
	return l
}

// slow are rates at which the next request has its turn in 20 s.
var slow = awsoidc.Rates{Exchange: 1.0 / 20, Refresh: 1.0 / 20}

// refusedFor fails the test unless l refuses, until about d from now.
func refusedFor(t *testing.T, l *rediscache.Limiter, d time.Duration) {
	t.Helper()
	err := l.Wait(t.Context(), awsoidc.BudgetExchange, false)
	limit, ok := errors.AsType[*awsoidc.LimitError](err)
	if !ok || limit.Budget != awsoidc.BudgetExchange {
		t.Fatalf("Wait: %v, want a LimitError", err)
	}
	if left := time.Until(limit.RetryAt); left > d+d/10 || left < d-d/4 {
		t.Errorf("refused for %v, want about %v", left, d)
	}
}

// A fleet as a whole keeps to the rate.
func TestLimiterIsShared(t *testing.T) {
	s := startServer(t)
	const rate, requests = 100, 150
	var granted atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 3 {
		l := newLimiter(t, s, rediscache.LimiterOptions{Rates: awsoidc.Rates{Exchange: rate}})
		for range requests / 3 {
			all.Go(func() {
				if err := l.Wait(t.Context(), awsoidc.BudgetExchange, false); err != nil {
					t.Errorf("Wait: %v", err)
				}
				if n, most := granted.Add(1), rate/2+rate*time.Since(began).Seconds(); float64(n) > most+2 {
					t.Errorf("request %d after %v, at most %.0f should be", n, time.Since(began), most)
				}
			})
		}
	}
	all.Wait()
	if err := newLimiter(t, s, rediscache.LimiterOptions{}).Wait(t.Context(), "another", false); err != nil {
		t.Errorf("a budget that there is not: %v", err)
	}
}

func TestLimiterRules(t *testing.T) {
	s := startServer(t)
	o := rediscache.LimiterOptions{Rates: slow}
	a, b := newLimiter(t, s, o), newLimiter(t, s, o)
	check(t, a.Wait(t.Context(), awsoidc.BudgetExchange, false))
	refusedFor(t, b, 20*time.Second)

	a.Throttled(awsoidc.BudgetExchange, 0)
	b.Throttled(awsoidc.BudgetExchange, 0) // of the same moment: it halves nothing more
	refusedFor(t, b, 40*time.Second)

	key := "awsoidc:limit:default:exchange"
	c := s.client(t)
	shift := func(d time.Duration) {
		t.Helper()
		for _, field := range []string{"at", "throttled"} {
			check(t, c.HIncrBy(t.Context(), key, field, -d.Milliseconds()).Err())
		}
	}
	shift(time.Second)
	check(t, c.HSet(t.Context(), key, "tokens", 0).Err())
	for range 10 {
		a.Throttled(awsoidc.BudgetExchange, 0)
		shift(time.Second)
		check(t, c.HSet(t.Context(), key, "tokens", 0).Err())
	}
	refusedFor(t, b, 250*time.Second) // a sixteenth is left, and what a second regains
	shift(time.Minute)
	check(t, c.HSet(t.Context(), key, "tokens", 0).Err())
	refusedFor(t, b, 20*time.Second)

	a.Throttled(awsoidc.BudgetExchange, time.Hour)
	refusedFor(t, b, 5*time.Minute+40*time.Second) // and then a turn at half the rate
	err := b.Wait(t.Context(), awsoidc.BudgetRefresh, true)
	if err != nil {
		t.Errorf("Wait of a prefetch in another budget: %v", err)
	}
	if _, ok := errors.AsType[*awsoidc.LimitError](b.Wait(t.Context(), awsoidc.BudgetRefresh, true)); !ok {
		t.Error("a prefetch was let in where others have to wait")
	}
}

// Half of the budget is left to those who wait for what they ask, and what a
// caller does not wait for is given back.
func TestLimiterLeavesRoom(t *testing.T) {
	s := startServer(t)
	l := newLimiter(t, s, rediscache.LimiterOptions{Rates: awsoidc.Rates{Exchange: 0.9}}) // a bucket of one
	c := s.client(t)
	check(t, l.Wait(t.Context(), awsoidc.BudgetExchange, false))
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("left")
	done := make(chan error, 1)
	go func() { done <- l.Wait(ctx, awsoidc.BudgetExchange, false) }()
	awaitTokens(t, c, true)
	cancel(left)
	if err := <-done; !errors.Is(err, left) {
		t.Errorf("Wait: %v, want the cause", err)
	}
	awaitTokens(t, c, false)
}

// awaitTokens waits until somebody waits for a turn, or nobody does.
func awaitTokens(t *testing.T, c *redis.Client, below bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if tokens, err := c.HGet(t.Context(), "awsoidc:limit:default:exchange", "tokens").Float64(); err == nil && tokens < 0 == below {
			return
		}
	}
	t.Error("the budget is not as it should be")
}

// A throttle that one process meets puts off those who wait in others.
func TestLimiterThrottlesWaiters(t *testing.T) {
	s := startServer(t)
	c := s.client(t)
	o := rediscache.LimiterOptions{Rates: awsoidc.Rates{Exchange: 2}} // a bucket of one
	a, b := newLimiter(t, s, o), newLimiter(t, s, o)
	throttled := func() error {
		t.Helper()
		check(t, c.FlushAll(t.Context()).Err())
		check(t, a.Wait(t.Context(), awsoidc.BudgetExchange, false))
		done := make(chan error, 1)
		go func() { done <- a.Wait(t.Context(), awsoidc.BudgetExchange, false) }()
		awaitTokens(t, c, true)
		b.Throttled(awsoidc.BudgetExchange, time.Hour)
		select {
		case err := <-done: // it may have been before the throttle
			return err
		default:
		}
		err := <-done
		if err == nil {
			t.Error("a waiter was let in")
		}
		return err
	}
	err := throttled()
	for err == nil && !t.Failed() {
		err = throttled()
	}
	if limit, ok := errors.AsType[*awsoidc.LimitError](err); !ok || time.Until(limit.RetryAt) < 4*time.Minute {
		t.Errorf("Wait: %v, want a LimitError of about five minutes", err)
	}

	check(t, c.FlushAll(t.Context()).Err())
	l := newLimiter(t, s, rediscache.LimiterOptions{Rates: slow})
	l.Throttled(awsoidc.BudgetExchange, 0) // the bucket was full
	refusedFor(t, l, 40*time.Second)
}

// Without Redis a process keeps to its share, and says so once.
func TestLimiterWithoutRedis(t *testing.T) {
	s := startServer(t)
	var log bytes.Buffer
	l := newLimiter(t, s, rediscache.LimiterOptions{
		Rates: awsoidc.Rates{Exchange: 8.0 / 20}, Replicas: 8, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	s.kill()
	check(t, l.Wait(t.Context(), awsoidc.BudgetExchange, false)) // its own bucket holds one
	refusedFor(t, l, 20*time.Second)
	if n := strings.Count(log.String(), "this process keeps to 1/8 of the quotas"); n != 1 {
		t.Errorf("it says so %d times: %s", n, &log)
	}
	s.start()
	for deadline := time.Now().Add(20 * time.Second); !contains(log.String(), "shared again"); time.Sleep(20 * time.Millisecond) {
		l.Throttled(awsoidc.BudgetRefresh, 0)
		if time.Now().After(deadline) {
			t.Fatalf("it does not find Redis again: %s", &log)
		}
	}
}
