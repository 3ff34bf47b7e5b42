package prompt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/wire"
)

// A Prompter writes what a person needs to approve a sign-in, and that it
// succeeded. It is an awsoidc.Prompter. Its fields must not change once it is in
// use; its methods are safe for concurrent use.
type Prompter struct {
	// OpenURL opens a URL in the person's browser, such as OpenBrowser does.
	// It runs in a goroutine of its own, which ends when it returns. If it
	// fails, the person is told to open the URL. nil opens nothing.
	OpenURL func(url string) error

	// URLs, unless nil, receives the URL alone on a line as soon as it is
	// known: the one with the user code in it, where there is one. It is for
	// programs that read it.
	URLs io.Writer

	mu sync.Mutex // held while anything is written
	w  io.Writer
}

// Terminal returns a Prompter that writes to w, usually os.Stderr. It opens no
// browser unless OpenURL is set.
func Terminal(w io.Writer) *Prompter { return &Prompter{w: w} }

// Prompt shows v and returns at once. The function that it returns writes one
// line where it is given nil: that the person is signed in. A failure is left
// to the caller of Login, who is given it as well. The error is that of a
// writer, or says that a URL of v is neither https nor http on a loopback
// address; then nothing was shown.
func (p *Prompter) Prompt(_ context.Context, v awsoidc.Verification) (finish func(error), err error) {
	complete := v.URIComplete
	if complete == "" {
		complete = v.URI
	}
	for _, u := range []string{v.URI, complete} {
		if !isWebURL(u) {
			return nil, errors.New("prompt: the service's URL for the sign-in is neither https nor http on a loopback address, and is not shown; check the endpoint")
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.URLs != nil {
		if _, err := io.WriteString(p.URLs, complete+"\n"); err != nil {
			return nil, fmt.Errorf("prompt: the URL could not be written: %w", err)
		}
	}
	if err := p.writeLocked(p.text(v, complete)); err != nil {
		return nil, err
	}
	finished := p.open(complete)
	session := clean(v.Session)
	return func(err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		*finished = true
		if err == nil {
			p.writeLocked("Signed in to " + session + ".\n") // nobody is left to tell of a failure
		}
	}, nil
}

func (p *Prompter) text(v awsoidc.Verification, complete string) string {
	var b strings.Builder
	code := clean(v.UserCode)
	fmt.Fprintf(&b, "To sign in to %s, approve this code in a browser:\n\n", clean(v.Session))
	fmt.Fprintf(&b, "    %s\n\n", spaced(code))
	if p.OpenURL != nil {
		b.WriteString("A browser should open. If none does, open this on any device:\n\n")
	} else {
		b.WriteString("Open this on any device:\n\n")
	}
	fmt.Fprintf(&b, "    %s\n\n", complete)
	if complete != v.URI {
		fmt.Fprintf(&b, "Or type %s at %s\n", code, v.URI)
	}
	fmt.Fprintf(&b, "Approve only if the page shows the same code. It is valid for %s.\n", validity(time.Until(v.ExpiresAt)))
	return b.String()
}

// open starts the browser, if there is to be one. Set the value that it
// returns, under p.mu, once the person needs no more advice.
func (p *Prompter) open(url string) (finished *bool) {
	finished = new(bool)
	if p.OpenURL == nil {
		return finished
	}
	go func() {
		if p.OpenURL(url) == nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if !*finished {
			p.writeLocked("No browser could be opened here: open the URL above yourself.\n")
		}
	}()
	return finished
}

// writeLocked writes text in one call. p.mu must be held.
func (p *Prompter) writeLocked(text string) error {
	if p.w == nil {
		return nil
	}
	if _, err := io.WriteString(p.w, text); err != nil {
		return fmt.Errorf("prompt: the person could not be told how to sign in: %w", err)
	}
	return nil
}

// spaced sets a code apart, so that it is easy to read and compare.
func spaced(code string) string {
	return strings.Join(strings.Split(code, ""), " ")
}

func validity(d time.Duration) string {
	switch d = max(d, 0).Round(time.Second); {
	case d == time.Second:
		return "1 second"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", d/time.Second)
	}
	return fmt.Sprintf("%d minutes", d/time.Minute)
}

// clean drops what could do more to a terminal than show a character.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}

// isWebURL reports whether raw is visible ASCII, and https or http on a
// loopback address. Such a URL can't begin with "-".
func isWebURL(raw string) bool {
	for i := range len(raw) {
		if raw[i] <= ' ' || raw[i] > '~' {
			return false
		}
	}
	base, _, _ := strings.Cut(raw, "#")
	base, _, _ = strings.Cut(base, "?")
	_, err := wire.CheckEndpoint(base)
	return err == nil
}
