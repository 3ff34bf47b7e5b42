package awsoidc_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// sealedStore keeps sealed records, and remembers all that it was given.
type sealedStore struct {
	cache.Store
	mu      sync.Mutex
	written bytes.Buffer
	history map[string][][]byte // all records of each key, oldest first
}

func (s *sealedStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		record, err := fn(ctx, old)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.written.Write(record)
		if len(record) > 0 && !bytes.Equal(record, old) {
			if s.history == nil {
				s.history = map[string][][]byte{}
			}
			s.history[key] = append(s.history[key], bytes.Clone(record))
		}
		return record, err
	})
}

func encrypted(t *testing.T, inner cache.Store, secret string, namespace ...string) cache.Store {
	t.Helper()
	key, err := cache.NewEncryptionKey("2026", bytes.Repeat([]byte(secret), 32))
	if err != nil {
		t.Fatal(err)
	}
	key.Namespace = strings.Join(namespace, "")
	store, err := cache.NewEncrypted(inner, key)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// wantSealed fails the test where what was written shows one of the secrets.
func (s *sealedStore) wantSealed(t *testing.T, records int, secrets []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := bytes.Count(s.written.Bytes(), []byte(`"awsoidcSealed":1`)); n < records {
		t.Errorf("%d sealed records were written, want %d at least", n, records)
	}
	for _, secret := range append(secrets, "accessToken", "refreshToken", "clientSecret") {
		if secret == "" || bytes.Contains(s.written.Bytes(), []byte(secret)) {
			t.Errorf("the store was given a secret, or the test does not know it: %d bytes", len(secret))
		}
	}
}

func TestTokenSourceOverAnEncryptedStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RotateRefreshTokens, srv.DetectReuse = true, true
		inner := &sealedStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(encrypted(t, inner, "k")))
		secrets := []string{bearer(t, src)}
		time.Sleep(2 * time.Hour)
		secrets = append(secrets, bearer(t, src))
		if secrets[0] == secrets[1] || refreshes(srv) == 0 {
			t.Error("the session was not refreshed")
		}
		other := newSource(t, srv, withStore(encrypted(t, inner, "k")))
		if bearer(t, other) != secrets[1] {
			t.Error("another process has another session")
		}
		inner.wantSealed(t, 3, secrets)
	})
}

func TestTokenSourceWithoutARotationKey(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		inner := &sealedStore{Store: newLRU(t)}
		token := bearer(t, signedIn(t, srv, withStore(encrypted(t, inner, "k"))))
		key, err := cache.NewEncryptionKey("2027", bytes.Repeat([]byte("n"), 32))
		if err != nil {
			t.Fatal(err)
		}
		store, err := cache.NewEncrypted(inner, key)
		if err != nil {
			t.Fatal(err)
		}
		early := newSource(t, srv, withStore(store))
		for range 2 {
			_, err := early.Bearer(t.Context())
			if err == nil || !strings.Contains(err.Error(), `"2026"`) {
				t.Errorf("error %v; want one that names the missing key", err)
			}
			early.Login(t.Context())
		}
		again := newSource(t, srv, withStore(encrypted(t, inner, "k")))
		if bearer(t, again) != token {
			t.Error("the session was lost")
		}
	})
}

func TestExchangerOverAnEncryptedStore(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		inner := &sealedStore{Store: newLRU(t)}
		over := func(c *awsoidc.ExchangerConfig) { c.Store = encrypted(t, inner, "k") }
		secrets := []string{accessToken(t, newExchanger(t, srv, over).Identity(jane, fresh(jane)))}
		second := newExchanger(t, srv, over)
		if accessToken(t, second.Identity(jane, awsoidc.Assertion{})) != secrets[0] || exchanges(srv) != 1 {
			t.Errorf("%d exchanges; want one for both", exchanges(srv))
		}
		inner.wantSealed(t, 1, secrets)
	})
}
