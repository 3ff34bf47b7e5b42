package awsoidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/awsoidc/awsoidc/cache"
)

// Whoever asks a person to sign in holds a lock of its own until the person has
// decided, so that a person is asked once, however many programs find the
// session over. Those who wait for it share the outcome; if the holder gives up,
// or is killed, the next one asks. The lock of the session's record is free
// meanwhile: who has a token goes on using and refreshing it.

// A WaitingPrompter is a Prompter that tells the person why nothing is asked, and
// how that ended. It must have both methods.
type WaitingPrompter interface {
	Prompter
	// Waiting is called when a sign-in begins to wait for another one that asks
	// the person already. Who says whose, such as "process 4711, since
	// 10:15:00"; "" where that is not known. It must not block.
	Waiting(session, who string)
	// Adopted is called when a sign-in ends with the session of another one,
	// without a Prompt. It must not block.
	Adopted(session string)
}

// A turn is the note about the last sign-in. It holds no secret.
type turn struct {
	PID     int       `json:"pid"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end,omitzero"` // zero: it goes on, or its process was killed
	Outcome string    `json:"outcome,omitempty"`
}

// Outcomes of a sign-in that others share.
const (
	outcomeSignedIn = "signed-in"
	outcomeDenied   = "denied"
	outcomeExpired  = "expired"
)

// signInPatience is how long a note of a sign-in that has not ended is believed:
// codes do not live longer.
const signInPatience = 15 * time.Minute

// How long a sign-in waits for its turn before it says so.
const (
	waitingAfter   = time.Second // where it is known for whom
	waitingUnknown = 10          // times as long, where it is not
)

// turnPatience is how long those who do not want the turn try whether it is
// taken.
const turnPatience = 200 * time.Millisecond

// errAdopted ends a sign-in that found the session of another.
var errAdopted = errors.New("adopted")

// takeTurn runs ask, alone among all who share the Store, unless the sign-in of
// another has an outcome meanwhile.
func (s *TokenSource) takeTurn(ctx context.Context, ask func(context.Context) error) error {
	queued := s.rules.now().time()
	before, _ := s.readTurn(ctx)
	stopTelling := s.tellWaiting(ctx)
	defer stopTelling()
	ran := false
	err := s.store.Update(ctx, s.keys.turn, func(ctx context.Context, _ []byte) ([]byte, error) {
		ran = true
		stopTelling()
		// A note that was there before is of no sign-in that this one waited
		// for, though a clock that was set back says so.
		if t, ok := s.lastTurn(ctx); ok && t.End.After(queued) && !t.is(before) {
			if err := s.shareTurn(ctx, t); err != nil {
				return nil, err
			}
		}
		t := turn{PID: os.Getpid(), Start: s.rules.now().time()}
		s.noteTurn(ctx, t)
		err := ask(ctx)
		t.End = s.rules.now().time()
		switch {
		case err == nil:
			t.Outcome = outcomeSignedIn
		case errors.Is(err, ErrAccessDenied):
			t.Outcome = outcomeDenied
		case errors.Is(err, ErrCodeExpired):
			t.Outcome = outcomeExpired
		}
		s.noteTurn(context.WithoutCancel(ctx), t)
		if err == nil {
			err = errUnchanged
		}
		return nil, err
	})
	switch {
	case errors.Is(err, errAdopted):
		if p, ok := s.cfg.Prompt.(WaitingPrompter); ok {
			p.Adopted(s.name())
		}
		return nil
	case errors.Is(err, errUnchanged):
		return nil
	case !ran && ctx.Err() == nil && (errors.Is(err, cache.ErrLock) || errors.Is(err, cache.ErrUnsafe)):
		return ask(ctx) // alone or not: the person is asked twice at worst
	case !ran && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// shareTurn returns what a sign-in that waited for another one's ends with, nil
// where the person has to be asked.
func (s *TokenSource) shareTurn(ctx context.Context, t turn) error {
	advice := "sign in again, to be asked once more"
	switch t.Outcome {
	case outcomeDenied:
		return &failure{kind: ErrAccessDenied, what: fmt.Sprintf("to process %d, which asked for all", t.PID), advice: advice}
	case outcomeExpired:
		return &failure{kind: ErrCodeExpired, what: fmt.Sprintf("that of process %d, which asked for all", t.PID), advice: advice}
	case outcomeSignedIn:
		seq := s.seq.Add(1)
		raw, err := s.read(ctx)
		v, _, _ := s.examine(raw, err)
		if v == nil {
			return nil
		}
		if l := s.leaseStored(v, seq); s.usable(l) {
			s.clearRoles() // they may be of who was signed in before
			s.tokens.publish(l)
			s.remember(l)
			return errAdopted
		}
	}
	return nil
}

// tellWaiting tells the person, after a moment, that another program asks. The
// function that it returns ends that; it may be called more than once.
func (s *TokenSource) tellWaiting(ctx context.Context) (stop func()) {
	p, ok := s.cfg.Prompt.(WaitingPrompter)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	s.work.Go(func() {
		who := ""
		for range waitingUnknown {
			if pause(ctx, waitingAfter) != nil {
				return
			}
			// However old the note is, and whatever its process: a program that
			// was stopped keeps the lock, and in another container the same
			// number is of another process.
			if t, ok := s.readTurn(ctx); ok && t.End.IsZero() {
				who = s.describe(t)
				break
			}
		}
		if ctx.Err() == nil {
			p.Waiting(s.name(), who)
		}
	})
	return cancel
}

// whoAsks says which process signs a person in at present, "" where none is
// known to.
func (s *TokenSource) whoAsks(ctx context.Context) string {
	t, ok := s.lastTurn(ctx)
	if !ok || !t.End.IsZero() || t.PID == os.Getpid() || !s.turnTaken(ctx) {
		return ""
	}
	return s.describe(t)
}

// turnTaken reports whether somebody has the turn: a process that was killed
// leaves its note behind, but not the lock. Who wants the turn meanwhile has to
// wait for an instant, and fails for nothing.
func (s *TokenSource) turnTaken(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, turnPatience)
	defer cancel()
	err := s.store.Update(ctx, s.keys.turn, func(context.Context, []byte) ([]byte, error) { return nil, errUnchanged })
	return errors.Is(err, cache.ErrLockTimeout)
}

// describe says whose sign-in t is.
func (s *TokenSource) describe(t turn) string {
	layout := time.TimeOnly
	if s.rules.now().time().Sub(t.Start).Abs() > 12*time.Hour {
		layout = time.DateTime
	}
	return fmt.Sprintf("process %d, since %s", t.PID, t.Start.Local().Format(layout))
}

// is reports whether both are the same note.
func (t turn) is(other turn) bool {
	return t.PID == other.PID && t.Outcome == other.Outcome && t.Start.Equal(other.Start) && t.End.Equal(other.End)
}

// readTurn returns the note about the last sign-in, if there is one.
func (s *TokenSource) readTurn(ctx context.Context) (t turn, ok bool) {
	raw, err := readWithin(ctx, s.store, s.keys.turnNote)
	if err != nil || json.Unmarshal(raw, &t) != nil {
		return turn{}, false
	}
	return t, true
}

// lastTurn returns the note about the last sign-in, if it is to be believed.
func (s *TokenSource) lastTurn(ctx context.Context) (t turn, ok bool) {
	if t, ok = s.readTurn(ctx); !ok {
		return turn{}, false
	}
	now := s.rules.now().time()
	last := t.Start
	if t.End.After(last) {
		last = t.End
	}
	return t, !last.After(now.Add(maxSkew)) && now.Sub(last) < signInPatience
}

// noteTurn leaves a note about a sign-in. Where it can't be saved, others ask
// the person themselves.
func (s *TokenSource) noteTurn(ctx context.Context, t turn) {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	raw, err := json.Marshal(t)
	if err != nil {
		return // times beyond the year 9999
	}
	s.store.Update(ctx, s.keys.turnNote, func(context.Context, []byte) ([]byte, error) { return raw, nil })
}
