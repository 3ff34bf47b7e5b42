package interop

import (
	"encoding/json"
	"net/http"
	"testing"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/profile"
)

// TestOAuth2 checks that the client of golang.org/x/oauth2 calls a protected
// resource with the tokens of a session in the shared cache, before and after a
// refresh.
func TestOAuth2(t *testing.T) {
	h := newHost(t)
	h.signIn(dev)
	for refreshes, state := range []string{"valid", "expired"} {
		t.Run(state, func(t *testing.T) {
			h := h.in(t)
			if state == "expired" {
				h.expire(dev)
			}
			src, err := profile.Open(t.Context(), profile.Options{Profile: dev.profile})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			client := oauth2.NewClient(t.Context(), src)
			for range 3 {
				resp, err := client.Get(h.url + "/userinfo")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				var who struct{ Sub string }
				if err := json.NewDecoder(resp.Body).Decode(&who); resp.StatusCode != http.StatusOK || err != nil || who.Sub != "jane.doe@example.com" {
					t.Errorf("%s, subject %q, %v", resp.Status, who.Sub, err)
				}
			}
			if n := h.refreshes(); n != refreshes {
				t.Errorf("%d refreshes, want %d", n, refreshes)
			}
		})
	}
	if n := h.srv.Count(idctest.UserInfo).Failed; n != 0 {
		t.Errorf("%d requests were refused", n)
	}
}
