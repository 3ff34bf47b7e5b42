package prompt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/prompt"
)

func verification() awsoidc.Verification {
	return awsoidc.Verification{
		URI:         "https://device.sso.us-east-1.amazonaws.com/",
		URIComplete: "https://device.sso.us-east-1.amazonaws.com/?user_code=BCDF-GHJK",
		UserCode:    "BCDF-GHJK",
		ExpiresAt:   time.Now().Add(10 * time.Minute),
		Session:     "corp",
	}
}

func ExampleTerminal() {
	p := prompt.Terminal(os.Stdout)
	finish, err := p.Prompt(context.Background(), verification()) // Login does this
	if err != nil {
		fmt.Println(err)
		return
	}
	finish(nil)
	// Output:
	// To sign in to corp, approve this code in a browser:
	//
	//     B C D F - G H J K
	//
	// Open this on any device:
	//
	//     https://device.sso.us-east-1.amazonaws.com/?user_code=BCDF-GHJK
	//
	// Or type BCDF-GHJK at https://device.sso.us-east-1.amazonaws.com/
	// Approve only if the page shows the same code. It is valid for 10 minutes.
	// Signed in to corp.
}

func TestPromptWithoutCompleteURL(t *testing.T) {
	for _, complete := range []string{"", verification().URI} {
		v := verification()
		v.URIComplete = complete
		var b strings.Builder
		if _, err := prompt.Terminal(&b).Prompt(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "\n    "+v.URI+"\n") || strings.Contains(b.String(), "Or type") {
			t.Errorf("URIComplete %q: wrote\n%s", complete, &b)
		}
	}
}

func TestValidity(t *testing.T) {
	for left, want := range map[time.Duration]string{
		10 * time.Minute:        "valid for 10 minutes.",
		10*time.Minute - 1:      "valid for 10 minutes.",
		9*time.Minute + 50*1e9:  "valid for 9 minutes.",
		90 * time.Second:        "valid for 90 seconds.",
		time.Second:             "valid for 1 second.",
		-time.Second:            "valid for 0 seconds.",
		2*time.Minute - 1:       "valid for 2 minutes.",
		119 * time.Second:       "valid for 119 seconds.",
		1000 * 1000 * time.Hour: "valid for 60000000 minutes.",
	} {
		synctest.Test(t, func(t *testing.T) {
			v := verification()
			v.ExpiresAt = time.Now().Add(left)
			var b strings.Builder
			if _, err := prompt.Terminal(&b).Prompt(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.String(), want) {
				t.Errorf("%v left: wrote\n%s\nwant %q", left, &b, want)
			}
		})
	}
}

// A failure is told by whoever called Login, and by nobody else.
func TestFinish(t *testing.T) {
	for _, err := range []error{nil, awsoidc.ErrAccessDenied, awsoidc.ErrCodeExpired, context.Canceled, errors.New("canary")} {
		var b strings.Builder
		finish, promptErr := prompt.Terminal(&b).Prompt(t.Context(), verification())
		if promptErr != nil {
			t.Fatal(promptErr)
		}
		b.Reset()
		finish(err)
		want := ""
		if err == nil {
			want = "Signed in to corp.\n"
		}
		if b.String() != want {
			t.Errorf("finish(%v) wrote %q, want %q", err, &b, want)
		}
	}
}

func TestURLs(t *testing.T) {
	var urls, b strings.Builder
	p := prompt.Terminal(&b)
	p.URLs = &urls
	finish, err := p.Prompt(t.Context(), verification())
	if err != nil {
		t.Fatal(err)
	}
	finish(nil)
	if want := verification().URIComplete + "\n"; urls.String() != want {
		t.Errorf("URLs got %q, want %q", &urls, want)
	}
}

func TestOpenURL(t *testing.T) {
	t.Run("opened", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			opened := make(chan string, 1)
			p := prompt.Terminal(&b)
			p.OpenURL = func(u string) error { opened <- u; return nil }
			if _, err := p.Prompt(t.Context(), verification()); err != nil {
				t.Fatal(err)
			}
			if got := <-opened; got != verification().URIComplete {
				t.Errorf("opened %q, want %q", got, verification().URIComplete)
			}
			synctest.Wait()
			if strings.Contains(b.String(), "No browser could be opened") {
				t.Errorf("wrote\n%s", &b)
			}
		})
	})
	t.Run("failed too late to matter", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			p := prompt.Terminal(&b)
			closed := make(chan struct{})
			p.OpenURL = func(string) error { <-closed; return errors.New("killed") }
			finish, err := p.Prompt(t.Context(), verification())
			if err != nil {
				t.Fatal(err)
			}
			finish(nil)
			close(closed)
			synctest.Wait()
			if !strings.HasSuffix(b.String(), "Signed in to corp.\n") {
				t.Errorf("wrote\n%s", &b)
			}
		})
	})
}

func TestUnsafeURLIsNeitherShownNorOpened(t *testing.T) {
	for _, u := range unsafeURLs {
		for _, v := range []awsoidc.Verification{{URI: u, UserCode: "A"}, {URI: "https://a.example", URIComplete: u, UserCode: "A"}} {
			if v.URIComplete == "" && v.URI == "" || v.URI != u && u == "" {
				continue // an absent URIComplete stands for URI
			}
			var b, urls strings.Builder
			p := prompt.Terminal(&b)
			p.URLs = &urls
			p.OpenURL = func(u string) error { t.Errorf("opened %q", u); return nil }
			_, err := p.Prompt(t.Context(), v)
			if err == nil || strings.ContainsAny(err.Error(), "\n\x1b") || b.Len()+urls.Len() > 0 {
				t.Errorf("%q: error %v, wrote %q and %q", u, err, &b, &urls)
			}
		}
		if err := prompt.OpenBrowser(u); err == nil {
			t.Errorf("OpenBrowser(%q) did not fail", u)
		}
	}
}

var unsafeURLs = []string{
	"", "-https://a.example", "--help", "file:///etc/passwd", "javascript:alert(1)", "http://10.0.0.1/", "http://localhost.evil.example/",
	"https://user@a.example/", "https://a.example/\x1b[2J", "https://a.example/?a b", "https://a.example/#\u202e", "https://", "a.example", "//a.example",
}

func TestLoopbackURLIsShown(t *testing.T) {
	for _, u := range []string{"http://127.0.0.1:8080/device?user_code=A", "http://[::1]:1/#/device", "http://localhost/"} {
		if _, err := prompt.Terminal(nil).Prompt(t.Context(), awsoidc.Verification{URI: u}); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestFailingWriter(t *testing.T) {
	p := prompt.Terminal(failingWriter{})
	if _, err := p.Prompt(t.Context(), verification()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("error %v, want one that wraps os.ErrClosed", err)
	}
	p = prompt.Terminal(nil)
	p.URLs = failingWriter{}
	if _, err := p.Prompt(t.Context(), verification()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("URLs: error %v, want one that wraps os.ErrClosed", err)
	}
}

// FuzzPrompt holds that nothing the service sends reaches the terminal as more
// than characters.
func FuzzPrompt(f *testing.F) {
	f.Add("https://a.example", "https://a.example?c=A", "ABCD", "corp")
	f.Add("https://a.example/\x1b]0;x\a", "", "A\x1b[2JB", "co\rrp")
	f.Add("http://127.0.0.1", "https://\u202e", "A\u202eB", "\u0085")
	f.Add("https://a.example/?\x7f", "https://a\x00", "\xff", "\n")
	f.Fuzz(func(t *testing.T, uri, complete, code, session string) {
		var b, urls strings.Builder
		p := prompt.Terminal(&b)
		p.URLs = &urls
		v := awsoidc.Verification{URI: uri, URIComplete: complete, UserCode: code, Session: session}
		finish, err := p.Prompt(t.Context(), v)
		if err != nil {
			return
		}
		finish(nil)
		for _, r := range b.String() + urls.String() {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("wrote %q", r)
			}
		}
		if n := strings.Count(urls.String(), "\n"); n != 1 {
			t.Fatalf("URLs got %d lines", n)
		}
	})
}
