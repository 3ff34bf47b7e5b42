//go:build unix

package rediscache_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc/cache/rediscache"
)

// A server is a real redis-server, of this test alone.
type server struct {
	t    testing.TB
	args []string
	addr string // host and port, or the path of a socket
	cmd  *exec.Cmd
}

// lacking skips a test of a program that is not installed, or fails it where
// every one is required.
func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("AWSOIDC_INTEROP") == "required" {
		t.Fatalf("%s; AWSOIDC_INTEROP=required says that it must be there", what)
	}
	t.Skip(what)
}

// startServer starts a redis-server that keeps its data as the documentation
// says, on a socket in a folder of its own.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	dir := folder(t)
	socket := filepath.Join(dir, "s")
	s := &server{t: t, addr: socket, args: append([]string{
		"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
	}, args...)}
	s.start()
	return s
}

// folder returns a folder whose path is short enough for a socket in it.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "awsoidc-redis-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *server) start() {
	s.t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		lacking(s.t, "redis-server is not installed")
	}
	first := s.cmd == nil
	s.cmd = exec.Command(path, s.args...)
	s.cmd.Dir = os.TempDir()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if first {
		s.t.Cleanup(s.kill)
	}
	client := s.client(s.t)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := client.Ping(s.t.Context()).Err()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("redis-server does not answer: %v", err)
		}
	}
}

// kill ends the server at once: what it has not written is lost.
func (s *server) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *server) restart() {
	s.t.Helper()
	s.kill()
	s.start()
}

func (s *server) signal(signal syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Error(err)
	}
}

// pause stops the server for a while.
func (s *server) pause(d time.Duration) {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	time.Sleep(d)
	s.signal(syscall.SIGCONT)
}

func (s *server) client(t testing.TB) *redis.Client { return newClient(t, s.addr) }

// newClient returns a client of a server, which is closed when the test ends.
func newClient(t testing.TB, addr string) *redis.Client { return newClientOf(t, clientOptions(addr)) }

func newClientOf(t testing.TB, o *redis.Options) *redis.Client {
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

func clientOptions(addr string) *redis.Options {
	o := &redis.Options{Addr: addr, ContextTimeoutEnabled: true}
	if filepath.IsAbs(addr) {
		o.Network = "unix"
	}
	return o
}

func newStore(t testing.TB, client redis.UniversalClient, o rediscache.Options) *rediscache.Store {
	t.Helper()
	store, err := rediscache.New(client, o)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// put makes record the key's record.
func put(t testing.TB, s interface {
	Update(context.Context, string, func(context.Context, []byte) ([]byte, error)) error
}, key, record string) {
	t.Helper()
	err := s.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return []byte(record), nil })
	if err != nil {
		t.Fatal(err)
	}
}

// freePorts returns ports of the loopback address that nobody listens on.
func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// startCluster starts a Redis Cluster of three servers, and returns their
// addresses.
func startCluster(t testing.TB) (servers []*server, addrs []string) {
	t.Helper()
	const size, slots = 3, 16384
	ports := freePorts(t, 2*size)
	for i := range size {
		dir := folder(t)
		s := &server{t: t, addr: fmt.Sprint("127.0.0.1:", ports[2*i]), args: []string{
			"--bind", "127.0.0.1", "--port", fmt.Sprint(ports[2*i]), "--dir", dir, "--save", "",
			"--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(ports[2*i+1]), "--cluster-node-timeout", "2000",
		}}
		s.start()
		servers, addrs = append(servers, s), append(addrs, s.addr)
	}
	for i, s := range servers {
		c := s.client(t)
		check(t, c.ClusterAddSlotsRange(t.Context(), i*slots/size, (i+1)*slots/size-1).Err())
		check(t, c.Do(t.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		check(t, servers[0].client(t).Do(t.Context(), "CLUSTER", "MEET", "127.0.0.1", ports[2*i], ports[2*i+1]).Err())
	}
	for _, s := range servers {
		c := s.client(t)
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			info, err := c.ClusterInfo(t.Context()).Result()
			check(t, err)
			if contains(info, "cluster_state:ok") && contains(info, fmt.Sprint("cluster_known_nodes:", size)) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the cluster does not come up: %s", info)
			}
		}
	}
	return servers, addrs
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// universalClient returns a client of one server, or of a Cluster.
func universalClient(addrs []string) redis.UniversalClient {
	if len(addrs) == 1 {
		return redis.NewClient(clientOptions(addrs[0]))
	}
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
}
