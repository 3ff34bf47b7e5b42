// Package loopback is the redirection endpoint of a program on this machine: a
// listener on a loopback address that waits for the one callback of an
// authorization request (RFC 8252 section 7.3) and shows a page for it.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Path is the one that the service allows for redirect URIs on loopback.
const Path = "/oauth/callback"

// ErrPortTaken means that the port that was asked for can't be had.
var ErrPortTaken = errors.New("loopback: the port can't be listened on")

// ErrUnavailable means that there is no loopback address to listen on.
var ErrUnavailable = errors.New("loopback: no loopback address can be listened on")

// Bounds of what one connection, and all of them, may take.
const (
	maxHeaderBytes = 32 << 10 // browsers send the cookies of every port of the address
	readTimeout    = 2 * time.Second
	writeTimeout   = 5 * time.Second
	maxConnections = 32
	closeTimeout   = time.Second // for the page to reach the browser
)

// Listen listens on 127.0.0.1, or on ::1 where that address can't be had, and
// nowhere else. Port 0 means any free one. The error wraps ErrPortTaken or
// ErrUnavailable.
func Listen(port int) (net.Listener, error) {
	var causes []error
	for _, address := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
		if port != 0 && available(address) {
			return nil, fmt.Errorf("%w: %w", ErrPortTaken, err)
		}
		causes = append(causes, err)
	}
	return nil, fmt.Errorf("%w: %w; %w", ErrUnavailable, causes[0], causes[1])
}

// available reports whether some port of an address can be listened on.
func available(address string) bool {
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// A Receiver serves the callback. Its methods are safe for concurrent use.
type Receiver struct {
	host     string // as requests must name it
	want     Expected
	answers  chan Answer   // holds the one answer
	used     chan struct{} // holds a value until state was used
	server   *http.Server
	finished chan struct{} // closed when the server's loop has ended
}

// Receive starts to serve l, whose address must be a TCP address on loopback,
// until Close.
func Receive(l net.Listener, want Expected) *Receiver {
	r := &Receiver{
		host: host(l.Addr()), want: want,
		answers: make(chan Answer, 1), used: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	r.used <- struct{}{}
	r.server = &http.Server{
		Handler:                      r,
		MaxHeaderBytes:               maxHeaderBytes,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0),
	}
	r.server.SetKeepAlivesEnabled(false)
	go func() {
		defer close(r.finished)
		r.server.Serve(limit(l, maxConnections)) // ends with Close
	}()
	return r
}

// host is an address as a browser writes it: without the port that http has
// anyway.
func host(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil || ap.Port() != 80 {
		return a.String()
	}
	return strings.TrimSuffix(a.String(), ":80")
}

// RedirectURI returns where the browser must be sent.
func (r *Receiver) RedirectURI() string { return "http://" + r.host + Path }

// Wait waits for the callback. If ctx ends first, the error is its cause.
func (r *Receiver) Wait(ctx context.Context) (Answer, error) {
	select {
	case a := <-r.answers:
		return a, nil
	case <-ctx.Done():
		return Answer{}, context.Cause(ctx)
	}
}

// Close stops listening at once, gives a page that is on its way a second, and
// returns when no connection and no goroutine is left.
func (r *Receiver) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if r.server.Shutdown(ctx) != nil {
		r.server.Close()
	}
	<-r.finished
}

// ServeHTTP answers a browser. Whatever is not the callback that Receive was
// told to expect changes nothing.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.Host != r.host:
		write(w, http.StatusBadRequest, forged)
		return
	case req.URL.Path != Path || req.URL.EscapedPath() != Path:
		write(w, http.StatusNotFound, notHere)
		return
	case req.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		write(w, http.StatusMethodNotAllowed, notHere)
		return
	}
	answer, ok := r.want.check(req.URL.RawQuery)
	if !ok {
		write(w, http.StatusBadRequest, forged)
		return
	}
	select {
	case <-r.used:
	default:
		write(w, http.StatusBadRequest, repeated)
		return
	}
	switch {
	case answer.Err == nil:
		write(w, http.StatusOK, approved)
	case answer.denied():
		write(w, http.StatusOK, denied)
	default:
		write(w, http.StatusBadRequest, failed)
	}
	http.NewResponseController(w).Flush() // before the program goes on, and perhaps ends
	r.answers <- answer
}
