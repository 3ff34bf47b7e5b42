package awsoidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// rewritten is a store in which instead, if there is one, was put without a
// lock in the place of the session.
type rewritten struct {
	keyed
	instead []byte
}

func (s *rewritten) Get(ctx context.Context, key string) ([]byte, error) {
	raw, err := s.keyed.Get(ctx, key)
	if key == s.key && s.instead != nil {
		return s.instead, nil
	}
	return raw, err
}

// A tool that takes no lock may write a record back while its refresh token is
// being refused: the same refresh token is then not sent a second time.
func TestRefusedRefreshTokenIsNotSentAgain(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &rewritten{keyed: keyed{Store: newLRU(t)}}
		src := signedIn(t, srv, withStore(store), around(srv, func(r *http.Request, resp *http.Response) {
			if resp.StatusCode != http.StatusBadRequest {
				return
			}
			record := map[string]any{}
			json.Unmarshal(store.read(t), &record)
			record["accessToken"] = "another"
			store.instead, _ = json.Marshal(record)
		}))
		time.Sleep(2 * time.Hour)
		bearer(t, src)
		srv.RevokeSessions()
		time.Sleep(2 * time.Hour)
		before := refreshes(srv)
		if _, err := src.Token(); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired", err)
		}
		if n := refreshes(srv) - before; n != 1 {
			t.Errorf("a refused refresh token was sent %d times", n)
		}
	})
}

// A server may answer 401 for reasons of its own. A token that can't be
// refreshed is all there is.
func TestRefusedTokenThatCannotBeRefreshed(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv, func(c *awsoidc.Config) { c.SessionName = "" }) // no scopes, so no refresh token
		token := bearer(t, src)
		if !src.Invalidate(token) {
			t.Error("not invalidated")
		}
		if _, err := src.Token(); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("just after a 401: %v, want ErrLoginRequired", err)
		}
		time.Sleep(61 * time.Second)
		if bearer(t, src) != token {
			t.Error("a minute later: another token")
		}
	})
}
