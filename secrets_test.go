package awsoidc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// spyStore remembers every record it was given.
type spyStore struct {
	cache.Store
	written [][]byte
}

func (s *spyStore) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return s.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		record, err := fn(ctx, old)
		s.written = append(s.written, record)
		return record, err
	})
}

// TestSecretsAreNotShown sends every kind of failure through the source and
// searches what it prints and logs for the secrets of its session.
func TestSecretsAreNotShown(t *testing.T) {
	for _, fault := range []idctest.Fault{
		{}, {Status: 503}, {ResetBefore: true}, {Dial: true}, {Type: wire.TypeInvalidGrant}, {Type: wire.TypeInvalidClient},
		{Type: wire.TypeAccessDenied, Reason: "KMS_AccessDeniedException"}, {Body: []byte("garbage")}, {Status: 307},
		{Status: 401, Type: "UnauthorizedException"}, {Status: 403, Type: "ForbiddenException"}, {Hang: true},
	} {
		virtual(t, func(t *testing.T) {
			var shown syncBuffer
			srv := idctest.New()
			store := &spyStore{Store: newLRU(t)}
			src := newSource(t, srv, withStore(store), func(c *awsoidc.Config) {
				c.Logger = slog.New(slog.NewJSONHandler(&shown, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			show := func(values ...any) {
				for _, v := range values {
					fmt.Fprintf(&shown, "%v %+v %#v %s %q\n", v, v, v, v, v)
					slog.New(slog.NewJSONHandler(&shown, nil)).Info("value", "value", v)
					json.NewEncoder(&shown).Encode(v)
				}
			}
			if err := src.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			var secrets []string
			remember := func() {
				token, err := src.Bearer(t.Context())
				if err == nil {
					secrets = append(secrets, token)
				}
				c, err := src.RoleCredentials(account, "ReadOnly").Retrieve(t.Context())
				if err == nil {
					secrets = append(secrets, c.SecretAccessKey, c.SessionToken)
				}
				for _, raw := range store.written {
					var m map[string]string
					json.Unmarshal(raw, &m)
					secrets = append(secrets, m["accessToken"], m["refreshToken"], m["clientSecret"])
				}
			}
			remember()
			fault.Times = idctest.Always
			srv.Inject(idctest.AnyOperation, fault)
			time.Sleep(45 * time.Minute)
			_, err := src.Token()
			show(err)
			time.Sleep(time.Hour)
			_, err = src.Token()
			show(err)
			_, err = src.RoleCredentials(account, "ReadOnly").Retrieve(t.Context())
			show(err, src.Login(t.Context()))
			remember()
			show(src, src.RoleCredentials(account, "ReadOnly"), src.Client("https://api.example.com"))
			found := 0
			for _, secret := range secrets {
				if secret == "" {
					continue
				}
				found++
				if strings.Contains(shown.String(), secret) {
					t.Errorf("a secret was shown after fault %+v", fault)
				}
			}
			if found < 5 {
				t.Fatalf("the test knows %d secrets only", found)
			}
		})
	}
}
