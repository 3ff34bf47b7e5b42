package awsoidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/internal/flight"
	"github.com/awsoidc/awsoidc/wire"
)

// signIn is a sign-in under way. It ends with its last waiter.
type signIn struct {
	call    *flight.Call[struct{}]
	waiters int // guarded by TokenSource.mu
	cancel  context.CancelFunc
}

// Login signs a person in, whether or not there is a session already, and
// replaces the session in the Store. It asks for approval through
// Config.Prompt and waits until the person has decided; calls at the same time
// share one sign-in. A client registration in the Store is used again while it
// is valid, one of the AWS CLI included.
//
// If ctx ends, Login returns its cause at once. The sign-in ends when nobody
// waits for it any more.
//
// Errors wrap ErrAccessDenied, ErrCodeExpired, ErrNoPrompt or ErrClosed where
// they apply. The previous session stays as it was.
func (s *TokenSource) Login(ctx context.Context) error {
	if s.cfg.Prompt == nil {
		return &failure{kind: ErrNoPrompt, advice: "set Config.Prompt to show a person how to approve"}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l, err := s.joinLogin(ctx)
	if err != nil {
		return err
	}
	defer s.leaveLogin(l)
	_, err = l.call.Wait(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil && s.isClosed() {
		return ErrClosed
	}
	return err
}

func (s *TokenSource) joinLogin(ctx context.Context) (*signIn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.login == nil {
		flightCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		l := &signIn{cancel: cancel}
		s.work.Add(1)
		l.call = flight.Start(ctx, func(context.Context) (struct{}, error) {
			defer s.work.Done()
			defer cancel()
			err := s.signIn(flightCtx)
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.login == l {
				s.login = nil
			}
			return struct{}{}, err
		})
		s.login = l
	}
	s.login.waiters++
	return s.login, nil
}

func (s *TokenSource) leaveLogin(l *signIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.waiters--
	if l.waiters > 0 {
		return
	}
	l.cancel()
	if s.login == l {
		s.login = nil
	}
}

// signIn signs a person in by the grant that suits.
func (s *TokenSource) signIn(ctx context.Context) error {
	if err := s.checkWritable(ctx); err != nil {
		return err
	}
	return s.takeTurn(ctx, func(ctx context.Context) error {
		grant, reason := s.grant()
		if grant == GrantAuthCode {
			return s.signInByCode(ctx, reason)
		}
		return s.signInByDevice(ctx, reason)
	})
}

// grant returns the grant of the next sign-in, and why it is chosen where it was
// not given.
func (s *TokenSource) grant() (grant Grant, reason string) {
	if s.cfg.Grant != GrantAuto {
		return s.cfg.Grant, ""
	}
	if chooser, ok := s.cfg.Prompt.(GrantChooser); ok {
		return chooser.ChooseGrant()
	}
	return GrantDevice, ""
}

// checkWritable fails before a person is asked to approve what can't be kept.
func (s *TokenSource) checkWritable(ctx context.Context) error {
	err := s.update(ctx, func(ctx context.Context, _ []byte) ([]byte, error) {
		if err := cache.NotWritable(ctx); err != nil {
			return nil, err
		}
		return nil, errUnchanged
	})
	if err == nil || errors.Is(err, errUnchanged) {
		return nil
	}
	return &failure{what: "there is no place to keep the session", cause: err,
		advice: "make the folder of " + s.place() + " writable, or choose another Store"}
}

// saveSignIn replaces the stored session, keeping other tools' members of its
// record, and publishes the new one.
func (s *TokenSource) saveSignIn(ctx context.Context, v *session) error {
	s.encode(v, nil)
	s.tokens.publish(s.lease(v, s.seq.Add(1))) // for those who wait, perhaps for a refresh that holds the lock
	s.clearRoles()
	var replaced []byte
	save := func(_ context.Context, old []byte) ([]byte, error) {
		replaced = old
		var others fields
		if old != nil {
			others, _ = parseFields(old)
		}
		next := *v
		s.encode(&next, others)
		v = &next
		return v.raw, nil
	}
	err := s.update(context.WithoutCancel(ctx), save)
	if errors.Is(err, cache.ErrLost) {
		err = s.update(context.WithoutCancel(ctx), save)
	}
	l := s.lease(v, s.seq.Add(1)) // after the record is there: who has read the one before is not later
	if err == nil {
		err = s.store.refused(s.keys.token)
	}
	s.mu.Lock()
	s.latest.replace(l, err != nil, true)
	s.latest.replaced = replaced
	s.mu.Unlock()
	if s.usable(l) {
		s.tokens.publish(l)
	}
	s.clearRoles()
	if err != nil {
		return &failure{what: "signed in, but this process alone can use the session, which could not be saved", cause: err,
			advice: "mend that, and sign in again"}
	}
	s.logger.LogAttrs(ctx, slog.LevelInfo, "signed in", slog.String("session", s.name()), slog.Time("expires", v.expiresAt))
	return nil
}

// clearRoles drops what was obtained for whoever was signed in before.
func (s *TokenSource) clearRoles() {
	s.mu.Lock()
	roles := slices.Collect(maps.Values(s.roles))
	s.mu.Unlock()
	for _, r := range roles {
		r.credentials.clear()
	}
}

func (s *TokenSource) checkStartURL() string {
	return fmt.Sprintf("check that the start URL %s belongs to an Identity Center instance in region %s", s.cfg.StartURL, s.cfg.Region)
}

const approveOwn = "sign in again, and approve only what you started yourself"

// refused is the error of a sign-in that the person refused, as the cause says.
func refused(cause error) error {
	return &failure{kind: ErrAccessDenied, what: "on the page in the browser", cause: cause, mute: true, advice: approveOwn}
}

func (s *TokenSource) codeExpired(cause error) error {
	return &failure{kind: ErrCodeExpired, cause: cause, advice: "sign in again, and approve within the time shown"}
}

// signInFailed explains what the service answered to a step of the sign-in.
func (s *TokenSource) signInFailed(what string, err error) error {
	if f, ok := err.(*failure); ok {
		return f // explained already
	}
	f := &failure{what: what, cause: err, advice: serviceAdvice(err)}
	switch {
	case isType(err, wire.TypeAccessDenied):
		f.kind, f.what, f.advice = ErrAccessDenied, "", approveOwn
	case isType(err, wire.TypeInvalidClient):
		f.advice = "sign in again: the next sign-in registers a new client"
	case isType(err, wire.TypeInvalidRequest), isType(err, wire.TypeInvalidClientMetadata):
		f.advice = s.checkStartURL()
	}
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Reason != "" {
		f.advice = serviceAdvice(err)
	}
	return f
}

// repeat sends a request up to maxSends times. It is for those that do no harm
// when they are carried out twice: a registration or a device code that nobody
// uses runs out by itself. A person waits for it: it takes sendBudget at most.
func repeat(ctx context.Context, send func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, sendBudget)
	defer cancel()
	for sends := 1; ; sends++ {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, sendTimeout)
			defer cancel()
			return send(ctx)
		}()
		if err == nil || !mayResend(err) || sends >= maxSends || pause(ctx, resendDelay(sends, err)) != nil {
			return err
		}
	}
}
