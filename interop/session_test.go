package interop

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	"github.com/aws/aws-sdk-go-v2/service/sso/types"

	"github.com/awsoidc/awsoidc/idctest"
)

// signIn signs in with ./examples/login.
func (h *host) signIn(s signIn, args ...string) {
	h.t.Helper()
	out := h.must("login", append([]string{"-profile", s.profile, "-no-browser"}, args...)...)
	if u, err := url.Parse(strings.TrimSuffix(out, "\n")); err != nil || u.Host == "" || u.Query().Get("user_code") == "" {
		h.t.Errorf("./examples/login printed %q, want the URL to open", out)
	}
}

// TestSession checks that every client takes credentials from a session that
// ./examples/login left by either grant, and has no need to change it.
func TestSession(t *testing.T) {
	for _, test := range []struct {
		name   string
		signIn func(h *host, s signIn, args ...string)
		of     signIn
	}{
		{"dev", (*host).signIn, dev},
		{"dev by code", (*host).signInByCode, dev},
		{"legacy", (*host).signIn, legacy},
	} {
		s := test.of
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t)
			test.signIn(h, s)
			h.record(s.token)
			h.record(s.registration)
			listed(t, h, s)
			before := h.snapshot()
			each(t, s, func(t *testing.T, c client) {
				h := h.in(t)
				accepts(t, h, c, s)
				if after := h.snapshot(); after != before {
					t.Errorf("the cache holds\n%safter the client, and before it\n%s", after, before)
				}
			})
		})
	}
}

// listed checks that the SDK's client of the portal takes the session's token.
func listed(t *testing.T, h *host, s signIn) {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(s.region))
	if err != nil {
		t.Fatal(err)
	}
	token, account := h.accessToken(s), "123456789012"
	out, err := sso.NewFromConfig(cfg).ListAccountRoles(t.Context(), &sso.ListAccountRolesInput{AccessToken: &token, AccountId: &account})
	if err != nil || !slices.ContainsFunc(out.RoleList, func(r types.RoleInfo) bool { return aws.ToString(r.RoleName) == s.role }) {
		t.Errorf("the portal does not list role %s: %v", s.role, err)
	}
}

// TestRefreshInTurn checks that every client refreshes a session which this
// library wrote, that this library goes on from what the client wrote, and the
// client from that.
func TestRefreshInTurn(t *testing.T) {
	for _, grant := range grants {
		t.Run(grant.name, func(t *testing.T) {
			each(t, dev, func(t *testing.T, c client) {
				h := newHost(t)
				grant.signIn(h, dev)
				refreshInTurn(t, h, c)
			})
		})
	}
}

func refreshInTurn(t *testing.T, h *host, c client) {
	first := h.accessToken(dev)

	h.expire(dev)
	accepts(t, h, c, dev)
	if n := h.refreshes(); n != 1 {
		t.Fatalf("the client refreshed %d times, want once", n)
	}
	theirs := h.accessToken(dev)
	if theirs == first || theirs != h.record(dev.token)["accessToken"] || h.refreshes() != 1 {
		t.Errorf("the client's session was not adopted (%d refreshes)", h.refreshes())
	}

	h.expire(dev)
	ours := h.accessToken(dev)
	if ours == theirs || h.refreshes() != 2 {
		t.Errorf("the client's session was not refreshed (%d refreshes)", h.refreshes())
	}
	h.expire(dev)
	accepts(t, h, c, dev)
	if n := h.refreshes(); n != 3 {
		t.Errorf("the client did not refresh this library's session (%d refreshes)", n)
	}
	if n := h.registrations(); n != 1 {
		t.Errorf("%d clients were registered, want one", n)
	}
	h.noReuse()
}

// TestAfterTrouble checks that what this library leaves in the cache when a
// refresh fails is in no client's way, and that it goes on from their session.
func TestAfterTrouble(t *testing.T) {
	h := newHost(t)
	h.signIn(dev)
	h.expire(dev)
	h.srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Times: idctest.Always, Status: http.StatusServiceUnavailable})
	if out, err := h.run("token", "-profile", dev.profile); err == nil || out != "" {
		t.Errorf("the service is in trouble, and ./examples/token printed %q", out)
	}
	h.srv.ClearFaults()
	each(t, dev, func(t *testing.T, c client) {
		h := h.in(t)
		h.expire(dev)
		before := h.refreshes()
		accepts(t, h, c, dev)
		h.accessToken(dev)
		if n := h.refreshes() - before; n != 1 {
			t.Errorf("%d refreshes, want the client's alone", n)
		}
		h.noReuse()
	})
}

// TestCredentialProcess checks that every client takes what
// ./examples/credential-process prints.
func TestCredentialProcess(t *testing.T) {
	h := newHost(t)
	h.signIn(dev)
	config := h.read(h.path(".aws/config"))
	h.write(h.path(".aws/config"), fmt.Appendf(config, "\n[profile %s]\nregion = eu-west-1\ncredential_process = %s -profile %s\n",
		process.profile, filepath.ToSlash(filepath.Join(programs, "credential-process")), dev.profile))
	each(t, process, func(t *testing.T, c client) {
		h := h.in(t)
		h.expire(dev)
		before := h.refreshes()
		accepts(t, h, c, process)
		if n := h.refreshes() - before; n != 1 {
			t.Errorf("%d refreshes, want one", n)
		}
	})
}

// TestRoleCredentialsInTurn checks that the AWS CLI uses the role credentials
// that ./examples/credential-process has kept, and the other way round. Version
// 1 keeps none.
func TestRoleCredentialsInTurn(t *testing.T) {
	eachSigningIn(t, func(t *testing.T, h *host, cli func(args ...string)) {
		portal := func(want int) {
			t.Helper()
			if n := h.srv.Count(idctest.GetRoleCredentials).Succeeded; n != want {
				t.Errorf("the portal was asked %d times, want %d", n, want)
			}
		}
		h.signIn(dev)
		h.must("credential-process", "-profile", dev.profile)
		cli("sts", "get-caller-identity", "--profile", dev.profile)
		portal(1)

		os.RemoveAll(h.path(".aws/cli"))
		cli("sso", "login", "--no-browser", "--profile", dev.profile)
		cli("sts", "get-caller-identity", "--profile", dev.profile)
		portal(2)
		h.must("credential-process", "-profile", dev.profile)
		portal(2)

		cli("sso", "logout")
		if _, err := h.run("credential-process", "-profile", dev.profile); err == nil {
			t.Error("credentials after aws sso logout")
		}
	})
}

// TestLoadDefaultConfig checks that the official STS client works with what
// profile.LoadDefaultConfig returns, in a program of its own.
func TestLoadDefaultConfig(t *testing.T) {
	for _, s := range []signIn{dev, legacy} {
		t.Run(s.profile, func(t *testing.T) {
			h := newHost(t)
			h.signIn(s)
			wantRole(t, strings.TrimSuffix(h.must("aws-config", "-profile", s.profile), "\n"), s)
			if n := h.srv.Count(idctest.GetCallerIdentity).Succeeded; n != 1 {
				t.Errorf("STS was asked %d times, want once", n)
			}
		})
	}
}
