package main_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/awsoidc/awsoidc/idctest"
)

// samples are what Prometheus reads: values by name and labels, as written.
type samples map[string]float64

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="[^"\\]*",?)+\})? (\S+)$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$`)
	helpLine   = regexp.MustCompile(`^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) \S.*$`)
)

// metrics reads GET /metrics, as strictly as the text format is described:
// HELP, TYPE, and then the samples of one family together.
func (s *service) metrics() samples {
	s.t.Helper()
	a := s.get("/metrics")
	if kind := a.header.Get("Content-Type"); a.status != http.StatusOK || kind != "text/plain; version=0.0.4; charset=utf-8" {
		s.t.Fatalf("GET /metrics: %d %s", a.status, kind)
	}
	found, helped, family, kind := samples{}, "", "", ""
	kinds := map[string]string{}
	for line := range strings.Lines(a.body) {
		line, ended := strings.CutSuffix(line, "\n")
		if m := helpLine.FindStringSubmatch(line); m != nil {
			helped = m[1]
			continue
		}
		if m := typeLine.FindStringSubmatch(line); m != nil {
			family, kind = m[1], m[2]
			if helped != family || kinds[family] != "" || (kind == "counter") != strings.HasSuffix(family, "_total") {
				s.t.Errorf("family %s, %s, after the help of %s", family, kind, helped)
			}
			kinds[family] = kind
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil || !ended {
			s.t.Fatalf("no line of metrics: %q", line)
		}
		suffix, ok := strings.CutPrefix(m[1], family)
		if !ok || kind != "histogram" && suffix != "" || kind == "histogram" && !slices.Contains([]string{"_bucket", "_sum", "_count"}, suffix) {
			s.t.Errorf("%s is not of the family %s", m[1], family)
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if _, twice := found[m[1]+m[2]]; err != nil || twice || value < 0 {
			s.t.Errorf("%q: %v, twice: %v", line, err, twice)
		}
		found[m[1]+m[2]] = value
	}
	return found
}

// figures reads GET /figures.
func (s *service) figures() map[string]float64 {
	s.t.Helper()
	a := s.get("/figures")
	found := map[string]float64{}
	if err := json.Unmarshal([]byte(a.body), &found); err != nil || a.status != http.StatusOK {
		s.t.Fatalf("GET /figures: %d %q, %v", a.status, a.body, err)
	}
	return found
}

func TestFigures(t *testing.T) {
	w := newWorld(t, func(idc *idctest.Server) {
		idc.Applications = []idctest.Application{{ARN: applicationARN, Subjects: []string{"jane", "joe"}}}
	})
	s := w.start()
	for name, value := range s.metrics() {
		if value != 0 && !strings.HasPrefix(name, "go_") {
			t.Errorf("%s is %v before anything happened", name, value)
		}
	}
	for range 3 {
		s.whoami(w.issuer.jwt("jane", nil))
	}
	w.idc.Inject(idctest.AssumeRole, idctest.Fault{Type: "AccessDenied"})
	s.get("/whoami", "Bearer "+w.issuer.jwt("joe", nil))
	s.get("/whoami", "Bearer "+w.issuer.jwt("mallory", nil))
	s.get("/whoami", "Bearer "+w.issuer.jwt("mallory", claims{"exp": 1}))
	s.get("/whoami")

	got, figures := s.metrics(), s.figures()
	if _, has := got["go_gc_heap_live_bytes"]; got["go_goroutines"] < 1 || !has { // 0 until the first collection
		t.Errorf("there are %v goroutines, and live bytes: %v", got["go_goroutines"], has)
	}
	for name, want := range map[string]float64{
		"awsoidc_identities":                                             3,
		"awsoidc_hits_total":                                             2, // jane's credentials, when she came again
		"awsoidc_exchanges_total":                                        3,
		"awsoidc_credentials_total":                                      2,
		"awsoidc_refreshes_total":                                        0,
		"awsoidc_adopted_total":                                          0,
		"awsoidc_throttles_total":                                        0,
		"awsoidc_limited_total":                                          0,
		"awsoidc_failures_total":                                         2,
		`awsoidc_requests_total{rung="exchange",outcome="ok"}`:           2,
		`awsoidc_requests_total{rung="exchange",outcome="failed"}`:       1,
		`awsoidc_requests_total{rung="credentials",outcome="ok"}`:        1,
		`awsoidc_requests_total{rung="credentials",outcome="failed"}`:    1,
		`awsoidc_requests_total{rung="refresh",outcome="ok"}`:            0,
		`awsoidc_requests_total{rung="refresh",outcome="failed"}`:        0,
		`whoami_answers_total{status="200"}`:                             3,
		`whoami_answers_total{status="401"}`:                             2,
		`whoami_answers_total{status="403"}`:                             2,
		`awsoidc_request_duration_seconds_count{rung="exchange"}`:        3,
		`awsoidc_request_duration_seconds_count{rung="refresh"}`:         0,
		`awsoidc_request_duration_seconds_bucket{rung="refresh",le="1"}`: 0,
	} {
		if value, has := got[name]; !has || value != want {
			t.Errorf("%s is %v (there: %v), want %v", name, value, has, want)
		}
	}
	for name, value := range figures {
		metric := "awsoidc_" + name + "_total"
		if name == "identities" {
			metric = "awsoidc_identities"
		}
		if got[metric] != value {
			t.Errorf("%s is %v in /figures and %v in /metrics", name, value, got[metric])
		}
	}
	for _, rung := range []string{"exchange", "credentials", "refresh"} {
		got.checkHistogram(t, "awsoidc_request_duration_seconds", rung)
	}
	if all := fmt.Sprint(got); strings.Contains(all, "jane") || strings.Contains(all, "mallory") {
		t.Errorf("users are named: %s", all)
	}
}

// checkHistogram fails the test unless buckets grow up to the count, and agree
// with the sum.
func (s samples) checkHistogram(t *testing.T, name, rung string) {
	t.Helper()
	label := `{rung="` + rung + `"`
	count, sum := s[name+"_count"+label+"}"], s[name+"_sum"+label+"}"]
	below, buckets := 0.0, 0
	for _, bound := range []string{"0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"} {
		value, has := s[name+"_bucket"+label+`,le="`+bound+`"}`]
		if !has || value < below {
			t.Errorf("%s: the bucket of %s is %v (there: %v) after %v", rung, bound, value, has, below)
		}
		below = value
		buckets++
	}
	if below != count || (sum > 0) != (count > 0) || math.IsInf(sum, 0) {
		t.Errorf("%s: %v in %d buckets, count %v, sum %v", rung, below, buckets, count, sum)
	}
}

func TestPage(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	s.whoami(w.issuer.jwt("jane", nil))
	s.whoami(w.issuer.jwt("jane", nil))

	a := s.get("/")
	if kind := a.header.Get("Content-Type"); a.status != http.StatusOK || kind != "text/html; charset=utf-8" {
		t.Fatalf("GET /: %d %s", a.status, kind)
	}
	if policy := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy is %q", policy)
	}
	figures := s.figures()
	for _, name := range []string{"identities", "hits", "exchanges", "refreshes", "throttles", "limited", "adopted", "failures", "credentials"} {
		value, has := figures[name]
		if want := fmt.Sprintf(`id="%s">%v</dd>`, name, value); !has || !strings.Contains(a.body, want) {
			t.Errorf("%s is %v (there: %v), and the page has no %s", name, value, has, want)
		}
	}
	if figures["identities"] != 1 || figures["hits"] != 1 || figures["exchanges"] != 1 {
		t.Errorf("the figures are %v", figures)
	}
	if strings.Contains(a.body, "jane") {
		t.Error("the page names a user")
	}
	for path, kind := range map[string]string{"/live.js": "text/javascript; charset=utf-8", "/style.css": "text/css; charset=utf-8"} {
		if !strings.Contains(a.body, `"`+path+`"`) {
			t.Errorf("the page does without %s", path)
		}
		if f := s.get(path); f.status != http.StatusOK || f.header.Get("Content-Type") != kind || f.body == "" {
			t.Errorf("GET %s: %d %s", path, f.status, f.header.Get("Content-Type"))
		}
	}
	if a := s.get("/index.html"); a.status != http.StatusNotFound {
		t.Errorf("GET /index.html: %d", a.status)
	}
}
