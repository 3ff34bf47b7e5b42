package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/awsoidc/awsoidc/wire"
)

// Budget names a quota of AWS that requests count towards.
type Budget string

// The budgets of an Exchanger.
const (
	BudgetExchange Budget = "exchange" // CreateTokenWithIAM with a JWT: 10/s for all applications of an instance
	BudgetRefresh  Budget = "refresh"  // CreateTokenWithIAM with the other grants: 80/s for an application
	BudgetSTS      Budget = "sts"      // AssumeRole: 600/s for an account in a region
	BudgetPortal   Budget = "portal"   // GetRoleCredentials: 20/s
)

// Limiter decides when an Exchanger may send a request. NewLimiter makes one
// for a process. Its methods are called concurrently.
type Limiter interface {
	// Wait returns nil once a request may be sent. A prefetch, whose caller has
	// something valid, goes last: where it would have to wait, it is refused.
	// For others the wait is bounded. A refusal is a *LimitError; otherwise the
	// error is that of ctx.
	Wait(ctx context.Context, budget Budget, prefetch bool) error

	// Throttled is told that the service answered that it is asked too often,
	// and when it wants to be asked again, 0 where it did not say.
	Throttled(budget Budget, retryAfter time.Duration)
}

// LimitError is the refusal of a Limiter. An Exchanger's errors wrap it and
// ErrThrottled.
type LimitError struct {
	Budget  Budget    // which is used up
	RetryAt time.Time // when there may be room
}

// Error names the budget.
func (e *LimitError) Error() string {
	return "awsoidc: the budget " + string(e.Budget) + " is used up until " + e.RetryAt.Format(time.TimeOnly)
}

// Rates are requests per second of each Budget. 0 means the default: AWS's
// quota, and half of it for STS, which others of the account use as well.
type Rates struct {
	Exchange float64 // default 10
	Refresh  float64 // default 80
	STS      float64 // default 300
	Portal   float64 // default 20
}

// Of returns the rate of a budget, its default where none was given, and 0 for a
// budget that there is not.
func (r Rates) Of(budget Budget) float64 {
	given, otherwise := 0.0, 0.0
	switch budget {
	case BudgetExchange:
		given, otherwise = r.Exchange, 10
	case BudgetRefresh:
		given, otherwise = r.Refresh, 80
	case BudgetSTS:
		given, otherwise = r.STS, 300
	case BudgetPortal:
		given, otherwise = r.Portal, 20
	}
	if given > 0 {
		return given
	}
	return otherwise
}

const (
	// maxLimitWait bounds the wait for a budget.
	maxLimitWait = 10 * time.Second
	// leastShare is what throttles leave of a budget at the least.
	leastShare = 1.0 / 16
	// regainTime is how long a budget that was halved to nothing takes to be
	// whole again.
	regainTime = time.Minute
)

// NewLimiter returns a Limiter for one of so many replicas that share the
// quotas; below 1 means 1. Each budget is a token bucket that holds half a
// second's worth. A throttle empties it and halves the rate, at most once a
// second, also for those who wait already; it is regained in a minute. Where the
// service says when to come back, nothing is sent before, for 5 minutes at most.
func NewLimiter(rates Rates, replicas int) Limiter {
	l := &limiter{buckets: map[Budget]*bucket{}}
	for _, budget := range []Budget{BudgetExchange, BudgetRefresh, BudgetSTS, BudgetPortal} {
		full := rates.Of(budget) / float64(max(replicas, 1))
		burst := max(1, int(full/2))
		l.buckets[budget] = &bucket{full: full, burst: burst, limit: full, tokens: rate.NewLimiter(rate.Limit(full), burst)}
	}
	return l
}

type limiter struct{ buckets map[Budget]*bucket }

// A bucket is one budget. Its tokens are told no time before notBefore: they
// are made and given from then on.
type bucket struct {
	full  float64 // the rate without throttles
	burst int

	mu        sync.Mutex // guards the rest
	tokens    *rate.Limiter
	limit     float64   // the rate now
	changed   time.Time // when limit was set last
	throttled time.Time // when it was halved last
	waiting   []*waiter // in the foreground, the first first
	notBefore time.Time // what the service asked for
}

// A waiter has a token of later. Guarded by bucket.mu.
type waiter struct {
	since   time.Time
	token   *rate.Reservation
	at      time.Time     // the token's
	refused bool          // it has none any more; there may be one at that time
	changed chan struct{} // holds one where that is news
}

// Wait implements Limiter.
func (l *limiter) Wait(ctx context.Context, budget Budget, prefetch bool) error {
	b := l.buckets[budget]
	if b == nil {
		return nil
	}
	w := b.enter(prefetch)
	for {
		delay, refused := b.left(w)
		switch {
		case refused:
			return &LimitError{Budget: budget, RetryAt: time.Now().Add(delay)}
		case delay <= 0:
			return nil
		}
		if err := pauseUnless(ctx, delay, w.changed); err != nil {
			b.giveBack(w)
			return err
		}
	}
}

// enter takes a token, of now or of later, for whom it returns.
func (b *bucket) enter(prefetch bool) *waiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.regain(now)
	w := &waiter{since: now}
	if prefetch {
		// It leaves half of the bucket to those who wait for what they ask.
		if free := b.tokens.TokensAt(b.from(now)); len(b.waiting) > 0 || free < 1 || free < float64(b.burst)/2 {
			w.refused, w.at = true, b.from(now).Add(time.Second+rand.N(maxLimitWait))
			return w
		}
	}
	if b.book(w, now); !w.refused && w.at.After(now) {
		w.changed = make(chan struct{}, 1)
		b.waiting = append(b.waiting, w)
	}
	return w
}

// from returns now, or the time from which tokens are given, if that is later.
func (b *bucket) from(now time.Time) time.Time {
	if now.Before(b.notBefore) {
		return b.notBefore
	}
	return now
}

// book gives w the next token, if that does not come too late. b.mu must be
// held.
func (b *bucket) book(w *waiter, now time.Time) {
	from := b.from(now)
	w.token = b.tokens.ReserveN(from, 1)
	w.at = from.Add(w.token.DelayFrom(from))
	if w.refused = w.at.Sub(w.since) > maxLimitWait; w.refused {
		w.token.CancelAt(from)
	}
}

// left returns how long w has to wait, or that it is refused, and when there
// may be room. Who need not wait any more is out of the queue.
func (b *bucket) left(w *waiter) (delay time.Duration, refused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delay = time.Until(w.at)
	if delay <= 0 {
		b.leave(w)
	}
	return delay, w.refused
}

func (b *bucket) giveBack(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !w.refused {
		w.token.CancelAt(b.from(time.Now()))
	}
	b.leave(w)
}

// leave takes w out of the queue. b.mu must be held.
func (b *bucket) leave(w *waiter) {
	if i := slices.Index(b.waiting, w); i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
}

// regain raises the rate for the time since it was set. b.mu must be held.
func (b *bucket) regain(now time.Time) {
	if b.limit < b.full {
		b.limit, b.changed = min(b.full, b.limit+b.full*now.Sub(b.changed).Seconds()/regainTime.Seconds()), now
		b.tokens.SetLimitAt(b.from(now), rate.Limit(b.limit))
	}
}

// Throttled implements Limiter. Those who wait keep their order, and get tokens
// of what is left of the budget.
func (l *limiter) Throttled(budget Budget, retryAfter time.Duration) {
	b := l.buckets[budget]
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	until := now.Add(min(retryAfter, maxRetryAfter))
	first := now.Sub(b.throttled) >= time.Second // many requests under way meet one throttle
	if !first && !until.After(b.notBefore) {
		return
	}
	if until.After(b.notBefore) {
		b.notBefore = until
	}
	if first {
		b.regain(now)
		b.limit, b.changed, b.throttled = max(b.full*leastShare, b.limit/2), now, now
	}
	b.tokens = rate.NewLimiter(rate.Limit(b.limit), b.burst)
	b.tokens.ReserveN(b.from(now), b.burst) // and none is left
	waiting := b.waiting
	b.waiting = nil
	for _, w := range waiting {
		if b.book(w, now); !w.refused {
			b.waiting = append(b.waiting, w)
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// errNotAdmitted is wrapped by the errors of requests that were not sent.
var errNotAdmitted = errors.New("nothing was sent")

// admit waits for a budget on behalf of what ev describes. The error wraps
// ErrThrottled.
func (i Identity) admit(ctx context.Context, ev Event, budget Budget, prefetch bool) error {
	e := i.exchanger
	err := e.cfg.Limiter.Wait(ctx, budget, prefetch)
	if err == nil {
		return nil
	}
	e.counters.limited.Add(1)
	f := &failure{kind: ErrThrottled, own: prefetch, cause: fmt.Errorf("%w: %w", errNotAdmitted, err), advice: "try again later",
		retry: e.rules.now().time().Add(throttlePeriod)}
	if limit, ok := errors.AsType[*LimitError](err); ok {
		f.retry, f.advice = limit.RetryAt, "try again then, or spread the work"
	}
	if !prefetch { // nobody misses those
		ev.Err = f
		i.tell(ctx, ev)
	}
	return f
}

// throttled tells the limiter of an answer, if it is one that says so.
func (e *Exchanger) throttled(budget Budget, err error) {
	if answer, ok := errors.AsType[*wire.Error](err); ok && isThrottle(err) {
		e.cfg.Limiter.Throttled(budget, answer.RetryAfter)
	} else if isSDKThrottle(err) {
		e.cfg.Limiter.Throttled(budget, 0)
	}
}

// budgetOf returns what a grant counts towards.
func budgetOf(grant string) Budget {
	if grant == wire.GrantJWTBearer {
		return BudgetExchange
	}
	return BudgetRefresh
}
