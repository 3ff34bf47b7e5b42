package cachetest

import (
	"context"
	"errors"
	"testing"

	"github.com/awsoidc/awsoidc/cache"
)

// Losing is a Store whose exclusion can be lost while an update function runs,
// as that of a lease that ends does.
type Losing struct {
	// A and B are two handles on the same records, as two processes have them.
	A, B cache.Store
	// Lose takes the exclusive right to the key's record from whoever has it, as
	// if their lease had ended or their lock had been removed. When it returns,
	// others can have it.
	Lose func(t *testing.T, key string)
	// Watched says that the store notices a loss while the function runs, and
	// ends its context; otherwise it notices when the function returns.
	Watched bool
}

// RunLosing tests what a Store promises for when exclusion is lost, of a store
// for which that can happen. newStore returns an empty one, and is called once
// for each subtest; it can clean up with t.Cleanup.
func RunLosing(t *testing.T, newStore func(t *testing.T) Losing) {
	runTests(t, losingTests, newStore, func(t *testing.T, test func(*testing.T)) { test(t) })
}

var losingTests = []test[Losing]{
	{"LostWriteIsRefused", testLostWriteIsRefused},
	{"LostWithError", testLostWithError},
	{"LostWriteIsRefusedThoughUnchanged", testLostWriteIsRefusedThoughUnchanged},
	{"LostAdoptionWritesNothing", testLostAdoptionWritesNothing},
	{"LoserFreesNobody", testLoserFreesNobody},
	{"UpdateAfterLoss", testUpdateAfterLoss},
	{"LossEndsContext", testLossEndsContext},
}

var (
	firstRecord  = []byte(`{"n":1}`)
	winnerRecord = []byte(`{"n":"winner"}`)
	loserRecord  = []byte(`{"n":"loser"}`)
)

// A loser is in the middle of an update, and has lost the right to it.
type loser struct {
	ctx     context.Context // of the update function
	release chan struct{}
	done    chan error
}

// lose makes A lose the record under "key" while a function runs that returns
// value and fnErr.
func (s Losing) lose(t *testing.T, value func(old []byte) []byte, fnErr error) *loser {
	t.Helper()
	l := &loser{release: make(chan struct{}), done: make(chan error, 1)}
	entered := make(chan context.Context, 1)
	go func() {
		l.done <- s.A.Update(t.Context(), "key", func(ctx context.Context, old []byte) ([]byte, error) {
			entered <- ctx
			<-l.release
			return value(old), fnErr
		})
	}()
	t.Cleanup(l.free)
	l.ctx = await(t, entered, "Update of the loser")
	if l.ctx.Err() != nil {
		t.Errorf("the function's context has ended before the loss: %v", l.ctx.Err())
	}
	s.Lose(t, "key")
	return l
}

func (l *loser) free() {
	select {
	case <-l.release:
	default:
		close(l.release)
	}
}

// end lets the loser's function return, and returns the error of Update.
func (l *loser) end(t *testing.T) error {
	t.Helper()
	l.free()
	return await(t, l.done, "Update of the loser")
}

// wantLost lets the loser's function return.
func (l *loser) wantLost(t *testing.T) {
	t.Helper()
	if err := l.end(t); !errors.Is(err, cache.ErrLost) {
		t.Errorf("Update of the loser: %v, want an error that wraps ErrLost", err)
	}
}

func returning(record []byte) func([]byte) []byte { return func([]byte) []byte { return record } }

// What the loser made or deleted is not written over the winner's record.
func testLostWriteIsRefused(t *testing.T, s Losing) {
	for _, value := range [][]byte{loserRecord, nil} {
		put(t, s.B, "key", firstRecord)
		l := s.lose(t, returning(value), nil)
		put(t, s.B, "key", winnerRecord)
		l.wantLost(t)
		want(t, s.A, "key", winnerRecord)
		want(t, s.B, "key", winnerRecord)
	}
}

func testLostWithError(t *testing.T, s Losing) {
	l := s.lose(t, returning(loserRecord), errFunction)
	put(t, s.B, "key", winnerRecord)
	if err := l.end(t); !errors.Is(err, cache.ErrLost) || !errors.Is(err, errFunction) {
		t.Errorf("Update of the loser: %v, want an error that wraps ErrLost and the function's", err)
	}
	want(t, s.B, "key", winnerRecord)
}

// That nobody has written meanwhile does not give the right back: somebody may
// be about to.
func testLostWriteIsRefusedThoughUnchanged(t *testing.T, s Losing) {
	put(t, s.A, "key", firstRecord)
	for _, value := range [][]byte{loserRecord, nil} {
		s.lose(t, returning(value), nil).wantLost(t)
		want(t, s.A, "key", firstRecord)
		want(t, s.B, "key", firstRecord)
	}
}

// A record that a function returns as it got it does not overwrite what
// somebody else has written meanwhile.
func testLostAdoptionWritesNothing(t *testing.T, s Losing) {
	put(t, s.A, "key", firstRecord)
	l := s.lose(t, func(old []byte) []byte { return old }, nil)
	put(t, s.B, "key", winnerRecord)
	if err := l.end(t); err != nil && !errors.Is(err, cache.ErrLost) {
		t.Errorf("Update of the loser: %v, want none or one that wraps ErrLost", err)
	}
	want(t, s.A, "key", winnerRecord)
	want(t, s.B, "key", winnerRecord)
}

// The end of the loser does not end the exclusion that the winner has by now.
func testLoserFreesNobody(t *testing.T, s Losing) {
	l := s.lose(t, returning(loserRecord), nil)
	winner := hold(t, s.B, "key")
	l.wantLost(t)
	winner.wantAlone(t, s.A, "key")
}

// Whoever lost can have another turn.
func testUpdateAfterLoss(t *testing.T, s Losing) {
	s.lose(t, returning(loserRecord), nil).wantLost(t)
	for _, handle := range []cache.Store{s.A, s.B} {
		put(t, handle, "key", firstRecord)
		want(t, s.A, "key", firstRecord)
		put(t, handle, "key", nil)
		want(t, s.B, "key", nil)
	}
}

func testLossEndsContext(t *testing.T, s Losing) {
	l := s.lose(t, returning(loserRecord), nil)
	if s.Watched {
		await(t, l.ctx.Done(), "the end of the loser's context")
		if cause := context.Cause(l.ctx); !errors.Is(cause, cache.ErrLost) {
			t.Errorf("the cause of the context's end is %v, want ErrLost", cause)
		}
	}
	l.wantLost(t)
	want(t, s.B, "key", nil)
}
