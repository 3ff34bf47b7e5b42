package awsoidc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// An attempt is the note that a failed refresh leaves beside the session, so
// that those who share it do not fail one after the other at a service that is
// out of order. Whoever waited for the lock meanwhile shares the failure;
// others obey its backoff. It holds no secret.
type attempt struct {
	Of       string    `json:"of"` // fingerprint of the refresh token: the note means nothing to others
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Until    time.Time `json:"until"`    // the end of the backoff
	Failures int       `json:"failures"` // in a row
	Over     bool      `json:"over"`     // the service refused the refresh token
	Error    string    `json:"error"`    // a code
}

// overPeriod is how long others believe that the service refused a refresh
// token before they ask it themselves.
const overPeriod = time.Minute

func fingerprint(refreshToken wire.Secret) string {
	h := sha256.Sum256([]byte("awsoidc attempt " + string(refreshToken)))
	return hex.EncodeToString(h[:8])
}

// lastAttempt returns the note about stored's refresh token, if there is one
// that still matters at the time now to who has waited since queued.
func (s *TokenSource) lastAttempt(ctx context.Context, stored *session, queued, now time.Time) (_ attempt, matters bool) {
	a, ok := s.readAttempt(ctx, stored)
	return a, ok && (now.Before(a.Until) || queued.Before(a.End))
}

func (s *TokenSource) readAttempt(ctx context.Context, stored *session) (a attempt, ok bool) {
	raw, err := s.store.Get(ctx, s.keys.attempt)
	if err != nil || json.Unmarshal(raw, &a) != nil || a.Of != fingerprint(stored.refreshToken) {
		return attempt{}, false
	}
	now := s.rules.now().time()
	if a.End.Before(a.Start) || a.End.After(now.Add(maxSkew)) || a.Until.After(now.Add(maxRetryAfter)) {
		return attempt{}, false // a clock was set back, or nobody like us wrote it
	}
	a.Failures = min(max(a.Failures, 1), 100)
	if !isToken(a.Error) || len(a.Error) > 64 {
		a.Error = "unknown"
	}
	return a, true
}

// errorCode returns what a note says of an error: no text of the service's.
func errorCode(err error) string {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		if isToken(e.Type) {
			return e.Type
		}
		return fmt.Sprintf("HTTP-%d", e.StatusCode)
	}
	return noAnswer
}

// noAnswer is the code of a request that nobody answered.
const noAnswer = "no-answer"

// noteAttempt leaves a note about a refresh that failed. Where it can't be
// saved, the others have to find out for themselves.
func (s *TokenSource) noteAttempt(ctx context.Context, stored *session, l *lease[*session], start time.Time, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	end := s.rules.now().time()
	a := attempt{Of: fingerprint(stored.refreshToken), Start: start, End: end, Failures: 1, Error: errorCode(cause)}
	if before, ok := s.readAttempt(ctx, stored); ok && end.Sub(before.Until) < 2*maxBackoff {
		a.Failures += before.Failures
	}
	if s.usable(l) {
		a.Until = end.Add(backoff(a.Failures, maxBackoff, cause))
		if expiry := l.expiresAt.time(); expiry.Before(a.Until) {
			a.Until = expiry
		}
	} else {
		a.Until = end.Add(backoff(a.Failures, maxWaitingBackoff, cause))
	}
	if a.Over = errors.Is(cause, ErrLoginRequired); a.Over {
		a.Until = end.Add(overPeriod)
	}
	raw, err := json.Marshal(a)
	if err != nil {
		return // times beyond the year 9999
	}
	s.store.Update(ctx, s.keys.attempt, func(context.Context, []byte) ([]byte, error) { return raw, nil })
}

// sharedFailure is the error of who does not refresh because of a note.
func (s *TokenSource) sharedFailure(a attempt) error {
	if a.Over {
		return s.loginRequired("the service ended the session in "+s.place(), nil)
	}
	advice := "try again in a moment"
	if a.Error == noAnswer {
		advice += ", and check the network, the region and the endpoint"
	}
	return &failure{
		what:   fmt.Sprintf("a refresh failed at %s (%s)", a.End.Format(time.TimeOnly), a.Error),
		advice: advice,
		retry:  a.Until,
	}
}
