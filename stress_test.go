package awsoidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithybearer "github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// inPlace rewrites a file as the AWS CLI does, truncating it and without a
// lock, until the test ends. The content is what is there, with a member of its
// own; or, now and then, what was there some time ago.
func inPlace(t *testing.T, file string, stale bool) (stop func()) {
	earlier, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			raw, _ := os.ReadFile(file)
			var m map[string]any
			switch valid := json.Unmarshal(raw, &m) == nil; {
			case stale && rand.IntN(20) == 0:
				raw = earlier
			case !valid:
				continue
			case rand.IntN(20) == 0:
				earlier = raw
			default:
				m["rewrites"] = rand.IntN(1000)
				raw, _ = json.Marshal(m)
			}
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0o600)
			if err != nil {
				continue
			}
			f.Write(raw[:len(raw)/2])
			runtime.Gosched()
			f.Write(raw[len(raw)/2:])
			f.Close()
			time.Sleep(time.Millisecond)
		}
	})
	return func() { close(done); writer.Wait() }
}

// TestBesideAToolThatWritesInPlace refreshes while another tool rewrites the
// record: with what it read before, even with a session that is spent.
func TestBesideAToolThatWritesInPlace(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		var wall skew
		srv := idctest.New()
		srv.Now = wall.now
		srv.SessionLifetime = 30 * 24 * time.Hour
		network := httptest.NewServer(srv)
		defer network.Close()
		store := putIssued(t, srv, t.TempDir())
		src := newSource(t, srv, withStore(store), func(c *awsoidc.Config) {
			c.Now, c.HTTPClient = wall.now, nil
			c.Endpoints = awsoidc.Endpoints{OIDC: network.URL, Portal: network.URL}
		})
		stop := inPlace(t, store.Filename("corp"), stale)
		for range 40 {
			wall.jump(61 * time.Minute)
			if _, err := src.Bearer(t.Context()); err != nil {
				t.Errorf("stale %v: a caller saw an error: %v", stale, err)
				break
			}
		}
		stop()
	}
}

// TestEverythingAtOnce uses a source in every way for a while, for the race
// detector.
func TestEverythingAtOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.AccessTokenLifetime = 30 * time.Second
		store := newLRU(t)
		sources := []*awsoidc.TokenSource{signedIn(t, srv, withStore(store)), newSource(t, srv, withStore(store))}
		faults := []idctest.Fault{{}, {Status: 503}, {ResetBefore: true}, {Latency: time.Second}, {Dial: true}, {Body: []byte("x")}}
		end := time.Now().Add(10 * time.Minute)
		var users sync.WaitGroup
		for i := range 24 {
			src := sources[i%2]
			ctx, wrapped := t.Context(), oauth2.ReuseTokenSource(nil, src)
			cached := smithybearer.NewTokenCache(src)
			role := aws.NewCredentialsCache(src.RoleCredentials(account, "ReadOnly"))
			users.Go(func() {
				for time.Now().Before(end) {
					switch rand.IntN(8) {
					case 0:
						src.Token()
					case 1:
						wrapped.Token()
					case 2:
						cached.RetrieveBearerToken(ctx)
					case 3:
						role.Retrieve(ctx)
					case 4:
						short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(300))*time.Millisecond)
						src.Bearer(short)
						cancel()
					case 5:
						token, _ := src.Bearer(ctx)
						src.Invalidate(token)
					case 6:
						srv.Inject(idctest.AnyOperation, faults[rand.IntN(len(faults))])
					case 7:
						if rand.IntN(20) == 0 {
							src.Login(ctx)
						}
					}
					time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
				}
			})
		}
		users.Wait()
		srv.ClearFaults()
		time.Sleep(time.Minute)
		for _, src := range sources {
			if _, err := src.Bearer(t.Context()); err != nil && !errors.Is(err, awsoidc.ErrLoginRequired) {
				t.Errorf("did not recover: %v", err)
			}
		}
		if srv.Reuses() != 0 {
			t.Errorf("%d refresh tokens were sent twice", srv.Reuses())
		}
	})
}

// TestCloseInEachState closes a source in each of its states. The bubble fails
// if a goroutine is left.
func TestCloseInEachState(t *testing.T) {
	hang := idctest.Fault{Hang: true, Times: idctest.Always}
	for name, prepare := range map[string]func(*idctest.Server, *awsoidc.TokenSource){
		"no session": func(*idctest.Server, *awsoidc.TokenSource) {},
		"fresh":      func(_ *idctest.Server, src *awsoidc.TokenSource) { src.Login(context.Background()) },
		"refreshing in the background": func(srv *idctest.Server, src *awsoidc.TokenSource) {
			src.Login(context.Background())
			srv.Inject(idctest.AnyOperation, hang)
			time.Sleep(45 * time.Minute)
			src.Token()
		},
		"callers wait": func(srv *idctest.Server, src *awsoidc.TokenSource) {
			src.Login(context.Background())
			srv.Inject(idctest.AnyOperation, hang)
			time.Sleep(2 * time.Hour)
			go src.Token()
			go src.RoleCredentials(account, "ReadOnly").Retrieve(context.Background())
			synctest.Wait()
		},
		"in a backoff": func(srv *idctest.Server, src *awsoidc.TokenSource) {
			src.Login(context.Background())
			srv.Inject(idctest.AnyOperation, idctest.Fault{Status: 503, Times: idctest.Always})
			time.Sleep(2 * time.Hour)
			src.Token()
		},
		"sign-in hangs": func(srv *idctest.Server, src *awsoidc.TokenSource) {
			srv.Inject(idctest.CreateTokenDeviceCode, hang)
			go src.Login(context.Background())
			time.Sleep(3 * time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				src := newSource(t, srv)
				prepare(srv, src)
				begin := time.Now()
				src.Close()
				src.Close()
				if d := time.Since(begin); d > 90*time.Second {
					t.Errorf("Close took %v", d)
				}
				if _, err := src.Token(); !errors.Is(err, awsoidc.ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
			})
		})
	}
}

// TestHungEndpointRetainsNothingPerCall calls a source a hundred thousand times
// while its refresh hangs.
func TestHungEndpointRetainsNothingPerCall(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		srv.Inject(idctest.AnyOperation, idctest.Fault{Hang: true, Times: idctest.Always})
		time.Sleep(41 * time.Minute)
		live := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		call := func(n int) {
			for range n {
				if _, err := src.Bearer(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		call(1000)
		before, goroutines := live(), runtime.NumGoroutine()
		const calls = 100_000
		call(calls)
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d more goroutines", n-goroutines)
		}
		if after := live(); after > before+calls {
			t.Errorf("%d bytes more for %d calls", after-before, calls)
		}
	})
}

func TestAllocations(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		if n := testing.AllocsPerRun(100, func() { src.Bearer(t.Context()) }); n != 0 {
			t.Errorf("Bearer allocates %v times", n)
		}
		if n := testing.AllocsPerRun(100, func() { src.Token() }); n > 1 {
			t.Errorf("Token allocates %v times", n)
		}
		answer := &http.Response{StatusCode: 200, Body: http.NoBody}
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "api.example.com" {
				return answer, nil
			}
			return srv.Transport().RoundTrip(r)
		})
		mine := signedIn(t, srv, func(c *awsoidc.Config) {
			c.HTTPClient = &http.Client{Transport: base}
		}).Client("https://api.example.com").Transport
		theirs := &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "token"}), Base: base}
		req, _ := http.NewRequest("GET", "https://api.example.com/x", nil)
		req.Header.Set("Accept", "application/json")
		count := func(rt http.RoundTripper) float64 {
			return testing.AllocsPerRun(100, func() { rt.RoundTrip(req) })
		}
		if a, b := count(mine), count(theirs); a > b/2 {
			t.Errorf("a request allocates %v times, with oauth2.Transport %v", a, b)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestProgramThatEndsAtOnce starts programs one after the other, each with a
// token that is due, and each of which ends as soon as it has one.
func TestProgramThatEndsAtOnce(t *testing.T) {
	t.Parallel()
	programs := scale(10, 50)
	var wall skew
	srv := idctest.New()
	srv.Now = wall.now
	srv.SessionLifetime = 90 * 24 * time.Hour
	srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Latency: 60 * time.Millisecond, Times: idctest.Always})
	network := httptest.NewServer(srv)
	defer network.Close()
	dir := t.TempDir()
	putIssued(t, srv, dir)
	elapsed := time.Duration(0)
	for range programs {
		wall.jump(50 * time.Minute) // due, and valid
		elapsed += 50 * time.Minute
		w := startWorker(t, dir, network.URL, time.Minute)
		if token := w.token(elapsed); strings.HasPrefix(token, "error") {
			t.Fatal(token)
		}
		w.cmd.Process.Kill()
		w.cmd.Wait()
	}
	if n := refreshes(srv); n != programs || srv.Reuses() != 0 {
		t.Errorf("%d refreshes by %d programs, %d reuses", n, programs, srv.Reuses())
	}
}
