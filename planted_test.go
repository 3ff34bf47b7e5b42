package awsoidc_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// planting is what somebody puts in a store, by key.
type planting map[string][]byte

// plant puts it there, behind everybody's back.
func (r planting) plant(t *testing.T, store cache.Store) {
	t.Helper()
	for key, record := range r {
		err := store.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return record, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantUntouched fails the test where store holds others.
func (r planting) wantUntouched(t *testing.T, store cache.Store) {
	t.Helper()
	for key, record := range r {
		if got, _ := store.Get(t.Context(), key); !bytes.Equal(got, record) {
			t.Errorf("a record that was refused was overwritten: %.60q by %.60q", record, got)
		}
	}
}

func (r planting) truncated() planting {
	for key, record := range r {
		r[key] = record[:len(record)-8]
	}
	return r
}

// first and last return the oldest and the newest of each key's records.
func (s *sealedStore) first() planting { return s.at(func(all [][]byte) []byte { return all[0] }) }
func (s *sealedStore) last() planting {
	return s.at(func(all [][]byte) []byte { return all[len(all)-1] })
}

func (s *sealedStore) at(pick func([][]byte) []byte) planting {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := planting{}
	for key, all := range s.history {
		r[key] = pick(all)
	}
	return r
}

// attacks are what somebody who can write to a store, and has none of its keys,
// puts in place of the true records. Fake returns, for the same keys, the
// records of a session of the attacker's, saved in a store of the attacker's.
func attacks(t *testing.T) map[string]func(truth *sealedStore, fake source) planting {
	return map[string]func(*sealedStore, source) planting{
		"swapped between keys": func(truth *sealedStore, _ source) planting {
			r := truth.last()
			keys := slices.Sorted(maps.Keys(r))
			first := r[keys[0]]
			for i, key := range keys[1:] {
				r[keys[i]] = r[key]
			}
			r[keys[len(keys)-1]] = first
			return r
		},
		"truncated": func(truth *sealedStore, _ source) planting { return truth.last().truncated() },
		"never sealed": func(_ *sealedStore, fake source) planting {
			return fake(func(s *sealedStore) cache.Store { return s })
		},
		"forged": func(_ *sealedStore, fake source) planting {
			return fake(func(s *sealedStore) cache.Store { return encrypted(t, s, "x") })
		},
		"of another namespace": func(_ *sealedStore, fake source) planting {
			return fake(func(s *sealedStore) cache.Store { return encrypted(t, s, "k", "another") })
		},
		"an older version": func(truth *sealedStore, _ source) planting { return truth.first() },
	}
}

type source = func(store func(*sealedStore) cache.Store) planting

// Whatever is planted in the store of a TokenSource, it uses none of it,
// overwrites none of it, and goes on with the true records once they are back.
func TestPlantedSession(t *testing.T) {
	for name, attack := range attacks(t) {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.RotateRefreshTokens, srv.DetectReuse = true, true
				inner := &sealedStore{Store: newLRU(t)}
				src := signedIn(t, srv, withStore(encrypted(t, inner, "k")))
				reader := newSource(t, srv, withStore(encrypted(t, inner, "k"))) // another process
				bearer(t, reader)
				time.Sleep(2 * time.Hour)
				token := bearer(t, src) // refreshed: every record has an older version, or is the attacker's
				if bearer(t, reader) != token {
					t.Fatal("two processes have two sessions")
				}
				var fakeToken string
				truth := inner.last()
				planted := attack(inner, func(store func(*sealedStore) cache.Store) planting {
					own := &sealedStore{Store: newLRU(t)}
					fakeToken = bearer(t, signedIn(t, srv, withStore(store(own))))
					return own.last()
				})
				before := refreshes(srv)
				planted.plant(t, inner)
				if len(planted) < 2 || bearer(t, src) != token {
					t.Error("a valid token is not served")
				}
				time.Sleep(2 * time.Hour)
				for _, victim := range []*awsoidc.TokenSource{src, reader, src} {
					got, err := victim.Bearer(t.Context())
					if !errors.Is(err, awsoidc.ErrLoginRequired) || got != "" || !errors.Is(err, cache.ErrTampered) {
						t.Errorf("got the attacker's token %v, error %v; want ErrLoginRequired for a record that is refused", got == fakeToken, err)
					}
				}
				planted.wantUntouched(t, inner)
				if refreshes(srv) != before || srv.Reuses() != 0 {
					t.Errorf("%d refreshes with what was planted, %d reuses", refreshes(srv)-before, srv.Reuses())
				}

				truth.plant(t, inner)
				time.Sleep(time.Minute) // failures are remembered for a while
				again := bearer(t, src)
				if again == "" || again == token || again == fakeToken || bearer(t, reader) != again || srv.Reuses() != 0 {
					t.Error("the session does not go on")
				}
			})
		})
	}
}

// Who signs in while a planted record is refused is signed in, and told that
// nobody else is.
func TestLoginOverAPlantedSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		inner := &sealedStore{Store: newLRU(t)}
		signedIn(t, srv, withStore(encrypted(t, inner, "k")))
		planted := inner.last().truncated()
		planted.plant(t, inner)
		src := newSource(t, srv, withStore(encrypted(t, inner, "k")))
		if err := src.Login(t.Context()); !errors.Is(err, cache.ErrTampered) {
			t.Errorf("Login: %v; want an error that says that the session is in memory only", err)
		}
		bearer(t, src)
		planted.wantUntouched(t, inner)
	})
}

// What an attacker can do who puts an old record back: a process that has not
// seen the newer one sends a spent refresh token, and the session may end.
// Nothing else happens.
func TestReplayedSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RotateRefreshTokens, srv.DetectReuse = true, true
		inner := &sealedStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(encrypted(t, inner, "k")))
		time.Sleep(2 * time.Hour)
		bearer(t, src)
		inner.first().plant(t, inner)
		late := newSource(t, srv, withStore(encrypted(t, inner, "k")))
		if _, err := late.Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("error %v, want ErrLoginRequired", err)
		}
		if srv.Reuses() != 1 {
			t.Errorf("%d reuses", srv.Reuses())
		}
	})
}

// The same of a user who was forgotten: only a process that has seen that refuses
// the old record.
func TestReplayedIdentity(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		inner := &sealedStore{Store: newLRU(t)}
		over := func(c *awsoidc.ExchangerConfig) { c.Store = encrypted(t, inner, "k") }
		e := newExchanger(t, srv, over)
		token := accessToken(t, e.Identity(jane, fresh(jane)))
		old := inner.last()
		if err := e.Forget(t.Context(), jane); err != nil {
			t.Fatal(err)
		}
		old.plant(t, inner)
		if _, err := e.Identity(jane, awsoidc.Assertion{}).TokenContext(t.Context()); !errors.Is(err, cache.ErrTampered) {
			t.Errorf("where the user was forgotten: %v, want an error that says that the record is refused", err)
		}
		late := newExchanger(t, srv, over)
		if got := accessToken(t, late.Identity(jane, awsoidc.Assertion{})); got != token || exchanges(srv) != 1 {
			t.Error("a process that knows nothing of it has other tokens")
		}
	})
}

// Whatever is planted in the store of an Exchanger, no user gets another's
// tokens, and those who bring an assertion are served.
func TestPlantedIdentity(t *testing.T) {
	mallory := awsoidc.Subject{Issuer: issuer, ID: "mallory"}
	for name, attack := range attacks(t) {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.JWTBearerRefreshTokens = true
				inner := &sealedStore{Store: newLRU(t)}
				over := func(store cache.Store) func(*awsoidc.ExchangerConfig) {
					return func(c *awsoidc.ExchangerConfig) { c.Store = store }
				}
				e := newExchanger(t, srv, over(encrypted(t, inner, "k")))
				seen := map[string]bool{accessToken(t, e.Identity(jane, fresh(jane))): true, accessToken(t, e.Identity(mallory, fresh(mallory))): true}
				time.Sleep(2 * time.Hour)
				seen[accessToken(t, e.Identity(jane, awsoidc.Assertion{}))] = true
				seen[accessToken(t, e.Identity(mallory, awsoidc.Assertion{}))] = true
				truth := inner.last()
				planted := attack(inner, func(store func(*sealedStore) cache.Store) planting {
					own := &sealedStore{Store: newLRU(t)}
					faker := newExchanger(t, srv, over(store(own)))
					seen[accessToken(t, faker.Identity(jane, fresh(jane)))] = true
					seen[accessToken(t, faker.Identity(mallory, fresh(mallory)))] = true
					return own.last()
				})
				planted.plant(t, inner)
				time.Sleep(2 * time.Hour)
				before := iamRefreshes(srv)
				_, err := e.Identity(jane, awsoidc.Assertion{}).TokenContext(t.Context())
				if errors.Is(err, awsoidc.ErrReauthRequired) || !errors.Is(err, cache.ErrTampered) {
					t.Errorf("without an assertion: %v, want one that says that the record is refused", err)
				}
				if token := accessToken(t, e.Identity(jane, fresh(jane))); token == "" || seen[token] {
					t.Error("with an assertion: another's token, or an old one")
				}
				if err := e.Forget(t.Context(), mallory); !errors.Is(err, cache.ErrTampered) {
					t.Errorf("Forget: %v, want an error that says that the store holds more", err)
				}
				planted.wantUntouched(t, inner)
				if n := iamRefreshes(srv) - before; n != 0 {
					t.Errorf("%d refreshes with what was planted", n)
				}

				truth.plant(t, inner)
				if err := e.Forget(t.Context(), mallory); err != nil {
					t.Errorf("Forget: %v", err)
				}
				time.Sleep(2 * time.Hour)
				if token := accessToken(t, e.Identity(jane, awsoidc.Assertion{})); token == "" || seen[token] {
					t.Error("jane's session does not go on")
				}
			})
		})
	}
}

// Nothing of a record can be found in what the store below is given, nor a
// secret in what is logged and returned while records are refused.
func TestEncryptedStoreIsGivenNothing(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RotateRefreshTokens = true
		inner := &sealedStore{Store: newLRU(t)}
		plain := &sealedStore{Store: encrypted(t, inner, "k")}
		var shown syncBuffer
		src := signedIn(t, srv, withStore(plain), func(c *awsoidc.Config) {
			c.Logger = slog.New(slog.NewJSONHandler(&shown, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		for range 3 {
			time.Sleep(2 * time.Hour)
			bearer(t, src)
		}
		values := valuesIn(t, plain.written.Bytes())
		if len(values["refreshToken"]) != 4 || len(values["clientSecret"]) == 0 {
			t.Fatalf("the test does not know the secrets: %v", maps.Keys(values))
		}
		for _, of := range values {
			for _, value := range of {
				if form := findIn(inner.written.String(), value); form != "" {
					t.Errorf("the store was given %q, as %s", value, form)
				}
			}
		}

		planted := inner.first()
		planted.plant(t, inner)
		time.Sleep(2 * time.Hour)
		_, err := src.Bearer(t.Context())
		shown.Write([]byte(err.Error()))
		shown.Write([]byte(src.Login(t.Context()).Error()))
		for _, name := range []string{"refreshToken", "accessToken", "clientSecret"} {
			for _, value := range values[name] {
				if form := findIn(shown.String(), value); form != "" {
					t.Errorf("a %s is shown, as %s", name, form)
				}
			}
		}
	})
}

// valuesIn returns the strings in a sequence of JSON objects, by the member's
// name.
func valuesIn(t *testing.T, objects []byte) map[string][]string {
	t.Helper()
	values := map[string][]string{}
	for d := json.NewDecoder(bytes.NewReader(objects)); d.More(); {
		var object map[string]any
		if err := d.Decode(&object); err != nil {
			t.Fatal(err)
		}
		for name, value := range object {
			if s, ok := value.(string); ok && len(s) >= 8 {
				values[name] = append(values[name], s)
			}
		}
	}
	return values
}

// findIn returns the form in which text holds value, "" where it does not.
func findIn(text, value string) string {
	forms := map[string]string{"it is": value, "hex": hex.EncodeToString([]byte(value))}
	for offset := range 3 { // base64 of something longer has one of three forms of it
		middle := base64.RawStdEncoding.EncodeToString([]byte("xx"[:offset] + value))
		from, to := (offset*8+5)/6, len(middle)-2
		forms["base64, offset "+string(rune('0'+offset))] = middle[from:to]
	}
	for name, form := range forms {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return name
		}
	}
	return ""
}
