package idctest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"iter"
	"slices"
	"sync"
	"time"
)

// Bounds of what a Server remembers. When a table is full its oldest row goes.
const (
	maxClients    = 10_000
	maxDevices    = 10_000
	maxCodes      = 10_000  // authorization codes
	maxTokens     = 1 << 17 // access tokens; refresh tokens; identity contexts; credentials of roles
	maxKeys       = 10_000  // access keys that were added
	maxAssertions = 1 << 17 // assertions that were presented
	maxLog        = 1024    // requests; roles assumed
	maxBody       = 1 << 20 // bytes of a request's body
)

// state is what a Server remembers. mu guards all of it and is never held
// while something waits.
type state struct {
	mu sync.Mutex

	clients       table[*client]            // by client ID
	devices       table[*device]            // by device code
	userCodes     table[*device]            // by user code
	codes         table[*authorizationCode] // by the code
	accessTokens  table[*accessToken]       // by the token
	refreshTokens table[*refreshToken]
	contexts      table[*identityContext] // by the context
	roleKeys      table[*credential]      // issued here, by access key ID
	addedKeys     table[*credential]      // by AddAccessKey

	autoApprove *int              // polls that answer "pending" before a new device authorization approves itself; nil: none does
	formToken   string            // shows that a decision comes from the page of /authorize; "": none was shown yet
	idTokenKey  *ecdsa.PrivateKey // nil: none was needed yet

	presented  presentedSet           // assertions with an ID
	issuerKeys map[string][]issuerKey // that were fetched, by issuer

	faults   map[Operation][]Fault
	buckets  map[Operation]*bucket
	counters map[Operation]*counter
	reuses   int
	replays  int
	log      ring[Entry]
	assumed  ring[AssumedRole]
}

// client is a registered client.
type client struct {
	id, secret string
	name       string
	scopes     []string
	grantTypes []string // none: all
	redirects  []string
	issuerURL  string
	expires    time.Time
}

// session is one sign-in of a person to one client or application.
type session struct {
	clientID string // or the application's ARN
	scopes   []string
	startURL string
	user     string
	issuer   string // of the JWT that named the user; "" where they signed in here
	expires  time.Time
	over     bool // logged out, revoked, or ended by a reuse
}

type accessToken struct {
	session *session
	scopes  []string // of the session's
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

// ring keeps the last maxLog of what is added to it.
type ring[T any] struct {
	rows   []T
	oldest int
}

func (r *ring[T]) add(v T) {
	if len(r.rows) < maxLog {
		r.rows = append(r.rows, v)
		return
	}
	r.rows[r.oldest] = v
	r.oldest = (r.oldest + 1) % maxLog
}

// all returns a copy, oldest first.
func (r *ring[T]) all() []T { return slices.Concat(r.rows[r.oldest:], r.rows[:r.oldest]) }

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
func randomCode() string         { return base64.RawURLEncoding.EncodeToString(randomBytes(64)) }
func randomContext() string {
	return "AQoJb3JpZ2luX2Vj" + base64.StdEncoding.EncodeToString(randomBytes(480))
}

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

// randomAccessKeyID begins with ASIA for temporary credentials, AKIA for others.
func randomAccessKeyID(prefix string) string {
	return prefix + base32.StdEncoding.EncodeToString(randomBytes(10))
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
