package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// notAsked is the heading of the page for a callback that is not used.
const notAsked = "Not the sign-in that was asked for"

// newSite serves a page of another origin, and returns its URL.
func newSite(t *testing.T) string {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<!DOCTYPE html><link rel=icon href='data:,'><title>elsewhere</title><script>document.title = 'script ran'</script><h1>elsewhere</h1>"))
	}))
	t.Cleanup(site.Close)
	return site.URL
}

// TestForgedInAddressBar opens what is not the callback, as by a link; then the
// sign-in goes on.
func TestForgedInAddressBar(t *testing.T) {
	t.Parallel()
	h, b := newHost(t), newTab(t)
	l := h.start("-pkce")
	state := l.query("state")
	b.open(newSite(t))
	for _, query := range []string{
		"code=forged&state=forged", "error=access_denied&state=forged", "error=access_denied", "code=forged", "",
		"code=forged&state=" + state[1:], "code=forged&state=" + state + "&state=" + state,
	} {
		page := b.open(l.callback(query))
		page.has(t, 400, notAsked, "was not used", "close this window")
		if strings.Contains(page.Text+page.Title, "forged") {
			t.Errorf("the page has something of the query: %s", page.Text)
		}
	}
	// A name that leads to this machine is no loopback address, even with the
	// right state: pages of that name could read the answer.
	good := l.callback("code=forged&state=" + state)
	b.open(strings.Replace(good, "127.0.0.1", "rebound.localhost", 1)).has(t, 400, notAsked)
	b.open(strings.Replace(good, "127.0.0.1", "localhost", 1)).has(t, 400, notAsked)
	b.open(strings.Replace(good, "/oauth/callback", "/", 1)).has(t, 404, "Nothing here")

	b.open(l.url)
	b.click("Approve").has(t, 200, "Sign-in approved")
	l.succeeds()
	h.signedIn()
	if n := h.exchanges(); n != 1 {
		t.Errorf("codes were sent %d times", n)
	}
}

// TestForgedByAnotherSite lets a page of another origin send what is not the
// callback in all the ways that a page has, with the right state where the
// method is wrong.
func TestForgedByAnotherSite(t *testing.T) {
	t.Parallel()
	h, b := newHost(t), newTab(t)
	l := h.start("-pkce")
	b.open(newSite(t))
	forged, posted := l.callback("code=forged&state=forged"), l.callback("code=forged&state="+l.query("state"))
	read := evaluate[int](b, fmt.Sprintf(`(async () => {
		const forged = %q, posted = %q;
		let read = 0;
		const loaded = (name, more) => new Promise(done => {
			document.body.append(Object.assign(document.createElement(name), more, {onload: done, onerror: done}));
		});
		const fetched = (url, more) => fetch(url, more).then(r => { if (r.type !== "opaque") read++ }, () => {});
		await Promise.all([
			fetched(forged + "&by=fetch"),
			fetched(forged + "&by=no-cors", {mode: "no-cors"}),
			fetched(forged + "&by=credentials", {mode: "no-cors", credentials: "include"}),
			fetched(posted + "&by=fetch", {method: "POST", mode: "no-cors", body: "state=forged"}),
			fetched(posted + "&by=preflight", {method: "PUT"}),
			loaded("img", {src: forged + "&by=img"}),
			loaded("script", {src: forged + "&by=script"}),
			loaded("iframe", {src: forged + "&by=iframe"}),
			loaded("link", {rel: "stylesheet", href: forged + "&by=link"}),
		]);
		navigator.sendBeacon(posted + "&by=beacon");
		const form = Object.assign(document.createElement("form"), {method: "post", action: posted + "&by=form", id: "form"});
		document.body.append(form);
		return read;
	})()`, forged, posted))
	if read != 0 {
		t.Errorf("the other site could read %d answers", read)
	}
	b.load(chromedp.Evaluate[chromedp.Void](`document.getElementById("form").submit()`)).has(t, 405, "Nothing here")
	answered := map[string]int64{}
	for _, r := range b.sent() {
		if _, by, ok := strings.Cut(r.url, "&by="); ok {
			answered[r.method+" "+by] = r.status
		}
	}
	for request, want := range map[string]int64{
		"GET fetch": 400, "GET no-cors": 400, "GET credentials": 400, "GET img": 400, "GET script": 400, "GET iframe": 400, "GET link": 400,
		"POST fetch": 405, "POST form": 405,
	} {
		if answered[request] != want {
			t.Errorf("%s got status %d, want %d", request, answered[request], want)
		}
	}
	b.open(l.url)
	b.click("Approve").has(t, 200, "Sign-in approved")
	l.succeeds()
	h.signedIn()
}

// TestDecidedByAnotherSite lets a page of another origin post the decision in
// the person's place, to the fake service.
func TestDecidedByAnotherSite(t *testing.T) {
	t.Parallel()
	h, b := newHost(t), newTab(t)
	for _, grant := range []string{"-pkce", "-device"} {
		l := h.start(grant)
		b.open(newSite(t))
		b.decideFromHere(l.url).has(t, 403, "Not from this page", "was not carried out")
		b.open(l.url)
		b.click("Deny")
		l.fails("access was denied")
	}
	h.notSignedIn()
}

// decideFromHere posts a form of the page that is open to an approval page.
func (b *tab) decideFromHere(approvalPage string) view {
	b.t.Helper()
	return b.load(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`(() => {
		const form = Object.assign(document.createElement("form"), {method: "post", action: %q});
		form.append(Object.assign(document.createElement("input"), {name: "action", value: "approve"}));
		document.body.append(form);
		form.submit();
	})()`, approvalPage)))
}

// TestFlood approves in one tab while another site floods the listener from
// another tab.
func TestFlood(t *testing.T) {
	t.Parallel()
	h, b := newHost(t), newTab(t)
	l := h.start("-pkce")
	flood := b.another()
	flood.open(newSite(t))
	sent := evaluate[int](flood, fmt.Sprintf(`(async () => {
		let sent = 0;
		const one = () => fetch(%q + sent++, {mode: "no-cors"}).catch(() => {});
		await Promise.all(Array.from({length: 200}, one));
		for (let i = 0; i < 20; i++) (async () => { for (;;) await one() })();
		return sent;
	})()`, l.callback("error=access_denied&state=forged")))
	if sent < 200 {
		t.Errorf("%d forged callbacks were sent", sent)
	}
	b.open(l.url)
	b.click("Approve").has(t, 200, "Sign-in approved")
	l.succeeds()
	h.signedIn()
	refused := 0
	for _, r := range flood.sent() {
		if r.status == 400 {
			refused++
		}
	}
	if refused < 200 {
		t.Errorf("%d forged callbacks were answered", refused)
	}
}
