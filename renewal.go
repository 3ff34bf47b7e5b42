package awsoidc

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/awsoidc/awsoidc/internal/flight"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	// foregroundWait is how long a caller who holds a valid value waits for
	// its successor, where no background work is allowed or safe.
	foregroundWait = 5 * time.Second

	firstBackoff      = time.Second
	maxBackoff        = 30 * time.Second // while there is a valid value
	maxWaitingBackoff = 5 * time.Second  // while there is none
	// manyInVain is how many callers in a row the service is asked for in vain
	// before others have to wait.
	manyInVain = 3
	// maxRetryAfter bounds how far a service's Retry-After is obeyed.
	maxRetryAfter = 5 * time.Minute
)

// A lease is a value with the time to replace it and the time it ends. It is
// immutable.
type lease[T any] struct {
	expiresAt instant
	lead      time.Duration // how long before its end it is to be replaced; not negative
	value     T
	seq       uint64 // leases with a higher one replace those with a lower one
}

// refreshAt returns the time to replace l.
func (l *lease[T]) refreshAt() instant { return l.expiresAt.add(-l.lead) }

// dueBy makes l, which nobody else has yet, due at t at the latest.
func (l *lease[T]) dueBy(t instant) {
	l.lead = max(l.lead, time.Duration(max(l.expiresAt.wall-t.wall, l.expiresAt.mono-t.mono)))
}

// A renewal keeps one lease, and replaces it before anyone has to wait for it.
// It is safe for concurrent use.
//
//	before refreshAt   the lease is returned: one atomic load, one clock reading
//	before expiresAt   the lease is returned, and renewed by at most one
//	                   goroutine, which starts again after a backoff if it fails
//	afterwards         all callers wait for one renew and share its outcome; a
//	                   failure is returned to others until its backoff ends
type renewal[T any] struct {
	current atomic.Pointer[lease[T]]
	rules   *rules

	call    atomic.Pointer[flight.Call[*lease[T]]] // under way, or nil
	trouble atomic.Pointer[trouble]                // of the last renew, nil after a success
	used    atomic.Bool                            // a lease was returned before, or is fresh

	cleared uint32     // guarded by mu: how often clear was called: earlier calls publish nothing
	mu      sync.Mutex // guards changes of all; never held while anything waits
}

// rules are what renewals have in common. Their clock must be set.
type rules struct {
	clock
	// foreground makes all callers wait foregroundWait for the renewal of a
	// lease that is due, not just the first.
	foreground bool

	mu     sync.Mutex // guards closed, and calls.Add against it
	closed bool
	calls  sync.WaitGroup // all calls, also those that clear gave up
}

// begin announces a call that ends with calls.Done, unless it is too late.
func (r *rules) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.calls.Add(1)
	return true
}

// close lets no call begin any more, and waits for those under way.
func (r *rules) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.calls.Wait()
}

// over reports whether close was called.
func (r *rules) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// trouble is what a renewal knows of renews that failed. It is immutable.
type trouble struct {
	failures int // in a row
	failure  error
	retryAt  instant // the end of the backoff
}

// A renewer obtains leases for a renewal.
type renewer[T any] interface {
	// renew returns the next lease. It is called by one goroutine at a time,
	// with the present lease, which may be nil, and bounds itself. A lease
	// that is already due may be returned for none.
	renew(ctx context.Context, present *lease[T]) (*lease[T], error)
	// renewFailed is told of a renew that failed while a valid lease was held.
	renewFailed(error)
}

// fresh returns the present lease if it is not due, or nil.
func (r *renewal[T]) fresh(now instant) *lease[T] {
	if l := r.current.Load(); l != nil && !now.reached(l.refreshAt()) {
		return l
	}
	return nil
}

// served returns the present lease if it is valid and there is nothing else to
// do: it is not due, or is being renewed, or that has just failed. Callers take
// no lock for it, so that nobody waits while a lease is due.
func (r *renewal[T]) served() *lease[T] {
	l := r.current.Load()
	if l == nil {
		return nil
	}
	now := r.rules.now()
	if !now.reached(l.refreshAt()) {
		return l
	}
	if now.reached(l.expiresAt) || r.rules.foreground || !r.used.Load() || r.call.Load() == nil && !r.trouble.Load().lasts(now) {
		return nil
	}
	return l
}

// get returns a lease that has not expired. Where it has to be renewed, and
// nobody does so yet, by does.
func (r *renewal[T]) get(ctx context.Context, by renewer[T]) (*lease[T], error) {
	if l := r.served(); l != nil {
		return l, nil
	}
	for {
		l, call, wait, err := r.next(ctx, by)
		if wait == waitNot {
			return l, err
		}
		if wait == waitBriefly {
			ctx, cancel := context.WithTimeout(ctx, foregroundWait)
			next, err := call.Wait(ctx)
			cancel()
			if err == nil {
				l = next
			}
			r.used.Store(true) // whoever comes now has waited long enough
			if r.current.Load() != l || r.rules.now().reached(l.expiresAt) {
				continue // it ended meanwhile, or there is another
			}
			return l, nil
		}
		if l, err = call.Wait(ctx); err != nil {
			if now := r.served(); now != nil {
				return now, nil // from elsewhere, such as a sign-in
			}
			return nil, err
		}
		if !r.rules.now().reached(l.refreshAt()) {
			return l, nil
		}
		// What was stored is already due: next decides whether to use it.
	}
}

type waiting int

const (
	waitNot     waiting = iota // use the lease or the error
	waitBriefly                // for the call, and use the lease if it fails
	waitFull                   // for the call: there is no lease
)

// next applies the table in renewal's comment.
func (r *renewal[T]) next(ctx context.Context, by renewer[T]) (*lease[T], *flight.Call[*lease[T]], waiting, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, now := r.current.Load(), r.rules.now()
	switch {
	case l != nil && !now.reached(l.refreshAt()):
		r.used.Store(true)
		return l, nil, waitNot, nil

	case l != nil && !now.reached(l.expiresAt):
		first := !r.used.Load()
		if r.trouble.Load().lasts(now) || !r.startLocked(ctx, by) {
			return l, nil, waitNot, nil
		}
		// A program that ends soon after its first use must not take a
		// renewal down with it, half done.
		if first || r.rules.foreground {
			return l, r.call.Load(), waitBriefly, nil
		}
		return l, nil, waitNot, nil

	case r.call.Load() == nil && r.trouble.Load().lasts(now):
		return nil, nil, waitNot, r.trouble.Load().failure
	case ctx.Err() != nil:
		return nil, nil, waitNot, context.Cause(ctx)
	}
	if !r.startLocked(ctx, by) {
		return nil, nil, waitNot, ErrClosed
	}
	return nil, r.call.Load(), waitFull, nil
}

// startLocked starts a renew unless one is under way. It reports whether there
// is one: not where it is too late to begin. r.mu must be held.
func (r *renewal[T]) startLocked(ctx context.Context, by renewer[T]) bool {
	if r.call.Load() != nil {
		return true
	}
	if !r.rules.begin() {
		return false
	}
	cleared, present := r.cleared, r.current.Load()
	r.call.Store(flight.Start(ctx, func(ctx context.Context) (*lease[T], error) {
		defer r.rules.calls.Done()
		next, err := by.renew(ctx, present)
		if err == nil && r.rules.now().reached(next.expiresAt) {
			err = errExpiredOnArrival
		}
		next, valid := r.end(present, next, err, cleared)
		if err != nil && valid {
			by.renewFailed(err)
		}
		return next, err
	}))
	return true
}

// end takes the outcome of a renew that began with the lease before. It returns
// the lease that is present now, and reports whether it is valid.
func (r *renewal[T]) end(before, next *lease[T], err error, cleared uint32) (*lease[T], bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cleared != r.cleared {
		return next, false
	}
	r.call.Store(nil)
	if before != nil {
		r.used.Store(true)
	}
	if err == nil {
		return r.publishLocked(next), true
	}
	now := r.rules.now()
	if l := r.current.Load(); l != before && l != nil && !now.reached(l.expiresAt) {
		return l, true // from elsewhere: the failure is not about it
	}
	t := &trouble{failure: err}
	if last := r.trouble.Load(); last != nil {
		t.failures = last.failures
	}
	if !isCallersOwn(err) || wasAsked(err) {
		t.failures++
	}
	l := r.current.Load()
	if l != nil && !now.reached(l.expiresAt) {
		t.retryAt = t.backoff(now, maxBackoff).earlier(l.expiresAt)
		r.trouble.Store(t)
		return l, true
	}
	t.retryAt = t.backoff(now, maxWaitingBackoff)
	r.trouble.Store(t)
	return nil, false
}

// publish makes l the present lease, unless a later one is.
func (r *renewal[T]) publish(l *lease[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publishLocked(l)
}

func (r *renewal[T]) publishLocked(l *lease[T]) *lease[T] {
	if now := r.current.Load(); now != nil && now.seq > l.seq {
		return now
	}
	r.current.Store(l)
	if !r.rules.now().reached(l.refreshAt()) {
		r.used.Store(true)
	}
	r.trouble.Store(nil)
	return l
}

// drop forgets the present lease if match says so, and reports whether it did.
func (r *renewal[T]) drop(match func(T) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.current.Load()
	if l == nil || !match(l.value) {
		return false
	}
	r.clearLocked()
	return true
}

// lapse ends the present lease now if match says so, and reports whether it
// did. What it holds stays known to the next renew.
func (r *renewal[T]) lapse(match func(T) bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.current.Load()
	if l == nil || !match(l.value) {
		return false
	}
	ended := *l
	ended.expiresAt, ended.lead = r.rules.now(), 0
	r.current.Store(&ended)
	r.trouble.Store(nil)
	return true
}

// clear forgets the present lease, the last failure, and the call under way.
func (r *renewal[T]) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleared++
	r.call.Store(nil)
	r.clearLocked()
}

func (r *renewal[T]) clearLocked() {
	r.current.Store(nil)
	r.trouble.Store(nil)
}

// askAgain returns when a cache above should ask for l's successor: at the
// refresh time; past that, when the present renew or its backoff may be over.
func (r *renewal[T]) askAgain(l *lease[T]) time.Time {
	now := r.rules.now()
	if !now.reached(l.refreshAt()) {
		return l.refreshAt().time()
	}
	var at instant
	if t := r.trouble.Load(); t != nil {
		at = t.retryAt
	}
	if now.reached(at) {
		at = now.add(firstBackoff)
	}
	return at.earlier(l.expiresAt).time()
}

// errExpiredOnArrival is a failure, or a service that issues such values would
// be asked without end.
var errExpiredOnArrival = &failure{what: "what the service issued had expired when it arrived", advice: "check this machine's clock and its connection"}

// backoff returns how long to wait after the nth failure in a row: most of it
// at random, and as long as the service asked for.
func backoff(n int, most time.Duration, err error) time.Duration {
	d := most
	if n = max(n, 1); n < 6 {
		d = min(d, firstBackoff<<(n-1))
	}
	if errors.Is(err, ErrLoginRequired) && most == maxWaitingBackoff {
		d = firstBackoff // a sign-in elsewhere should be seen soon
	}
	d -= rand.N(d / 2)
	if e, ok := errors.AsType[*wire.Error](err); ok {
		d = max(d, min(e.RetryAfter, maxRetryAfter))
	}
	return d
}

// lasts reports whether the backoff after a failure has not ended yet.
func (t *trouble) lasts(now instant) bool { return t != nil && !now.reached(t.retryAt) }

// backoff returns when to try again after the last failure.
func (t *trouble) backoff(now instant, most time.Duration) instant {
	if most == maxWaitingBackoff && isCallersOwn(t.failure) && (t.failures < manyInVain || !wasAsked(t.failure)) {
		return now // the next caller may have what this one had not
	}
	if f, ok := errors.AsType[*failure](t.failure); ok && !f.retry.IsZero() {
		return now.at(f.retry)
	}
	return now.add(backoff(t.failures, most, t.failure))
}

// wasAsked reports whether the service was asked about what one caller brought.
func wasAsked(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.asked
}
