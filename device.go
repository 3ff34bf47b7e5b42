package awsoidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/internal/flight"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	// registrationMargin is how long a cached client registration must still
	// be valid for a sign-in to use it. A session can't be refreshed without
	// one, so it should outlive at least a day's work.
	registrationMargin = 24 * time.Hour
	// slowDown is what each slow_down adds to the polling interval for good
	// (RFC 8628 section 3.5).
	slowDown = 5 * time.Second
	// maxPollBackoff bounds what failures add to the polling interval for a
	// while.
	maxPollBackoff = 30 * time.Second
	// maxPollRetryAfter bounds how far a poll obeys Retry-After: a person waits,
	// and the code runs out.
	maxPollRetryAfter = time.Minute
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

// signIn runs the device authorization grant (RFC 8628).
func (s *TokenSource) signIn(ctx context.Context) error {
	if err := s.checkWritable(ctx); err != nil {
		return err
	}
	reg, err := s.registration(ctx)
	if err != nil {
		return err
	}
	auth, err := s.startDeviceAuthorization(ctx, reg)
	if isType(err, wire.TypeInvalidClient) {
		s.refuseClient(reg.clientID)
		if reg, err = s.registration(ctx); err != nil {
			return err
		}
		auth, err = s.startDeviceAuthorization(ctx, reg)
	}
	if err != nil {
		return s.signInFailed("sign-in could not be started", err)
	}
	complete := auth.VerificationURIComplete
	if complete == "" {
		complete = auth.VerificationURI
	}
	expires := s.rules.now().add(auth.ExpiresIn)
	finish, err := s.cfg.Prompt.Prompt(ctx, Verification{
		URI:         auth.VerificationURI,
		URIComplete: complete,
		UserCode:    auth.UserCode,
		ExpiresAt:   expires.time(),
		Session:     s.name(),
	})
	if err == nil {
		err = s.awaitApproval(ctx, reg, auth, expires)
	}
	if finish != nil {
		finish(err)
	}
	return err
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

func (s *TokenSource) startDeviceAuthorization(ctx context.Context, reg *registration) (out *wire.StartDeviceAuthorizationOutput, err error) {
	err = repeat(ctx, func(ctx context.Context) error {
		out, err = s.wire.StartDeviceAuthorization(ctx, &wire.StartDeviceAuthorizationInput{
			ClientID:     reg.clientID,
			ClientSecret: reg.clientSecret,
			StartURL:     s.cfg.StartURL,
		})
		return err
	})
	return out, err
}

// awaitApproval polls until the person has decided, then saves the session.
func (s *TokenSource) awaitApproval(ctx context.Context, reg *registration, auth *wire.StartDeviceAuthorizationOutput, expires instant) error {
	interval, delay := auth.Interval, auth.Interval
	for {
		if err := pause(ctx, delay); err != nil {
			return err
		}
		if s.rules.now().reached(expires) {
			return s.codeExpired(nil)
		}
		v, err := s.poll(ctx, reg, auth.DeviceCode)
		switch {
		case err == nil:
			return s.saveSignIn(ctx, v)
		case isType(err, wire.TypeAuthorizationPending):
			delay = interval
		case isType(err, wire.TypeSlowDown):
			interval += slowDown
			delay = interval
		case isType(err, wire.TypeExpiredToken):
			return s.codeExpired(err)
		case isType(err, wire.TypeAccessDenied):
			return s.signInFailed("the sign-in was refused", err)
		case isType(err, wire.TypeInvalidClient):
			s.refuseClient(reg.clientID)
			return s.signInFailed("sign-in failed", err)
		case mayResend(err):
			// The device code stays valid whatever became of this poll.
			delay = min(2*delay, interval+maxPollBackoff)
			if e, ok := errors.AsType[*wire.Error](err); ok {
				delay = max(delay, min(e.RetryAfter, maxPollRetryAfter))
			}
		default:
			return s.signInFailed("sign-in failed", err)
		}
	}
}

// poll asks once for the token. A poll that was sent is not abandoned, because
// its answer may be the token.
func (s *TokenSource) poll(ctx context.Context, reg *registration, deviceCode wire.Secret) (*session, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout)
	defer cancel()
	sentAt := s.rules.now().time()
	answer, err := s.wire.CreateToken(ctx, &wire.CreateTokenInput{
		ClientID:     reg.clientID,
		ClientSecret: reg.clientSecret,
		GrantType:    wire.GrantDeviceCode,
		DeviceCode:   deviceCode,
	})
	if err != nil {
		return nil, err
	}
	return &session{
		startURL:              s.cfg.StartURL,
		region:                s.cfg.Region,
		accessToken:           answer.AccessToken,
		refreshToken:          answer.RefreshToken,
		idToken:               answer.IDToken,
		scope:                 strings.Join(s.cfg.Scopes, " "),
		issuedAt:              sentAt,
		expiresAt:             sentAt.Add(answer.ExpiresIn),
		clientID:              reg.clientID,
		clientSecret:          reg.clientSecret,
		registrationExpiresAt: reg.expiresAt,
	}, nil
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

// registration returns a client registration that fits: the stored one, or
// else a new one, which it stores.
func (s *TokenSource) registration(ctx context.Context) (*registration, error) {
	if raw, err := s.store.Get(ctx, s.keys.registration); err == nil {
		if reg := s.fitting(raw); reg != nil {
			return reg, nil
		}
	}
	var reg *registration
	err := s.updateRecord(ctx, s.keys.registration, func(ctx context.Context, old []byte) (_ []byte, err error) {
		if reg = s.fitting(old); reg != nil {
			return nil, errUnchanged
		}
		if reg, err = s.register(ctx); err != nil || reg.expiresAt.IsZero() {
			return nil, cmp.Or(err, errUnchanged)
		}
		return reg.encode(), nil
	})
	if reg == nil && !isAnswer(err) && ctx.Err() == nil {
		reg, err = s.register(ctx) // it serves this sign-in, if no other
	}
	if reg != nil {
		return reg, nil // whether or not it could be saved
	}
	return nil, s.signInFailed("the client could not be registered", err)
}

// fitting returns the registration in a record if a sign-in can use it.
func (s *TokenSource) fitting(raw []byte) *registration {
	if raw == nil {
		return nil
	}
	reg, err := parseRegistration(raw)
	if err != nil ||
		s.isDeadClient(reg.clientID) ||
		reg.expiresAt.Before(s.rules.now().time().Add(registrationMargin)) ||
		len(reg.grantTypes) > 0 || // for the authorization code grant
		!sameSet(reg.scopes, s.cfg.Scopes) {
		return nil
	}
	return reg
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// register registers a new client.
func (s *TokenSource) register(ctx context.Context) (*registration, error) {
	var out *wire.RegisterClientOutput
	err := repeat(ctx, func(ctx context.Context) (err error) {
		out, err = s.wire.RegisterClient(ctx, &wire.RegisterClientInput{
			ClientName: s.cfg.ClientName,
			Scopes:     s.cfg.Scopes,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &registration{
		clientID:     out.ClientID,
		clientSecret: out.ClientSecret,
		expiresAt:    out.ClientSecretExpiresAt,
		scopes:       s.cfg.Scopes,
	}, nil
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

func (s *TokenSource) codeExpired(cause error) error {
	return &failure{kind: ErrCodeExpired, cause: cause, advice: "sign in again, and approve within the time shown"}
}

// signInFailed explains what the service answered to a step of the sign-in.
func (s *TokenSource) signInFailed(what string, err error) error {
	f := &failure{what: what, cause: err, advice: serviceAdvice(err)}
	switch {
	case isType(err, wire.TypeAccessDenied):
		f.kind, f.advice = ErrAccessDenied, "sign in again, and approve only what you started yourself"
	case isType(err, wire.TypeInvalidClient):
		f.advice = "sign in again: the next sign-in registers a new client"
	case isType(err, wire.TypeInvalidRequest), isType(err, wire.TypeInvalidClientMetadata):
		f.advice = fmt.Sprintf("check that the start URL %s belongs to an Identity Center instance in region %s", s.cfg.StartURL, s.cfg.Region)
	}
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Reason != "" {
		f.advice = serviceAdvice(err)
	}
	return f
}

// isAnswer reports whether err came from the service or the way to it.
func isAnswer(err error) bool {
	_, answered := errors.AsType[*wire.Error](err)
	_, sent := errors.AsType[*wire.SendError](err)
	return answered || sent
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
