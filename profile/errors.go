package profile

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/awsoidc/awsoidc"
)

// Sentinel errors. Those that wrap one of them also wrap awsoidc.ErrConfig, as
// every error does that a change of the config file, the environment or the
// Options cures.
var (
	// ErrNoProfile means that no file has the profile or the sso-session.
	ErrNoProfile = errors.New("profile: no such profile")
	// ErrNoSSO means that the profile has no SSO settings.
	ErrNoSSO = errors.New("profile: no SSO settings")
)

// configError is a complete sentence about the configuration. Its sentinel and
// its cause can be tested for, and are not part of its text.
type configError struct {
	text  string
	kind  error // ErrNoProfile, ErrNoSSO or nil
	cause error // or nil
}

func (e *configError) Error() string { return "profile: " + e.text }

func (e *configError) Unwrap() []error {
	return slices.DeleteFunc([]error{awsoidc.ErrConfig, e.kind, e.cause}, func(err error) bool { return err == nil })
}

func badConfig(format string, args ...any) *configError {
	return &configError{text: fmt.Sprintf(format, args...)}
}

// oneLine returns an error's text on one line.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// printable returns text of a file in a form that one line of a terminal can
// show.
func printable(s string) string {
	const limit = 100 // runes
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s))
	if len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return string(runes)
}

// suggest says which of the names somebody may have meant by name, or else
// which there are.
func suggest(name, kind string, names []string) string {
	if len(names) == 0 {
		return fmt.Sprintf("it has no %ss: run \"aws configure sso\" to add one", kind)
	}
	type candidate struct {
		name  string
		edits int
	}
	var near []candidate
	limit := min(3, 1+len(name)/3)
	for _, n := range names {
		if max(len(n), len(name)) <= 64 { // bounds the work
			if d := edits(strings.ToLower(n), strings.ToLower(name)); d <= limit {
				near = append(near, candidate{n, d})
			}
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.edits, b.edits) })
	if len(near) > 0 {
		names = nil
		for _, c := range near[:min(3, len(near))] {
			names = append(names, c.name)
		}
		return "did you mean " + list(names, " or ") + "?"
	}
	if rest := len(names) - 5; rest > 0 {
		return fmt.Sprintf("it has %s and %d more", list(names[:5], ", "), rest)
	}
	return "it has " + list(names, ", ")
}

func list(names []string, separator string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = `"` + printable(n) + `"`
	}
	return strings.Join(quoted, separator)
}

// edits is the Levenshtein distance of a and b, in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
