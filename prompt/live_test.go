package prompt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
)

func deviceCode() awsoidc.Verification {
	const uri = "https://device.sso.us-east-1.amazonaws.com/"
	return awsoidc.Verification{
		Grant: awsoidc.GrantDevice, URI: uri, URIComplete: uri + "?user_code=BCDF-GHJK", UserCode: "BCDF-GHJK",
		ExpiresAt: time.Now().Add(10 * time.Minute), Session: "corp",
	}
}

// shown is what is on the last lines of a terminal, after what was written.
func shown(written string, lines int) string {
	screen, column := [][]rune{nil}, 0
	for _, r := range written {
		last := &screen[len(screen)-1]
		switch {
		case r == '\n':
			screen, column = append(screen, nil), 0
		case r == '\r':
			column = 0
		case column < len(*last):
			(*last)[column] = r
			column++
		default:
			*last = append(*last, r)
			column++
		}
	}
	var b strings.Builder
	for _, line := range screen[max(0, len(screen)-lines):] {
		b.WriteString("\n" + strings.TrimRight(string(line), " "))
	}
	return b.String()[1:]
}

func TestLiveLine(t *testing.T) {
	for reason, want := range map[error]string{
		nil:                     "Signed in to corp.",
		awsoidc.ErrAccessDenied: "The sign-in was refused.",
		fmt.Errorf("wrapped: %w", awsoidc.ErrCodeExpired): "Nobody approved in time.",
		context.Canceled:         "No longer waiting.",
		awsoidc.ErrClosed:        "No longer waiting.",
		errors.New("\x1bcanary"): "The sign-in failed.",
	} {
		synctest.Test(t, func(t *testing.T) {
			var b written
			p := Terminal(&b)
			p.at = desktop().surroundings()
			finish, err := p.Prompt(t.Context(), deviceCode())
			if err != nil {
				t.Fatal(err)
			}
			for left := 600; left > 0; left -= 19 {
				synctest.Wait()
				if got, want := shown(b.String(), 1), fmt.Sprintf("Waiting for approval, %d:%02d left", left/60, left%60); got != want {
					t.Fatalf("the last line is %q, want %q", got, want)
				}
				time.Sleep(19 * time.Second)
			}
			finish(reason)
			finish(errors.New("once only"))
			if got := shown(b.String(), 2); got != want+"\n" {
				t.Errorf("finish(%v): the last line is %q, want %q", reason, got, want)
			}
			before := b.Len()
			time.Sleep(time.Minute)
			if b.Len() != before {
				t.Error("wrote after the end")
			}
		}) // which fails if a goroutine is left
	}
}

// TestGivingUpInTheBrowser has a person who was shown an error there, such as
// for a region that does not know the start URL.
func TestGivingUpInTheBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b written
		p := Terminal(&b)
		p.at = desktop().surroundings()
		v := deviceCode()
		v.Grant = awsoidc.GrantAuthCode
		finish, err := p.Prompt(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		finish(context.Canceled)
		const want = "No longer waiting. If the browser showed an error, check the start URL and the\nregion.\n"
		if got := shown(b.String(), 3); got != want {
			t.Errorf("the last lines are %q, want %q", got, want)
		}
	})
}

// A caller who forgets the end of a sign-in leaves no goroutine behind either.
func TestLiveLineEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var b written
		p := Terminal(&b)
		p.at = desktop().surroundings()
		if _, err := p.Prompt(ctx, deviceCode()); err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		before := b.Len()
		time.Sleep(time.Minute)
		if b.Len() != before {
			t.Error("wrote after the end")
		}
	})
}

func TestBrowserFailureIsToldAboveTheLiveLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b written
		p := Terminal(&b)
		p.at = desktop().surroundings()
		p.OpenURL = func(string) error { return errors.New("no display") }
		finish, err := p.Prompt(t.Context(), deviceCode())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		const want = "No browser could be opened here: open the URL above yourself.\nWaiting for approval, 10:00 left"
		if got := shown(b.String(), 2); got != want {
			t.Errorf("the last lines are\n%s\nwant\n%s", got, want)
		}
		finish(nil)
	})
}

func TestDumbTerminalHasNoLiveLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b written
		p := Terminal(&b)
		p.at = desktop("TERM", "dumb").surroundings()
		finish, err := p.Prompt(t.Context(), deviceCode())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		finish(context.Canceled)
		if strings.ContainsAny(b.String(), "\r\x1b") || strings.Contains(b.String(), "left") {
			t.Errorf("wrote %q", &b)
		}
	})
}

func TestWaitingAndAdopted(t *testing.T) {
	for _, width := range []int{20, 40, 80} {
		var b written
		p := Terminal(&b)
		here := desktop()
		here.w = width
		p.at = here.surroundings()
		p.Waiting("corp\x1b[2J", "process 4711, since 10:15:00\n\u202e")
		p.Waiting("corp", "")
		p.Adopted("corp\x1b[2J")
		for line := range strings.Lines(b.String()) {
			if len(line) > width+1 {
				t.Errorf("%d columns: the line %q is longer", width, line)
			}
		}
		words := strings.Join(strings.Fields(b.String()), " ")
		for _, want := range []string{"sign-in to corp[2J (process 4711, since 10:15:00)", "Approve there", "Waiting for another sign-in to corp on this machine. Approve where it was started, or end that program", "Signed in to corp[2J, by another program."} {
			if !strings.Contains(words, want) {
				t.Errorf("%d columns: lacks %q: %q", width, want, words)
			}
		}
	}
}

// written is what a Prompter wrote, from whatever goroutine.
type written struct {
	mu   sync.Mutex
	text []byte
}

func (w *written) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text...)
	return len(text), nil
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

func (w *written) Len() int { return len(w.String()) }
