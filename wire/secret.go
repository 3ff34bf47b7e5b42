package wire

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is a string that must not be shown: a token, a code, a client secret.
//
// Every way of printing it (fmt, slog, encoding/json and other text encoders)
// yields "[redacted]". Its value is read by converting it: string(secret). The
// zero value is the empty secret, and is printed as such.
//
// Three things defeat this, as no method of the Secret is called then: keeping
// it in an unexported field of a struct that is printed with fmt (give such a
// struct a Format or String method of its own), using it as the key of a map
// that encoding/json writes, and the verb %p.
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
