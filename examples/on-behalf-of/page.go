package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"time"

	"github.com/awsoidc/awsoidc"
)

// A figure is one of awsoidc.Stats, for people and for Prometheus.
type figure struct {
	ID      string // in JSON, and in the page
	Name    string
	Meaning string
	Value   uint64
	metric  string
	kind    string // of metric: counter or gauge
}

func figuresOf(s awsoidc.Stats) []figure {
	return []figure{
		{"identities", "Identities held", "Users in memory now.", uint64(s.Identities), "awsoidc_identities", "gauge"},
		{"hits", "Hits", "Uses of tokens and credentials that were in memory.", s.Hits, "awsoidc_hits_total", "counter"},
		{"exchanges", "Exchanges", "Requests with a user's JWT.", s.Exchanges, "awsoidc_exchanges_total", "counter"},
		{"refreshes", "Refreshes", "Requests with a refresh token.", s.Refreshes, "awsoidc_refreshes_total", "counter"},
		{"credentials", "Credentials", "Roles assumed on behalf of users.", s.Credentials, "awsoidc_credentials_total", "counter"},
		{"adopted", "Adopted", "Tokens taken over from a shared store.", s.Adopted, "awsoidc_adopted_total", "counter"},
		{"throttles", "Throttles", "Requests that AWS had too many of.", s.Throttles, "awsoidc_throttles_total", "counter"},
		{"limited", "Limited", "Requests that were not sent, to keep within AWS's quotas.", s.Limited, "awsoidc_limited_total", "counter"},
		{"failures", "Failures", "Requests that failed otherwise.", s.Failures, "awsoidc_failures_total", "counter"},
	}
}

//go:embed page
var pageFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(pageFiles, "page/index.html"))

// addPage adds the page at / with what it consists of. It shows no user.
func (s *service) addPage(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /figures", s.figures)
	for _, name := range []string{"style.css", "live.js"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Content-Type-Options", "nosniff")
			http.ServeFileFS(w, r, pageFiles, "page/"+name)
		})
	}
}

// page has the figures of the moment, for those who run no script.
func (s *service) page(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, struct {
		Figures []figure
		Time    string
	}{figuresOf(s.exchanger.Stats()), time.Now().UTC().Format("15:04:05 UTC")})
	if err != nil {
		http.Error(w, "the page can't be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.Write(b.Bytes())
}

// figures are what live.js asks for.
func (s *service) figures(w http.ResponseWriter, _ *http.Request) {
	values := map[string]uint64{}
	for _, f := range figuresOf(s.exchanger.Stats()) {
		values[f.ID] = f.Value
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(values)
}
