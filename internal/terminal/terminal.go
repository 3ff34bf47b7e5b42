// Package terminal tells how large a terminal is, and breaks text into lines
// that fit one.
package terminal

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Size returns the columns and rows of the terminal that w writes to, 0 and 0
// where they are not known. It is not ok where w is no terminal.
func Size(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || f == nil || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0, true
	}
	return width, height, true
}

// Wrap breaks a paragraph into lines between its words, and ends the last one.
// A word, such as a URL, stays whole whatever its length.
func Wrap(text string, width int) string {
	var b strings.Builder
	used := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
		case used+1+n <= width:
			b.WriteByte(' ')
			used++
		default:
			b.WriteByte('\n')
			used = 0
		}
		b.WriteString(word)
		used += n
	}
	return b.String() + "\n"
}
