package loopback

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Expected is what a callback must have.
type Expected struct {
	State   string   // of the authorization request
	Issuers []string // what "iss" may be where there is one (RFC 9207)
}

// An Answer is what a callback with the right state says: a code or an error.
type Answer struct {
	Code string // visible ASCII
	Err  error  // why there is no code; a *Refusal where the service said so
}

func (a Answer) denied() bool {
	refusal, ok := errors.AsType[*Refusal](a.Err)
	return ok && refusal.Code == "access_denied"
}

// A Refusal is the error of a callback (RFC 6749 section 4.1.2.1), fit to be
// shown on one line.
type Refusal struct {
	Code        string // such as "access_denied"; at most maxShown bytes
	Description string // may be empty; at most maxShown bytes
}

func (r *Refusal) Error() string {
	if r.Description == "" {
		return fmt.Sprintf("the service answered %s", r.Code)
	}
	return fmt.Sprintf("the service answered %s: %s", r.Code, r.Description)
}

// maxShown bounds each text of a Refusal, in bytes.
const maxShown = 200

// check reads the query of a callback. It is not ok, and nothing of it was
// looked at, unless it has each parameter once and the right state.
func (e Expected) check(rawQuery string) (answer Answer, ok bool) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return Answer{}, false
	}
	for _, values := range query {
		if len(values) != 1 {
			return Answer{}, false
		}
	}
	if e.State == "" || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(e.State)) != 1 {
		return Answer{}, false
	}
	code, refusal := query.Get("code"), query.Get("error")
	switch {
	case query.Has("iss") && !slices.Contains(e.Issuers, query.Get("iss")):
		return Answer{Err: errors.New("the callback came from another issuer than the one that was asked")}, true
	case refusal != "" && code != "", refusal == "" && code == "":
		return Answer{Err: errors.New("the callback has not one of a code and an error")}, true
	case refusal != "":
		return Answer{Err: &Refusal{Code: line(refusal), Description: line(query.Get("error_description"))}}, true
	case !isVisibleASCII(code):
		return Answer{Err: errors.New("the callback's code has characters that no code has")}, true
	}
	return Answer{Code: code}, true
}

// line makes text of any origin fit to be shown.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxShown {
		s = strings.ToValidUTF8(s[:maxShown-len("…")], "") + "…"
	}
	return strings.TrimSpace(s)
}

func isVisibleASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
