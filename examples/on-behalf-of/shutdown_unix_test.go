//go:build unix

package main_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) { testShutdown(t, signal) })
	}
}

func testShutdown(t *testing.T, signal os.Signal) {
	w := newWorld(t)
	s := w.start()
	gate := w.aws.hold()
	const users = 5
	var wg sync.WaitGroup
	arns := make([]string, users)
	for i := range arns {
		jwt := w.issuer.jwt(fmt.Sprint("user-", i), nil)
		wg.Go(func() { arns[i] = s.whoami(jwt) })
	}
	for range users {
		<-gate.reached
	}
	s.signal(signal)
	s.awaitRefusal()
	close(gate.open)
	wg.Wait()
	s.wait()
	for _, role := range w.idc.AssumedRoles() {
		if !slices.Contains(arns, role.ARN) {
			t.Errorf("nobody was told of %s", role.ARN)
		}
	}
	if n := w.exchanges(); n != users {
		t.Errorf("%d exchanges of %d users", n, users)
	}
}

// What was begun for a user who left is not cut off: the JWT may work once.
func TestShutdownWaitsForExchanges(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	gate := w.aws.hold()
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/whoami", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.issuer.jwt("jane", nil))
	left := make(chan error)
	go func() {
		_, err := s.client.Do(r)
		left <- err
	}()
	<-gate.reached
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
	s.signal(syscall.SIGTERM)
	s.awaitRefusal()
	close(gate.open)
	s.wait()
	for _, rung := range []string{"exchange", "credentials"} {
		if !strings.Contains(s.stderr.String(), `"rung":"`+rung+`"`) {
			t.Errorf("the log has no %s: %s", rung, &s.stderr)
		}
	}
}

// awaitRefusal waits until the program accepts no connection.
func (s *service) awaitRefusal() {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			return
		}
		c.Close()
	}
	s.t.Error("the program accepts connections after the signal")
}
