package awsoidc_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// sentIn returns how many requests l lets pass in a while, when many want to.
func sentIn(l awsoidc.Limiter, budget awsoidc.Budget, while time.Duration) int {
	ctx, cancel := context.WithTimeout(context.Background(), while)
	defer cancel()
	n := 0
	for l.Wait(ctx, budget, false) == nil {
		n++
	}
	return n
}

func TestLimiterKeepsTheQuotas(t *testing.T) {
	for _, test := range []struct {
		budget   awsoidc.Budget
		rates    awsoidc.Rates
		replicas int
		want     int // in 10 s
	}{
		{awsoidc.BudgetExchange, awsoidc.Rates{}, 1, 100},
		{awsoidc.BudgetRefresh, awsoidc.Rates{}, 1, 800},
		{awsoidc.BudgetSTS, awsoidc.Rates{}, 0, 3000},
		{awsoidc.BudgetPortal, awsoidc.Rates{}, 1, 200},
		{awsoidc.BudgetExchange, awsoidc.Rates{}, 4, 25},
		{awsoidc.BudgetRefresh, awsoidc.Rates{Refresh: 8}, 2, 40},
	} {
		virtual(t, func(t *testing.T) {
			n := sentIn(awsoidc.NewLimiter(test.rates, test.replicas), test.budget, 10*time.Second)
			if n < test.want || n > test.want+test.want/20+1 { // and what the bucket held
				t.Errorf("%s: %d requests in 10 s, want %d", test.budget, n, test.want)
			}
		})
	}
	if err := awsoidc.NewLimiter(awsoidc.Rates{}, 1).Wait(t.Context(), "another", false); err != nil {
		t.Errorf("a budget without a limit: %v", err)
	}
}

func TestLimiterIsHalvedAndRegained(t *testing.T) {
	virtual(t, func(t *testing.T) {
		l := awsoidc.NewLimiter(awsoidc.Rates{Refresh: 100}, 1)
		sentIn(l, awsoidc.BudgetRefresh, time.Second) // empties the bucket
		for range 10 {
			l.Throttled(awsoidc.BudgetRefresh, 0) // all at once: one throttle
		}
		if n := sentIn(l, awsoidc.BudgetRefresh, time.Second); n < 45 || n > 55 {
			t.Errorf("%d requests in the second after a throttle, want about 50", n)
		}
		for range 20 {
			l.Throttled(awsoidc.BudgetRefresh, 0)
			time.Sleep(2 * time.Second)
		}
		sentIn(l, awsoidc.BudgetRefresh, time.Second)
		if n := sentIn(l, awsoidc.BudgetRefresh, time.Second); n == 0 || n > 30 {
			t.Errorf("%d requests a second after many throttles, want a few", n)
		}
		time.Sleep(time.Minute)
		sentIn(l, awsoidc.BudgetRefresh, time.Second)
		if n := sentIn(l, awsoidc.BudgetRefresh, 10*time.Second); n < 990 || n > 1010 {
			t.Errorf("%d requests in 10 s, a minute after the last throttle: want 1000", n)
		}
	})
}

// What was regained since a throttle counts at the next one, and those who waited
// for it hold up no prefetch when they are gone.
func TestLimiterBetweenThrottles(t *testing.T) {
	virtual(t, func(t *testing.T) {
		l := awsoidc.NewLimiter(awsoidc.Rates{Refresh: 100}, 1)
		for range 2 {
			l.Throttled(awsoidc.BudgetRefresh, 0)
			time.Sleep(30 * time.Second)
		}
		l.Throttled(awsoidc.BudgetRefresh, 0)
		if n := sentIn(l, awsoidc.BudgetRefresh, time.Second); n < 45 || n > 55 {
			t.Errorf("%d requests in the second after the third throttle, want about 50", n)
		}
		time.Sleep(30 * time.Second)
		var all sync.WaitGroup
		for range 60 {
			all.Go(func() { l.Wait(t.Context(), awsoidc.BudgetRefresh, false) })
		}
		synctest.Wait()
		l.Throttled(awsoidc.BudgetRefresh, 0)
		all.Wait()
		time.Sleep(10 * time.Second)
		if err := l.Wait(t.Context(), awsoidc.BudgetRefresh, true); err != nil {
			t.Errorf("a prefetch beside nobody: %v", err)
		}
	})
}

func TestLimiterLetsPrefetchGoLast(t *testing.T) {
	virtual(t, func(t *testing.T) {
		l := awsoidc.NewLimiter(awsoidc.Rates{Refresh: 10}, 1)
		prefetched := 0
		for l.Wait(t.Context(), awsoidc.BudgetRefresh, true) == nil {
			prefetched++
		}
		if prefetched == 0 || prefetched > 4 {
			t.Errorf("%d prefetches took from a bucket of 5, want at most 4", prefetched)
		}
		atOnce(t, "who waits for it", func() {
			if err := l.Wait(t.Context(), awsoidc.BudgetRefresh, false); err != nil {
				t.Error(err)
			}
		})
		err := l.Wait(t.Context(), awsoidc.BudgetRefresh, true)
		var limit *awsoidc.LimitError
		if !errors.As(err, &limit) || !limit.RetryAt.After(time.Now()) || limit.Budget != awsoidc.BudgetRefresh {
			t.Errorf("a prefetch from an empty bucket: %v", err)
		}
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() { l.Wait(t.Context(), awsoidc.BudgetRefresh, false) })
		}
		for range 20 {
			synctest.Wait()
			if l.Wait(t.Context(), awsoidc.BudgetRefresh, true) == nil {
				t.Error("a prefetch went before those who wait")
			}
			time.Sleep(100 * time.Millisecond)
		}
		all.Wait()
	})
}

func TestLimiterWaitsAreBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		l := awsoidc.NewLimiter(awsoidc.Rates{Exchange: 1}, 1)
		var all sync.WaitGroup
		var mu sync.Mutex
		passed, refused := 0, 0
		for range 100 {
			all.Go(func() {
				began := time.Now()
				err := l.Wait(t.Context(), awsoidc.BudgetExchange, false)
				mu.Lock()
				defer mu.Unlock()
				if took := time.Since(began); took > 10*time.Second || err != nil && took > 0 {
					t.Errorf("waited %v for %v", took, err)
				}
				if err != nil {
					refused++
				} else {
					passed++
				}
			})
		}
		all.Wait()
		if passed != 11 || refused != 89 {
			t.Errorf("%d passed and %d were refused, want 11 and 89", passed, refused)
		}
	})
}

// A throttle is also for those who wait already: they keep their order, get
// tokens at half the rate from when the service wants to be asked, and are told
// at once if that is too late.
func TestLimiterThrottledWhileManyWait(t *testing.T) {
	virtual(t, func(t *testing.T) {
		const rate, after = 80, 5 * time.Second
		l := awsoidc.NewLimiter(awsoidc.Rates{Refresh: rate}, 1)
		sentIn(l, awsoidc.BudgetRefresh, time.Second) // empties the bucket
		var all sync.WaitGroup
		var mu sync.Mutex
		var order []int
		perSecond := map[time.Duration]int{}
		refused := 0
		var began time.Time
		ask := func(n int) {
			all.Go(func() {
				err := l.Wait(t.Context(), awsoidc.BudgetRefresh, false)
				took := time.Since(began)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					order = append(order, n)
					perSecond[took/time.Second]++
					return
				}
				refused++
				if took > 0 {
					t.Errorf("refused after %v: %v", took, err)
				}
			})
			synctest.Wait()
		}
		began = time.Now()
		for n := range 300 {
			ask(n)
		}
		l.Throttled(awsoidc.BudgetRefresh, after)
		synctest.Wait()
		if refused < 90 || refused > 110 {
			t.Errorf("%d were refused, want those 100 for whom there is no token within 10 s", refused)
		}
		all.Wait()
		if !slices.IsSorted(order) || len(order)+refused != 300 {
			t.Errorf("%d passed, in the order %v", len(order), order)
		}
		for second, n := range perSecond {
			if second < after/time.Second || n > rate/2 {
				t.Errorf("%d requests in second %d; the service throttled, and wants none before second %d", n, second, after/time.Second)
			}
		}
	})
}

// After the time that the service asked for, requests come at their rate too,
// and not all at once.
func TestLimiterAfterRetryAfter(t *testing.T) {
	virtual(t, func(t *testing.T) {
		l := awsoidc.NewLimiter(awsoidc.Rates{Refresh: 80}, 1)
		l.Throttled(awsoidc.BudgetRefresh, 5*time.Second)
		var all sync.WaitGroup
		var atOnce atomic.Int32
		for range 150 {
			all.Go(func() {
				began := time.Now()
				if err := l.Wait(t.Context(), awsoidc.BudgetRefresh, false); err != nil {
					t.Error(err)
				}
				if time.Since(began) < 5100*time.Millisecond {
					atOnce.Add(1)
				}
			})
		}
		all.Wait()
		if n := atOnce.Load(); n > 40 {
			t.Errorf("%d requests were sent within a tenth of a second", n)
		}
	})
}

// Who gives up takes nothing from those behind.
func TestLimiterGivesBackWhatNobodyWaitsFor(t *testing.T) {
	virtual(t, func(t *testing.T) {
		l := awsoidc.NewLimiter(awsoidc.Rates{Exchange: 1}, 1)
		l.Wait(t.Context(), awsoidc.BudgetExchange, false)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { gone <- l.Wait(ctx, awsoidc.BudgetExchange, false) }()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
		began := time.Now()
		if err := l.Wait(t.Context(), awsoidc.BudgetExchange, false); err != nil || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A budget that is used up is no failure of the user's: the assertion is not
// spent, and valid tokens are served.
func TestExchangerPastItsBudget(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		refusing := &refusal{}
		var told atomic.Int32
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.Limiter = refusing
			c.Observe = func(_ context.Context, ev awsoidc.Event) {
				if errors.Is(ev.Err, awsoidc.ErrThrottled) {
					told.Add(1)
				}
			}
		})
		assertion := fresh(jane)
		refusing.refuse = true
		_, err := ex.Identity(jane, assertion).Token()
		at, ok := awsoidc.RetryAt(err)
		if !errors.Is(err, awsoidc.ErrThrottled) || errors.Is(err, awsoidc.ErrReauthRequired) || !ok || time.Until(at) != refusalTime {
			t.Errorf("%v, to be tried again at %v: want ErrThrottled, for as long as the limiter says", err, at)
		}
		if n := ex.Stats().Limited; n != 1 {
			t.Errorf("%d requests were limited, want 1", n)
		}
		refusing.refuse = false
		time.Sleep(time.Until(at))
		accessToken(t, ex.Identity(jane, assertion))
		refusing.refuse = true
		for range 59 {
			time.Sleep(time.Minute)
			accessToken(t, ex.Identity(jane, assertion))
			synctest.Wait()
		}
		if s := ex.Stats(); s.Limited < 2 || s.Throttles != 0 {
			t.Errorf("%+v, want some limited and no throttles", s)
		}
		if !refusing.prefetch {
			t.Error("no request was for a prefetch")
		}
		if n := told.Load(); n != 1 {
			t.Errorf("the observer was told of %d refusals, want 1: nobody misses a prefetch", n)
		}
	})
}

// Whatever a Limiter says, who is not let pass is told when to come back.
func TestThrottledHasATime(t *testing.T) {
	virtual(t, func(t *testing.T) {
		ex := newExchanger(t, idctest.New(), func(c *awsoidc.ExchangerConfig) { c.Limiter = outOfTime{} })
		_, err := ex.Identity(jane, fresh(jane)).Token()
		if at, ok := awsoidc.RetryAt(err); !errors.Is(err, awsoidc.ErrThrottled) || !ok || !at.After(time.Now()) {
			t.Errorf("%v: to be tried again at %v, want ErrThrottled and a time to come", err, at)
		}
	})
}

// outOfTime is a Limiter whose callers have less time than it needs.
type outOfTime struct{ awsoidc.Limiter }

func (outOfTime) Wait(context.Context, awsoidc.Budget, bool) error { return context.DeadlineExceeded }

type refusal struct{ refuse, prefetch bool }

const refusalTime = 7 * time.Second

func (r *refusal) Wait(_ context.Context, b awsoidc.Budget, prefetch bool) error {
	r.prefetch = r.prefetch || prefetch
	if !r.refuse {
		return nil
	}
	return &awsoidc.LimitError{Budget: b, RetryAt: time.Now().Add(refusalTime)}
}

func (r *refusal) Throttled(awsoidc.Budget, time.Duration) {}

// Each request counts towards its own budget.
func TestBudgets(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		asked := &asking{}
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Limiter = asked })
		user := ex.Identity(jane, fresh(jane))
		callerOf(t, srv, user.Credentials(awsoidc.Role{ARN: accessRole}))
		time.Sleep(2 * time.Hour)
		accessToken(t, user)
		want := []awsoidc.Budget{awsoidc.BudgetExchange, awsoidc.BudgetSTS, awsoidc.BudgetRefresh}
		if !slices.Equal(asked.budgets, want) {
			t.Errorf("asked for %v, want %v", asked.budgets, want)
		}
	})
}

type asking struct{ budgets []awsoidc.Budget }

func (a *asking) Wait(_ context.Context, b awsoidc.Budget, _ bool) error {
	a.budgets = append(a.budgets, b)
	return nil
}

func (*asking) Throttled(awsoidc.Budget, time.Duration) {}

// The service's and STS's throttles reach the limiter.
func TestThrottlesReachTheLimiter(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		told := &counting{}
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.Limiter = told })
		srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Status: 429, Header: http.Header{"Retry-After": {"3"}}})
		srv.Inject(idctest.AssumeRole, idctest.Fault{Times: 5, Type: "Throttling", Status: 400})
		user := ex.Identity(jane, fresh(jane))
		if _, err := user.Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context()); !errors.Is(err, awsoidc.ErrThrottled) {
			t.Errorf("%v, want ErrThrottled", err)
		}
		if len(told.of) != 4 || told.of[0] != awsoidc.BudgetExchange || told.after[0] != 3*time.Second || told.of[1] != awsoidc.BudgetSTS {
			t.Errorf("told of throttles %v %v", told.of, told.after)
		}
	})
}

type counting struct {
	of    []awsoidc.Budget
	after []time.Duration
}

func (*counting) Wait(context.Context, awsoidc.Budget, bool) error { return nil }
func (c *counting) Throttled(b awsoidc.Budget, after time.Duration) {
	c.of, c.after = append(c.of, b), append(c.after, after)
}
