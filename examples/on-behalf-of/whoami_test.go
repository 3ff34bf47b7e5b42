package main_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc/idctest"
)

func (w *world) exchanges() int { return w.idc.Count(idctest.CreateTokenWithIAMJWTBearer).Requests }

func TestManyUsers(t *testing.T) {
	w := newWorld(t, func(idc *idctest.Server) { idc.JWTBearerRefreshTokens = true })
	s := w.start()
	const users, requests = 50, 10 // with exchanges for five seconds, half of what one is made to wait

	arns := make([][requests]string, users)
	var wg sync.WaitGroup
	for user := range users {
		jwt := w.issuer.jwt(fmt.Sprint("user-", user), nil)
		for n := range requests {
			wg.Go(func() { arns[user][n] = s.whoami(jwt) })
		}
	}
	wg.Wait()

	if n := w.exchanges(); n != users {
		t.Errorf("%d exchanges of %d users", n, users)
	}
	if n := w.idc.Replays(); n != 0 {
		t.Errorf("%d JWTs were presented twice", n)
	}
	roles := map[string]idctest.AssumedRole{} // by ARN
	for _, role := range w.idc.AssumedRoles() {
		roles[role.ARN] = role
	}
	if n := w.idc.Count(idctest.AssumeRole).Requests; n != users || len(roles) != users {
		t.Errorf("%d roles were assumed, in %d sessions", n, len(roles))
	}
	for user := range users {
		want := idctest.Identity{Subject: fmt.Sprint("user-", user), Issuer: w.issuer.url, Application: applicationARN}
		for _, arn := range arns[user] {
			role := roles[arn]
			whose, _ := w.idc.Identify(role.AccessKeyID)
			if arn == "" || role.Subject != want.Subject || role.Issuer != want.Issuer || role.RoleARN != roleARN || whose != want {
				t.Fatalf("%s got %q, which is %+v, of %+v", want.Subject, arn, role, whose)
			}
		}
	}
	// An ID token, an access token and so on for each user, or the search for
	// them finds nothing.
	if n := len(w.aws.secrets()); n < 5*users {
		t.Errorf("only %d secrets are known", n)
	}
}

// Whoever would have to wait too long for AWS's quotas is told to come later,
// and AWS is not asked.
func TestTooManyUsers(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	const users = 250 // in ten seconds there is room for about a hundred
	var served, refused atomic.Int64
	var wg sync.WaitGroup
	for user := range users {
		jwt := w.issuer.jwt(fmt.Sprint("user-", user), nil)
		wg.Go(func() {
			a := s.get("/whoami", "Bearer "+jwt)
			if a.status == http.StatusOK {
				served.Add(1)
				return
			}
			refused.Add(1)
			a.refuses(t, http.StatusServiceUnavailable)
			if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 2 {
				t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
			}
		})
	}
	wg.Wait()
	got := s.metrics()
	for name, want := range map[string]int64{
		"awsoidc_limited_total":                                    refused.Load(),
		`awsoidc_requests_total{rung="exchange",outcome="ok"}`:     served.Load(),
		`awsoidc_requests_total{rung="exchange",outcome="failed"}`: 0,
	} {
		if got[name] != float64(want) {
			t.Errorf("%s is %v, want %d", name, got[name], want)
		}
	}
	if served.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d users were served, and %d not", served.Load(), refused.Load())
	}
}

func TestKeysAreCached(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	arn := s.whoami(w.issuer.jwt("jane", nil))
	for range 10 {
		s.whoami(w.issuer.jwt("jane", nil))
	}
	if n := w.issuer.keyFetches(); n != 2 { // the service, and AWS
		t.Errorf("the keys were fetched %d times", n)
	}
	w.issuer.rotate()
	if again := s.whoami(w.issuer.jwt("jane", nil)); again != arn {
		t.Errorf("with a new key the user is %s, before %s", again, arn)
	}
	w.issuer.rotate()
	w.issuer.setDown()
	a := s.get("/whoami", "Bearer "+w.issuer.jwt("jane", nil))
	a.refuses(t, http.StatusServiceUnavailable) // who can tell?
	if n := w.exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestTenantsAreApart(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	arns := map[string]bool{}
	for _, tenant := range []any{nil, "one", "two"} {
		arns[s.whoami(w.issuer.jwt("jane", claims{"tid": tenant}))] = true
	}
	if n := w.exchanges(); n != 3 || len(arns) != 3 {
		t.Errorf("%d exchanges, %v", n, arns)
	}
}

func TestDenied(t *testing.T) {
	w := newWorld(t, func(idc *idctest.Server) {
		idc.Applications = []idctest.Application{{ARN: applicationARN, Subjects: []string{"jane"}}}
	})
	s := w.start()
	s.whoami(w.issuer.jwt("jane", nil))
	for range 3 {
		s.get("/whoami", "Bearer "+w.issuer.jwt("joe", nil)).refuses(t, http.StatusForbidden)
	}
	if n := w.exchanges(); n != 2 {
		t.Errorf("%d exchanges: a denial is to be remembered", n)
	}
}

func TestUsedBefore(t *testing.T) {
	w := newWorld(t)
	s := w.start("-size", "1")
	jwt := w.issuer.jwt("jane", nil)
	arn := s.whoami(jwt)
	s.whoami(w.issuer.jwt("joe", nil)) // there is room for one
	s.get("/whoami", "Bearer "+jwt).refuses(t, http.StatusUnauthorized)
	if again := s.whoami(w.issuer.jwt("jane", nil)); again != arn {
		t.Errorf("the user is %s, before %s", again, arn)
	}
	if n := w.idc.Replays(); n != 0 {
		t.Errorf("%d JWTs were presented twice", n)
	}
}

func TestTroubleOfAWS(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		op     idctest.Operation
		fault  idctest.Fault
		status int
	}{
		{"not taken", idctest.CreateTokenWithIAM, idctest.Fault{Type: "InvalidGrantException"}, http.StatusUnauthorized},
		{"throttled", idctest.CreateTokenWithIAM, idctest.Fault{Status: 429, Header: http.Header{"Retry-After": {"60"}}}, http.StatusServiceUnavailable},
		{"role throttled", idctest.AssumeRole, idctest.Fault{Type: "Throttling"}, http.StatusServiceUnavailable},
		{"role denied", idctest.AssumeRole, idctest.Fault{Type: "AccessDenied"}, http.StatusForbidden},
		{"perhaps taken", idctest.CreateTokenWithIAM, idctest.Fault{Status: 500}, http.StatusUnauthorized}, // it may work once
		{"misconfigured", idctest.CreateTokenWithIAM, idctest.Fault{Type: "UnauthorizedClientException"}, http.StatusBadGateway},
		{"caller unknown", idctest.GetCallerIdentity, idctest.Fault{Type: "ExpiredToken"}, http.StatusBadGateway},
		{"no answer", idctest.AssumeRole, idctest.Fault{Body: []byte("<html>")}, http.StatusBadGateway},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			s := w.start()
			test.fault.Times = idctest.Always
			w.idc.Inject(test.op, test.fault)
			a := s.get("/whoami", "Bearer "+w.issuer.jwt("jane", nil))
			a.refuses(t, test.status)
			seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
			if test.status == http.StatusServiceUnavailable && (err != nil || seconds < 1 || seconds > int(5*time.Minute/time.Second)) {
				t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
			}
		})
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	if a := s.get("/healthz"); a.status != http.StatusOK || a.body != "ok\n" {
		t.Errorf("GET /healthz: %d %q", a.status, a.body)
	}
	if a := s.get("/nothing"); a.status != http.StatusNotFound {
		t.Errorf("GET /nothing: %d", a.status)
	}
	resp, err := s.client.Post(s.url+"/whoami", "text/plain", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST /whoami: %d", resp.StatusCode)
	}
}
