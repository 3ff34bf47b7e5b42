package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc/idctest"
)

const (
	encryptionKey = "2026:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	shortKey      = "AAECAwQFBgcICQoLDA0ODw=="
	// maxStale is the default of ExchangerConfig.MaxStale.
	maxStale = 10 * time.Second
)

// startRedis starts a redis-server of this test alone, and returns its address.
func startRedis(t *testing.T) (addr string, stop func()) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("AWSOIDC_INTEROP") == "required" {
			t.Fatal("redis-server is not installed; AWSOIDC_INTEROP=required says that it must be there")
		}
		t.Skip("redis-server is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(stop)
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	for deadline := time.Now().Add(30 * time.Second); client.Ping(t.Context()).Err() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
	return addr, stop
}

// send sends a request with a JWT, and returns the status.
func (s *service) send(method, path, jwt string) int {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+jwt)
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Replicas that share Redis exchange each user's JWT once, and forget together.
func TestReplicas(t *testing.T) {
	addr, stop := startRedis(t)
	w := newWorld(t, func(idc *idctest.Server) { idc.JWTBearerRefreshTokens = true })
	w.env = append(w.env, "AWSOIDC_ENCRYPTION_KEY="+encryptionKey)
	w.set("-redis", addr)
	var replicas []*service
	for range 4 {
		replicas = append(replicas, w.start())
	}

	const users = 20
	jwts := make([]string, users)
	var wg sync.WaitGroup
	for user := range users {
		jwts[user] = w.issuer.jwt(fmt.Sprint("user-", user), nil)
		for _, s := range replicas {
			for range 2 {
				wg.Go(func() { s.whoami(jwts[user]) })
			}
		}
	}
	wg.Wait()
	if n := w.exchanges(); n != users || w.idc.Replays() != 0 {
		t.Errorf("%d exchanges of %d users, %d JWTs presented twice", n, users, w.idc.Replays())
	}
	w.noSecretIn(replicas[0], addr)

	if status := replicas[0].send(http.MethodDelete, "/session", jwts[0]); status != http.StatusOK {
		t.Errorf("DELETE /session: %d", status)
	}
	began, last := time.Now(), make([]time.Duration, len(replicas))
	for time.Since(began) < maxStale+3*time.Second { // three more: nobody knows the user again
		for i, s := range replicas {
			if s.send(http.MethodGet, "/whoami", jwts[0]) == http.StatusOK {
				last[i] = time.Since(began)
			}
			s.whoami(jwts[1])
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("replicas knew a forgotten user for %v", last)
	for i, d := range last {
		if d > maxStale+time.Second || i == 0 && d > 0 {
			t.Errorf("replica %d knew the user for %v", i, d)
		}
	}
	if n := w.exchanges(); n != users {
		t.Errorf("%d exchanges of %d users", n, users)
	}

	again := w.issuer.jwt("user-0", nil)
	for _, s := range replicas {
		s.whoami(again)
	}
	if n := w.exchanges(); n != users+1 {
		t.Errorf("%d exchanges after one more sign-in", n)
	}

	stop() // whoever is signed in stays so
	for _, s := range replicas {
		s.whoami(jwts[1])
	}
	if status := replicas[0].send(http.MethodDelete, "/session", jwts[1]); status != http.StatusServiceUnavailable {
		t.Errorf("DELETE /session without Redis: %d", status)
	}
}

// noSecretIn fails the test where Redis has a secret of this world.
func (w *world) noSecretIn(s *service, addr string) {
	w.t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	keys, err := client.Keys(w.t.Context(), "awsoidc:*").Result()
	if err != nil || len(keys) == 0 {
		w.t.Fatalf("%d keys, %v", len(keys), err)
	}
	sealed := 0
	for _, key := range keys {
		value, err := client.Get(w.t.Context(), key).Result()
		if err != nil {
			continue // a lease, or a budget
		}
		s.noSecret("Redis", value)
		if strings.HasPrefix(value, `{"awsoidcSealed":1,`) {
			sealed++
		}
	}
	if sealed < 20 {
		w.t.Errorf("%d sealed records in Redis", sealed)
	}
}
