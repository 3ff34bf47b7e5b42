package main_test

import (
	"bytes"
	"net/http"
	"regexp"
	"sync"
)

// A recorder is a fake AWS that remembers the secrets it has given away, and
// can hold requests up.
type recorder struct {
	handler http.Handler

	mu    sync.Mutex // guards the rest
	given []string
	gate  *gate
}

// A gate holds up the requests that reach it.
type gate struct {
	reached chan struct{} // one for each
	open    chan struct{} // close it to let them go on
}

// hold holds requests up from now on.
func (rec *recorder) hold() *gate {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.gate = &gate{reached: make(chan struct{}, 100), open: make(chan struct{})}
	return rec.gate
}

var secret = regexp.MustCompile(`"(?:accessToken|refreshToken|idToken|identityContext)":"([^"]+)"|<(?:SecretAccessKey|SessionToken)>([^<]+)<`)

// ServeHTTP implements http.Handler.
func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec.mu.Lock()
	gate := rec.gate
	rec.mu.Unlock()
	if gate != nil {
		gate.reached <- struct{}{}
		<-gate.open
	}
	tee := &tee{ResponseWriter: w}
	defer func() { // also where the handler breaks the connection
		for _, found := range secret.FindAllStringSubmatch(tee.body.String(), -1) {
			rec.add(found[1] + found[2])
		}
	}()
	rec.handler.ServeHTTP(tee, r)
}

func (rec *recorder) add(secret string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.given = append(rec.given, secret)
}

func (rec *recorder) secrets() []string {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.given[:len(rec.given):len(rec.given)]
}

// A tee keeps what is answered.
type tee struct {
	http.ResponseWriter
	body bytes.Buffer
}

// Write implements http.ResponseWriter.
func (t *tee) Write(p []byte) (int, error) {
	t.body.Write(p)
	return t.ResponseWriter.Write(p)
}
