package wire

import (
	"slices"
	"strconv"
	"strings"
)

// Redact returns text of any origin, such as an error of a server, as it may be
// shown or logged: one line of printable characters, of at most 512 bytes (text
// that is cut ends in "…"), with "[redacted]" in place of the secrets.
//
// A server may show a secret in part or in another form. So what is cut out is
// every run of 16 letters and digits that a secret has too, whatever stands
// between them, and with URL, JSON and HTML escapes read, up to three deep. Of
// a secret with fewer than 16 letters and digits it is every run of 16 bytes,
// or the whole of a secret that is shorter. Other encodings of a secret, such
// as base64, are not recognized. Empty secrets are ignored.
func Redact(text string, secrets ...Secret) string {
	return clean(text, maxDescription, &hidden{secrets: secrets})
}

const (
	tells      = 16 // so many letters and digits tell a secret from other text
	maxEscapes = 3  // how often a text may have been escaped
)

// hidden are secrets that texts may not show. They are prepared for being
// looked for once, when a text that may show one comes: few do.
type hidden struct {
	secrets  []Secret
	prepared []runs
}

// runs are what tells some of the secrets.
type runs struct {
	length       int                 // of each, in bytes
	alphanumeric bool                // made of letters and digits, whatever stands between them
	all          map[string]struct{} // every run of that length
}

// A span is the part [from, to) of a text, in bytes.
type span struct{ from, to int }

// in reports whether a text shows a secret, or enough of one.
func (h *hidden) in(text string) bool { return len(h.spans(text)) > 0 }

// spans returns where in a text secrets are: in order, none touching the next.
func (h *hidden) spans(text string) []span {
	if text == "" || h == nil {
		return nil
	}
	var found []span
	v := view{text: text}
	for range maxEscapes + 1 {
		if h.mayBeIn(v.text) {
			h.prepare()
			for i := range h.prepared {
				found = v.find(found, &h.prepared[i])
			}
		}
		if !strings.ContainsAny(v.text, `%\&`) {
			break
		}
		v = v.unescape()
	}
	return union(found)
}

func (h *hidden) prepare() {
	if h.prepared != nil {
		return
	}
	for _, secret := range h.secrets {
		key, alphanumeric := filter(string(secret), isAlphanumeric), true
		if len(key) < tells {
			key, alphanumeric = string(secret), false
		}
		if key == "" {
			continue
		}
		n := min(len(key), tells)
		all := h.runs(n, alphanumeric)
		for i := 0; i+n <= len(key); i++ {
			all[key[i:i+n]] = struct{}{}
		}
	}
}

// runs returns where runs of that kind are kept.
func (h *hidden) runs(length int, alphanumeric bool) map[string]struct{} {
	for _, r := range h.prepared {
		if r.length == length && r.alphanumeric == alphanumeric {
			return r.all
		}
	}
	r := runs{length, alphanumeric, make(map[string]struct{})}
	h.prepared = append(h.prepared, r)
	return r.all
}

// mayBeIn reports whether a text may show a secret. It is cheap, and mostly
// false for texts that show none.
func (h *hidden) mayBeIn(text string) bool {
	chars := charsOf(text)
	return slices.ContainsFunc(h.secrets, chars.mayShow)
}

// union sorts spans and joins those that overlap or touch.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	joined := spans[:0]
	for _, s := range spans {
		if n := len(joined); n > 0 && s.from <= joined[n-1].to {
			joined[n-1].to = max(joined[n-1].to, s.to)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// charset says which letters and digits a text has.
type charset [256]bool

func charsOf(text string) *charset {
	var set charset
	for i := range len(text) {
		set[text[i]] = true
	}
	return &set
}

// mayShow reports whether a text with these characters may show a secret.
func (c *charset) mayShow(secret Secret) bool {
	n := min(len(secret), tells)
	for from := 0; n > 0 && from+n <= len(secret); {
		last := from + n - 1
		for last >= from && (c[secret[last]] || !isAlphanumeric(secret[last])) {
			last--
		}
		if last < from {
			return true
		}
		from = last + 1 // a run that the text may hold does not have this byte
	}
	return false
}

// A view is a text with escapes read.
type view struct {
	text string
	at   []int // where each byte of text, and its end, are in the original; nil: in the same place
}

func (v view) original(i int) int {
	if v.at == nil {
		return i
	}
	return v.at[i]
}

// find appends to spans where in the original the view shows one of the runs.
func (v view) find(spans []span, r *runs) []span {
	keep := isAlphanumeric
	if !r.alphanumeric {
		keep = func(byte) bool { return true }
	}
	text, at := filterAt(v.text, keep)
	for i := 0; i+r.length <= len(text); i++ {
		if _, ok := r.all[text[i:i+r.length]]; ok {
			spans = append(spans, span{v.original(at[i]), v.original(at[i+r.length-1] + 1)})
		}
	}
	return spans
}

// filter returns the bytes of s to be kept.
func filter(s string, keep func(byte) bool) string { kept, _ := filterAt(s, keep); return kept }

// filterAt returns the bytes of s to be kept, and where in s each was.
func filterAt(s string, keep func(byte) bool) (kept string, at []int) {
	b := make([]byte, 0, len(s))
	at = make([]int, 0, len(s))
	for i := range len(s) {
		if keep(s[i]) {
			b, at = append(b, s[i]), append(at, i)
		}
	}
	return string(b), at
}

func isAlphanumeric(b byte) bool {
	return '0' <= b && b <= '9' || 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z'
}

// unescape returns the view with one level of escapes read.
func (v view) unescape() view {
	b := make([]byte, 0, len(v.text))
	at := make([]int, 0, len(v.text)+1)
	for i := 0; i < len(v.text); {
		c, n := unescapeOne(v.text[i:])
		b, at = append(b, c), append(at, v.original(i))
		i += n
	}
	return view{text: string(b), at: append(at, v.original(len(v.text)))}
}

// unescapeOne returns the character that s begins with, and of how many bytes
// of s it is made. Characters beyond 0xFF, which no secret has, become 0xFF.
func unescapeOne(s string) (c byte, n int) {
	switch {
	case s[0] == '%':
		return character(s, 1, 3, 16, 3)
	case s[0] == '&':
		return unescapeHTML(s)
	case s[0] != '\\' || len(s) == 1:
		return s[0], 1
	case s[1] == 'u':
		return character(s, 2, 6, 16, 6)
	case s[1] == 'x':
		return character(s, 2, 4, 16, 4)
	case strings.IndexByte("bfnrt", s[1]) >= 0:
		return ' ', 2
	}
	return s[1], 2
}

func unescapeHTML(s string) (c byte, n int) {
	const longest = 16
	end := strings.IndexByte(s[:min(len(s), longest)], ';')
	switch {
	case end < 0:
		return s[0], 1
	case strings.HasPrefix(s, "&#x"), strings.HasPrefix(s, "&#X"):
		return character(s, 3, end, 16, end+1)
	case strings.HasPrefix(s, "&#"):
		return character(s, 2, end, 10, end+1)
	}
	names := [...][2]string{
		{"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", `"`}, {"apos", "'"},
		{"plus", "+"}, {"equals", "="}, {"sol", "/"}, {"colon", ":"}, {"period", "."}, {"lowbar", "_"},
	}
	for _, name := range names {
		if s[1:end] == name[0] {
			return name[1][0], end + 1
		}
	}
	return s[0], 1
}

// character returns the character whose number is s[from:to], in an escape of
// n bytes. Where that is no number, s begins with no escape.
func character(s string, from, to, base, n int) (byte, int) {
	if to > len(s) {
		return s[0], 1
	}
	number, err := strconv.ParseUint(s[from:to], base, 32)
	if err != nil {
		return s[0], 1
	}
	return byte(min(number, 0xFF)), n
}
