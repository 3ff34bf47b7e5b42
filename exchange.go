package awsoidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	// exchangeTimeout bounds one attempt to obtain an identity's tokens, the
	// wait for the store included.
	exchangeTimeout = lockHold
	// storeWait bounds the wait for the exclusive right to an identity's record:
	// an assertion can serve instead.
	storeWait = 5 * time.Second
	// shortLead is how long before its expiry a token is replaced that can't
	// be refreshed: exchanges of assertions are scarce.
	shortLead = 3 * time.Minute
	// throttlePeriod is how long a throttle is remembered where the service does
	// not say.
	throttlePeriod = 5 * time.Second
	// denialPeriod is how long a denial is remembered: it takes a person to
	// change it.
	denialPeriod = 30 * time.Second
)

var (
	errForgotten  = reauth("the identity was forgotten meanwhile", nil)
	errUsedBefore = reauth("the assertion was used before", nil)
)

// isCallersOwn reports whether err is about what one caller brought: it is not
// shared with others, and remembered only where the service was asked in vain
// several times in a row.
func isCallersOwn(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.own
}

// A climb obtains an identity's tokens once. It implements renewer.
type climb struct {
	Identity
	entry    *entry
	began    atomic.Bool
	prefetch bool        // there are valid tokens, or credentials
	valid    bool        // the present tokens are
	refused  bool        // a refresh token was
	spent    []spentMark // in the store, and by this climb
	changed  bool        // spent was
}

// renewFailed implements renewer.
func (c *climb) renewFailed(err error) {
	if !isCallersOwn(err) && !errors.Is(err, ErrThrottled) { // somebody will bring an assertion, or the identity ends
		c.exchanger.warn("tokens of an identity not renewed; the present ones are still valid", c.subject, err)
	}
}

// renew implements renewer.
func (c *climb) renew(ctx context.Context, present *lease[exchanged]) (*lease[exchanged], error) {
	c.began.Store(true)
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	var held *exchanged
	if present != nil {
		held = &present.value
		c.valid = !c.exchanger.rules.now().reached(present.expiresAt)
		c.prefetch = c.prefetch || c.valid
	}
	var next *exchanged
	var err error
	if c.exchanger.cfg.Store == nil {
		next, err = c.descend(ctx, held, nil)
	} else {
		next, err = c.share(ctx, held)
	}
	if next == nil {
		return nil, err
	}
	return c.lease(next), nil
}

// share is descend, once for all who share the store: they take over what one
// of them obtained.
func (c *climb) share(ctx context.Context, held *exchanged) (*exchanged, error) {
	e := c.exchanger
	key := e.key(c.subject)
	if raw, err := readWithin(ctx, e.cfg.Store, key); err == nil {
		record := decodeIdentity(raw, key)
		held = record.without(held)
		stored := record.tokens
		if stored.after(held) && c.usable(stored, held == nil) && !e.forgets.mayBeForgotten(c.subject, stored.issuedAt()) {
			c.observe(ctx, Event{Rung: RungStore})
			return stored, nil
		}
	}
	var next *exchanged
	ran := false
	var forgotten time.Time
	err := e.updateStore(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		ran = true
		record := decodeIdentity(old, key)
		held, forgotten = record.without(held), record.forgotten
		stored := record.tokens
		if stored.after(held) && c.usable(stored, false) {
			c.observe(ctx, Event{Rung: RungStore})
			next = stored
			return nil, errUnchanged
		}
		if err := cache.NotWritable(ctx); err != nil && held != nil && c.valid {
			return nil, fmt.Errorf("awsoidc: not renewed, because what comes could not be saved: %w", err)
		}
		c.spent = record.live(e.rules.now().time())
		var err error
		next, err = c.descend(ctx, held, stored)
		if c.entry.forgotten.Load() {
			next, stored, err = nil, nil, cmp.Or[error](err, errForgotten)
		} else if err != nil && !c.changed && !c.refused {
			return nil, err
		}
		if next != nil {
			stored = next
		} else if stored != nil && c.exchanger.retired.has(stored.refreshToken()) {
			stored = stored.withoutRefreshToken()
		}
		return (&identityRecord{stored, c.spent, forgotten}).encode(key), err
	})
	if errors.Is(err, cache.ErrLost) && (next != nil || c.changed) {
		if saveErr := c.saveAgain(ctx, key, next); next != nil {
			err = saveErr
		}
	}
	if errors.Is(err, errForgotten) {
		return nil, errForgotten
	}
	switch {
	case next != nil:
		if err != nil && !errors.Is(err, errUnchanged) {
			e.warn("tokens of an identity not saved; they are kept in memory", c.subject, err)
		}
		return next, nil
	case ran:
		return nil, err
	}
	if held != nil && c.valid {
		return nil, err
	}
	// A refresh token must not be sent without the exclusive right to it. An
	// assertion is this caller's own.
	e.warn("the store can't be used; identities are served from assertions", c.subject, err)
	next, exchangeErr := c.exchange(ctx, held)
	if errors.Is(exchangeErr, ErrReauthRequired) {
		return nil, &failure{own: true, what: "the store of identities can't be used, and no assertion was left", cause: err, advice: "see to the store"}
	}
	return next, exchangeErr
}

// saveAgain saves what was obtained, or nil, and what was spent, after exclusion
// was lost: unless somebody else was faster, or forgot the user.
func (c *climb) saveAgain(ctx context.Context, key string, next *exchanged) error {
	e := c.exchanger
	forgotten := false
	err := e.updateStore(ctx, key, func(_ context.Context, old []byte) ([]byte, error) {
		record := decodeIdentity(old, key)
		record.spent = record.live(e.rules.now().time())
		for _, m := range c.spent {
			if !slices.Contains(record.spent, m) {
				record.spent = append(record.spent, m)
			}
		}
		forgotten = next != nil && (c.entry.forgotten.Load() || record.without(next) == nil)
		if next != nil && !forgotten && (record.tokens == nil || record.tokens.n < next.n) {
			record.tokens = next
		}
		return record.encode(key), nil
	})
	if forgotten {
		return errForgotten
	}
	return err
}

// updateStore is the store's Update, within bounds.
func (e *Exchanger) updateStore(ctx context.Context, key string, fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	return updateWithin(ctx, e.cfg.Store, e.rules.now, key, storeWait, fn)
}

// usable reports whether t is valid, and not due unless due says so.
func (c *climb) usable(t *exchanged, due bool) bool {
	now, l := c.exchanger.rules.now(), c.lease(t)
	return !now.reached(l.refreshAt()) || due && !now.reached(l.expiresAt)
}

// lease computes when tokens are to be replaced.
func (c *climb) lease(t *exchanged) *lease[exchanged] {
	now := c.exchanger.rules.now()
	left := min(t.expiresAt().Sub(now.time()), t.lifetime())
	ahead := lead(t.lifetime(), t.accessToken())
	if t.refreshToken() == "" {
		ahead = min(ahead, shortLead)
	}
	return &lease[exchanged]{
		value:     *t,
		expiresAt: now.add(left),
		lead:      ahead,
	}
}

// descend goes down the ladder: the refresh tokens that are known, the newest
// first, then the assertion. Either of held and stored may be nil.
func (c *climb) descend(ctx context.Context, held, stored *exchanged) (*exchanged, error) {
	newest, other := held, stored
	if stored.after(held) {
		newest, other = stored, held
	}
	var refused error
	for _, t := range []*exchanged{newest, other} {
		if t == nil || t.refreshToken() == "" || c.exchanger.retired.has(t.refreshToken()) {
			continue
		}
		next, err := c.refresh(ctx, t, newest.n)
		if err == nil {
			return next, nil
		}
		if !isType(err, wire.TypeInvalidGrant) {
			return nil, c.explain(err, false)
		}
		c.exchanger.retired.add(t.refreshToken())
		c.refused, refused = true, err
	}
	next, err := c.exchange(ctx, newest)
	if f, ok := errors.AsType[*failure](err); ok && refused != nil && f.kind == ErrReauthRequired {
		return nil, reauth("the service ended the user's session, and "+f.what, cmp.Or(f.cause, refused))
	}
	return next, err
}

// refresh exchanges the refresh token of t. Its errors are the service's.
func (c *climb) refresh(ctx context.Context, t *exchanged, n uint32) (*exchanged, error) {
	sentAt := c.exchanger.rules.now().time()
	out, err := c.send(ctx, RungRefresh, &wire.CreateTokenWithIAMInput{
		ClientID:     c.exchanger.cfg.Application,
		GrantType:    wire.GrantRefreshToken,
		RefreshToken: t.refreshToken(),
		Scopes:       c.exchanger.cfg.Scopes,
	})
	if err != nil {
		return nil, err
	}
	before := t.issuance()
	out.RefreshToken = cmp.Or(out.RefreshToken, before.refreshToken)
	out.IDToken = cmp.Or(out.IDToken, before.idToken)
	out.IdentityContext = cmp.Or(out.IdentityContext, before.identityContext)
	return issued(out, sentAt, n+1), nil
}

// exchange exchanges the assertion. Before is what was there, or nil.
func (c *climb) exchange(ctx context.Context, before *exchanged) (*exchanged, error) {
	e := c.exchanger
	sentAt := e.rules.now().time()
	p, err := c.assertion.prove(ctx, &e.sources, c.subject, e.cfg.Audiences, sentAt)
	if err != nil {
		return nil, err
	}
	isSpent := func(m spentMark) bool { return m.Print == p.print }
	if slices.ContainsFunc(c.spent, isSpent) || !p.repeatable && !e.spent.add(p.print) {
		return nil, errUsedBefore
	}
	out, err := c.send(ctx, RungExchange, c.assertion.input(e.cfg.Application, e.cfg.Scopes, p.value))
	spent := p.spentBy(err)
	if spent {
		c.spent, c.changed = append(c.spent, spentMark{p.print, p.until}), true
	} else {
		e.spent.remove(p.print)
	}
	if err != nil {
		return nil, c.explain(err, spent)
	}
	n := uint32(1)
	if before != nil {
		n = before.n + 1
	}
	return issued(out, sentAt, n), nil
}

// send asks the service. What works once is sent again only where the service
// certainly did not look at it.
func (c *climb) send(ctx context.Context, rung Rung, in *wire.CreateTokenWithIAMInput) (*wire.CreateTokenWithIAMOutput, error) {
	e := c.exchanger
	once := in.GrantType == wire.GrantJWTBearer || in.GrantType == wire.GrantAuthorizationCode
	at, redirected := e.service.Load(), false
	budget := budgetOf(in.GrantType)
	for sends := 1; ; sends++ {
		if err := c.admit(ctx, Event{Rung: rung}, budget, c.prefetch); err != nil {
			return nil, err
		}
		if ctx.Err() != nil { // such as where the exclusive right to a refresh token was lost
			return nil, &failure{what: "no tokens for the identity", cause: fmt.Errorf("%w: %w", errNotAdmitted, context.Cause(ctx)), advice: "try again"}
		}
		start := e.rules.now()
		out, err := func() (*wire.CreateTokenWithIAMOutput, error) {
			ctx, cancel := withTimeoutOnly(ctx, sendTimeout)
			defer cancel()
			return at.wire.CreateTokenWithIAM(ctx, in)
		}()
		event := Event{Rung: rung, Duration: e.rules.now().since(start)}
		if err != nil {
			event.Err = c.explain(err, false)
		}
		c.observe(ctx, event)
		if err == nil {
			e.service.Store(at)
			return out, nil
		}
		e.throttled(budget, err)
		if next := e.redirect(at, err); next != nil && !redirected {
			at, redirected = next, true
			sends--
			continue
		}
		if !mayResend(err) || once && !unspent(err) || sends >= maxSends || pause(ctx, resendDelay(sends, err)) != nil {
			return nil, err
		}
	}
}

// redirect returns the service in the region that an answer names, or nil. A
// configured endpoint is kept, and only signed for that region; otherwise the
// answer must name the endpoint of that region that is AWS's.
func (e *Exchanger) redirect(at *service, err error) *service {
	answer, ok := errors.AsType[*wire.Error](err)
	if !ok || answer.Type != wire.TypeInvalidRequestRegion || answer.Region == at.region {
		return nil
	}
	regional, err := wire.EndpointFor(answer.Region, false, false)
	if err != nil {
		return nil
	}
	home, _ := wire.EndpointFor(e.cfg.Region, false, false)
	if home != e.cfg.Endpoints.OIDC {
		regional = e.cfg.Endpoints.OIDC
	} else if strings.TrimPrefix(home, "https://oidc."+e.cfg.Region) != strings.TrimPrefix(regional, "https://oidc."+answer.Region) {
		return nil // another partition: other accounts, other credentials
	}
	if answer.Endpoint != "" && host(answer.Endpoint) != host(regional) {
		return nil
	}
	return e.serviceIn(answer.Region, regional)
}

func host(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

// unspent reports whether a request that failed with err was certainly not
// looked at beyond its signature.
func unspent(err error) bool {
	if errors.Is(err, errNotAdmitted) {
		return true
	}
	if e, ok := errors.AsType[*wire.SendError](err); ok {
		return e.Unspent
	}
	e, ok := errors.AsType[*wire.Error](err)
	return ok && (isThrottle(err) || e.Type == wire.TypeInvalidRequestRegion ||
		(e.StatusCode == 401 || e.StatusCode == 403) && !errors.Is(err, wire.ErrResponse))
}

// explain says what the service's answer means, and what to do. Spent says that
// the assertion is not to be sent again.
func (c *climb) explain(err error, spent bool) error {
	if errors.Is(err, errNotAdmitted) {
		return err
	}
	f := &failure{what: "no tokens for the identity", cause: err, advice: serviceAdvice(err)}
	now := c.exchanger.rules.now().time()
	answer, _ := errors.AsType[*wire.Error](err)
	switch {
	case spent && (answer == nil || mayResend(err)):
		f.kind, f.what = ErrReauthRequired, "nobody knows whether the service took the assertion, which works once"
		f.advice = "let the user sign in again, and pass the new token"
	case answer == nil: // nobody answered
	case isThrottle(err):
		f.kind, f.what = ErrThrottled, ""
		f.retry = now.Add(max(min(answer.RetryAfter, maxRetryAfter), firstBackoff))
		f.advice = "try again at " + f.retry.Format(time.TimeOnly) + "; the service takes 10 JWTs a second for a whole instance, and 80 refreshes for an application"
	case answer.Reason != "":
		f.kind, f.retry = ErrAccessDenied, now.Add(denialPeriod)
	case answer.Type == wire.TypeInvalidGrant:
		f.kind, f.own, f.asked, f.what = ErrReauthRequired, true, true, "the service does not take the assertion or the refresh token"
		f.advice = "let the user sign in again; if that does not help, check that its issuer and audience are those of the application's trusted token issuer, that Identity Center has a user with the mapped claim's value, and that it was not used before"
	case answer.Type == wire.TypeAccessDenied || answer.StatusCode == 403:
		f.kind, f.retry = ErrAccessDenied, now.Add(denialPeriod)
		f.advice = "check that the user exists and is assigned to the application, that the caller's policy and the application's actor policy allow sso-oauth:CreateTokenWithIAM, and the region"
	case answer.Type == wire.TypeInvalidRequestRegion:
		f.kind, f.retry = ErrConfig, now.Add(denialPeriod)
		f.advice = "set Region to that of the Identity Center instance"
	case isType(err, wire.TypeUnauthorizedClient, wire.TypeUnsupportedGrantType, wire.TypeInvalidScope, wire.TypeInvalidClient):
		f.kind = ErrConfig
		fallthrough
	case !mayResend(err) && !errors.Is(err, wire.ErrResponse):
		f.retry = now.Add(denialPeriod)
		f.advice = "check the application's grants and scopes, and its trusted token issuer"
	}
	return f
}
