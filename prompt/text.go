package prompt

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/internal/terminal"
	"github.com/awsoidc/awsoidc/wire"
)

const (
	indent       = "    "
	defaultWidth = 80 // of what is no terminal
)

// text is what Prompt shows of v, whose URIComplete is set, before and after
// the line with that URL.
func (p *Prompter) text(v awsoidc.Verification) (before, after string) {
	var b strings.Builder
	width := p.width()
	say := func(format string, values ...any) {
		b.WriteString(terminal.Wrap(fmt.Sprintf(format, values...), width))
	}
	urlIsNext := func() {
		before = b.String() + "\n"
		b.Reset()
		b.WriteByte('\n')
	}
	session, code := clean(v.Session), clean(v.UserCode)
	valid := validity(time.Until(v.ExpiresAt))
	if v.Reason != "" {
		say("Using the %s: %s.", grantName(v.Grant), clean(v.Reason))
	}

	if v.Grant == awsoidc.GrantAuthCode {
		say("To sign in to %s, approve in a browser on this machine.", session)
		if p.promises(v) {
			say("It should open by itself. If it does not, open this here:")
		} else {
			say("Open this here:")
		}
		urlIsNext()
		say("Approve only if you have just started this sign-in. You have %s.", valid)
		say("The browser must run on this machine. To approve on another one, stop this and %s.", cmp.Or(p.DeviceHint, "use the device grant"))
		return before, b.String()
	}

	say("To sign in to %s, approve this code in a browser:", session)
	fmt.Fprintf(&b, "\n%s\n\n", indented(spaced(code), width))
	if p.promises(v) {
		say("A browser should open. If none does, open this on any device:")
	} else {
		say("Open this on any device:")
	}
	urlIsNext()
	if v.URIComplete != v.URI {
		say("Or type %s at %s", code, v.URI)
	}
	say("Approve only if the page shows the same code. It is valid for %s.", valid)
	caption := terminal.Wrap("Or scan this with a phone, and compare "+code+":", width)
	if picture := p.surroundings().qrCode(v.URIComplete, strings.Count(caption, "\n")+1); picture != "" {
		b.WriteString(caption + picture)
	}
	return before, b.String()
}

func grantName(g awsoidc.Grant) string {
	if g == awsoidc.GrantAuthCode {
		return "authorization code grant"
	}
	return "device grant"
}

// width is how many characters a line holds.
func (p *Prompter) width() int {
	if width, _, ok := p.surroundings().size(); ok && width > 1 {
		return width
	}
	return defaultWidth
}

// indented sets a line off, unless the terminal would then break it.
func indented(line string, width int) string {
	if utf8.RuneCountInString(line)+len(indent) > width {
		return line
	}
	return indent + line
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
