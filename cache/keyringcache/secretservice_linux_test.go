package keyringcache_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	zalando "github.com/zalando/go-keyring"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/keyringcache"
)

// These tests start a D-Bus of their own, and GNOME Keyring on it, for processes
// of their own: a client of D-Bus finds its bus once.

// The environment of a child.
const (
	childAction = "KEYRINGCACHE_TEST_ACTION"
	childFolder = "KEYRINGCACHE_TEST_FOLDER"
)

// What a child does, and says on its standard output.
const (
	actIncrement = "increment" // the counter, five times: "done"
	actGet       = "get"       // the record, or what the error is and its text
	actDelete    = "delete"    // the key in the keyring: "done"
)

// patience is how long what should take no time may take.
const patience = time.Minute

func TestMain(m *testing.M) {
	action, folder := os.Getenv(childAction), os.Getenv(childFolder)
	if action == "" {
		os.Exit(m.Run())
	}
	said, err := act(action, folder)
	if err != nil {
		said = fmt.Sprintf("%s: %v", kind(err), err)
	}
	fmt.Println(said)
}

func act(action, folder string) (string, error) {
	ctx := context.Background()
	s, err := keyringcache.New(folder, keyringcache.Options{Timeout: 2 * time.Second})
	if err != nil {
		return "", err
	}
	switch action {
	case actGet:
		record, err := s.Get(ctx, "counter")
		return string(record), err
	case actDelete:
		return "done", zalando.Delete("awsoidc", folder)
	}
	for range 5 {
		err := s.Update(ctx, "counter", func(_ context.Context, old []byte) ([]byte, error) {
			var n int
			if old != nil {
				if err := json.Unmarshal(old, &n); err != nil {
					return nil, err
				}
			}
			return json.Marshal(n + 1)
		})
		if err != nil {
			return "", err
		}
	}
	return "done", nil
}

func kind(err error) string {
	for name, target := range map[string]error{
		"ErrKeyring": keyringcache.ErrKeyring, "ErrKeyLost": keyringcache.ErrKeyLost,
	} {
		if errors.Is(err, target) {
			return name
		}
	}
	if errors.Is(err, cache.ErrMiss) {
		return "ErrMiss"
	}
	return "error"
}

// desktop is a person's session: a bus, a home, and a keyring on it.
type desktop struct {
	home, bus string
	daemon    *exec.Cmd // the keyring, nil where there is none
	stopBus   func()
}

// newDesktop starts a bus without a keyring, on which nothing starts by itself.
func newDesktop(t *testing.T) *desktop {
	t.Helper()
	home, err := os.MkdirTemp("", "kc") // short, for the socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	d := &desktop{home: home}
	config := filepath.Join(home, "bus.conf")
	err = os.WriteFile(config, []byte(`<busconfig><type>session</type><listen>unix:path=`+filepath.Join(home, "bus")+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow eavesdrop="false"/><allow own="*"/></policy></busconfig>`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, "dbus-daemon"), "--config-file="+config, "--nofork", "--nopidfile", "--print-address")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.stopBus = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(d.stopBus)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("dbus-daemon: %v", err)
	}
	d.bus = strings.TrimSpace(line)
	return d
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("AWSOIDC_INTEROP") == "required" {
		t.Fatalf("%s is not installed; AWSOIDC_INTEROP=required says that it must be", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// environ is that of a process of the session.
func (d *desktop) environ() []string {
	return append(os.Environ(), "HOME="+d.home, "XDG_RUNTIME_DIR="+d.home, "XDG_DATA_HOME="+filepath.Join(d.home, "data"),
		"XDG_CONFIG_HOME="+filepath.Join(d.home, "config"), "XDG_CACHE_HOME="+filepath.Join(d.home, "cache"), "DBUS_SESSION_BUS_ADDRESS="+d.bus, "DISPLAY=")
}

// startKeyring starts GNOME Keyring, which is unlocked by the person's password,
// or stays locked where that is "".
func (d *desktop) startKeyring(t *testing.T, password string) {
	t.Helper()
	args := []string{"--foreground", "--components=secrets", "--control-directory=" + d.home}
	if password != "" {
		args = append(args, "--unlock")
	}
	d.daemon = exec.Command(program(t, "gnome-keyring-daemon"), args...)
	d.daemon.Env, d.daemon.Stdin = d.environ(), strings.NewReader(password)
	if err := d.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stopKeyring)
	d.awaitKeyring(t)
}

func (d *desktop) stopKeyring() {
	if d.daemon != nil {
		d.daemon.Process.Kill()
		d.daemon.Wait()
		d.daemon = nil
	}
}

func (d *desktop) connect(t *testing.T) *dbus.Conn {
	t.Helper()
	conn, err := dbus.Connect(d.bus)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

const secrets = "org.freedesktop.secrets"

// awaitKeyring waits until somebody on the bus is the keyring.
func (d *desktop) awaitKeyring(t *testing.T) {
	t.Helper()
	conn := d.connect(t)
	signals := make(chan *dbus.Signal, 100)
	conn.Signal(signals)
	err := conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"))
	if err != nil {
		t.Fatal(err)
	}
	timeout := time.After(patience)
	for {
		var owned bool
		if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, secrets).Store(&owned); err != nil {
			t.Fatal(err)
		}
		if owned {
			return
		}
		select {
		case <-signals:
		case <-timeout:
			t.Fatal("the keyring does not appear on the bus")
		}
	}
}

// child is a process of the session.
func (d *desktop) child(t *testing.T, action, folder string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(d.environ(), childAction+"="+action, childFolder+"="+folder)
	return cmd
}

// wantChild fails the test unless a child's output begins with said.
func (d *desktop) wantChild(t *testing.T, action, folder, said string) {
	t.Helper()
	out, err := d.child(t, action, folder).CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil || !strings.HasPrefix(text, said) || strings.Contains(text, "\n") {
		t.Errorf("%s says %q, %v; want %q", action, out, err, said)
	}
}

func TestSecretService(t *testing.T) {
	d, folder := newDesktop(t), t.TempDir()
	d.startKeyring(t, "the person's password")

	// Processes that make the key at a time agree on one.
	const processes = 6
	var all sync.WaitGroup
	for range processes {
		all.Go(func() { d.wantChild(t, actIncrement, folder, "done") })
	}
	all.Wait()
	d.wantChild(t, actGet, folder, fmt.Sprint(5*processes))
	if all := content(t, folder); !strings.Contains(all, `"awsoidcSealed":1`) {
		t.Errorf("the folder holds %s", all)
	}

	// It is still there after the person has logged out and in.
	d.stopKeyring()
	d.wantChild(t, actGet, folder, "ErrKeyring")
	d.startKeyring(t, "the person's password")
	d.wantChild(t, actGet, folder, fmt.Sprint(5*processes))

	// Locked, with nobody to unlock it.
	d.stopKeyring()
	d.startKeyring(t, "")
	before := content(t, folder)
	d.wantChild(t, actGet, folder, "ErrKeyring")
	d.wantChild(t, actIncrement, folder, "ErrKeyring")
	if content(t, folder) != before {
		t.Error("the folder has changed while the keyring was locked")
	}

	// The key is lost: the record counts as missing, until there is another.
	d.stopKeyring()
	d.startKeyring(t, "the person's password")
	d.wantChild(t, actDelete, folder, "done")
	d.wantChild(t, actGet, folder, "ErrKeyLost")
	d.wantChild(t, actIncrement, folder, "done")
	d.wantChild(t, actGet, folder, "5")
}

func TestNoSecretService(t *testing.T) {
	for name, leave := range map[string]func(*desktop){
		"no service": func(*desktop) {},
		"no bus":     func(d *desktop) { d.stopBus() },
	} {
		t.Run(name, func(t *testing.T) {
			d, folder := newDesktop(t), t.TempDir()
			leave(d)
			d.wantChild(t, actGet, folder, "ErrMiss")
			d.wantChild(t, actIncrement, folder, "ErrKeyring: keyringcache: ")
			if all := content(t, folder); strings.Contains(all, "{") || strings.Contains(all, ".json") {
				t.Errorf("the folder holds %q", all)
			}
		})
	}
}

// hungService is a Secret Service that never answers, or asks a person who is
// not there.
type hungService struct {
	prompts bool
	asked   chan struct{} // holds a value for each question
	over    chan struct{} // closed when the test is
}

// prompt is the D-Bus name of the prompt.
const prompt = dbus.ObjectPath("/org/freedesktop/secrets/prompt/p1")

// Unlock is that of org.freedesktop.Secret.Service.
func (s hungService) Unlock([]dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	s.asked <- struct{}{}
	if !s.prompts {
		<-s.over
	}
	return nil, prompt, nil
}

// Prompt is that of org.freedesktop.Secret.Prompt.
func (s hungService) Prompt(string) *dbus.Error {
	s.asked <- struct{}{}
	return nil
}

func (s hungService) start(t *testing.T, d *desktop) {
	t.Helper()
	conn := d.connect(t)
	for path, name := range map[dbus.ObjectPath]string{"/org/freedesktop/secrets": "org.freedesktop.Secret.Service", prompt: "org.freedesktop.Secret.Prompt"} {
		if err := conn.Export(s, path, name); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := conn.RequestName(secrets, 0); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
}

// A hung keyring, and one whose bus dies while it asks, end in an error.
func TestHungSecretService(t *testing.T) {
	for _, prompts := range []bool{false, true} {
		for _, busDies := range []bool{false, true} {
			t.Run(fmt.Sprintf("prompts %v, bus dies %v", prompts, busDies), func(t *testing.T) {
				t.Parallel()
				d, folder := newDesktop(t), t.TempDir()
				s := hungService{prompts, make(chan struct{}, 100), make(chan struct{})}
				defer close(s.over)
				s.start(t, d)
				if busDies {
					go func() {
						for range map[bool]int{false: 1, true: 2}[prompts] {
							<-s.asked
						}
						d.stopBus()
					}()
				}
				d.wantChild(t, actIncrement, folder, "ErrKeyring: keyringcache: ")
				if all := content(t, folder); strings.Contains(all, "{") {
					t.Errorf("the folder holds %q", all)
				}
			})
		}
	}
}
