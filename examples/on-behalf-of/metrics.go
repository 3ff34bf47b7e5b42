package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	runtimemetrics "runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/awsoidc/awsoidc"
)

// metrics count what happens, beside what awsoidc.Stats counts. Labels have few
// values: none is of a user.
type metrics struct {
	mu      sync.Mutex
	rungs   map[awsoidc.Rung]*rung
	answers map[int]uint64 // to GET /whoami, by status
}

// A rung counts the requests to AWS of one kind.
type rung struct {
	ok, failed uint64
	seconds    float64  // in all
	within     []uint64 // how many took no longer than each of bounds
}

// bounds are those of the histogram of latencies, in seconds.
var bounds = [...]float64{0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// rungs are those that AWS is asked on. Without a Store there is no other.
var rungs = []awsoidc.Rung{awsoidc.RungRefresh, awsoidc.RungExchange, awsoidc.RungCredentials}

func newMetrics() *metrics {
	m := &metrics{rungs: map[awsoidc.Rung]*rung{}, answers: map[int]uint64{}}
	for _, name := range rungs {
		m.rungs[name] = &rung{within: make([]uint64, len(bounds))}
	}
	return m
}

// observe is for awsoidc.ExchangerConfig.Observe.
func (m *metrics) observe(e awsoidc.Event) {
	if _, limited := errors.AsType[*awsoidc.LimitError](e.Err); limited {
		return // it was not sent; awsoidc.Stats counts it
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.rungs[e.Rung]
	if r == nil {
		return
	}
	if e.Err == nil {
		r.ok++
	} else {
		r.failed++
	}
	r.seconds += e.Duration.Seconds()
	for i, bound := range bounds {
		if e.Duration <= time.Duration(bound*float64(time.Second)) {
			r.within[i]++
		}
	}
}

func (m *metrics) answered(status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[status]++
}

// write writes everything in the text format of Prometheus, version 0.0.4.
func (m *metrics) write(w *bytes.Buffer, stats awsoidc.Stats) {
	for _, f := range figuresOf(stats) {
		family(w, f.metric, f.kind, f.Meaning)
		fmt.Fprintf(w, "%s %d\n", f.metric, f.Value)
	}
	m.mu.Lock()
	defer m.mu.Unlock()

	const requests, duration, answers = "awsoidc_requests_total", "awsoidc_request_duration_seconds", "whoami_answers_total"
	family(w, requests, "counter", "Requests to AWS on behalf of users.")
	for _, name := range rungs {
		r := m.rungs[name]
		fmt.Fprintf(w, "%s{rung=%q,outcome=\"ok\"} %d\n", requests, name, r.ok)
		fmt.Fprintf(w, "%s{rung=%q,outcome=\"failed\"} %d\n", requests, name, r.failed)
	}
	family(w, duration, "histogram", "How long those requests took.")
	for _, name := range rungs {
		r := m.rungs[name]
		for i, bound := range bounds {
			fmt.Fprintf(w, "%s_bucket{rung=%q,le=\"%g\"} %d\n", duration, name, bound, r.within[i])
		}
		fmt.Fprintf(w, "%s_bucket{rung=%q,le=\"+Inf\"} %d\n", duration, name, r.ok+r.failed)
		fmt.Fprintf(w, "%s_sum{rung=%q} %g\n", duration, name, r.seconds)
		fmt.Fprintf(w, "%s_count{rung=%q} %d\n", duration, name, r.ok+r.failed)
	}
	family(w, answers, "counter", "Answers to GET /whoami, by HTTP status.")
	for _, status := range slices.Sorted(maps.Keys(m.answers)) {
		fmt.Fprintf(w, "%s{status=\"%d\"} %d\n", answers, status, m.answers[status])
	}
	writeRuntime(w)
}

// writeRuntime writes what leaks would show in, under the names that
// Prometheus's own client library has for it.
func writeRuntime(w *bytes.Buffer) {
	read := []runtimemetrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(read)
	for i, f := range []struct{ name, help string }{
		{"go_goroutines", "Goroutines now."},
		{"go_gc_heap_live_bytes", "Memory that the last garbage collection found in use."},
	} {
		family(w, f.name, "gauge", f.help)
		fmt.Fprintf(w, "%s %d\n", f.name, read[i].Value.Uint64())
	}
}

func family(w *bytes.Buffer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}
