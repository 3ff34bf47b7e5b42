package awsoidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	bearercache "github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// BenchmarkHotToken uses a fresh token from all processors. "limit" is what any
// cache must do: load it, and look at the clock.
func BenchmarkHotToken(b *testing.B) {
	src, _ := newOurs(b, nil, nil)
	parallel := func(name string, get func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if get() != nil {
						b.Error("no token")
					}
				}
			})
		})
	}
	var held atomic.Pointer[oauth2.Token]
	held.Store(&oauth2.Token{Expiry: time.Now().Add(time.Hour)})
	parallel("limit", func() error {
		if t := held.Load(); !time.Now().Before(t.Expiry) {
			return errors.New("expired")
		}
		return nil
	})
	parallel("awsoidc.Bearer", func() error { _, err := src.Bearer(context.Background()); return err })
	parallel("awsoidc.Token", func() error { _, err := src.Token(); return err })
	for _, p := range peers() {
		parallel(p.name, p.wrap(&upstream{lifetime: time.Hour}, 0))
	}
}

// BenchmarkExpired has 10,000 goroutines find their token expired at once. A
// refresh takes 50 ms.
func BenchmarkExpired(b *testing.B) { benchmarkCrowd(b, 0) }

// BenchmarkDue has 10,000 goroutines find that their token is to be refreshed,
// and still valid.
func BenchmarkDue(b *testing.B) { benchmarkCrowd(b, 10*time.Minute) }

func benchmarkCrowd(b *testing.B, left time.Duration) {
	const crowd = 10_000
	for _, c := range contestants() {
		b.Run(c.name, func(b *testing.B) {
			var took []time.Duration
			calls := 0
			for range b.N {
				s := c.stage(b, left, 50*time.Millisecond)
				took = append(took, rush(b, crowd, s.get)...)
				calls += s.calls()
			}
			slices.Sort(took)
			b.ReportMetric(0, "ns/op") // which has the preparations in it
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
			b.ReportMetric(float64(calls)/float64(b.N), "calls/op")
		})
	}
}

// rush calls get from n goroutines at once, and returns how long each took.
func rush(b *testing.B, n int, get func() error) []time.Duration {
	took := make([]time.Duration, n)
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	for i := range took {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			begin := time.Now()
			err := get()
			took[i] = time.Since(begin)
			if err != nil {
				b.Error(err)
			}
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return took
}

// BenchmarkOutage uses a token every millisecond that is due and valid, while
// each refresh is answered by a server error.
func BenchmarkOutage(b *testing.B) {
	for _, c := range contestants() {
		b.Run(c.name, func(b *testing.B) {
			s := c.stage(b, 10*time.Minute, 0)
			s.fail()
			failures := 0
			for range b.N {
				if s.get() != nil {
					failures++
				}
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(s.calls())/float64(b.N), "calls/op")
			b.ReportMetric(float64(failures)/float64(b.N), "errors/op")
		})
	}
}

// BenchmarkRoundTripper puts a fresh token on a request, which nobody sends.
func BenchmarkRoundTripper(b *testing.B) {
	answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	base := roundTripper(func(*http.Request) (*http.Response, error) { return answer, nil })
	ours, _ := newOurs(b, nil, base)
	theirs := &oauth2.Transport{Base: base, Source: oauth2.ReuseTokenSource(nil, &upstream{lifetime: time.Hour})}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://api.example.com/x", nil)
	if err != nil {
		b.Fatal(err)
	}
	bench := func(name string, rt http.RoundTripper) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rt.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	bench("awsoidc", ours.Client("https://api.example.com").Transport)
	bench("oauth2.Transport", theirs)
}

// A subject is a cache whose token is due, and what it asks.
type subject struct {
	get   func() error
	calls func() int // of the service for the next token
	fail  func()     // makes all further calls of the service fail
}

// A contestant is a cache. Stage gives it a token that is due and valid for as
// long as is left, and a service that takes so long to answer.
type contestant struct {
	name  string
	stage func(b *testing.B, left, latency time.Duration) subject
}

func contestants() []contestant {
	all := []contestant{{"awsoidc", stageOurs}}
	for _, p := range peers() {
		all = append(all, contestant{p.name, p.stage})
	}
	return all
}

func stageOurs(b *testing.B, left, latency time.Duration) subject {
	var clock offset
	src, srv := newOurs(b, &clock, nil)
	get := func() error { _, err := src.Bearer(context.Background()); return err }
	if err := get(); err != nil {
		b.Fatal(err)
	}
	clock.Store(int64(time.Hour + time.Second - left))
	srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Latency: latency})
	return subject{
		get:   get,
		calls: func() int { return refreshes(srv) },
		fail: func() {
			srv.ClearFaults()
			srv.Inject(idctest.AnyOperation, idctest.Fault{Times: idctest.Always, Status: http.StatusInternalServerError})
		},
	}
}

// newOurs returns a source whose session, of an hour, is in a folder, and its
// server. Their clock is the given one, unless that is nil; and the source's
// Client sends to api, unless that is nil.
func newOurs(b *testing.B, clock *offset, api http.RoundTripper) (*awsoidc.TokenSource, *idctest.Server) {
	srv := idctest.New()
	cfg := awsoidc.Config{StartURL: startURL, Region: "us-east-1", SessionName: "corp"}
	cfg.HTTPClient = &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		if api != nil && req.URL.Host == "api.example.com" {
			return api.RoundTrip(req)
		}
		return srv.Transport().RoundTrip(req)
	})}
	if clock != nil {
		cfg.Now, srv.Now = clock.now, clock.now
	}
	store, err := cache.NewDir(b.TempDir())
	if err == nil {
		err = store.Update(b.Context(), "corp", func(context.Context, []byte) ([]byte, error) {
			return json.Marshal(srv.Issue("sso:account:access"))
		})
	}
	if err != nil {
		b.Fatal(err)
	}
	cfg.Store = store
	src, err := awsoidc.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { src.Close() })
	return src, srv
}

// An offset is a wall clock that is so many nanoseconds ahead.
type offset struct{ atomic.Int64 }

func (o *offset) now() time.Time { return time.Now().Add(time.Duration(o.Load())) }

// A peer is a cache of another library above a service, to be asked for the
// next token so long before the expiry.
type peer struct {
	name string
	wrap func(up *upstream, early time.Duration) (get func() error)
}

func peers() []peer {
	return []peer{
		{"oauth2.ReuseTokenSource", func(up *upstream, early time.Duration) func() error {
			c := oauth2.ReuseTokenSourceWithExpiry(nil, up, early)
			return func() error { _, err := c.Token(); return err }
		}},
		{"aws.CredentialsCache", func(up *upstream, early time.Duration) func() error {
			c := aws.NewCredentialsCache(up, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = early })
			return func() error { _, err := c.Retrieve(context.Background()); return err }
		}},
		{"bearer.TokenCache", func(up *upstream, early time.Duration) func() error {
			c := bearercache.NewTokenCache(up, func(o *bearercache.TokenCacheOptions) { o.RefreshBeforeExpires = early })
			return func() error { _, err := c.RetrieveBearerToken(context.Background()); return err }
		}},
	}
}

func (p peer) stage(b *testing.B, left, latency time.Duration) subject {
	up := &upstream{lifetime: left + 5*time.Millisecond}
	get := p.wrap(up, left)
	if err := get(); err != nil {
		b.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	up.lifetime, up.latency = time.Hour, latency
	return subject{
		get:   get,
		calls: func() int { return int(up.calls.Load()) - 1 },
		fail:  func() { up.err = errors.New("server error") },
	}
}

// upstream is a service in the terms of each of the peers.
type upstream struct {
	latency, lifetime time.Duration
	err               error
	calls             atomic.Int64
}

func (u *upstream) issue() (time.Time, error) {
	u.calls.Add(1)
	time.Sleep(u.latency)
	return time.Now().Add(u.lifetime), u.err
}

func (u *upstream) Token() (*oauth2.Token, error) {
	expiry, err := u.issue()
	return &oauth2.Token{AccessToken: "token", Expiry: expiry}, err
}

func (u *upstream) Retrieve(context.Context) (aws.Credentials, error) {
	expiry, err := u.issue()
	return aws.Credentials{AccessKeyID: "key", SecretAccessKey: "secret", CanExpire: true, Expires: expiry}, err
}

func (u *upstream) RetrieveBearerToken(context.Context) (bearercache.Token, error) {
	expiry, err := u.issue()
	return bearercache.Token{Value: "token", CanExpire: true, Expires: expiry}, err
}
