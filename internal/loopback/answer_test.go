package loopback

import (
	"net/url"
	"strings"
	"testing"
)

func FuzzCallback(f *testing.F) {
	const state = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	for _, query := range []string{
		"code=a&state=" + state, "error=access_denied&error_description=a%0Ab&state=" + state, "code=a&code=b&state=" + state,
		"code=a&iss=b&state=" + state, "state=" + state + "&state=" + state, "code=a;b&state=" + state, "%", "",
	} {
		f.Add(query)
	}
	e := Expected{State: state, Issuers: []string{"https://a.example"}}
	f.Fuzz(func(t *testing.T, query string) {
		a, ok := e.check(query)
		if !ok {
			if a != (Answer{}) {
				t.Errorf("refused, yet %+v", a)
			}
			return
		}
		if values, err := url.ParseQuery(query); err != nil || len(values["state"]) != 1 || values.Get("state") != state {
			t.Errorf("%q was taken", query)
		}
		if (a.Code == "") == (a.Err == nil) || !isVisibleASCII(a.Code) {
			t.Errorf("%q gives %+v", query, a)
		}
		if a.Err != nil && (strings.ContainsAny(a.Err.Error(), "\n\r\x00\x1b") || len(a.Err.Error()) > 500) {
			t.Errorf("%q gives %q", query, a.Err)
		}
	})
}
