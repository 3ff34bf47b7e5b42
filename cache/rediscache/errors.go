package rediscache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var errEmptyKey = errors.New("rediscache: the key is empty")

// patience is how long an outage of Redis lasts before callers are no longer
// made to wait for its end: a restart is sat out.
const patience = 5 * time.Second

// probeEvery is how often somebody asks Redis whether it is back, once callers
// are no longer made to wait.
const probeEvery = time.Second

// tooShort is how little time for an answer says nothing of Redis.
const tooShort = 500 * time.Millisecond

// An outage is how long Redis has not answered, as far as is known. Its zero
// value is ready to use.
type outage struct {
	mu      sync.Mutex // guards the rest; never held while waiting
	since   time.Time  // zero: it answered last
	why     string     // the last error, which may wrap that of somebody's context
	probeAt time.Time  // when somebody asks again, once it has lasted
}

// note takes the outcome of a command that a caller with ctx sent at a time, and
// returns the error with what to do.
func (o *outage) note(ctx context.Context, sent time.Time, err error) error {
	transient, err := isTransient(err), explain(err)
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	switch {
	case !transient:
		o.since = time.Time{}
	case ctx.Err() != nil && now.Sub(sent) < tooShort: // Redis had no time to answer
	default:
		if o.since.IsZero() {
			o.since = now
		}
		o.why, o.probeAt = err.Error(), now.Add(probeEvery)
	}
	return err
}

// lasts reports whether Redis has not answered for longer than anyone should
// wait.
func (o *outage) lasts() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lastsAt(time.Now())
}

func (o *outage) lastsAt(now time.Time) bool {
	return !o.since.IsZero() && now.Sub(o.since) >= patience
}

// refuse returns nil where a caller may ask Redis, which may cost it
// attemptTimeout: while an outage lasts, one now and then.
func (o *outage) refuse() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if !o.lastsAt(now) {
		return nil
	}
	if now.Before(o.probeAt) {
		return errors.New(o.why)
	}
	o.probeAt = now.Add(attemptTimeout + probeEvery)
	return nil
}

// hopeless reports whether to try again after err makes no sense.
func (s *Store) hopeless(err error) bool { return !isTransient(err) || s.outage.lasts() }

// isTransient reports whether err is of a server that can't be reached, does not
// answer in time, or says that it will serve again.
func isTransient(err error) bool {
	if err == nil || errors.Is(err, redis.ErrClosed) || errors.Is(err, errAnswer) {
		return false
	}
	if _, answered := errors.AsType[redis.Error](err); !answered {
		return true
	}
	return redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "MOVED") || // while a Cluster moves the record
		redis.IsLoadingError(err) || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err) || redis.IsTryAgainError(err) ||
		redis.IsMasterDownError(err) || redis.IsMaxClientsError(err) || redis.IsNoReplicasError(err) ||
		redis.HasErrorPrefix(err, "BUSY") || redis.HasErrorPrefix(err, "UNBLOCKED")
}

// explain says what a command's error means, and what to do.
func explain(err error) error {
	advice := ""
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.ErrClosed):
		advice = "the client was closed; close it after the last use"
	case redis.IsAuthError(err):
		advice = "give the client the user and password that the server knows"
	case redis.IsPermissionError(err):
		advice = "allow the user the commands that the documentation of package rediscache lists"
	case redis.IsOOMError(err):
		advice = "Redis is full; give it more memory"
	case redis.HasErrorPrefix(err, "MISCONF"):
		advice = "Redis can't write its files; see its log"
	case redis.IsReadOnlyError(err):
		advice = "this is a replica; give the client the address of the primary"
	case redis.HasErrorPrefix(err, "MOVED"):
		advice = "see to the Cluster, and that the client is a *redis.ClusterClient"
	case isTransient(err):
		advice = "see that Redis is up and can be reached"
	default:
		advice = "see the server's log"
	}
	return fmt.Errorf("rediscache: %w; %s", err, advice)
}

// contextError returns why an ended ctx ended: its error, and the cause where
// that says more.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
