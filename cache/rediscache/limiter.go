package rediscache

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc"
)

// LimiterOptions of a Limiter. The zero value is a usable default.
type LimiterOptions struct {
	// Prefix begins the name of every key in Redis. The default is "awsoidc:".
	Prefix string

	// Name tells those who share quotas from others: all Exchangers of one
	// instance of Identity Center share that of BudgetExchange, for example. All
	// with the same Prefix and Name share each budget. The default is "default".
	Name string

	// Rates are those of the whole fleet, the same in each process.
	Rates awsoidc.Rates

	// Replicas is how many processes the fleet has at most, for when Redis does
	// not answer: each keeps to its part of the Rates then. The default is 1.
	Replicas int

	// Logger is told when Redis does not answer, and when it does again. nil is
	// silent.
	Logger *slog.Logger
}

// Limiter is an awsoidc.Limiter whose budgets a fleet shares. Each is a token
// bucket on the clock of the Redis server, with the rules of awsoidc.NewLimiter:
// it holds half a second's worth, a prefetch leaves half of that to others and
// never waits, others wait 10 s at most; a throttle halves the rate, at most once
// a second, and it is regained in a minute.
//
// While Redis does not answer, which may cost a caller half a second every now
// and then, each process keeps to its own share of the rates, and says so once.
// It is safe for concurrent use and needs no closing.
type Limiter struct {
	client  redis.UniversalClient
	options LimiterOptions
	local   awsoidc.Limiter

	mu      sync.Mutex // guards the rest; never held while waiting
	down    bool       // Redis did not answer last
	retryAt time.Time  // when somebody asks it again, while down
}

var _ awsoidc.Limiter = (*Limiter)(nil)

const (
	maxLimitWait = 10 * time.Second
	limitTimeout = 500 * time.Millisecond // for one question
	limitBackoff = 2 * time.Second        // between questions while Redis does not answer
)

// NewLimiter returns a Limiter. The client is as New takes it. Nothing is sent.
func NewLimiter(client redis.UniversalClient, o LimiterOptions) (*Limiter, error) {
	if err := checkClient(client); err != nil {
		return nil, err
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if o.Name == "" {
		o.Name = "default"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Limiter{client: client, options: o, local: awsoidc.NewLimiter(o.Rates, o.Replicas)}, nil
}

// Wait implements awsoidc.Limiter.
func (l *Limiter) Wait(ctx context.Context, budget awsoidc.Budget, prefetch bool) error {
	verb := verbWait
	if prefetch {
		verb = verbPrefetch
	}
	granted, delay, ok := l.ask(ctx, verb, budget, 0)
	switch {
	case !ok && ctx.Err() != nil:
		return context.Cause(ctx)
	case !ok:
		return l.local.Wait(ctx, budget, prefetch)
	case !granted && prefetch:
		delay = time.Second + rand.N(maxLimitWait)
		fallthrough
	case !granted:
		return &awsoidc.LimitError{Budget: budget, RetryAt: time.Now().Add(delay)}
	case delay == 0:
		return nil
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		l.ask(context.WithoutCancel(ctx), verbCancel, budget, 0) // or the budget is one smaller for once
		return context.Cause(ctx)
	}
}

// Throttled implements awsoidc.Limiter: the whole fleet slows down.
func (l *Limiter) Throttled(budget awsoidc.Budget, retryAfter time.Duration) {
	l.local.Throttled(budget, retryAfter) // for when Redis does not answer, now or soon
	l.ask(context.Background(), verbThrottled, budget, retryAfter)
}

// ask runs the script. It reports ok where Redis answered.
func (l *Limiter) ask(ctx context.Context, verb string, budget awsoidc.Budget, retryAfter time.Duration) (granted bool, delay time.Duration, ok bool) {
	rate := l.options.Rates.Of(budget)
	if rate == 0 {
		return true, 0, true // there is no such budget
	}
	if !l.mayAsk() {
		return false, 0, false
	}
	attempt, cancel := context.WithTimeout(ctx, limitTimeout)
	defer cancel()
	key := l.options.Prefix + "limit:" + tag(l.options.Name) + ":" + string(budget)
	answer, err := l.client.Eval(attempt, limitScript, []string{key}, verb, rate, maxLimitWait.Milliseconds(), retryAfter.Milliseconds()).Int64Slice()
	if err == nil && len(answer) != 2 {
		err = errAnswer
	}
	if err != nil {
		if ctx.Err() == nil {
			l.failed(explain(err))
		}
		return false, 0, false
	}
	l.answered()
	return answer[0] == 1, time.Duration(answer[1]) * time.Millisecond, true
}

// mayAsk reports whether to ask Redis: while it does not answer, one caller does
// so now and then.
func (l *Limiter) mayAsk() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.down {
		return true
	}
	now := time.Now()
	if now.Before(l.retryAt) {
		return false
	}
	l.retryAt = now.Add(limitBackoff/2 + rand.N(limitBackoff/2))
	return true
}

func (l *Limiter) failed(err error) {
	l.mu.Lock()
	first := !l.down
	l.down, l.retryAt = true, time.Now().Add(limitBackoff/2+rand.N(limitBackoff/2))
	l.mu.Unlock()
	if first {
		l.options.Logger.Warn(fmt.Sprintf("rediscache: the fleet's budgets can't be had; this process keeps to 1/%d of the quotas until they can", max(l.options.Replicas, 1)), slog.Any("error", err))
	}
}

func (l *Limiter) answered() {
	l.mu.Lock()
	again := l.down
	l.down = false
	l.mu.Unlock()
	if again {
		l.options.Logger.Info("rediscache: the fleet's budgets are shared again")
	}
}

// What the script is asked to do.
const (
	verbWait      = "wait"
	verbPrefetch  = "prefetch"
	verbCancel    = "cancel"    // give back what a wait was granted
	verbThrottled = "throttled" // the service refused a request
)

// limitScript keeps a budget: a hash of
//
//	tokens      what may be sent at once; below 0 where callers wait
//	limit       the rate now, per second, which throttles lower
//	at          when both were so, in milliseconds of the server's clock
//	throttled   when the rate was halved last
//	notBefore   when the service wants to be asked again
//
// ARGV: verb, rate without throttles, longest wait and Retry-After in
// milliseconds. It answers whether a request is granted, and in how many
// milliseconds, or when there may be room. Where a client repeats a command whose
// answer it did not get, the budget is one smaller, or greater, for once.
const limitScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local verb, full = ARGV[1], tonumber(ARGV[2])
local burst = math.max(1, math.floor(full / 2))
local b = redis.call('HMGET', KEYS[1], 'tokens', 'limit', 'at', 'throttled', 'notBefore')
local tokens, limit = tonumber(b[1]) or burst, math.min(tonumber(b[2]) or full, full)
local passed = math.max(0, now - (tonumber(b[3]) or now)) / 1000
local throttled, hold = tonumber(b[4]) or 0, math.max(0, (tonumber(b[5]) or 0) - now)
tokens = math.min(burst, tokens + passed * limit)
limit = math.min(full, limit + full * passed / 60)
local granted, delay = 0, 0
if verb == 'throttled' then
	hold = math.max(hold, math.min(tonumber(ARGV[4]), 300000))
	if math.abs(now - throttled) >= 1000 then
		throttled, limit = now, math.max(full / 16, limit / 2)
	end
elseif verb == 'cancel' then
	tokens = math.min(burst, tokens + 1)
elseif verb == 'wait' or hold == 0 and tokens >= 1 and tokens >= burst / 2 then
	delay = math.ceil(hold + math.max(0, 1 - tokens) / limit * 1000)
	if delay <= tonumber(ARGV[3]) then
		granted, tokens = 1, tokens - 1
	end
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'limit', string.format('%.6f', limit),
	'at', now, 'throttled', throttled, 'notBefore', now + hold)
redis.call('PEXPIRE', KEYS[1], 600000)
return {granted, delay}`
