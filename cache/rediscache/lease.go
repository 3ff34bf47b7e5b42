package rediscache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/awsoidc/awsoidc/cache"
)

// A lease is the exclusive right to a record, for the time that the server has
// given, which a goroutine prolongs until end.
type lease struct {
	store        *Store
	keys         []string
	owner, grant string
	ctx          context.Context // for the update function
	lose         context.CancelCauseFunc
	stop, done   chan struct{} // of the goroutine
	settled      bool          // it was given back, or must not be: a write may be on its way
}

// acquire waits for the lease of a record, and returns it with the record, which
// is empty where there is none. The error wraps cache.ErrLockTimeout or
// cache.ErrLock.
func (s *Store) acquire(ctx context.Context, keys []string) (*lease, []byte, error) {
	l := &lease{store: s, keys: keys, owner: rand.Text()}
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("%w: %w", cache.ErrLockTimeout, contextError(ctx))
	}
	unanswered := false
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		sent := time.Now()
		record, left, err := l.take(ctx)
		unanswered = unanswered || err != nil
		switch {
		case err == nil && left == 0:
			if time.Since(sent) < s.options.Lease/8 {
				l.keep(ctx, sent)
				return l, record, nil
			}
			continue // the answer took so long that little is left: prolong it
		case err == nil:
			wait = min(wait, left)
		case s.hopeless(err):
			return nil, nil, fmt.Errorf("%w: %w", cache.ErrLock, err)
		}
		if pause(ctx, wait) != nil {
			if unanswered {
				l.abandon()
			}
			if err == nil {
				err = errors.New("another holds it")
			}
			return nil, nil, fmt.Errorf("%w: %w: %w", cache.ErrLockTimeout, contextError(ctx), err)
		}
	}
}

// take asks for the lease. It returns the record, or how long to wait at most.
func (l *lease) take(ctx context.Context) (record []byte, left time.Duration, err error) {
	o := &l.store.options
	answer, err := l.eval(ctx, acquireScript, l.owner, o.Lease.Milliseconds(), l.grace().Milliseconds(), cache.MaxRecordBytes)
	if err != nil {
		return nil, 0, err
	}
	list, _ := answer.([]any)
	switch {
	case len(list) == 2:
		left, _ := list[1].(int64)
		return nil, max(time.Duration(left)*time.Millisecond, time.Millisecond), nil
	case len(list) == 3:
		grant, _ := list[1].(string)
		text, _ := list[2].(string)
		l.grant = grant
		return []byte(text), 0, nil
	}
	return nil, 0, errAnswer
}

var errAnswer = errors.New("rediscache: the server's answer makes no sense; see that it is Redis 7 or Valkey")

// grace is how long a lease that ended is left to its owner, from when somebody
// first saw it.
func (l *lease) grace() time.Duration { return l.store.options.Lease / 12 }

// abandon gives back what an unanswered request may have got.
func (l *lease) abandon() {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout/4)
	defer cancel()
	_, _ = l.eval(ctx, releaseScript, l.owner) // or it ends by itself
}

// keep begins to prolong the lease, which was asked for at the time sent.
func (l *lease) keep(ctx context.Context, sent time.Time) {
	l.ctx, l.lose = context.WithCancelCause(ctx)
	l.stop, l.done = make(chan struct{}), make(chan struct{})
	go l.prolong(sent)
}

// prolong renews the lease, and ends the update function's context once it was
// not renewed for too long. It goes on then, for the sake of the write.
func (l *lease) prolong(confirmed time.Time) {
	defer close(l.done)
	every, trust := l.store.options.Lease/12, l.store.options.Lease/4
	doubt := func() {
		l.lose(fmt.Errorf("%w: Redis has not answered for %v", cache.ErrLost, trust))
	}
	last := time.AfterFunc(trust-time.Since(confirmed), doubt)
	defer last.Stop()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		sent := time.Now()
		if sent.Round(0).Sub(confirmed.Round(0)) >= trust { // the machine was suspended, which stops the monotonic clock
			doubt()
		}
		held, err := l.renew(every)
		switch {
		case err == nil && !held:
			l.lose(fmt.Errorf("%w: it was taken over, or Redis lost it", cache.ErrLost))
			return
		case err == nil:
			confirmed = sent
			last.Reset(trust - time.Since(sent))
		}
	}
}

func (l *lease) renew(within time.Duration) (held bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), within)
	defer cancel()
	answer, err := l.eval(ctx, renewScript, l.owner, l.grant, l.store.options.Lease.Milliseconds())
	return answer == int64(1), err
}

// finish writes the record, empty to delete it, and gives the lease back. The
// error wraps cache.ErrLost where it is lost.
func (l *lease) finish(ctx context.Context, record []byte, age time.Duration) error {
	answer, err := l.eval(context.WithoutCancel(ctx), finishScript, l.owner, l.grant, record, age.Milliseconds())
	// After a write without an answer, to give the lease back would open the door
	// to others before that write arrives.
	l.settled = err == nil || isTransient(err)
	switch {
	case err != nil:
		return err
	case answer != int64(1):
		return fmt.Errorf("%w: somebody else had it meanwhile, or Redis lost it", cache.ErrLost)
	}
	return nil
}

// end gives the lease back, unless that is settled, and stops prolonging it.
func (l *lease) end() {
	close(l.stop)
	if !l.settled {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), attemptTimeout)
		_, _ = l.eval(ctx, releaseScript, l.owner) // or it ends by itself
		cancel()
	}
	<-l.done
	l.lose(nil)
}

// eval runs a script on the record and its lease, within attemptTimeout.
func (l *lease) eval(ctx context.Context, script string, args ...any) (any, error) {
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	answer, err := l.store.client.Eval(attempt, script, l.keys, args...).Result()
	return answer, l.store.outage.note(ctx, err)
}
