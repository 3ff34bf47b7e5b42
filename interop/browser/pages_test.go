package browser

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPages looks at every page that a person can come to: in light and dark,
// on a large and on a small screen, and as a screen reader finds it.
func TestPages(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T, *host, *tab){
		"authorize": func(_ *testing.T, h *host, b *tab) { b.open(h.start("-pkce").url) },
		"authorize-unknown-client": func(_ *testing.T, h *host, b *tab) {
			l := h.start("-pkce")
			b.open(strings.Replace(l.url, l.query("client_id"), "unknown", 1))
		},
		"authorize-elsewhere": func(t *testing.T, h *host, b *tab) {
			b.open(newSite(t))
			b.decideFromHere(h.start("-pkce").url)
		},
		"callback-approved": func(_ *testing.T, h *host, b *tab) {
			b.open(h.start("-pkce").url)
			b.click("Approve")
		},
		"callback-refused": func(_ *testing.T, h *host, b *tab) {
			b.open(h.start("-pkce").url)
			b.click("Deny")
		},
		"callback-failed": func(_ *testing.T, h *host, b *tab) {
			l := h.start("-pkce")
			b.open(l.callback("error=server_error&state=" + l.query("state")))
		},
		"callback-forged": func(_ *testing.T, h *host, b *tab) { b.open(h.start("-pkce").callback("code=a&state=b")) },
		"callback-other-path": func(_ *testing.T, h *host, b *tab) {
			b.open(strings.TrimSuffix(h.start("-pkce").callback(""), "?") + "/")
		},
		"device-enter":       func(_ *testing.T, h *host, b *tab) { b.open(h.url + "/device") },
		"device-enter-wrong": func(_ *testing.T, h *host, b *tab) { b.open(h.url + "/device?user_code=WRNG-WRNG") },
		"device":             func(_ *testing.T, h *host, b *tab) { b.open(h.start("-device").url) },
		"device-approved": func(_ *testing.T, h *host, b *tab) {
			b.open(h.start("-device").url)
			b.click("Approve")
		},
		"device-denied": func(_ *testing.T, h *host, b *tab) {
			b.open(h.start("-device").url)
			b.click("Deny")
		},
		"device-decided": func(t *testing.T, h *host, b *tab) {
			l := h.start("-device")
			if err := h.srv.Deny(l.query("user_code")); err != nil {
				t.Fatal(err)
			}
			b.open(l.url)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, b := newHost(t), newTab(t)
			open(t, h, b)
			b.described()
			b.looks(name)
			b.focused()
		})
	}
}

// described fails the test unless the page says what it is and has, to tools
// that read it out.
func (b *tab) described() {
	b.t.Helper()
	v := b.view()
	if v.Language != "en" || v.Viewport != "width=device-width, initial-scale=1" || !strings.HasPrefix(v.Title, v.Heading) {
		b.t.Errorf("the page is %+v", v)
	}
	var headings []string
	var main bool
	for _, e := range b.elements() {
		switch e.role {
		case "heading":
			headings = append(headings, e.name)
		case "main":
			main = true
		case "button", "textbox", "link":
			if e.name == "" {
				b.t.Errorf("a %s has no name", e.role)
			}
		}
	}
	if !main || len(headings) != 1 || headings[0] == "" || headings[0] != v.Heading {
		b.t.Errorf("the headings are %q; there is a main part: %t", headings, main)
	}
}

// looks fails the test where a page does not fit its window, or has text
// without the contrast of WCAG 2.2 AA (success criterion 1.4.3).
func (b *tab) looks(name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for screen, width := range map[string]int64{"desktop": 1280, "phone": 390, "narrow": 320} {
			b.do(chromedp.EmulateViewport(width, 800), preferring(scheme))
			if wide := evaluate[int64](b, `document.documentElement.scrollWidth`); wide > width {
				b.t.Errorf("%s in %s is %d pixels wide on a screen of %d", name, scheme, wide, width)
			}
			for _, text := range evaluate[[]shown](b, shownText) {
				if c := contrast(text.Colour, text.Ground); !(c >= 4.5) {
					b.t.Errorf("%s in %s: %q has a contrast of %.2f, of %v on %v", name, scheme, text.Text, c, text.Colour, text.Ground)
				}
			}
			b.picture(fmt.Sprintf("%s-%s-%s", name, screen, scheme))
		}
	}
}

func preferring(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// picture keeps a picture of the page where AWSOIDC_SCREENSHOTS says.
func (b *tab) picture(name string) {
	b.t.Helper()
	folder := os.Getenv("AWSOIDC_SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "browser-"+name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// A shown is a piece of text, its colour and that of what is behind it: red,
// green and blue from 0 to 255.
type shown struct {
	Text           string
	Colour, Ground []float64
}

const shownText = `(() => {
	const rgb = colour => {
		const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
		return a === 1 ? [r, g, b] : undefined;
	};
	const ground = e => e ? rgb(getComputedStyle(e).backgroundColor) ?? ground(e.parentElement) : [255, 255, 255];
	const all = [];
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const Text = texts.currentNode.data.trim(), e = texts.currentNode.parentElement;
		if (Text && e.checkVisibility()) all.push({Text, Colour: rgb(getComputedStyle(e).color), Ground: ground(e)});
	}
	for (const e of document.querySelectorAll("input[type=text]")) {
		const Ground = ground(e);
		all.push({Text: e.value || "typed", Colour: rgb(getComputedStyle(e).color), Ground});
		all.push({Text: e.placeholder, Colour: rgb(getComputedStyle(e, "::placeholder").color), Ground});
	}
	return all;
})()`

// contrast is the contrast ratio of two colours, as WCAG 2.2 defines it.
func contrast(a, b []float64) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(rgb []float64) float64 {
	if len(rgb) != 3 {
		return math.NaN() // see-through
	}
	var linear [3]float64
	for i, c := range rgb {
		if c /= 255; c <= 0.04045 {
			linear[i] = c / 12.92
		} else {
			linear[i] = math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*linear[0] + 0.7152*linear[1] + 0.0722*linear[2]
}

// focused goes through the page by keyboard: each button and field is reached
// in turn, and is seen to be.
func (b *tab) focused() {
	b.t.Helper()
	const operable = `[...document.querySelectorAll("button, input:not([type=hidden]), a")]`
	want := evaluate[[]string](b, operable+`.map(e => e.name + "=" + e.value)`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.body.tabIndex = -1; document.body.focus()`))
	var got []string
	for range want {
		b.do(chromedp.KeyEvent(kb.Tab))
		e := evaluate[struct{ Name, Style, Width string }](b, `(() => {
			const e = document.activeElement, s = getComputedStyle(e);
			return {Name: e.name + "=" + e.value, Style: s.outlineStyle, Width: s.outlineWidth};
		})()`)
		got = append(got, e.Name)
		if e.Style != "solid" || e.Width != "3px" {
			b.t.Errorf("%s has the focus, and an outline %s of %s", e.Name, e.Style, e.Width)
		}
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("the keyboard reaches %q, want %q", got, want)
	}
}
