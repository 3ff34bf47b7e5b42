package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// clean makes text of any origin fit to be shown on one line: what is not
// printable becomes a space, what is not UTF-8 U+FFFD, each hidden secret
// "[redacted]". The result is at most limit bytes; text that is cut ends in "…".
//
// A server may echo a secret in part, so a long enough start of one counts.
func clean(s string, limit int, hidden []Secret) string {
	if s == "" || len(s) <= limit && isVisibleASCII(s) && !holdsSecret(s, hidden) {
		return s
	}
	const ellipsis = "…"
	var b strings.Builder
	for len(s) > 0 && b.Len() <= limit {
		if n := leadingSecret(s, hidden); n > 0 {
			b.WriteString(redacted)
			s = s[n:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if !strconv.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
		s = s[n:]
	}
	text := b.String()
	if len(text) > limit {
		cut := limit - len(ellipsis)
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + ellipsis
	}
	return strings.TrimSpace(text)
}

// tells is how many bytes of a secret's start are taken for the secret.
const tells = 16

func holdsSecret(s string, hidden []Secret) bool {
	for _, secret := range hidden {
		if secret != "" && strings.Contains(s, string(secret[:min(len(secret), tells)])) {
			return true
		}
	}
	return false
}

// leadingSecret returns how many bytes of s, from its start, belong to a secret.
func leadingSecret(s string, hidden []Secret) int {
	longest := 0
	for _, secret := range hidden {
		n := 0
		for n < len(s) && n < len(secret) && s[n] == secret[n] {
			n++
		}
		if n > longest && (n == len(secret) || n >= tells) {
			longest = n
		}
	}
	return longest
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
