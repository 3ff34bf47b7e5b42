package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// BenchmarkHotToken uses a fresh token from all processors. "limit" is what any
// cache must do: load it, and look at the clock.
func BenchmarkHotToken(b *testing.B) {
	beside(b, hot(b, 1)...)
}

// BenchmarkGoroutines does the same from 1 to 10,000 goroutines.
func BenchmarkGoroutines(b *testing.B) {
	for _, n := range scaled([]int{1, 10, 100, 1_000, 10_000}, []int{1, 10_000}) {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			beside(b, hot(b, max(1, n/runtime.GOMAXPROCS(0)))...)
		})
	}
}

// hot returns all that hand out a fresh token, to so many goroutines for each
// processor.
func hot(b *testing.B, parallelism int) []contestant {
	src, _ := newSource(b, nil, nil)
	var held atomic.Pointer[oauth2.Token]
	held.Store(&oauth2.Token{Expiry: time.Now().Add(time.Hour)})
	limit := func(context.Context) error {
		if t := held.Load(); !time.Now().Before(t.Expiry) {
			return errors.New("expired")
		}
		return nil
	}
	all := []contestant{
		parallel("limit", parallelism, limit),
		parallel("awsoidc.Bearer", parallelism, func(ctx context.Context) error { _, err := src.Bearer(ctx); return err }),
		parallel("awsoidc.Token", parallelism, func(context.Context) error { _, err := src.Token(); return err }),
	}
	for _, p := range peers() {
		all = append(all, parallel(p.name, parallelism, p.wrap(&upstream{lifetime: time.Hour}, 0)))
	}
	return all
}

func parallel(name string, parallelism int, get func(context.Context) error) contestant {
	return contestant{name, func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(parallelism)
		ctx := context.Background()
		withCPU(b, false, func() {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if get(ctx) != nil {
						b.Error("no token")
					}
				}
			})
		})
	}}
}

// BenchmarkRoundTripper puts a fresh token on a request, which nobody sends.
func BenchmarkRoundTripper(b *testing.B) {
	answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	base := roundTripper(func(*http.Request) (*http.Response, error) { return answer, nil })
	ours, _ := newSource(b, nil, base)
	theirs := &oauth2.Transport{Base: base, Source: oauth2.ReuseTokenSource(nil, &upstream{lifetime: time.Hour})}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://api.example.com/x", nil)
	if err != nil {
		b.Fatal(err)
	}
	with := func(name string, rt http.RoundTripper) contestant {
		return contestant{name, func(b *testing.B) {
			b.ReportAllocs()
			withCPU(b, false, func() {
				for range b.N {
					if _, err := rt.RoundTrip(req); err != nil {
						b.Fatal(err)
					}
				}
			})
		}}
	}
	beside(b, with("awsoidc", ours.Client("https://api.example.com").Transport), with("oauth2.Transport", theirs))
}
