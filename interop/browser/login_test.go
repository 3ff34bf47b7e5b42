package browser

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
)

func TestApproved(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, b := newHost(t), newTab(t)
			if !script {
				b.withoutScript()
			}
			if ran := b.open(newSite(t)).Title == "script ran"; ran != script {
				t.Fatalf("a script of a page ran: %t", ran)
			}
			b.forget()
			l := h.start("-pkce")
			b.open(l.url).has(t, 200, "Allow this sign-in?", "jane.doe@example.com", l.query("redirect_uri"), "sso:account:access")
			page := b.click("Approve")
			page.has(t, 200, "Sign-in approved", "You may close this window")
			l.succeeds()
			h.signedIn()
			if n := h.exchanges(); n != 1 {
				t.Errorf("the code was sent %d times", n)
			}
			if page.Referrer != "" {
				t.Errorf("the page knows its referrer, %s", page.Referrer)
			}
			b.only(h.url, l.callback(""))
		})
	}
}

// only fails the test if the tab has asked any other host than those of the
// URLs, or has told a host which page it comes from.
func (b *tab) only(urls ...string) {
	b.t.Helper()
	var hosts []string
	for _, u := range urls {
		hosts = append(hosts, hostOf(b.t, u))
	}
	for _, r := range b.sent() {
		if !slices.Contains(hosts, hostOf(b.t, r.url)) || r.referer != "" {
			b.t.Errorf("the tab sent %+v", r)
		}
	}
}

func TestDenied(t *testing.T) {
	t.Parallel()
	h, b := newHost(t), newTab(t)
	l := h.start("-pkce")
	b.open(l.url)
	b.click("Deny").has(t, 200, "Sign-in refused", "your program was told", "You may close this window")
	l.fails("access was denied", "sign in again")
	h.notSignedIn()
	if n := h.exchanges(); n != 0 {
		t.Errorf("a code was sent %d times", n)
	}
	b.only(h.url, l.callback(""))
}

func TestDevice(t *testing.T) {
	t.Parallel()
	for button, want := range map[string]string{"Approve": "Sign-in approved", "Deny": "Sign-in denied"} {
		t.Run(button, func(t *testing.T) {
			t.Parallel()
			h, b := newHost(t), newTab(t)
			l := h.start("-device")
			code := l.query("user_code")
			// The person types the code, at first a wrong one.
			page, _, _ := strings.Cut(l.url, "?")
			b.open(page).has(t, 200, "Enter your code")
			b.do(chromedp.SendKeys(chromedp.CSS("#user_code"), "WRNG-WRNG"))
			b.click("Continue").has(t, 200, "Enter your code", "There is no sign-in with this code")
			b.do(chromedp.Clear(chromedp.CSS("#user_code")), chromedp.SendKeys(chromedp.CSS("#user_code"), " "+strings.ToLower(code)))
			b.click("Continue").has(t, 200, "Allow this sign-in?", code, "jane.doe@example.com")
			b.click(button).has(t, 200, want, "You may close this window")
			if button == "Approve" {
				l.succeeds()
				h.signedIn()
			} else {
				l.fails("access was denied", "sign in again")
				h.notSignedIn()
			}
			b.open(l.url).has(t, 200, "This code can’t be used")
			for _, r := range b.sent() {
				// The page of the device grant alone may name itself to itself.
				if hostOf(t, r.url) != hostOf(t, h.url) || r.referer != "" {
					t.Errorf("the tab sent %+v", r)
				}
			}
		})
	}
}

// TestRepeated goes back and reloads while the code is being exchanged, and
// once the program has ended.
func TestRepeated(t *testing.T) {
	t.Parallel()
	asked, released := make(chan struct{}), make(chan struct{})
	sent, release := sync.OnceFunc(func() { close(asked) }), sync.OnceFunc(func() { close(released) })
	h := newHost(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				sent()
				<-released
			}
			next.ServeHTTP(w, r)
		})
	})
	t.Cleanup(release)
	b := newTab(t)
	l := h.start("-pkce")
	b.open(l.url)
	b.click("Approve").has(t, 200, "Sign-in approved")
	<-asked
	const again = "Answered already"
	b.load(chromedp.Reload()).has(t, 400, again, "go back to your program")
	b.described()
	b.looks("callback-repeated")
	b.load(chromedp.NavigateBack()).has(t, 200, "Allow this sign-in?")
	b.load(chromedp.NavigateForward()).has(t, 400, again)
	b.load(chromedp.NavigateBack())
	b.click("Approve").has(t, 400, again) // with another code
	b.load(chromedp.NavigateBack())
	b.click("Deny").has(t, 400, again)
	release()
	l.succeeds()
	h.signedIn()
	if _, err := chromedp.RunResponse(b.ctx, chromedp.Reload()); err == nil || !strings.Contains(err.Error(), "ERR_CONNECTION_REFUSED") {
		t.Errorf("after the end of the program: %v", err)
	}
	if n := h.exchanges(); n != 1 {
		t.Errorf("codes were sent %d times", n)
	}
	b.only(h.url, l.callback(""))
}

// TestCallbackPageLoadsNothing tries, as script in the callback page would, to
// have the page load or run something, and follows a link from it.
func TestCallbackPageLoadsNothing(t *testing.T) {
	t.Parallel()
	var loaded atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/followed" {
			loaded.Add(1)
		}
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<h1>" + r.Referer() + "</h1>"))
	}))
	t.Cleanup(other.Close)
	h, b := newHost(t), newTab(t)
	l := h.start("-pkce")
	b.open(l.url)
	b.click("Approve").has(t, 200, "Sign-in approved")
	l.succeeds()
	want := []string{"connect-src", "form-action", "frame-src", "img-src", "script-src-elem", "style-src-elem"}
	refused := evaluate[[]string](b, `(async () => {
		const refused = [];
		document.addEventListener("securitypolicyviolation", e => refused.push(e.effectiveDirective));
		const add = (name, more) => document.body.append(Object.assign(document.createElement(name), more));
		add("script", {textContent: "window.ran = 1"});
		add("script", {src: "`+other.URL+`/script"});
		add("img", {src: "`+other.URL+`/image"});
		add("iframe", {src: "`+other.URL+`/frame"});
		add("link", {rel: "stylesheet", href: "`+other.URL+`/style"});
		add("style", {textContent: "h1 { display: none }"});
		add("form", {action: "`+other.URL+`/form", id: "form"});
		document.getElementById("form").submit();
		await fetch("`+other.URL+`/fetch", {mode: "no-cors"}).catch(() => {});
		const end = Date.now() + 10000; // two of them are refused later
		while (new Set(refused).size < `+strconv.Itoa(len(want))+` && Date.now() < end) await new Promise(done => setTimeout(done, 20));
		return [...new Set(refused)].sort();
	})()`)
	if !slices.Equal(refused, want) || loaded.Load() != 0 {
		t.Errorf("the policy refused %q, want %q; %d requests were sent", refused, want, loaded.Load())
	}
	if ran := evaluate[bool](b, `"ran" in window || getComputedStyle(document.querySelector("h1")).display === "none"`); ran {
		t.Error("a script or a style without the nonce had its effect")
	}
	if styled := evaluate[bool](b, `getComputedStyle(document.querySelector("main")).maxWidth !== "none"`); !styled {
		t.Error("the page's own style has no effect")
	}
	// Whatever is opened next is not told the code.
	b.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("main").innerHTML = '<a href="` + other.URL + `/followed">on</a>'`))
	if v := b.load(chromedp.Click(chromedp.CSS("a"))); v.status != 200 || v.Heading != "" || v.Referrer != "" {
		t.Errorf("the next page is told of %q and %q", v.Heading, v.Referrer)
	}
}
