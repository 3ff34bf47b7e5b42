package prompt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/internal/terminal"
)

var (
	_ awsoidc.GrantChooser    = (*Prompter)(nil)
	_ awsoidc.WaitingPrompter = (*Prompter)(nil)
)

// A Prompter writes what a person needs to approve a sign-in, and how it
// ended. It is an awsoidc.GrantChooser. Its fields must not change once it is in
// use; its methods are safe for concurrent use.
type Prompter struct {
	// OpenURL opens a URL in the person's browser, such as OpenBrowser does.
	// It runs in a goroutine of its own, which ends when it returns. If it
	// fails where a browser could be expected, the person is told to open the
	// URL. It is not called where the device grant was chosen because there is
	// no browser. nil opens nothing, and makes ChooseGrant choose the device
	// grant.
	OpenURL func(url string) error

	// URLs, unless nil, receives the URL alone on a line as soon as it is
	// known: the one with the user code in it, where there is one. It is for
	// programs that read it. Where it is the terminal that the text goes to, the
	// URL has its line in the text, once.
	URLs io.Writer

	// DeviceHint completes the sentence "to approve on another machine, stop
	// this and …", which the person is told with the authorization code grant.
	// "" means "use the device grant".
	DeviceHint string

	mu   sync.Mutex // held while anything is written
	line string     // what the live line shows; guarded by mu
	w    io.Writer
	at   *surroundings // nil: those of w
}

// Terminal returns a Prompter that writes to w, usually os.Stderr. It opens no
// browser unless OpenURL is set. Where w is no terminal it gets text alone:
// no QR code, no live line, and no control characters.
func Terminal(w io.Writer) *Prompter { return &Prompter{w: w} }

// Prompt shows v and returns at once. On a terminal a live line says how much
// time is left, until the function that Prompt returns is called or ctx ends.
//
// The function that it returns writes that the person is signed in, where it is
// given nil. Otherwise it puts the reason in few words in place of the live
// line; where there is none it writes nothing, because the caller of Login is
// given the failure as well. The error of Prompt is that of a writer, or says
// that a URL of v is neither https nor http on a loopback address; then nothing
// was shown.
func (p *Prompter) Prompt(ctx context.Context, v awsoidc.Verification) (finish func(error), err error) {
	if v.URIComplete == "" {
		v.URIComplete = v.URI
	}
	for _, u := range []string{v.URI, v.URIComplete} {
		if !isWebURL(u) {
			return nil, errors.New("prompt: the service's URL for the sign-in is neither https nor http on a loopback address, and is not shown; check the endpoint")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.showLocked(v); err != nil {
		return nil, err
	}
	a := &asking{done: make(chan struct{})}
	if p.surroundings().live() {
		p.drawLocked(waiting(v.ExpiresAt))
		go p.keepLive(ctx, a, v.ExpiresAt)
	}
	if p.opens(v) {
		go p.open(a, v)
	}
	return func(err error) { p.finish(a, v, err) }, nil
}

// showLocked writes the text, and the URL to where each may be read. p.mu must
// be held.
func (p *Prompter) showLocked(v awsoidc.Verification) error {
	before, after := p.text(v)
	once := isSameTerminal(p.URLs, p.w)
	if once {
		if err := p.writeLocked(before); err != nil {
			return err
		}
	}
	if p.URLs != nil {
		if _, err := io.WriteString(p.URLs, v.URIComplete+"\n"); err != nil {
			return fmt.Errorf("prompt: the URL could not be written: %w", err)
		}
	}
	if once {
		return p.writeLocked(after)
	}
	return p.writeLocked(before + indented(v.URIComplete, p.width()) + "\n" + after)
}

// asking is one sign-in that is shown.
type asking struct {
	finished bool          // the person needs no more advice; guarded by Prompter.mu
	done     chan struct{} // closed when finished
}

// finish ends what Prompt began.
func (p *Prompter) finish(a *asking, v awsoidc.Verification, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.finished {
		return
	}
	a.finished = true
	close(a.done)
	live := p.line != ""
	p.drawLocked("")
	switch {
	case err == nil:
		p.writeLocked(terminal.Wrap("Signed in to "+clean(v.Session)+".", p.width())) // nobody is left to tell of a failure
	case live:
		p.writeLocked(terminal.Wrap(outcome(v.Grant, err), p.width()))
	}
}

// outcome is a failed sign-in in few words. Who gives up in the browser may have
// found an error there, of which nobody else is told.
func outcome(grant awsoidc.Grant, err error) string {
	switch {
	case errors.Is(err, awsoidc.ErrAccessDenied):
		return "The sign-in was refused."
	case errors.Is(err, awsoidc.ErrCodeExpired):
		return "Nobody approved in time."
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, awsoidc.ErrClosed):
		if grant == awsoidc.GrantAuthCode {
			return "No longer waiting. If the browser showed an error, check the start URL and the region."
		}
		return "No longer waiting."
	}
	return "The sign-in failed."
}

// opens reports whether a browser is to be opened: not where the lack of one is
// why the device grant was chosen.
func (p *Prompter) opens(v awsoidc.Verification) bool {
	return p.OpenURL != nil && (v.Grant == awsoidc.GrantAuthCode || v.Reason == "" || p.surroundings().lacksBrowser() == "")
}

// promises reports whether the person is told to expect a browser.
func (p *Prompter) promises(v awsoidc.Verification) bool {
	return p.opens(v) && p.surroundings().lacksWindow() == ""
}

func (p *Prompter) open(a *asking, v awsoidc.Verification) {
	if p.OpenURL(v.URIComplete) == nil || !p.promises(v) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !a.finished {
		p.writeLocked(terminal.Wrap("No browser could be opened here: open the URL above yourself.", p.width()))
	}
}

// keepLive draws the live line each second.
func (p *Prompter) keepLive(ctx context.Context, a *asking, end time.Time) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.done:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		if !a.finished {
			p.drawLocked(waiting(end))
		}
		p.mu.Unlock()
	}
}

// waiting is the text of the live line.
func waiting(end time.Time) string {
	left := max(time.Until(end), 0).Round(time.Second)
	return fmt.Sprintf("Waiting for approval, %d:%02d left", left/time.Minute, left%time.Minute/time.Second)
}

// drawLocked puts text in place of the live line; "" removes it. p.mu must be
// held. It does without escape sequences, which not every console knows.
func (p *Prompter) drawLocked(text string) {
	width := p.width()
	if runes := []rune(text); len(runes) >= width {
		text = string(runes[:width-1])
	}
	if p.line == "" && text == "" {
		return
	}
	erase := ""
	if p.line != "" {
		erase = "\r" + strings.Repeat(" ", width-1) + "\r" // with what the person typed
	}
	p.line = text
	if p.w != nil {
		io.WriteString(p.w, erase+text) // the next line that matters tells of a failure
	}
}

// Waiting writes that another sign-in asks already, which is an
// awsoidc.WaitingPrompter's part.
func (p *Prompter) Waiting(session, who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := "Another program is asking already for a sign-in to " + clean(session) + " (" + clean(who) + "); waiting for it. Approve there, or end it to be asked here."
	if who == "" {
		text = "Waiting for another sign-in to " + clean(session) + " on this machine. Approve where it was started, or end that program to be asked here."
	}
	p.writeLocked(terminal.Wrap(text, p.width()))
}

// Adopted writes that the person has signed in to another program, for this
// one too.
func (p *Prompter) Adopted(session string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writeLocked(terminal.Wrap("Signed in to "+clean(session)+", by another program.", p.width()))
}

// writeLocked writes text, which is whole lines, above the live line. p.mu must
// be held.
func (p *Prompter) writeLocked(text string) error {
	if p.w == nil {
		return nil
	}
	line := p.line
	p.drawLocked("")
	_, err := io.WriteString(p.w, text)
	p.drawLocked(line)
	if err != nil {
		return fmt.Errorf("prompt: the person could not be told how to sign in: %w", err)
	}
	return nil
}
