package wire

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	defaultInterval = 5 * time.Second // RFC 8628 section 3.2
	maxInterval     = 5 * time.Minute
	maxUserCode     = 64 // bytes; RFC 8628 section 6.1 suggests about 8
)

// member is one string of a request or an answer, and what it must be.
type member struct {
	name  string
	value string
	rules rule
}

// rule is a set of conditions. All but required let an empty value pass.
type rule int

const (
	required rule = 1 << iota
	token         // visible ASCII of at most MaxTokenBytes, fit for a header and a file
	userCode      // short, and printable on one line of a terminal
	page          // fit for a person's browser, as CheckURL says
	bearer        // a token type that callers know how to present (RFC 6749 section 7.1)
	positive      // a number
)

// requiredIf returns required where ok is true.
func requiredIf(ok bool) rule {
	if ok {
		return required
	}
	return 0
}

// check returns what is wrong with the first member that breaks a rule. The
// error names the member and never shows its value.
func check(members []member) error {
	for i := range members {
		if fault := members[i].fault(); fault != "" {
			return errors.New(members[i].name + " " + fault)
		}
	}
	return nil
}

func (m *member) fault() string {
	has := func(r rule) bool { return m.rules&r != 0 }
	switch v := m.value; {
	case v == "" && has(required):
		return "is missing"
	case v == "":
	case has(token) && len(v) > MaxTokenBytes:
		return "has 64 KiB or more"
	case has(token) && !isVisibleASCII(v):
		return "holds characters that no token has (they are visible ASCII)"
	case has(userCode) && clean(v, maxUserCode, nil) != v:
		return "is not a short printable text"
	case has(bearer) && !strings.EqualFold(v, "Bearer"):
		return "is not Bearer"
	case has(positive) && integer(json.Number(v)) <= 0:
		return "is not positive"
	case has(page):
		if _, err := parseURL(v); err != nil {
			return err.Error()
		}
	}
	return ""
}

// usablePage returns value where it is fit for a browser, otherwise "". It is
// for members that a sign-in can do without.
func usablePage(value string) string {
	if check([]member{{value: value, rules: page}}) != nil {
		return ""
	}
	return value
}

var errNilInput = errors.New("the input is nil")

// seconds returns n seconds, at most limit; 0 where n is absent or negative.
func seconds(n json.Number, limit time.Duration) time.Duration {
	return time.Duration(min(max(integer(n), 0), int64(limit/time.Second))) * time.Second
}

// epoch returns the time n seconds after 1970, between the years 1970 and
// 9999, which every encoding of a time can write. It is the zero time where n
// is absent or 0.
func epoch(n json.Number) time.Time {
	const year10000 = 253402300800
	i := integer(n)
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(min(max(i, 0), year10000-1), 0).UTC()
}

// integer returns n without its fraction, 0 where n is absent. What an int64
// can't hold becomes the least int64, or 1<<62.
func integer(n json.Number) int64 {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		return i
	}
	f, _ := strconv.ParseFloat(string(n), 64) // infinite where it is out of range
	return int64(min(max(f, math.MinInt64), 1<<62))
}
