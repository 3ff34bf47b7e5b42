package providers

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

var (
	formTag    = regexp.MustCompile(`<form [^>]*action="([^"]*)"`)
	inputTag   = regexp.MustCompile(`<input [^>]*>`)
	attributes = regexp.MustCompile(`(\w+)="([^"]*)"`)
)

// maxPages is more than any provider here shows.
const maxPages = 8

// browse opens an authorization URL, signs the user in, consents to all that is
// asked, and returns the query of the redirect URI that it ends at.
func browse(t *testing.T, authorizationURL, user string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := loopback(nil)
	client.Jar = jar
	client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), redirectURI) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp, err := client.Get(authorizationURL)
	for range maxPages {
		if err != nil {
			t.Fatal(err)
		}
		page, unread := io.ReadAll(resp.Body)
		resp.Body.Close()
		if unread != nil {
			t.Fatal(unread)
		}
		if at, none := resp.Location(); none == nil {
			return at.Query()
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s answered %s: %.1000s", resp.Request.URL, resp.Status, page)
		}
		action, fields := form(t, page, user)
		resp, err = client.PostForm(resp.Request.URL.ResolveReference(action).String(), fields)
	}
	t.Fatalf("%s shows page after page", authorizationURL)
	return nil
}

// form fills in the form of a page: passwords with "password", and other fields
// that are not hidden with the user's name.
func form(t *testing.T, page []byte, user string) (action *url.URL, fields url.Values) {
	t.Helper()
	found := formTag.FindSubmatch(page)
	if found == nil {
		t.Fatalf("the page has no form: %.1000s", page)
	}
	action, err := url.Parse(html.UnescapeString(string(found[1])))
	if err != nil {
		t.Fatal(err)
	}
	fields = url.Values{}
	for _, input := range inputTag.FindAll(page, -1) {
		a := map[string]string{}
		for _, pair := range attributes.FindAllSubmatch(input, -1) {
			a[string(pair[1])] = html.UnescapeString(string(pair[2]))
		}
		switch a["type"] {
		case "hidden":
			fields.Set(a["name"], a["value"])
		case "password":
			fields.Set(a["name"], "password")
		default:
			fields.Set(a["name"], user)
		}
	}
	return action, fields
}
