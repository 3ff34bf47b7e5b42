package main_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// fails runs the program with other flags or variables, and fails the test
// unless it ends with one line that has all of the texts.
func (w *world) fails(texts ...string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), program, w.args...)
	cmd.Env = w.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, _ := cmd.Output()
	line := stderr.String()
	if code := cmd.ProcessState.ExitCode(); code != 1 || len(stdout) > 0 || strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, "on-behalf-of: ") {
		w.t.Errorf("it ended with %d, %q, %q", code, stdout, line)
	}
	for _, text := range texts {
		if !strings.Contains(line, text) {
			w.t.Errorf("%q does not say %q", line, text)
		}
	}
	for _, secret := range w.aws.secrets() {
		if strings.Contains(line, secret) {
			w.t.Errorf("a secret is in %q", line)
		}
	}
}

// set gives a flag another value.
func (w *world) set(flag, value string) {
	if i := slices.Index(w.args, flag); i >= 0 {
		w.args[i+1] = value
		return
	}
	w.args = append(w.args, flag, value)
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	notFound := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(notFound.Close)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })

	for _, test := range []struct {
		name, flag, value string
		texts             []string
	}{
		{"no issuer", "-issuer", "", []string{"-issuer is missing", "-h"}},
		{"no audience", "-audience", "", []string{"-audience is missing"}},
		{"no application", "-application", "", []string{"-application is missing"}},
		{"no role", "-role", "", []string{"-role is missing"}},
		{"no region", "-region", "", []string{"-region is missing"}},
		{"no address", "-addr", "", []string{"-addr is missing"}},
		{"http issuer", "-issuer", "http://issuer.example", []string{"-issuer", "https"}},
		{"issuer no URL", "-issuer", "issuer", []string{"-issuer", "https://"}},
		{"issuer with a password", "-issuer", "https://user:pass@issuer.example", []string{"-issuer"}},
		{"issuer nowhere", "-issuer", "http://127.0.0.1:1", []string{"-issuer http://127.0.0.1:1", "refused"}},
		{"no issuer there", "-issuer", notFound.URL, []string{"-issuer " + notFound.URL, "404"}},
		{"application no ARN", "-application", "reports", []string{"Application", "reports", "arn:aws:sso"}},
		{"role no ARN", "-role", "reports", []string{"-role", "reports", "arn:aws:iam"}},
		{"role a user", "-role", "arn:aws:iam::123456789012:user/jane", []string{"-role", "arn:aws:iam"}},
		{"region no region", "-region", "us east", []string{"us east"}},
		{"size 0", "-size", "0", []string{"-size 0"}},
		{"size no number", "-size", "many", []string{"many", "-size", "-h"}},
		{"address taken", "-addr", taken.Addr().String(), []string{"in use", "-addr"}},
		{"address no address", "-addr", "localhost", []string{"localhost", "-addr"}},
		{"unknown flag", "-dynamodb", "table", []string{"-dynamodb", "-h"}},
		{"Redis without a key", "-redis", "127.0.0.1:1", []string{"-redis", "AWSOIDC_ENCRYPTION_KEY", "openssl rand -base64 32"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.set(test.flag, test.value)
			w.fails(test.texts...)
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	t.Run("no credentials", func(t *testing.T) {
		w := newWorld(t)
		w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.Contains(v, "_KEY") })
		w.fails("no AWS credentials", "AWS_PROFILE")
	})
	t.Run("bad endpoint", func(t *testing.T) {
		w := newWorld(t)
		w.env = append(w.env, "AWS_ENDPOINT_URL_SSO_OIDC=http://oidc.example")
		w.fails("AWS_ENDPOINT_URL_SSO_OIDC", "https")
	})
	t.Run("bad encryption key", func(t *testing.T) {
		w := newWorld(t)
		w.set("-redis", "127.0.0.1:1")
		env := w.env
		for _, bad := range []string{"2026", "2026:secret!", "2026:" + shortKey, ":" + encryptionKey[5:]} {
			w.env = append(env[:len(env):len(env)], "AWSOIDC_ENCRYPTION_KEY="+bad)
			w.fails("AWSOIDC_ENCRYPTION_KEY")
		}
	})
	t.Run("no Redis", func(t *testing.T) {
		w := newWorld(t)
		w.env = append(w.env, "AWSOIDC_ENCRYPTION_KEY="+encryptionKey)
		w.set("-redis", "127.0.0.1:1")
		w.fails("-redis 127.0.0.1:1", "see that Redis is up")
	})
	t.Run("password in the address", func(t *testing.T) {
		w := newWorld(t)
		w.env = append(w.env, "AWSOIDC_ENCRYPTION_KEY="+encryptionKey)
		w.set("-redis", "redis://user:canary@127.0.0.1:1")
		w.fails("REDIS_PASSWORD")
	})
	t.Run("one endpoint", func(t *testing.T) {
		w := newWorld(t)
		for i, v := range w.env {
			if url, ok := strings.CutPrefix(v, "AWS_ENDPOINT_URL_STS="); ok {
				w.env[i] = "AWS_ENDPOINT_URL=" + url
			}
		}
		w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "AWS_ENDPOINT_URL_") })
		w.start().whoami(w.issuer.jwt("jane", nil))
	})
}

// The keys must not be fetched from where anybody can give others.
func TestKeysOverHTTP(t *testing.T) {
	w := newWorld(t)
	elsewhere := httptest.NewServer(http.RedirectHandler("http://keys.example/", http.StatusFound))
	t.Cleanup(elsewhere.Close)
	w.issuer.setKeysURL(elsewhere.URL)
	s := w.start()
	s.get("/whoami", "Bearer "+w.issuer.jwt("jane", nil)).refuses(t, http.StatusServiceUnavailable)
	if !strings.Contains(s.stop(), "https") {
		t.Error("the log does not say why")
	}
}

func TestHelp(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), program, "-h").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"Usage: on-behalf-of ", "-issuer", "-audience", "-application", "-role", "-region", "-addr", "-size", "-redis", "/whoami", "/session", "/metrics", "/healthz"} {
		if !strings.Contains(string(out), text) {
			t.Errorf("-h does not say %s", text)
		}
	}
}
