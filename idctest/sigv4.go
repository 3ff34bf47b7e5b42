package idctest

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Names of the services in signatures.
const (
	signingOIDC = "sso-oauth"
	signingSTS  = "sts"
)

// caller is who signed a request.
type caller struct {
	*credential
	region string // that it was signed for
}

// authenticate verifies the signature of a request to a service (AWS Signature
// Version 4), in the Authorization header or, with STS, in the query. It must
// be over the request as it came, by a credential that the server knows, for
// this service and host, and at this time.
func (s *Server) authenticate(r *request, service string) (caller, *authError) {
	sig, err := readSignature(r.http)
	if err != nil {
		return caller{}, err
	}
	if sig.presigned && service != signingSTS {
		return caller{}, &authError{authIncomplete, "Authorization header is required"}
	}
	now := s.now()
	c := s.credential(sig.accessKeyID)
	switch {
	case c == nil || c.sessionToken != sig.sessionToken:
		return caller{}, &authError{authUnknown, "The security token included in the request is invalid."}
	case !c.expires.IsZero() && !now.Before(c.expires):
		return caller{}, &authError{authExpired, "The security token included in the request is expired"}
	}
	problem := sig.checkTime(now)
	if problem == "" {
		problem = sig.checkScope(r.http.Host, service)
	}
	if problem == "" {
		problem = sig.check(r.http, r.body, c.secret)
	}
	if problem != "" {
		return caller{}, &authError{authMismatch, problem}
	}
	return caller{c, sig.region}, nil
}

// authError is why a request was not authenticated.
type authError struct {
	kind    authKind
	message string
}

type authKind int

const (
	authMissing authKind = iota
	authIncomplete
	authUnknown
	authExpired
	authMismatch
)

// signature is a request's AWS Signature Version 4.
type signature struct {
	accessKeyID                       string
	date, region, service, terminator string   // of the credential scope
	headers                           []string // that are signed
	value                             string   // in hexadecimal
	time                              string   // such as "20261123T050000Z"
	validity                          time.Duration
	sessionToken                      string
	presigned                         bool
}

const sigV4 = "AWS4-HMAC-SHA256"

func readSignature(r *http.Request) (*signature, *authError) {
	sig := new(signature)
	var credential string
	var problem *authError
	authorization := r.Header.Values("Authorization")
	switch query := r.URL.Query(); {
	case len(authorization) == 1 && strings.HasPrefix(authorization[0], sigV4+" "):
		credential, problem = sig.readHeader(r.Header, authorization[0][len(sigV4)+1:])
	case len(authorization) == 0 && query.Get("X-Amz-Algorithm") == sigV4:
		credential = sig.readQuery(query)
	default:
		return nil, &authError{authMissing, "Request is missing Authentication Token"}
	}
	if problem != nil {
		return nil, problem
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 || slices.Contains(scope, "") || sig.value == "" {
		return nil, &authError{authIncomplete, "Credential must have the form 'access key ID/date/region/service/aws4_request'."}
	}
	sig.accessKeyID, sig.date, sig.region, sig.service, sig.terminator = scope[0], scope[1], scope[2], scope[3], scope[4]
	if name := sig.unsigned(r); name != "" {
		return nil, &authError{authIncomplete, "'" + name + "' must be a 'SignedHeader' in the AWS Authorization."}
	}
	return sig, nil
}

// readHeader reads a signature from the Authorization header, without its
// algorithm, and the headers beside it.
func (sig *signature) readHeader(h http.Header, authorization string) (credential string, problem *authError) {
	fields, ok := authorizationFields(authorization)
	if !ok {
		return "", &authError{authIncomplete, "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters, each once."}
	}
	if len(h.Values("X-Amz-Date")) != 1 || len(h.Values("X-Amz-Security-Token")) > 1 {
		return "", &authError{authIncomplete, "Authorization header requires existence of one 'X-Amz-Date' header, and of one 'X-Amz-Security-Token' at most."}
	}
	sig.headers, sig.value = strings.Split(fields["SignedHeaders"], ";"), fields["Signature"]
	sig.time, sig.sessionToken = h.Get("X-Amz-Date"), h.Get("X-Amz-Security-Token")
	return fields["Credential"], nil
}

// readQuery reads the signature of a presigned request. It is valid for 15
// minutes where it does not say how long.
func (sig *signature) readQuery(query url.Values) (credential string) {
	sig.presigned, sig.validity = true, 15*time.Minute
	if n, err := strconv.Atoi(query.Get("X-Amz-Expires")); err == nil {
		sig.validity = time.Duration(min(max(n, 0), 604_800)) * time.Second
	}
	sig.headers, sig.value = strings.Split(query.Get("X-Amz-SignedHeaders"), ";"), query.Get("X-Amz-Signature")
	sig.time, sig.sessionToken = query.Get("X-Amz-Date"), query.Get("X-Amz-Security-Token")
	return query.Get("X-Amz-Credential")
}

// authorizationFields reads what follows the algorithm. It takes one space at
// most after a comma.
func authorizationFields(s string) (fields map[string]string, ok bool) {
	fields = make(map[string]string, 3)
	for field := range strings.SplitSeq(s, ",") {
		if len(fields) > 0 {
			field = strings.TrimPrefix(field, " ")
		}
		name, value, found := strings.Cut(field, "=")
		_, twice := fields[name]
		if known := name == "Credential" || name == "SignedHeaders" || name == "Signature"; !known || !found || twice {
			return nil, false
		}
		fields[name] = value
	}
	return fields, len(fields) == 3
}

// unsigned returns a header that must be signed and is not.
func (sig *signature) unsigned(r *http.Request) string {
	if !slices.Contains(sig.headers, "host") {
		return "host"
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		must := strings.HasPrefix(name, "x-amz-") || name == "content-type"
		if must && !sig.presigned && !slices.Contains(sig.headers, name) {
			return name
		}
	}
	return ""
}

const (
	sigTimeFormat = "20060102T150405Z"
	sigSkew       = 5 * time.Minute // either way
)

// checkTime returns what is wrong with the signature's time.
func (sig *signature) checkTime(now time.Time) string {
	t, err := time.Parse(sigTimeFormat, sig.time)
	if err != nil {
		return "Date must be in ISO-8601 'basic format'."
	}
	now = now.Truncate(time.Second) // as t is
	oldest, newest := now.Add(-sigSkew), now.Add(sigSkew)
	if sig.presigned {
		oldest = now.Add(-sig.validity)
	}
	at := func(t time.Time) string { return t.UTC().Format(sigTimeFormat) }
	switch {
	case t.Before(oldest):
		return "Signature expired: " + sig.time + " is now earlier than " + at(oldest) + " (" + at(now) + ")."
	case t.After(newest):
		return "Signature not yet current: " + sig.time + " is still later than " + at(newest) + " (" + at(now) + ")."
	case sig.date != t.Format("20060102"):
		return "Date in Credential scope does not match the date of the request."
	}
	return ""
}

// checkScope returns what is wrong with the credential scope. A host that names
// a region is signed for no other.
func (sig *signature) checkScope(host, service string) string {
	region := hostRegion(host)
	switch {
	case region != "" && region != sig.region:
		return "Credential should be scoped to a valid region."
	case sig.service != service:
		return "Credential should be scoped to correct service: '" + service + "'."
	case sig.terminator != "aws4_request":
		return "Credential should be scoped with a valid terminator: 'aws4_request'."
	}
	return ""
}

// hostRegion returns the region that a host of SSO OIDC or STS names, "" for
// any other host.
func hostRegion(host string) string {
	labels := strings.Split(host, ".")
	switch labels[0] {
	case "oidc", "oidc-fips", "sts", "sts-fips":
		if len(labels) > 2 && isRegion(labels[1]) {
			return labels[1]
		}
		if host == "sts.amazonaws.com" {
			return "us-east-1" // the global endpoint
		}
	}
	return ""
}

// isRegion reports whether s looks like a region, such as "us-gov-west-1".
func isRegion(s string) bool {
	i := strings.LastIndexByte(s, '-')
	return i > 2 && s[i+1:] != "" && strings.Trim(s[i+1:], "0123456789") == "" &&
		strings.Contains(s[:i], "-") && strings.Trim(s[:i], "abcdefghijklmnopqrstuvwxyz-") == ""
}

// check returns "" where the holder of secret signed r as it is.
func (sig *signature) check(r *http.Request, body []byte, secret string) string {
	const mismatch = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."
	bodyHash := hexHash(body)
	for _, said := range r.Header.Values("X-Amz-Content-Sha256") {
		if said != bodyHash {
			return mismatch
		}
	}
	canonical, ok := sig.canonicalRequest(r, bodyHash)
	if !ok {
		return mismatch
	}
	key := []byte("AWS4" + secret)
	for _, part := range []string{sig.date, sig.region, sig.service, sig.terminator} {
		key = mac(key, part)
	}
	scope := strings.Join([]string{sig.date, sig.region, sig.service, sig.terminator}, "/")
	want := mac(key, strings.Join([]string{sigV4, sig.time, scope, hexHash([]byte(canonical))}, "\n"))
	if !hmac.Equal([]byte(sig.value), []byte(hex.EncodeToString(want))) {
		return mismatch
	}
	return ""
}

// canonicalRequest is what the signature is over: see "Create a signed AWS API
// request" in the IAM User Guide. It returns false where nobody can have signed
// that.
func (sig *signature) canonicalRequest(r *http.Request, bodyHash string) (string, bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || !slices.IsSorted(sig.headers) {
		return "", false
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + escapePath(sentPath(r)) + "\n" + sig.canonicalQuery(query) + "\n")
	for i, name := range sig.headers {
		value, ok := headerValue(r, name)
		if !ok || i > 0 && sig.headers[i-1] == name || name != strings.ToLower(name) {
			return "", false
		}
		b.WriteString(name + ":" + value + "\n")
	}
	b.WriteString("\n" + strings.Join(sig.headers, ";") + "\n" + bodyHash)
	return b.String(), true
}

// sentPath is the path as the client sent it, escaped. A handler around the
// server may have taken a prefix from what it is now.
func sentPath(r *http.Request) string {
	path := r.URL.EscapedPath()
	if sent, err := url.ParseRequestURI(r.RequestURI); err == nil {
		path = sent.EscapedPath()
	}
	return cmp.Or(path, "/")
}

// escapePath escapes a path that is escaped already: signatures of all services
// but S3 are over that.
func escapePath(path string) string {
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (sig *signature) canonicalQuery(query url.Values) string {
	if sig.presigned {
		query.Del("X-Amz-Signature")
	}
	for _, values := range query {
		slices.Sort(values)
	}
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}

// headerValue returns a header with its spaces, and nothing else, made
// canonical; false where there is none.
func headerValue(r *http.Request, name string) (string, bool) {
	switch name {
	case "host":
		return r.Host, true
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10), r.ContentLength >= 0
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		words := strings.FieldsFunc(v, func(r rune) bool { return r == ' ' })
		values[i] = strings.Join(words, " ")
	}
	return strings.Join(values, ","), len(values) > 0
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexHash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
