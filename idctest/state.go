package idctest

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"iter"
	"sync"
	"time"
)

// Bounds of what a Server remembers. When a table is full its oldest row goes.
const (
	maxClients = 10_000
	maxDevices = 10_000
	maxTokens  = 1 << 17 // access tokens; refresh tokens; role credentials
	maxLog     = 1024
	maxBody    = 1 << 20 // bytes of a request's body
)

// state is what a Server remembers. mu guards all of it and is never held
// while something waits.
type state struct {
	mu sync.Mutex

	clients       table[*client]      // by client ID
	devices       table[*device]      // by device code
	userCodes     table[*device]      // by user code
	accessTokens  table[*accessToken] // by the token
	refreshTokens table[*refreshToken]
	roleKeys      table[*roleKey] // by access key ID

	autoApprove *int // polls that answer "pending" before a new device authorization approves itself; nil: none does

	faults   map[Operation][]Fault
	counters map[Operation]*counter
	reuses   int
	log      []Entry
	logNext  int // where the oldest entry is, once the log is full
}

// client is a registered client.
type client struct {
	id, secret string
	name       string
	scopes     []string
	grantTypes []string // none: all
	expires    time.Time
}

// session is one sign-in of a person to one client.
type session struct {
	client   *client
	startURL string
	user     string
	expires  time.Time
	over     bool // logged out, revoked, or ended by a reuse
}

type accessToken struct {
	session *session
	expires time.Time
	revoked bool
}

type refreshToken struct {
	session *session
	spent   bool
}

func (s *session) live(now time.Time) bool { return !s.over && now.Before(s.expires) }

func (t *accessToken) live(now time.Time) bool {
	return t != nil && !t.revoked && t.session.live(now) && now.Before(t.expires)
}

func (st *state) counter(op Operation) *counter {
	c := st.counters[op]
	if c == nil {
		if st.counters == nil {
			st.counters = make(map[Operation]*counter)
		}
		c = new(counter)
		st.counters[op] = c
	}
	return c
}

func (st *state) logEntry(e Entry) {
	if len(st.log) < maxLog {
		st.log = append(st.log, e)
		return
	}
	st.log[st.logNext] = e
	st.logNext = (st.logNext + 1) % maxLog
}

// table is a map that forgets its oldest row when it is full. Its zero value
// is empty and ready. A key is put once.
type table[V any] struct {
	rows   map[string]V
	keys   []string // in a ring, once full
	oldest int
}

func (t *table[V]) get(key string) V { return t.rows[key] }

func (t *table[V]) put(key string, v V, limit int) {
	if t.rows == nil {
		t.rows = make(map[string]V)
	}
	if len(t.keys) < limit {
		t.keys = append(t.keys, key)
	} else {
		delete(t.rows, t.keys[t.oldest])
		t.keys[t.oldest] = key
		t.oldest = (t.oldest + 1) % limit
	}
	t.rows[key] = v
}

// all yields the rows, oldest first.
func (t *table[V]) all() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for i := range t.keys {
			key := t.keys[(t.oldest+i)%len(t.keys)]
			if !yield(key, t.rows[key]) {
				return
			}
		}
	}
}

// The service's identifiers and tokens are opaque. These have the look of the
// real ones, characters that need care in URLs, JSON and headers included.

func randomClientID() string     { return base64.RawURLEncoding.EncodeToString(randomBytes(16)) }
func randomClientSecret() string { return "ey" + base64.RawURLEncoding.EncodeToString(randomBytes(48)) }
func randomDeviceCode() string   { return base64.RawURLEncoding.EncodeToString(randomBytes(48)) }
func randomAccessToken() string  { return "aoa" + randomTokenTail() }
func randomRefreshToken() string { return "aor" + randomTokenTail() }

func randomTokenTail() string {
	b := randomBytes(96)
	return base64.RawURLEncoding.EncodeToString(b[:45]) + ":" + base64.RawStdEncoding.EncodeToString(b[45:])
}

// randomUserCode has the form and alphabet that RFC 8628 section 6.1 suggests: no
// vowels, so no words; 34 bits.
func randomUserCode() string {
	const alphabet = "BCDFGHJKLMNPQRSTVWXZ"
	b := make([]byte, 0, 9)
	for len(b) < cap(b) {
		if len(b) == 4 {
			b = append(b, '-')
		}
		if r := randomBytes(1)[0]; r < 240 { // 240 = 12 × 20: each letter is as likely
			b = append(b, alphabet[r%20])
		}
	}
	return string(b)
}

func randomAccessKeyID() string {
	return "ASIA" + base32.StdEncoding.EncodeToString(randomBytes(10))
}
func randomSecretKey() string { return base64.StdEncoding.EncodeToString(randomBytes(30)) }
func randomSessionToken() string {
	return "IQoJb3JpZ2luX2Vj" + base64.StdEncoding.EncodeToString(randomBytes(240))
}

func randomRequestID() string {
	b := randomBytes(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // RFC 9562 version 4
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
