package browser

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// A browser is a Chromium that starts when it is first needed.
type browser struct {
	once    sync.Once
	ctx     context.Context // of chromedp
	missing string          // why there is none
	err     error
	cancel  []context.CancelFunc
}

// start returns chromedp's context of the browser. Without Chromium the test
// is skipped, or fails where every program is required.
func (b *browser) start(t *testing.T) context.Context {
	t.Helper()
	b.once.Do(b.launch)
	switch {
	case b.missing != "" && os.Getenv("AWSOIDC_INTEROP") != "required":
		t.Skip(b.missing)
	case b.missing != "":
		t.Fatalf("%s; AWSOIDC_INTEROP=required says that it must be there", b.missing)
	case b.err != nil:
		t.Fatalf("starting Chromium: %v", b.err)
	}
	return b.ctx
}

// launch starts the browser with a new folder for its data. It finds no host
// but this machine.
func (b *browser) launch() {
	path, err := exec.LookPath("chromium")
	if err != nil {
		b.missing = "there is no Chromium: " + err.Error()
		return
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.Headless,
		chromedp.NoSandbox, // which root can't have
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-features", "BackForwardCache"), // going back asks the server again, as it does after a while
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE *.localhost"),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	ctx, closeBrowser := chromedp.NewContext(allocator)
	b.ctx, b.cancel = ctx, []context.CancelFunc{closeBrowser, stop}
	b.err = chromedp.Do(ctx)
}

// stop ends the browser, if it was started.
func (b *browser) stop() {
	for _, cancel := range b.cancel {
		cancel()
	}
}

// A tab is a tab of a browser profile.
type tab struct {
	t       *testing.T
	profile context.Context // without a limit
	ctx     context.Context

	mu       sync.Mutex
	requests []*request
	byID     map[network.RequestID]*request
	hidden   map[network.RequestID]int64 // statuses, for answers that the page does not get
}

// A request is one that a tab sent. Status is 0 until there is an answer.
type request struct {
	id                   network.RequestID
	method, url, referer string
	status               int64
}

// newTab opens a tab of a new profile, without history, cookies and
// connections.
func newTab(t *testing.T) *tab {
	t.Helper()
	return openTab(t, chromium.start(t), chromedp.WithNewBrowserContext())
}

// another opens another tab of the same profile.
func (b *tab) another() *tab { return openTab(b.t, b.profile) }

func openTab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	profile, closeTab := chromedp.NewContext(parent, options...)
	t.Cleanup(closeTab)
	b := &tab{t: t, profile: profile, byID: map[network.RequestID]*request{}, hidden: map[network.RequestID]int64{}}
	if err := chromedp.Listen(profile, b.note); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(profile, 2*time.Minute)
	t.Cleanup(cancel)
	return b
}

func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if strings.HasPrefix(e.Request.URL, "data:") {
			return // nothing is sent
		}
		r := &request{id: e.RequestID, method: e.Request.Method, url: e.Request.URL}
		if e.Request.Headers != nil {
			r.referer, _ = e.Request.Headers["Referer"].(string)
		}
		if before := b.byID[e.RequestID]; before != nil && e.RedirectResponse != nil {
			before.status = e.RedirectResponse.Status
		}
		b.byID[e.RequestID] = r
		b.requests = append(b.requests, r)
	case *network.EventResponseReceived:
		if r := b.byID[e.RequestID]; r != nil {
			r.status = e.Response.Status
		}
	case *network.EventResponseReceivedExtraInfo: // in any order; also of what the page may not see
		b.hidden[e.RequestID] = e.StatusCode
	}
}

// sent returns the requests so far.
func (b *tab) sent() []request {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []request
	for _, r := range b.requests {
		sent := *r
		if sent.status == 0 {
			sent.status = b.hidden[r.id]
		}
		all = append(all, sent)
	}
	return all
}

// forget forgets the requests so far.
func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = nil
}

// do runs steps in the tab.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// load runs steps that lead to another page, and waits for that.
func (b *tab) load(steps ...chromedp.Action[chromedp.Void]) view {
	b.t.Helper()
	response, err := chromedp.RunResponse(b.ctx, steps...)
	if err != nil {
		b.t.Fatal(err)
	}
	v := b.view()
	if response != nil {
		v.status = response.Status
	}
	return v
}

// open enters a URL in the address bar.
func (b *tab) open(url string) view { b.t.Helper(); return b.load(chromedp.Navigate(url)) }

// click clicks on a button, with a mouse, and waits for the page that it leads
// to.
func (b *tab) click(name string) view {
	b.t.Helper()
	return b.load(chromedp.Click(`//button[normalize-space()="` + name + `"]`))
}

// A view is what a person, or a tool that reads to them, is shown.
type view struct {
	Title, Heading, Text string
	Address, Referrer    string
	Language, Viewport   string
	status               int64
}

func (b *tab) view() view {
	b.t.Helper()
	return evaluate[view](b, `({
		Title: document.title,
		Heading: document.querySelector("h1")?.textContent ?? "",
		Text: document.body.innerText,
		Address: location.href,
		Referrer: document.referrer,
		Language: document.documentElement.lang,
		Viewport: document.querySelector("meta[name=viewport]")?.content ?? "",
	})`)
}

// has fails the test unless the page has that status and heading, and each of
// the words.
func (v view) has(t *testing.T, status int64, heading string, words ...string) {
	t.Helper()
	if v.status != status || v.Heading != heading {
		t.Errorf("the page has status %d and heading %q, want %d and %q: %s", v.status, v.Heading, status, heading, v.Text)
	}
	for _, w := range words {
		if !strings.Contains(v.Text, w) {
			t.Errorf("the page lacks %q: %s", w, v.Text)
		}
	}
}

// evaluate returns the value of an expression, which may be a promise.
func evaluate[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%v in %s", err, expression)
	}
	return value
}

// withoutScript turns JavaScript off in the pages of the tab.
func (b *tab) withoutScript() {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
}

// An element is one of the accessibility tree.
type element struct{ role, name string }

// elements returns what a screen reader can read, in the page's order.
func (b *tab) elements() []element {
	b.t.Helper()
	tree, err := chromedp.Run(b.ctx, func(ctx context.Context, target *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
		return cdp.Call(ctx, target, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	text := func(v *accessibility.Value) (s string) {
		if v != nil {
			json.Unmarshal(v.Value, &s) // not every value is a string
		}
		return s
	}
	var all []element
	for _, n := range tree.Nodes {
		if !n.Ignored {
			all = append(all, element{text(n.Role), text(n.Name)})
		}
	}
	return all
}

// hostOf returns the host and port of a URL.
func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
