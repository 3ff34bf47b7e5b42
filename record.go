package awsoidc

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"strings"
	"time"
	"unicode/utf16"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

// A session is what the store keeps of a sign-in, in the AWS CLI's format
// (with issuedAt, idToken and scope added). It is immutable.
type session struct {
	startURL, region      string
	accessToken           wire.Secret
	refreshToken, idToken wire.Secret // "" where the service gave none
	scope                 string      // separated by spaces
	issuedAt, expiresAt   time.Time   // issuedAt is zero in the files of other tools
	clientID              string
	clientSecret          wire.Secret
	registrationExpiresAt time.Time     // zero where unknown
	raw                   []byte        // as stored
	token                 *oauth2.Token // what Token copies; its Expiry is set on the copy
	authorization         []string      // the value of the Authorization header; shared, and full
	fields                fields        // of raw, other tools' included
}

// A registration is what the store keeps of a registered client, in the AWS
// CLI's format.
type registration struct {
	clientID     string
	clientSecret wire.Secret
	expiresAt    time.Time
	scopes       []string
	grantTypes   []string // none: registered for the device grant
}

// timeFormat is what the AWS CLI writes.
const timeFormat = "2006-01-02T15:04:05Z"

// assumedLifetime is that of a token in whose file no one wrote when it was
// issued.
const assumedLifetime = time.Hour

// fields is a JSON object whose unknown members are kept.
type fields map[string]json.RawMessage

func parseFields(raw []byte) (fields, error) {
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, errors.New("is not a JSON object")
	}
	return f, nil
}

func (f fields) string(name string) string {
	var s string
	if json.Unmarshal(f[name], &s) != nil {
		return ""
	}
	return s
}

func (f fields) secret(name string) wire.Secret {
	s := f.string(name)
	if !isToken(s) {
		return ""
	}
	return wire.Secret(s)
}

func (f fields) strings(name string) []string {
	var s []string
	if json.Unmarshal(f[name], &s) != nil {
		return nil
	}
	return s
}

// time reads what any tool of this field writes: RFC 3339 with or without
// fractions of a second, an offset, or "UTC" for the zone.
func (f fields) time(name string) time.Time {
	s := f.string(name)
	if base, ok := strings.CutSuffix(s, "UTC"); ok {
		s = base + "Z"
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 2000 || t.Year() > 2200 {
		return time.Time{}
	}
	return t.UTC()
}

// set writes a member, or removes it where value is zero.
func (f fields) set(name string, value any) {
	switch v := value.(type) {
	case wire.Secret:
		value = string(v)
	case time.Time:
		value = ""
		if !v.IsZero() {
			value = v.UTC().Format(timeFormat)
		}
	}
	if value == "" {
		delete(f, name)
		return
	}
	f[name], _ = json.Marshal(value) // a string or a list of them: cannot fail
}

func (f fields) marshal() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // keep other tools' members as they are
	enc.Encode(f)            // each member is valid JSON: cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// isToken reports whether s may be put in a header: visible ASCII, bounded.
func isToken(s string) bool {
	if s == "" || len(s) > wire.MaxTokenBytes {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// parseSession reads a stored session. The error is for the person who has to
// mend the record.
func parseSession(raw []byte) (*session, error) {
	f, err := parseFields(raw)
	if err != nil {
		return nil, err
	}
	s := &session{
		startURL:              f.string("startUrl"),
		region:                f.string("region"),
		accessToken:           f.secret("accessToken"),
		refreshToken:          f.secret("refreshToken"),
		idToken:               f.secret("idToken"),
		scope:                 f.string("scope"),
		issuedAt:              f.time("issuedAt"),
		expiresAt:             f.time("expiresAt"),
		clientID:              f.string("clientId"),
		clientSecret:          f.secret("clientSecret"),
		registrationExpiresAt: f.time("registrationExpiresAt"),
		raw:                   raw,
		fields:                f,
	}
	if s.accessToken == "" {
		return nil, errors.New("has no usable accessToken")
	}
	if s.expiresAt.IsZero() {
		return nil, errors.New("has no usable expiresAt")
	}
	s.prepare()
	return s, nil
}

// prepare sets s.token and s.authorization.
func (s *session) prepare() {
	extra := map[string]any{"expires_at": s.expiresAt}
	if s.idToken != "" {
		extra["id_token"] = string(s.idToken)
	}
	if s.scope != "" {
		extra["scope"] = s.scope
	}
	s.authorization = []string{"Bearer " + string(s.accessToken)}
	s.token = (&oauth2.Token{AccessToken: string(s.accessToken), TokenType: "Bearer"}).WithExtra(extra)
}

// encode sets s.raw to what is to be stored under key, which is written too
// unless it is empty. The unknown members of old, which may be nil, are kept.
func (s *session) encode(old fields, key string) {
	f := maps.Clone(old)
	if f == nil {
		f = fields{}
	}
	f.set("startUrl", s.startURL)
	f.set("region", s.region)
	f.set("accessToken", s.accessToken)
	f.set("expiresAt", s.expiresAt)
	f.set("issuedAt", s.issuedAt)
	f.set("refreshToken", s.refreshToken)
	f.set("idToken", s.idToken)
	f.set("scope", s.scope)
	f.set("clientId", s.clientID)
	f.set("clientSecret", s.clientSecret)
	f.set("registrationExpiresAt", s.registrationExpiresAt)
	if key != "" {
		f.set("key", key)
	}
	s.fields, s.raw = f, f.marshal()
	if old != nil && len(s.raw) > cache.MaxRecordBytes {
		s.encode(nil, key) // a store takes no more: rather without the others' members than not at all
		return
	}
	s.prepare()
}

// refreshable reports whether s has what a refresh needs.
func (s *session) refreshable(now time.Time) bool {
	return s.refreshToken != "" && s.clientID != "" && s.clientSecret != "" &&
		(s.registrationExpiresAt.IsZero() || now.Before(s.registrationExpiresAt))
}

// sameGrant reports whether a refresh of s would send what one of t sends.
func (s *session) sameGrant(t *session) bool {
	return s.refreshToken == t.refreshToken && s.clientID == t.clientID && s.clientSecret == t.clientSecret
}

// newerThan reports whether s was issued after t, as far as the records tell.
func (s *session) newerThan(t *session) bool {
	if s.issuedAt.IsZero() || t.issuedAt.IsZero() {
		return s.expiresAt.After(t.expiresAt)
	}
	return s.issuedAt.After(t.issuedAt)
}

// lifetime returns how long the access token was issued for.
func (s *session) lifetime() time.Duration {
	if s.issuedAt.IsZero() || !s.issuedAt.Before(s.expiresAt) {
		return assumedLifetime
	}
	return s.expiresAt.Sub(s.issuedAt)
}

// lead returns how long before the end of its lifetime a value is replaced: a
// third of it and at most 20 minutes, and up to a tenth of that earlier, as
// seed decides, so that values issued together do not come due together.
// Processes that share a value agree on the time.
func lead(lifetime time.Duration, seed wire.Secret) time.Duration {
	d := min(lifetime/3, 20*time.Minute)
	h := fnv.New32a()
	h.Write([]byte(seed))
	return d + d/10*time.Duration(h.Sum32()%256)/256
}

func parseRegistration(raw []byte) (*registration, error) {
	f, err := parseFields(raw)
	if err != nil {
		return nil, err
	}
	r := &registration{
		clientID:     f.string("clientId"),
		clientSecret: f.secret("clientSecret"),
		expiresAt:    f.time("expiresAt"),
		scopes:       f.strings("scopes"),
		grantTypes:   f.strings("grantTypes"),
	}
	if r.clientID == "" || r.clientSecret == "" || r.expiresAt.IsZero() {
		return nil, errors.New("has no usable clientId, clientSecret or expiresAt")
	}
	return r, nil
}

func (r *registration) encode() []byte {
	f := fields{}
	f.set("clientId", r.clientID)
	f.set("clientSecret", r.clientSecret)
	f.set("expiresAt", r.expiresAt)
	if len(r.scopes) > 0 {
		f.set("scopes", r.scopes)
	}
	if len(r.grantTypes) > 0 {
		f.set("grantTypes", r.grantTypes)
	}
	return f.marshal()
}

// keys names the records of one configuration in its store.
type keys struct {
	token, registration, codeRegistration, attempt, turn, turnNote string
	// bound is set where a record carries its key: everywhere but in the AWS
	// CLI's folder, where start URL and region must match instead.
	bound bool
}

func (c *Config) keys() keys {
	if s, ok := c.Store.(interface{ AWSCLI() bool }); ok && s.AWSCLI() {
		token := c.SessionName
		if token == "" {
			token = c.StartURL
		}
		registration := cliRegistrationKey(c)
		return keys{token: token, registration: registration, codeRegistration: registration + "\x00awsoidc code", attempt: token + "\x00awsoidc attempt",
			turn: token + "\x00awsoidc sign-in", turnNote: token + "\x00awsoidc sign-in note"}
	}
	config := append([]string{c.Namespace, c.Endpoints.OIDC, c.Region, c.StartURL, c.SessionName}, c.Scopes...)
	return keys{
		token:            hashKey("session", config),
		registration:     hashKey("registration", append(config, c.ClientName)),
		codeRegistration: hashKey("code registration", append(config, c.ClientName)),
		attempt:          hashKey("attempt", config),
		turn:             hashKey("sign-in", config),
		turnNote:         hashKey("sign-in note", config),
		bound:            true,
	}
}

// hashKey hashes its arguments, each behind its length, so that no two lists
// of them give the same key.
func hashKey(kind string, parts []string) string {
	var text []byte
	for _, p := range append([]string{"awsoidc", kind}, parts...) {
		text = append(binary.AppendUvarint(text, uint64(len(p))), p...)
	}
	hash := sha256.Sum256(text)
	return "awsoidc-" + kind + "-" + base64.RawURLEncoding.EncodeToString(hash[:])
}

// cliRegistrationKey returns the text whose SHA-1 names the AWS CLI's
// registration file: Python's json.dumps with sorted keys.
func cliRegistrationKey(c *Config) string {
	scopes := "null"
	if len(c.Scopes) > 0 {
		quoted := make([]string, len(c.Scopes))
		for i, s := range c.Scopes {
			quoted[i] = pythonString(s)
		}
		scopes = "[" + strings.Join(quoted, ", ") + "]"
	}
	name := "null"
	if c.SessionName != "" {
		name = pythonString(c.SessionName)
	}
	return `{"region": ` + pythonString(c.Region) + `, "scopes": ` + scopes + `, "session_name": ` + name +
		`, "startUrl": ` + pythonString(c.StartURL) + `, "tool": "botocore"}`
}

// pythonString quotes s as Python's json module does: ASCII only.
func pythonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		default:
			for _, u := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, u)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}

// isSessionRecord reports whether raw is a session, of whatever configuration.
func isSessionRecord(raw []byte) bool {
	_, err := parseSession(raw)
	return err == nil
}
