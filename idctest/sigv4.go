package idctest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// signature is a request's AWS Signature Version 4, from its Authorization
// header or, where it was presigned, from its query.
type signature struct {
	accessKeyID  string
	scope        string   // date/region/service/aws4_request
	headers      []string // that are signed, in lower case
	value        string   // in hexadecimal
	time         string
	sessionToken string
	presigned    bool
}

const sigV4 = "AWS4-HMAC-SHA256"

// readSignature returns false where r is not signed.
func readSignature(r *http.Request) (*signature, bool) {
	var credential, headers string
	sig := new(signature)
	if fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), sigV4+" "); ok {
		for field := range strings.SplitSeq(fields, ",") {
			switch name, value, _ := strings.Cut(strings.TrimSpace(field), "="); name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				headers = value
			case "Signature":
				sig.value = value
			}
		}
		sig.time = r.Header.Get("X-Amz-Date")
		sig.sessionToken = r.Header.Get("X-Amz-Security-Token")
	} else if query := r.URL.Query(); query.Get("X-Amz-Algorithm") == sigV4 {
		credential, headers = query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders")
		sig.value, sig.time = query.Get("X-Amz-Signature"), query.Get("X-Amz-Date")
		sig.sessionToken = query.Get("X-Amz-Security-Token")
		sig.presigned = true
	} else {
		return nil, false
	}
	sig.accessKeyID, sig.scope, _ = strings.Cut(credential, "/")
	sig.headers = strings.Split(headers, ";")
	return sig, true
}

func (sig *signature) complete() bool {
	return sig.accessKeyID != "" && strings.Count(sig.scope, "/") == 3 && sig.value != "" &&
		slices.Contains(sig.headers, "host")
}

// matches reports whether the holder of secret signed r.
func (sig *signature) matches(r *http.Request, body []byte, secret string) bool {
	hash := sha256.Sum256([]byte(sig.canonicalRequest(r, body)))
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(sig.scope, "/") {
		key = mac(key, part)
	}
	want := mac(key, strings.Join([]string{sigV4, sig.time, sig.scope, hex.EncodeToString(hash[:])}, "\n"))
	got, err := hex.DecodeString(sig.value)
	return err == nil && hmac.Equal(got, want)
}

// canonicalRequest is what the signature is over: see "Create a signed AWS API
// request" in the IAM User Guide.
func (sig *signature) canonicalRequest(r *http.Request, body []byte) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + r.URL.EscapedPath() + "\n" + sig.canonicalQuery(r.URL.Query()) + "\n")
	for _, name := range sig.headers {
		b.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	hash := sha256.Sum256(body)
	b.WriteString("\n" + strings.Join(sig.headers, ";") + "\n" + hex.EncodeToString(hash[:]))
	return b.String()
}

func (sig *signature) canonicalQuery(query url.Values) string {
	if sig.presigned {
		query.Del("X-Amz-Signature")
	}
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}

func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
