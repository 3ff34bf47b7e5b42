package loopback

import (
	"crypto/rand"
	_ "embed"
	"html"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// pageHTML names the fields of a page as a template does. It is filled in
// without package html/template, because that keeps the linker from dropping
// methods: 3 MB of them in a program that uses the AWS SDK.
//
//go:embed page.html
var pageHTML string

// paths are what is drawn in the circle of each mark (SVG).
var paths = map[string]string{
	"good": "m14 23 6 6 11-13",
	"bad":  "m16 16 12 12M28 16 16 28",
	"note": "M22 21v10M22 14h.01",
}

// page is what a person reads. Nothing of a request is ever in it.
type page struct {
	Mark, Title, Detail string
	Nonce               string // of the style sheet
}

var (
	approved = page{Mark: "good", Title: "Sign-in approved", Detail: "You may close this window. Your program is finishing the sign-in."}
	denied   = page{Mark: "bad", Title: "Sign-in refused", Detail: "You, or a policy, did not allow it, and your program was told. You may close this window."}
	failed   = page{Mark: "bad", Title: "Sign-in failed", Detail: "The answer that came here can’t be used. Your program says why. You may close this window."}
	forged   = page{Mark: "bad", Title: "Not the sign-in that was asked for", Detail: "This answer does not belong to the sign-in that waits here, and was not used. If your program still waits, approve on the page that it opened. If you have started no sign-in, close this window."}
	repeated = page{Mark: "note", Title: "Answered already", Detail: "This sign-in has its answer. You may close this window and go back to your program."}
	notHere  = page{Mark: "note", Title: "Nothing here", Detail: "A program waits here for the end of a sign-in. You may close this window."}
)

func write(w http.ResponseWriter, status int, p page) {
	p.Nonce = rand.Text()
	body := strings.NewReplacer(
		"{{.Mark}}", p.Mark,
		"{{.Path}}", paths[p.Mark],
		"{{.Title}}", html.EscapeString(p.Title),
		"{{.Detail}}", html.EscapeString(p.Detail),
		"{{.Nonce}}", p.Nonce,
	).Replace(pageHTML)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+p.Nonce+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	io.WriteString(w, body)
}
