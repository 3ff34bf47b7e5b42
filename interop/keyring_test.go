package interop

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	zalando "github.com/zalando/go-keyring"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/keyringcache"
	"github.com/awsoidc/awsoidc/profile"
)

// TestClientsUseWhatIsExported checks that every client gets credentials from
// the access token that a session in the keyring exports, that a refresh exports
// the next one, and that no client has what to refresh it with.
func TestClientsUseWhatIsExported(t *testing.T) {
	zalando.MockInit()
	h := newHost(t)
	export, err := cache.NewDir(h.cache(""))
	if err != nil {
		t.Fatal(err)
	}
	store, err := keyringcache.New(h.path(".config/awsoidc"), keyringcache.Options{
		Export: export, ExportFailed: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := json.Marshal(h.srv.Issue(dev.scopes...))
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"signed in", "refreshed"} {
		err := store.Update(t.Context(), "corp", func(_ context.Context, old []byte) ([]byte, error) {
			if old == nil {
				return issued, nil
			}
			return expired(old)
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(when, func(t *testing.T) {
			src, err := profile.Open(t.Context(), profile.Options{Profile: dev.profile, Store: store})
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			token, err := src.Bearer(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			record := h.in(t).record(dev.token)
			if record["accessToken"] != token || len(record) != 4 {
				t.Errorf("%d members are exported, the session's access token: %v", len(record), record["accessToken"] == token)
			}
			if when == "refreshed" {
				accepts(t, h.in(t), clients()[0], dev)
				return
			}
			each(t, dev, func(t *testing.T, c client) { accepts(t, h.in(t), c, dev) })
		})
	}
	h.noReuse()
	if n := h.refreshes(); n != 1 {
		t.Errorf("%d refreshes, want one", n)
	}
}

// expired returns a session's record as it is when the access token has expired.
func expired(record []byte) ([]byte, error) {
	members := map[string]any{}
	if err := json.Unmarshal(record, &members); err != nil {
		return nil, err
	}
	members["expiresAt"] = stamp(-time.Minute)
	return json.Marshal(members)
}
