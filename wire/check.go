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

var errNilInput = errors.New("the input is nil")

// The checks below name the member and never show its value. All but
// checkPresent and checkLifetime let an absent member pass.

func checkPresent(member, value string) error {
	if value == "" {
		return errors.New(member + " is missing")
	}
	return nil
}

// checkToken holds tokens, codes and client secrets to what can be put in a
// header and in a file. The service issues nothing else.
func checkToken(member, value string) error {
	if len(value) > MaxTokenBytes {
		return errors.New(member + " is larger than 64 KiB")
	}
	if !isVisibleASCII(value) {
		return errors.New(member + " holds characters that no token has (they are visible ASCII)")
	}
	return nil
}

// checkUserCode holds a user code to what can be shown on one line of a
// terminal.
func checkUserCode(member, value string) error {
	if len(value) > maxUserCode || clean(value, maxUserCode, nil) != value {
		return errors.New(member + " is not a short printable text")
	}
	return nil
}

// checkPage holds the URLs that a person's browser will open to the rule of
// CheckURL.
func checkPage(member, value string) error {
	if value == "" {
		return nil
	}
	if _, err := parseURL(value); err != nil {
		return errors.New(member + " " + err.Error())
	}
	return nil
}

// usablePage returns value where checkPage lets it pass, otherwise "". It is for
// members that a sign-in can do without.
func usablePage(value string) string {
	if checkPage("", value) != nil {
		return ""
	}
	return value
}

// checkBearer refuses token types that a caller would not know how to present
// (RFC 6749 section 7.1).
func checkBearer(member, value string) error {
	if value != "" && !strings.EqualFold(value, "Bearer") {
		return errors.New(member + " is not Bearer")
	}
	return nil
}

func checkLifetime(member string, n json.Number) error {
	if n == "" {
		return errors.New(member + " is missing")
	}
	if integer(n) <= 0 {
		return errors.New(member + " is not positive")
	}
	return nil
}

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

// integer returns n without its fraction, clamped to an int64; 0 where n is
// absent.
func integer(n json.Number) int64 {
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return i // clamped by ParseInt
	}
	f, _ := strconv.ParseFloat(string(n), 64) // infinite where it is too large
	switch {
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}
