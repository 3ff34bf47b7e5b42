package providers

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// startZitadel starts zitadel/oidc's provider with its example's pages and
// storage, for as long as the test runs.
func startZitadel(t *testing.T) *provider {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	clients := map[string]*storage.Client{
		withJTI:    storage.NativeClient(withJTI, redirectURI),
		withoutJTI: storage.NativeClient(withoutJTI, redirectURI),
	}
	// The logger becomes the process's own: only this provider uses that.
	server.Config.Handler = exampleop.SetupServer(issuer,
		zitadelStorage{storage.NewStorageWithClients(zitadelUsers{}, clients)}, slog.New(slog.DiscardHandler), false)
	server.Start()
	t.Cleanup(server.Close)
	return discovered(t, issuer, func(client string) string { return client })
}

// zitadelStorage is the example's, but that access tokens are JWTs, and ID
// tokens of one client have a jti.
type zitadelStorage struct{ *storage.Storage }

func (s zitadelStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return zitadelClient{c}, nil
}

func (s zitadelStorage) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	if request.GetClientID() == withJTI {
		info.AppendClaims("jti", rand.Text())
	}
	return s.Storage.SetUserinfoFromRequest(ctx, info, request, scopes)
}

type zitadelClient struct{ op.Client }

func (zitadelClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// zitadelUsers are those of users. They have IDs of their own.
type zitadelUsers struct{}

const zitadelID = "id-of-"

func (u zitadelUsers) GetUserByID(id string) *storage.User {
	return u.GetUserByUsername(strings.TrimPrefix(id, zitadelID))
}

func (zitadelUsers) GetUserByUsername(name string) *storage.User {
	if !slices.Contains(users, name) {
		return nil
	}
	return &storage.User{ID: zitadelID + name, Username: name, Password: "password"}
}

func (zitadelUsers) ExampleClientID() string { return "service" }
