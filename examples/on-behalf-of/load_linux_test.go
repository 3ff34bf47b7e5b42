package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

// TestLoad has wrk send requests of many users for a while, or for as long as
// AWSOIDC_TEST_LOAD says ("60s"), while tokens and credentials last seconds and
// AWS has troubles.
//
// A user whose JWT has no ID may be told to come again (502, 503), but never to
// sign in again (401): whatever becomes of an exchange, the JWT is good for
// another. A JWT with an ID is good for one; where a refresh is carried out and
// its answer lost, the user's session is over, and they must sign in again.
func TestLoad(t *testing.T) {
	needWrk(t)
	users, length, lifetime, often := 40, 4*time.Second, 3*time.Second, 5
	if text := os.Getenv("AWSOIDC_TEST_LOAD"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil || length < time.Second {
			t.Fatalf("AWSOIDC_TEST_LOAD is %q; give how long the load is to last, such as 60s", text)
		}
		users, lifetime, often = 200, 12*time.Second, 25 // what the budgets have room for
	}
	w := newWorld(t, func(idc *idctest.Server) {
		idc.JWTBearerRefreshTokens = true
		idc.AccessTokenLifetime = lifetime
	})
	w.aws.handler = brief{w.idc}
	s := w.start()
	all := s.signIn(users)
	s.load(all, time.Second).wait() // connections and buffers come into being
	before := s.settled()

	w.beginTrouble(often)
	got := s.load(all, length).wait()
	w.idc.ClearFaults()
	s.checkAnswers(got)

	s.forEach(all, s.comesAgain)
	if n := w.idc.Replays(); n != 0 {
		t.Errorf("%d JWTs were presented twice", n)
	}
	counts := s.metrics()
	for _, name := range []string{"refreshes", "throttles", "failures"} {
		if counts["awsoidc_"+name+"_total"] == 0 {
			t.Errorf("the load saw no %s", name)
		}
	}
	s.checkLeaks(before)
	t.Logf("%d users, %v: %v", users, length, got)
	t.Logf("before %+v, after %+v", before, s.resources())
	for name, value := range counts {
		if strings.HasSuffix(name, "_total") {
			t.Log(name, value)
		}
	}
}

// TestShutdownUnderLoad stops the program while wrk sends requests. Each request
// that the program has taken up asks AWS once who the user is, and must be
// answered with that.
func TestShutdownUnderLoad(t *testing.T) {
	needWrk(t)
	w := newWorld(t)
	s := w.start()
	all := s.signIn(20)
	asked := func() int { return w.idc.Count(idctest.GetCallerIdentity).Succeeded }
	before := asked()
	w.idc.Inject(idctest.GetCallerIdentity, idctest.Fault{Latency: 20 * time.Millisecond, Times: idctest.Always})
	l := s.load(all, time.Minute)
	s.await("hundreds of requests", func() bool { return asked() > before+20*connections })
	s.signal(syscall.SIGTERM)
	s.wait()
	l.end()
	got := l.wait()
	answered := got["any/200"] + got["once/200"]
	if answered != got["requests"] || answered != asked()-before {
		t.Errorf("AWS said %d times who a user is, and of %d answers %d say so: %v", asked()-before, got["requests"], answered, got)
	}
	// A connection may end while its next request is on its way, once. After
	// that wrk tries in vain to connect, which it counts as errors of writing.
	if got["errors/read"] > connections || got["errors/timeout"] > 0 {
		t.Errorf("%d connections lost requests: %v", connections, got)
	}
	t.Log(got)
}

// signIn returns users whom the program knows, and checks who they are to AWS.
// The JWTs of one in ten have an ID.
func (s *service) signIn(n int) []*user {
	s.t.Helper()
	all := make([]*user, n)
	for i := range all {
		u := &user{name: fmt.Sprint("user-", i), once: i%10 == 0}
		u.signIn(s)
		all[i] = u
	}
	s.forEach(all, func(u *user) { u.arn = s.whoami(u.jwt) })
	whose := map[string]string{}
	for _, role := range s.idc.AssumedRoles() {
		whose[role.ARN] = role.Subject
	}
	for _, u := range all {
		if whose[u.arn] != u.name {
			s.t.Fatalf("%s is told %q, which is %q", u.name, u.arn, whose[u.arn])
		}
	}
	return all
}

func (u *user) signIn(s *service) {
	if u.once {
		u.jwt = s.issuer.jwt(u.name, nil)
	} else {
		u.jwt = s.issuer.jwt(u.name, claims{"jti": nil})
	}
}

// forEach calls f for all users, several at a time.
func (s *service) forEach(users []*user, f func(*user)) {
	var wg sync.WaitGroup
	turn := make(chan struct{}, 20)
	for _, u := range users {
		turn <- struct{}{}
		wg.Go(func() {
			f(u)
			<-turn
		})
	}
	wg.Wait()
}

// beginTrouble makes things go wrong from now on: of so many requests to obtain
// something, one meets the next of the faults; of those to use it fewer.
func (w *world) beginTrouble(often int) {
	late, later := 300*time.Millisecond, time.Second
	for _, trouble := range []struct {
		op     idctest.Operation
		every  int
		faults []idctest.Fault
	}{
		{idctest.CreateTokenWithIAM, often, []idctest.Fault{
			{Status: 429, Header: http.Header{"Retry-After": {"1"}}}, {Status: 500}, {ResetAfter: true}, {Latency: late},
			{ResetBefore: true}, {LatencyAfter: later}, {Type: "SlowDownException"}, {Status: 503, Commit: true},
			{CutBody: true}, {Latency: late}, {Status: 502}, {Body: []byte("<html>")},
		}},
		{idctest.AssumeRole, often, []idctest.Fault{
			{Type: "Throttling"}, {Status: 500}, {ResetBefore: true}, {Latency: late}, {ResetAfter: true},
			{CutBody: true}, {Status: 503}, {LatencyAfter: later},
		}},
		{idctest.GetCallerIdentity, 100, []idctest.Fault{
			{Status: 500}, {ResetBefore: true}, {Latency: late}, {ResetAfter: true}, {Type: "Throttling"},
			{CutBody: true}, {Status: 503}, {LatencyAfter: later},
		}},
	} {
		for range 1000 { // more than a minute has requests for
			for _, fault := range trouble.faults {
				w.idc.Inject(trouble.op, idctest.Fault{Times: trouble.every}, fault)
			}
		}
	}
}

// checkAnswers fails the test where users were answered as they should not be.
func (s *service) checkAnswers(got results) {
	s.t.Helper()
	answers := 0
	for name, n := range got {
		kind, status, _ := strings.Cut(name, "/")
		switch {
		case kind == "errors" && n > 0:
			s.t.Errorf("%d %s errors", n, status)
		case kind != "any" && kind != "once":
			continue
		case status == "200", status == "502", status == "503", kind == "once" && status == "401":
		default:
			s.t.Errorf("%d answers of %s to users of the kind %s", n, status, kind)
		}
		answers += n
	}
	// What was under way when wrk ended got no answer.
	if n := got["requests"]; answers != n {
		s.t.Errorf("%d answers to %d requests", answers, n)
	}
}

// comesAgain is for after the trouble: a user gets what they got before. Until
// budgets and backoffs have recovered, they wait as they are told.
func (s *service) comesAgain(u *user) {
	s.await(u.name, func() bool {
		a := s.get("/whoami", "Bearer "+u.jwt)
		switch {
		case a.status == http.StatusOK:
			var out struct{ ARN string }
			if err := json.Unmarshal([]byte(a.body), &out); err != nil || out.ARN != u.arn {
				s.t.Errorf("%s is told %q, %v; before %s", u.name, a.body, err, u.arn)
			}
			return true
		case a.status == http.StatusUnauthorized && u.once:
			u.signIn(s)
		case a.status != http.StatusBadGateway && a.status != http.StatusServiceUnavailable:
			s.t.Errorf("%s: %d %s", u.name, a.status, a.body)
			return true
		}
		return false
	})
}

// await waits until something is so.
func (s *service) await(what string, so func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if so() {
			return
		}
	}
	s.t.Errorf("waited too long for %s", what)
}

// resources are what the program holds of its system.
type resources struct {
	goroutines int
	files      int
	live       int // bytes that the last garbage collection left on the heap
	resident   int // bytes
}

var residentLine = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

func (s *service) resources() resources {
	s.t.Helper()
	process := filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid))
	files, err := os.ReadDir(filepath.Join(process, "fd"))
	if err != nil {
		s.t.Fatal(err)
	}
	status, err := os.ReadFile(filepath.Join(process, "status"))
	resident := residentLine.FindSubmatch(status)
	if err != nil || resident == nil {
		s.t.Fatalf("%v: %s", err, status)
	}
	kilobytes, err := strconv.Atoi(string(resident[1]))
	if err != nil {
		s.t.Fatal(err)
	}
	m := s.metrics()
	return resources{int(m["go_goroutines"]), len(files), int(m["go_gc_heap_live_bytes"]), kilobytes << 10}
}

// settled returns the resources after a load: its connections are gone, and so
// is its garbage, as what is asked for meanwhile makes enough for a collection.
func (s *service) settled() resources {
	s.t.Helper()
	for range 500 {
		s.metrics()
	}
	return s.resources()
}

// checkLeaks fails the test unless the resources are about what they were
// before. Idle connections to AWS stay open for a while, up to ten for each client;
// memory goes back to the system slowly.
func (s *service) checkLeaks(before resources) {
	s.t.Helper()
	const connections, goroutines, live, resident = 20, 2 * 20, 512 << 10, 24 << 20
	var now resources
	s.settled()
	s.await(fmt.Sprintf("no more to be held than before: %+v", before), func() bool {
		now = s.resources()
		return now.files <= before.files+connections && now.goroutines <= before.goroutines+goroutines &&
			now.live <= before.live+before.live/8+live && now.resident <= before.resident+before.resident/4+resident
	})
	if s.t.Failed() {
		s.t.Logf("now %+v", now)
	}
}

// brief is an AWS whose credentials of roles last for 3 to 18 seconds, as far as
// it says: it goes on to accept them.
type brief struct{ aws http.Handler }

// ServeHTTP implements http.Handler.
func (b brief) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.aws.ServeHTTP(briefWriter{w}, r)
}

type briefWriter struct{ http.ResponseWriter }

var expiration = regexp.MustCompile(`<Expiration>[^<]{20}</Expiration>`)

// Write implements http.ResponseWriter. No answer gets longer.
func (w briefWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("<Expiration>")) {
		at := time.Now().Add(3*time.Second + rand.N(15*time.Second)).UTC().Format(time.RFC3339)
		p = expiration.ReplaceAll(p, []byte("<Expiration>"+at+"</Expiration>"))
	}
	return w.ResponseWriter.Write(p)
}
