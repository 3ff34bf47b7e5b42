package awsoidc

import (
	"encoding/json"
	"time"
)

// lifetimeOf returns for how long after now a record is of use, as far as it
// tells: until everything in it has expired. A record with a refresh token, or of
// who was forgotten, does not tell.
func lifetimeOf(record []byte, now time.Time) (d time.Duration, ok bool) {
	f, err := parseFields(record)
	if err != nil || f.string("refreshToken") != "" || f.string("forgotten") != "" {
		return 0, false
	}
	last := f.time("expiresAt") // of a session, a registration, an identity
	if role, err := parseFields(f["Credentials"]); err == nil {
		last = role.time("Expiration")
	}
	var spent []spentMark
	_ = json.Unmarshal(f["spent"], &spent) // none
	for _, m := range spent {
		if m.Until.After(last) {
			last = m.Until
		}
	}
	if last.IsZero() {
		return 0, false
	}
	return last.Add(maxSkew).Sub(now), true
}
