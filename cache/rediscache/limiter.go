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
// never waits, others wait 10 s at most; a throttle empties it and halves the
// rate, at most once a second, also for those who wait already in any process; it
// is regained in a minute.
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
	limitSlack   = 100 * time.Millisecond // beyond maxLimitWait, for whom clocks disagree
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
	verb, began := verbWait, time.Now()
	if prefetch {
		verb = verbPrefetch
	}
	t, ok := l.ask(ctx, budget, question{verb: verb, longest: maxLimitWait})
	switch {
	case !ok && ctx.Err() != nil:
		return context.Cause(ctx)
	case !ok:
		return l.local.Wait(ctx, budget, prefetch)
	}
	for t.granted && t.in > 0 {
		err := sleep(ctx, t.in)
		next, ok := turn{granted: true}, false
		if err == nil { // a throttle may have put it off meanwhile
			longest := max(maxLimitWait-time.Since(began), limitSlack)
			next, ok = l.ask(ctx, budget, question{verb: verbTurn, longest: longest, turn: t})
		}
		if !ok && ctx.Err() != nil {
			l.ask(context.WithoutCancel(ctx), budget, question{verb: verbCancel, turn: t}) // or the budget is one smaller for once
			return context.Cause(ctx)
		}
		t = next // where Redis does not answer, the turn stands
	}
	switch {
	case t.granted:
		return nil
	case prefetch:
		t.in = time.Second + rand.N(maxLimitWait)
	}
	return &awsoidc.LimitError{Budget: budget, RetryAt: time.Now().Add(t.in)}
}

// Throttled implements awsoidc.Limiter: the whole fleet slows down, with those
// of it who wait.
func (l *Limiter) Throttled(budget awsoidc.Budget, retryAfter time.Duration) {
	l.local.Throttled(budget, retryAfter) // for when Redis does not answer, now or soon
	l.ask(context.Background(), budget, question{verb: verbThrottled, retryAfter: retryAfter})
}

// A question to the script.
type question struct {
	verb       string
	longest    time.Duration // that the caller waits
	retryAfter time.Duration // what the service said
	turn       turn          // that the caller has
}

// A turn is a place in the budget's queue, or why there is none.
type turn struct {
	granted      bool
	in           time.Duration // when it is, or when there may be room
	number, born int64         // born tells the queue from one that Redis lost
}

// ask runs the script. It reports ok where Redis answered.
func (l *Limiter) ask(ctx context.Context, budget awsoidc.Budget, q question) (_ turn, ok bool) {
	rate := l.options.Rates.Of(budget)
	if rate == 0 {
		return turn{granted: true}, true // there is no such budget
	}
	if !l.mayAsk() {
		return turn{}, false
	}
	attempt, cancel := context.WithTimeout(ctx, limitTimeout)
	defer cancel()
	key := l.options.Prefix + "limit:" + tag(l.options.Name) + ":" + string(budget)
	answer, err := l.client.Eval(attempt, limitScript, []string{key}, q.verb, rate,
		q.longest.Milliseconds(), q.retryAfter.Milliseconds(), q.turn.number, q.turn.born).Int64Slice()
	if err == nil && len(answer) != 4 {
		err = errAnswer
	}
	if err != nil {
		if ctx.Err() == nil {
			l.failed(explain(err))
		}
		return turn{}, false
	}
	l.answered()
	return turn{answer[0] == 1, time.Duration(answer[1]) * time.Millisecond, answer[2], answer[3]}, true
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
	verbTurn      = "turn"      // whether it is there, for whom has waited for it
	verbCancel    = "cancel"    // give a turn back
	verbThrottled = "throttled" // the service refused a request
)

// limitScript keeps a budget: a hash of
//
//	tokens      what may be sent at once; below 0 where callers wait
//	limit       the rate now, per second, which throttles lower
//	at          when both were so, in milliseconds of the server's clock
//	throttled   when the rate was halved last
//	notBefore   when the service wants to be asked again; no tokens are made until then
//	issued      how many turns were given: that of a number has come where tokens are left for all up to it
//	born        when the hash was made
//
// ARGV: verb, rate without throttles, longest wait and Retry-After in
// milliseconds, number and born of the caller's turn. It answers whether a
// request is granted, in how many milliseconds, or when there may be room, and
// the turn's number and born. Where a client repeats a command whose answer it
// did not get, the budget is one smaller, or greater, for once.
const limitScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local verb, full = ARGV[1], tonumber(ARGV[2])
local burst = math.max(1, math.floor(full / 2))
local b = redis.call('HMGET', KEYS[1], 'tokens', 'limit', 'at', 'throttled', 'notBefore', 'issued', 'born')
local tokens, limit = tonumber(b[1]) or burst, math.min(tonumber(b[2]) or full, full)
local at, throttled, notBefore = tonumber(b[3]) or now, tonumber(b[4]) or 0, tonumber(b[5]) or 0
local issued, born = tonumber(b[6]) or 0, tonumber(b[7]) or now
local hold = math.max(0, notBefore - now)
tokens = math.min(burst, tokens + math.max(0, now - math.max(at, notBefore)) / 1000 * limit)
limit = math.min(full, limit + full * math.max(0, now - at) / 1000 / 60)
local has = (verb == 'turn' or verb == 'cancel') and tonumber(ARGV[6]) == born
local number, granted, delay = tonumber(ARGV[5]), 0, 0
if verb == 'throttled' then
	hold = math.max(hold, math.min(tonumber(ARGV[4]), 300000))
	if math.abs(now - throttled) >= 1000 then
		throttled, limit, tokens = now, math.max(full / 16, limit / 2), math.min(tokens, 0)
	end
elseif verb ~= 'cancel' and (verb ~= 'prefetch' or hold == 0 and tokens >= 1 and tokens >= burst / 2) then
	if not has then
		number = issued + 1
	end
	delay = math.ceil(hold + math.max(0, number - issued - tokens) / limit * 1000)
	if delay <= tonumber(ARGV[3]) then
		granted = 1
	end
end
if has and granted == 0 then
	tokens, issued = math.min(burst, tokens + 1), issued - 1
elseif granted == 1 and not has then
	tokens, issued = tokens - 1, issued + 1
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'limit', string.format('%.6f', limit),
	'at', now, 'throttled', throttled, 'notBefore', now + hold, 'issued', issued, 'born', born)
redis.call('PEXPIRE', KEYS[1], 600000)
return {granted, delay, number, born}`
