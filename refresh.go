package awsoidc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	// lockWait bounds the wait for the exclusive right to the record.
	lockWait = 30 * time.Second
	// lockHold bounds everything that is done with that right. It is less than
	// lockWait, so that one slow holder does not fail those who wait for it.
	lockHold = 25 * time.Second
	// sendBudget is the part of lockHold that requests may use.
	sendBudget = lockHold - saveTimeout
	// saveTimeout is the part of lockHold for saving their result.
	saveTimeout = 5 * time.Second
	// sendTimeout bounds one request.
	sendTimeout = 8 * time.Second
	// maxSends bounds the requests of one refresh.
	maxSends = 3
	// refusalPatience is how long a tool that takes no lock is given to save a
	// session that it may have refreshed just before us.
	refusalPatience = time.Second
	// saveGrace is how long callers wait for the store to save what the
	// service gave. A program may end as soon as it has its token, so they do
	// wait while all is well.
	saveGrace = 2 * time.Second
	// readTimeout bounds the reading of a record without the lock.
	readTimeout = 5 * time.Second
	// recheckTimeout bounds the last look before a record is replaced.
	recheckTimeout = 500 * time.Millisecond
	// noteTimeout bounds the saving of a note about a failed refresh.
	noteTimeout = 2 * time.Second
)

// errUnchanged makes Update write nothing.
var errUnchanged = errors.New("unchanged")

// renew implements renewer. Without a valid lease it takes any valid session of
// the store; otherwise only one that is not due. Failing that it refreshes.
func (s *TokenSource) renew(ctx context.Context, present *lease[*session]) (*lease[*session], error) {
	seq := s.seq.Add(1) // before the record is read: a sign-in meanwhile is newer
	raw, err := s.read(ctx)
	if err != nil && !errors.Is(err, cache.ErrMiss) {
		return nil, &failure{what: "the session can't be read", cause: err, advice: "see that this user may read " + s.place()}
	}
	stored, why, corrupt := s.whole(ctx, raw, err)
	if s.superseding(stored, corrupt) == nil {
		if stored == nil {
			if !corrupt {
				s.signedOut(seq)
			}
			return nil, s.loginRequired(why, nil)
		}
		l := s.leaseStored(stored, seq)
		now := s.rules.now()
		if s.usable(l) && (present == nil || now.reached(present.expiresAt) || !now.reached(l.refreshAt())) {
			s.remember(l)
			return l, nil
		}
		if !s.refreshable(stored) {
			what := "the session in " + s.place() + " is over"
			if s.isRejected(stored.accessToken) {
				what = "the session in " + s.place() + " was refused before its time: it was ended, or belongs to another region"
			}
			return nil, s.loginRequired(what, nil)
		}
	}
	r := &refresh{TokenSource: s}
	return r.run(ctx)
}

// renewFailed implements renewer.
func (s *TokenSource) renewFailed(err error) {
	s.warn("session not refreshed; the present token is still valid", err)
}

// read reads the session's record.
func (s *TokenSource) read(ctx context.Context) ([]byte, error) {
	return readWithin(ctx, s.store, s.keys.token)
}

// examine returns the session in what the store's Get returned, or why there is
// none, and whether that is because the record is corrupt.
func (s *TokenSource) examine(raw []byte, err error) (_ *session, why string, corrupt bool) {
	switch {
	case errors.Is(err, cache.ErrCorrupt):
		return nil, s.place() + " is not readable JSON", true
	case err != nil && !errors.Is(err, cache.ErrMiss):
		return nil, s.place() + " can't be read", true
	}
	v, why := s.decode(raw)
	return v, why, v == nil && raw != nil && !isSessionRecord(raw)
}

// find is examine for an update function, which is not told why there is no
// record: a tool that takes no lock may be writing it.
func (s *TokenSource) find(ctx context.Context, old []byte) (_ *session, why string, corrupt bool) {
	var err error
	if old == nil {
		old, err = s.store.Get(ctx, s.keys.token)
	}
	return s.whole(ctx, old, err)
}

// whole is examine, but gives whoever may be writing the record some time, where
// there was a session before.
func (s *TokenSource) whole(ctx context.Context, raw []byte, err error) (v *session, why string, corrupt bool) {
	const step = refusalPatience / 10
	for waited := time.Duration(0); ; waited += step {
		v, why, corrupt = s.examine(raw, err)
		if !corrupt || !s.hadSession() || waited >= refusalPatience || pause(ctx, step) != nil {
			return v, why, corrupt
		}
		raw, err = s.read(ctx)
	}
}

// refreshable reports whether stored can be refreshed, as far as is known here.
func (s *TokenSource) refreshable(stored *session) bool {
	return stored.refreshable(s.rules.now().time()) && !s.isRetired(stored.refreshToken) && !s.isSpent(stored.refreshToken)
}

// A refresh is one attempt to replace the stored session by a newer one, alone
// among all who share the store:
//
//	lock → read → usable and not due? adopt it → reserve the write → send → write → unlock
type refresh struct {
	*TokenSource
	queued   time.Time // when it began to wait for the lock
	started  time.Time // when it first sent something
	sends    int
	result   *lease[*session] // what to publish
	ours     bool             // result was obtained by this source, now or before
	answered chan struct{}    // closed when result came from the service, and is about to be saved
}

func (r *refresh) run(ctx context.Context) (*lease[*session], error) {
	r.queued = r.rules.now().time()
	r.answered = make(chan struct{})
	type outcome struct {
		lease *lease[*session]
		err   error
	}
	done := make(chan outcome, 1)
	r.work.Go(func() {
		l, err := r.settle(ctx, r.update(ctx, r.exclusive))
		done <- outcome{l, err}
	})
	select {
	case o := <-done:
		return o.lease, o.err
	case <-r.answered:
	}
	grace := time.NewTimer(saveGrace)
	defer grace.Stop()
	select {
	case o := <-done:
		return o.lease, o.err
	case <-grace.C:
		// The store goes on trying to save it, with the lock held. Whoever
		// needs the token need not wait for that.
		r.work.Go(func() {
			if o := <-done; o.err == nil && r.usable(o.lease) {
				r.tokens.publish(o.lease)
			}
		})
		return r.result, nil
	}
}

// settle turns the outcome of the update into that of the refresh.
func (r *refresh) settle(ctx context.Context, err error) (*lease[*session], error) {
	switch {
	case r.result != nil && (err == nil || errors.Is(err, errUnchanged)) && r.ours && r.store.refused(r.keys.token) != nil:
		return r.keepUnsaved(ctx, r.result, r.store.refused(r.keys.token)), nil
	case r.result != nil && (err == nil || errors.Is(err, errUnchanged)):
		r.remember(r.result)
		return r.result, nil
	case r.result != nil:
		return r.keepUnsaved(ctx, r.result, err), nil
	case errors.Is(err, cache.ErrLock), errors.Is(err, cache.ErrLockTimeout), errors.Is(err, cache.ErrLost):
		return nil, &failure{
			what:   "the session is due and can't be refreshed without the exclusive right to " + r.place(),
			cause:  err,
			advice: "see that the folder is writable, and that no program hangs while it holds the lock",
		}
	}
	return nil, err
}

// update runs fn with the exclusive right to the session's record.
func (s *TokenSource) update(ctx context.Context, fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	return s.updateRecord(ctx, s.keys.token, fn)
}

// updateRecord is the store's Update, within bounds.
func (s *TokenSource) updateRecord(ctx context.Context, key string, fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	return updateWithin(ctx, s.store, s.rules.now, key, lockWait, fn)
}

// updateWithin is the store's Update, with bounds for each of its parts: the
// wait for the exclusive right, fn, and the saving of what it returns.
func updateWithin(ctx context.Context, store cache.Store, now func() instant, key string, wait time.Duration, fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bound := time.AfterFunc(wait, func() { cancel(fmt.Errorf("waited %v, or held the lock for %v", wait, lockHold)) })
	defer bound.Stop()
	return store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		bound.Reset(lockHold)
		ctx, cancel := context.WithTimeout(ctx, sendBudget)
		defer cancel()
		defer bound.Reset(saveTimeout)
		record, err := fn(ctx, old)
		if d, ok := lifetimeOf(record, now().time()); ok {
			cache.KeepFor(ctx, d)
		}
		return record, err
	})
}

// readWithin is the store's Get, within readTimeout.
func readWithin(ctx context.Context, store cache.Store, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return store.Get(ctx, key)
}

// exclusive runs with the exclusive right to the record old.
func (r *refresh) exclusive(ctx context.Context, old []byte) ([]byte, error) {
	seq := r.seq.Add(1)
	stored, why, corrupt := r.find(ctx, old)
	l := r.superseding(stored, corrupt)
	switch {
	case l != nil:
		stored, r.ours = l.value, true
	case stored == nil:
		if !corrupt {
			r.signedOut(seq)
		}
		return nil, r.loginRequired(why, nil)
	default:
		l = r.leaseStored(stored, seq)
		r.remember(l)
	}
	seen := old
	for reread := false; ; {
		if r.fresh(l) {
			r.result = l
			if r.ours {
				return r.merged(stored, old), nil
			}
			return nil, errUnchanged
		}
		if err := r.mayRefresh(ctx, stored, l); err != nil {
			return nil, err
		}
		next, err := r.send(ctx, stored)
		if err == nil {
			r.result, r.ours = r.lease(next, seq), true
			r.spend(stored.refreshToken, r.result)
			record, err := r.replace(ctx, stored, seen, next)
			if err == nil {
				close(r.answered)
			}
			return record, err
		}
		refused := isType(err, wire.TypeInvalidGrant, wire.TypeInvalidClient)
		if newer := r.changedMeanwhile(ctx, stored, refused); newer != nil && !reread {
			// A tool that takes no lock refreshed, or what was read at first
			// was half written: go on from what is there now, once.
			newLease := r.leaseStored(newer, seq)
			if r.fresh(newLease) || !newer.sameGrant(stored) && r.sends < maxSends {
				reread, stored, l, seen = true, newer, newLease, newer.raw
				r.ours = false
				r.remember(l)
				continue
			}
		}
		if refused || !mayResend(err) || r.sends >= maxSends || pause(ctx, resendDelay(r.sends, err)) != nil {
			return nil, r.giveUp(ctx, stored, l, err)
		}
	}
}

// replace returns what to save after a refresh of stored gave next, where the
// record was seen before. A tool that takes no lock may have signed in or out
// meanwhile: that stands, where it is certain.
func (r *refresh) replace(ctx context.Context, stored *session, seen []byte, next *session) ([]byte, error) {
	raw, err := r.recheck(ctx)
	if bytes.Equal(raw, seen) || err != nil && !errors.Is(err, cache.ErrMiss) {
		return r.merged(next, seen), nil
	}
	newer, _, corrupt := r.whole(ctx, raw, err)
	switch {
	case corrupt:
	case newer == nil: // it is gone, or for another start URL
		if r.superseding(nil, false) != nil {
			break
		}
		r.result = nil
		r.signedOut(r.seq.Add(1))
		return nil, r.loginRequired("somebody signed out while the session was refreshed", nil)
	default:
		l := r.leaseStored(newer, r.seq.Add(1))
		if !newer.newerThan(stored) || r.isSpent(newer.refreshToken) || r.isRetired(newer.refreshToken) || !r.usable(l) {
			break
		}
		r.result, r.ours = l, false
		r.remember(l)
		return nil, errUnchanged
	}
	return r.merged(next, raw), nil
}

// recheck reads the record once more, for a moment: others wait. That the store
// became unsafe says nothing about the session.
func (r *refresh) recheck(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, recheckTimeout)
	defer cancel()
	if r.store.inMemory(ctx, r.keys.token) {
		return r.store.memory.Get(ctx, r.keys.token)
	}
	return r.store.Store.Get(ctx, r.keys.token)
}

// mayRefresh says why stored, whose lease is l, can't or should not be
// refreshed.
func (r *refresh) mayRefresh(ctx context.Context, stored *session, l *lease[*session]) error {
	now := r.rules.now().time()
	if !r.refreshable(stored) {
		return r.loginRequired("the session in "+r.place()+" is over", nil)
	}
	if err := cache.NotWritable(ctx); err != nil && r.usable(l) {
		return fmt.Errorf("awsoidc: not refreshed, because the new session could not be saved: %w", err)
	}
	if r.sends > 0 {
		return nil
	}
	if a, matters := r.lastAttempt(ctx, stored, r.queued, now); matters {
		return r.sharedFailure(a)
	}
	r.started = now
	return nil
}

// giveUp returns the error of a refresh that failed, and leaves a note of it.
func (r *refresh) giveUp(ctx context.Context, stored *session, l *lease[*session], cause error) error {
	var err error = &failure{what: "refresh failed", cause: cause, advice: serviceAdvice(cause)}
	if isType(cause, wire.TypeInvalidGrant, wire.TypeInvalidClient) {
		r.retire(stored, cause)
		err = r.loginRequired("the service ended the session in "+r.place(), cause)
	}
	r.noteAttempt(ctx, stored, l, r.started, err)
	return err
}

// send sends the refresh once, and returns the session that follows. Once sent
// it is not abandoned: only its own timeout ends it. It may be sent again
// where the service certainly did not get it, or may not have: had it got it
// and rotated, the session would be lost either way.
func (r *refresh) send(ctx context.Context, stored *session) (*session, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.sends++
	ctx, cancel := withTimeoutOnly(ctx, sendTimeout)
	defer cancel()
	sentAt := r.rules.now().time()
	answer, err := r.wire.CreateToken(ctx, &wire.CreateTokenInput{
		ClientID:     stored.clientID,
		ClientSecret: stored.clientSecret,
		GrantType:    wire.GrantRefreshToken,
		RefreshToken: stored.refreshToken,
	})
	if err != nil {
		return nil, err
	}
	next := *stored
	next.accessToken = answer.AccessToken
	next.issuedAt = sentAt
	next.expiresAt = sentAt.Add(answer.ExpiresIn)
	if answer.RefreshToken != "" {
		next.refreshToken = answer.RefreshToken
	}
	if answer.IDToken != "" {
		next.idToken = answer.IDToken
	}
	r.encode(&next, stored.fields)
	r.logger.LogAttrs(ctx, slog.LevelInfo, "session refreshed", slog.String("session", r.name()),
		slog.String("request_id", answer.Metadata.RequestID), slog.Time("expires", next.expiresAt))
	return &next, nil
}

// changedMeanwhile returns the stored session if it is no longer the given
// one. Patience waits a while for that to happen.
func (r *refresh) changedMeanwhile(ctx context.Context, stored *session, patience bool) *session {
	const step = refusalPatience / 5
	for waited := time.Duration(0); ; waited += step {
		raw, err := r.store.Get(ctx, r.keys.token)
		if err == nil && !bytes.Equal(raw, stored.raw) {
			if newer, _ := r.decode(raw); newer != nil && r.superseding(newer, false) == nil {
				return newer
			}
		}
		if !patience || waited >= refusalPatience || pause(ctx, step) != nil {
			return nil
		}
	}
}
