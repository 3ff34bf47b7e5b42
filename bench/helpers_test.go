package main

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go/auth/bearer"
	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

const startURL = "https://d-1234567890.awsapps.com/start"

// A contestant is one way of doing what a benchmark measures.
type contestant struct {
	name string
	run  func(b *testing.B)
}

// beside runs the contestants as sub-benchmarks, in an order of its own each
// time, so that none has the machine always in the state that the same other
// one left.
func beside(b *testing.B, all ...contestant) {
	for _, i := range rand.Perm(len(all)) {
		b.Run("impl="+all[i].name, all[i].run)
	}
}

// scaled returns the full size, or in short mode the small one.
func scaled[T any](full, small T) T {
	if testing.Short() {
		return small
	}
	return full
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// report reports the percentiles of how long something took, in place of ns/op.
func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
}

// withCPU runs f, and reports the time that processors had for it beside what a
// clock on the wall shows: that has in it what other programs took.
func withCPU(b *testing.B, children bool, f func()) {
	b.ResetTimer()
	before := cpuTime(children)
	f()
	if spent := cpuTime(children) - before; spent > 0 {
		b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
	}
}

// perOp reports a count for each operation.
func perOp[T int | int64 | uint64](b *testing.B, n T, unit string) {
	b.ReportMetric(float64(n)/float64(b.N), unit)
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An offset is a wall clock that is so many nanoseconds ahead.
type offset struct{ atomic.Int64 }

func (o *offset) now() time.Time { return time.Now().Add(time.Duration(o.Load())) }

// newSource returns a source whose session, of an hour, is in a folder, and its
// server. Their clock is the given one, unless that is nil; and the source's
// Client sends to api, unless that is nil.
func newSource(b testing.TB, clock *offset, api http.RoundTripper) (*awsoidc.TokenSource, *idctest.Server) {
	b.Helper()
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
	cfg.Store = putSession(b, b.TempDir(), srv.Issue("sso:account:access"))
	src, err := awsoidc.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { src.Close() })
	return src, srv
}

// putSession puts a session in a folder, where the AWS CLI has it.
func putSession(b testing.TB, dir string, s idctest.Session) *cache.Dir {
	b.Helper()
	store, err := cache.NewDir(dir)
	if err == nil {
		err = store.Update(context.Background(), "corp", func(context.Context, []byte) ([]byte, error) { return json.Marshal(s) })
	}
	if err != nil {
		b.Fatal(err)
	}
	return store
}

// A peer is a cache of another library above a service, to be asked for the
// next token so long before the expiry.
type peer struct {
	name string
	wrap func(up *upstream, early time.Duration) (get func(context.Context) error)
}

func peers() []peer {
	return []peer{
		{"oauth2.ReuseTokenSource", func(up *upstream, early time.Duration) func(context.Context) error {
			c := oauth2.ReuseTokenSourceWithExpiry(nil, up, early)
			return func(context.Context) error { _, err := c.Token(); return err }
		}},
		{"aws.CredentialsCache", func(up *upstream, early time.Duration) func(context.Context) error {
			c := aws.NewCredentialsCache(up, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = early })
			return func(ctx context.Context) error { _, err := c.Retrieve(ctx); return err }
		}},
		{"bearer.TokenCache", func(up *upstream, early time.Duration) func(context.Context) error {
			c := bearer.NewTokenCache(up, func(o *bearer.TokenCacheOptions) { o.RefreshBeforeExpires = early })
			return func(ctx context.Context) error { _, err := c.RetrieveBearerToken(ctx); return err }
		}},
		{"cloud.google.com/go/auth", func(up *upstream, early time.Duration) func(context.Context) error {
			if early == 0 {
				early = time.Nanosecond // 0 means 3 min 45 s
			}
			c := auth.NewCachedTokenProvider(googleUpstream{up}, &auth.CachedTokenProviderOptions{ExpireEarly: early})
			return func(ctx context.Context) error { _, err := c.Token(ctx); return err }
		}},
	}
}

// upstream is a service in the terms of each of the peers.
type upstream struct {
	latency, lifetime time.Duration
	err               error
	hang              chan struct{} // where not nil, nothing is answered until it is closed
	calls             atomic.Int64
}

func (u *upstream) issue() (time.Time, error) {
	u.calls.Add(1)
	time.Sleep(u.latency)
	if u.hang != nil {
		<-u.hang
	}
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

func (u *upstream) RetrieveBearerToken(context.Context) (bearer.Token, error) {
	expiry, err := u.issue()
	return bearer.Token{Value: "token", CanExpire: true, Expires: expiry}, err
}

type googleUpstream struct{ *upstream }

func (u googleUpstream) Token(context.Context) (*auth.Token, error) {
	expiry, err := u.issue()
	return &auth.Token{Value: "token", Expiry: expiry}, err
}

var errServer = errors.New("server error")
