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
	uncertain    bool          // a write may be on its way
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
				l.release(attemptTimeout / 4) // a request may have got it
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
	if err := l.store.outage.refuse(); err != nil {
		return nil, 0, err
	}
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
		l.lose(fmt.Errorf("%w: Redis has not prolonged it for %v", cache.ErrLost, trust))
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

// write writes the record, empty to delete it. The error wraps cache.ErrLost
// where the lease is lost.
func (l *lease) write(ctx context.Context, record []byte, age time.Duration) error {
	answer, err := l.eval(context.WithoutCancel(ctx), writeScript, l.owner, l.grant, record, age.Milliseconds())
	l.uncertain = isTransient(err)
	switch {
	case err != nil:
		return err
	case answer != int64(1):
		return fmt.Errorf("%w: somebody else had it meanwhile, or Redis lost it", cache.ErrLost)
	}
	return nil
}

// end stops prolonging the lease, and gives it back, unless a write is on its way
// that others must not come before.
func (l *lease) end() {
	close(l.stop)
	<-l.done
	l.lose(nil)
	if !l.uncertain {
		l.release(attemptTimeout)
	}
}

// release gives the lease back, if the server answers in that time. Otherwise it
// ends by itself.
func (l *lease) release(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		_, err := l.eval(ctx, releaseScript, l.owner)
		if !isTransient(err) || pause(ctx, wait) != nil {
			return
		}
	}
}

// eval runs a script on the record and its lease, within attemptTimeout.
func (l *lease) eval(ctx context.Context, script string, args ...any) (any, error) {
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	sent := time.Now()
	answer, err := l.store.client.Eval(attempt, script, l.keys, args...).Result()
	return answer, l.store.outage.note(ctx, sent, err)
}
