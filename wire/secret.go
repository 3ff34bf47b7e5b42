package wire

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a string that must not be shown: a token, a code, a client secret.
//
// Every way of printing it (all fmt verbs, slog, encoding/json and other text
// encoders) yields "[redacted]". Its value is read by converting it:
// string(secret). The zero value is the empty secret, and is printed as such.
//
// In a struct this holds for exported fields. An unexported field defeats it:
// fmt may not call the methods of what it finds there, and prints the value.
// A struct that keeps a Secret in an unexported field, and may be printed,
// needs a Format or String method of its own.
type Secret string

// String returns "[redacted]", or "" for the empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString returns what String does, so that %#v does not show the value.
func (s Secret) GoString() string { return s.String() }

// Format writes what String returns, whatever the verb and flags.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue makes slog show what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText makes encoding/json and other encoders write what String
// returns. This package's own requests convert each secret explicitly.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
