package interop

import (
	"strings"
	"testing"
)

// eachCLI2 runs a test for each AWS CLI that can sign in, which is what version
// 2 added.
func eachCLI2(t *testing.T, test func(t *testing.T, h *host, cli tool)) {
	var any bool
	for _, tool := range awsCLIs() {
		if !strings.HasPrefix(tool.version, "2.") {
			continue
		}
		any = true
		t.Run(tool.version, func(t *testing.T) { test(t, newHost(t), tool) })
	}
	if !any {
		lacking(t, "version 2 of the AWS CLI is not installed")
	}
}

// eachSigningIn is eachCLI2 for tests whose person approves at once. cli runs
// the AWS CLI, which must succeed.
func eachSigningIn(t *testing.T, test func(t *testing.T, h *host, cli func(args ...string))) {
	eachCLI2(t, func(t *testing.T, h *host, tool tool) {
		env := append(h.proxied(), "BROWSER=true") // the command
		test(t, h, func(args ...string) {
			t.Helper()
			if _, err := h.exec(env, tool.path, args...); err != nil {
				t.Fatal(err)
			}
		})
	})
}

// TestCLISignsIn checks that what aws sso login left is used as it is,
// refreshed where it has expired, and its registration used again.
func TestCLISignsIn(t *testing.T) {
	for _, s := range []signIn{dev, legacy} {
		t.Run(s.profile, func(t *testing.T) {
			eachSigningIn(t, func(t *testing.T, h *host, cli func(args ...string)) {
				cli("sso", "login", "--no-browser", "--profile", s.profile)
				before := h.snapshot()
				theirs := h.accessToken(s)
				if theirs != h.record(s.token)["accessToken"] || h.snapshot() != before {
					t.Error("the AWS CLI's session was not used as it is")
				}
				if s.scopes != nil {
					h.expire(s)
					if h.accessToken(s) == theirs || h.refreshes() != 1 {
						t.Errorf("the AWS CLI's session was not refreshed (%d refreshes)", h.refreshes())
					}
					cli("sts", "get-caller-identity", "--profile", s.profile)
				}
				h.signIn(s, "-force")
				cli("sts", "get-caller-identity", "--profile", s.profile)
				if n := h.registrations(); n != 1 {
					t.Errorf("%d clients were registered, want one", n)
				}
				h.noReuse()
			})
		})
	}
}

// TestCLISignsInAgain checks that aws sso login uses a registration of
// ./examples/login, and that this library goes on from its session, until aws
// sso logout ends that.
func TestCLISignsInAgain(t *testing.T) {
	for _, s := range []signIn{dev, legacy} {
		t.Run(s.profile, func(t *testing.T) {
			eachSigningIn(t, func(t *testing.T, h *host, cli func(args ...string)) {
				h.signIn(s)
				ours := h.accessToken(s)
				cli("sso", "login", "--no-browser", "--profile", s.profile)
				if h.accessToken(s) == ours {
					t.Error("the AWS CLI's session was not adopted")
				}
				if n := h.registrations(); n != 1 {
					t.Errorf("%d clients were registered, want one", n)
				}
				cli("sso", "logout", "--profile", s.profile)
				if _, err := h.run("token", "-profile", s.profile); err == nil || !strings.Contains(err.Error(), "login -profile "+s.profile) {
					t.Errorf("after aws sso logout the error is %v, want one that names the command to sign in", err)
				}
			})
		})
	}
}
