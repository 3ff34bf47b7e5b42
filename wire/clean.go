package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// clean makes text of any origin fit to be shown on one line: what is not
// printable becomes a space, what is not UTF-8 U+FFFD, what Redact cuts out
// "[redacted]". The result is at most limit bytes; text that is cut ends in "…".
func clean(s string, limit int, secrets *hidden) string {
	// So much is more than is shown, unless it is mostly secrets.
	cut := len(s) > examined*limit
	if cut {
		s = s[:examined*limit]
	}
	spans := secrets.spans(s)
	if len(s) <= limit && len(spans) == 0 && isVisibleASCII(s) {
		return s
	}
	var b strings.Builder
	shown := 0 // bytes of s
	for _, secret := range spans {
		writeLine(&b, s[shown:secret.from], limit)
		b.WriteString(redacted)
		shown = secret.to
	}
	writeLine(&b, s[shown:], limit)
	text := b.String()
	if !cut && len(text) <= limit {
		return strings.TrimSpace(text)
	}
	const ellipsis = "…"
	end := min(len(text), limit-len(ellipsis))
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimSpace(text[:end]) + ellipsis
}

// examined is how much more of a text than is shown is looked at.
const examined = 16

// writeLine writes what can be printed of s, until b has more than limit bytes.
func writeLine(b *strings.Builder, s string, limit int) {
	for _, r := range s {
		if b.Len() > limit {
			return
		}
		if !strconv.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
}

// isVisibleASCII reports whether s is made of the characters 0x21 to 0x7E.
func isVisibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7E {
			return false
		}
	}
	return true
}
