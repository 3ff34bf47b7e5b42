package awsoidc_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// keyed remembers the session's key, so that a test can put records there.
type keyed struct {
	cache.Store
	once sync.Once
	key  string
}

func (k *keyed) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.Contains(key, "session") {
		k.once.Do(func() { k.key = key })
	}
	return k.Store.Get(ctx, key)
}

func (k *keyed) read(t *testing.T) []byte {
	t.Helper()
	raw, err := k.Store.Get(t.Context(), k.key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (k *keyed) put(t *testing.T, raw []byte) {
	t.Helper()
	if err := k.Store.Update(t.Context(), k.key, func(context.Context, []byte) ([]byte, error) { return raw, nil }); err != nil {
		t.Fatal(err)
	}
}

// 1
func TestStaleReadDoesNotUndoLogin(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t)}
		signedIn(t, srv, withStore(store))
		src := newSource(t, srv, withStore(store))
		store.afterGet = func(key string) {
			if strings.Contains(key, "session") {
				time.Sleep(30 * time.Second) // a slow store
			}
		}
		go src.Token()
		synctest.Wait()
		store.afterGet = nil
		srv.RevokeSessions() // why the person signs in again
		if err := src.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := src.Token(); err != nil {
			t.Errorf("two hours after Login: %v", err)
		}
	})
}

// 2
func TestUnsavedSignInSurvivesARefresh(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &hooked{Store: newLRU(t), change: refuseSession}
		src := newSource(t, srv, withStore(store))
		t.Log(src.Login(t.Context())) // "this process alone can use it"
		for i := range 3 {
			time.Sleep(2 * time.Hour)
			if _, err := src.Token(); err != nil {
				t.Fatalf("expiry %d: %v; the refresh token in memory is good", i+1, err)
			}
		}
		store.change = nil
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := newSource(t, srv, withStore(store)).Token(); err != nil {
			t.Errorf("Close said that all is saved: %v", err)
		}
	})
}

func member(t *testing.T, raw []byte, name string) string {
	t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	v, _ := m[name].(string)
	return v
}

// 2b
func TestUnsavedSignInDoesNotTurnIntoTheOldSession(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		k := &keyed{Store: newLRU(t)}
		store := &hooked{Store: k}
		signedIn(t, srv, withStore(store)) // Alice
		bearer(t, newSource(t, srv, withStore(store)))
		alice := member(t, k.read(t), "refreshToken")
		sentAlice := false
		src := newSource(t, srv, withStore(store), func(c *awsoidc.Config) {
			c.HTTPClient = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Body != nil {
					b, _ := io.ReadAll(r.Body)
					sentAlice = sentAlice || strings.Contains(string(b), alice)
					r = r.Clone(r.Context())
					r.Body = io.NopCloser(strings.NewReader(string(b)))
				}
				return srv.Transport().RoundTrip(r)
			})}
		})
		store.change = refuseSession
		src.Login(t.Context()) // Bob: "this process alone can use it"
		for range 2 {
			time.Sleep(2 * time.Hour)
			bearer(t, src)
		}
		if sentAlice {
			t.Error("signed in as Bob, the source went on as Alice, whose record Bob's sign-in was to replace")
		}
	})
}

// 3a
func TestRestoredSessionIsNotOverwritten(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &keyed{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store)) // A
		bearer(t, newSource(t, srv, withStore(store)))
		a := store.read(t)
		time.Sleep(30 * time.Minute)
		signedIn(t, srv, withStore(store)) // B, by another program
		time.Sleep(20 * time.Minute)
		bearer(t, src) // A is due: adopts B
		time.Sleep(time.Second)
		if n := refreshes(srv); n != 0 {
			t.Fatalf("%d refreshes", n)
		}
		time.Sleep(3 * time.Hour)
		store.put(t, a) // the person switches back to A: nobody ever sent its refresh token
		bearer(t, src)
		if n := refreshes(srv); n != 1 {
			t.Fatalf("%d refreshes", n)
		}
		other := &keyed{Store: newLRU(t), key: store.key}
		other.put(t, a) // were A refreshed, this would be a reuse
		if _, err := newSource(t, srv, withStore(other)).Token(); err == nil {
			t.Error("B was refreshed, and written over A, which is still good")
		}
	})
}

// 3b
func TestRestoredSessionWhenTheOtherIsOver(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &keyed{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store)) // A
		bearer(t, newSource(t, srv, withStore(store)))
		a := store.read(t)
		time.Sleep(10 * time.Minute)
		signedIn(t, srv, withStore(store)) // B, by another program
		time.Sleep(40 * time.Minute)
		bearer(t, src) // A is due: adopts B
		time.Sleep(2 * time.Hour)
		srv.Inject(idctest.CreateTokenRefresh, idctest.Fault{Type: "InvalidGrantException"})
		_, err := src.Token()
		t.Log(err) // B is over
		store.put(t, a)
		time.Sleep(5 * time.Minute)
		if _, err := src.Token(); err != nil {
			t.Errorf("with the good session A in the store: %v", err)
		}
	})
}

// 4
func TestRecordWithoutRefreshToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &keyed{Store: newLRU(t)}
		signedIn(t, srv, withStore(store))
		bearer(t, newSource(t, srv, withStore(store)))
		without := func() []byte { // a session without a refresh token
			s := newSource(t, srv)
			s.Login(t.Context())
			m := map[string]any{}
			json.Unmarshal(store.read(t), &m)
			delete(m, "refreshToken")
			m["accessToken"] = bearer(t, s)
			m["issuedAt"] = time.Now().UTC().Format(time.RFC3339)
			m["expiresAt"] = time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
			b, _ := json.Marshal(m)
			return b
		}
		first := without()
		withToken := store.read(t)
		store.put(t, first)
		src := newSource(t, srv, withStore(store))
		bearer(t, src)
		time.Sleep(2 * time.Hour)
		store.put(t, withToken) // another tool signs in, with a refresh token
		bearer(t, src)
		srv.RevokeSessions() // signs out
		time.Sleep(2 * time.Hour)
		_, err := src.Token()
		t.Log(err)
		fresh := without() // signs in again, without
		store.put(t, fresh)
		time.Sleep(2 * time.Minute)
		if token, err := src.Bearer(t.Context()); err != nil || token != member(t, fresh, "accessToken") {
			t.Errorf("a valid session is stored, and the source says %v", err)
		}
	})
}

// 5
func TestRoleCredentialsInFlightDuringLogin(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		role := src.RoleCredentials("123456789012", "ReadOnly")
		srv.Inject(idctest.GetRoleCredentials, idctest.Fault{LatencyAfter: 30 * time.Second})
		old := make(chan string, 1)
		go func() {
			c, _ := role.Retrieve(context.Background()) // for Alice
			old <- c.AccessKeyID
		}()
		synctest.Wait()
		if err := src.Login(t.Context()); err != nil { // as Bob
			t.Fatal(err)
		}
		alice := <-old
		time.Sleep(time.Minute)
		bob, err := role.Retrieve(t.Context())
		if err != nil || bob.AccessKeyID == alice {
			t.Errorf("a minute after Login: the role credentials of the replaced session (%v)", err)
		}
	})
}

// 6
func TestLateSaveDoesNotReviveAnInvalidatedToken(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &slowStore{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		store.write = make(chan struct{})
		time.Sleep(2 * time.Hour)
		token := bearer(t, src) // refreshed; still being saved
		if !src.Invalidate(token) {
			t.Fatal("not invalidated")
		}
		close(store.write)
		synctest.Wait()
		if bearer(t, src) == token {
			t.Error("the invalidated token is back")
		}
	})
}

// 7
type slowReturn struct {
	cache.Store
	delay time.Duration
}

func (s *slowReturn) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	d := s.delay
	err := s.Store.Update(ctx, key, fn)
	time.Sleep(d)
	return err
}

func TestLateSettleDoesNotUndoLogin(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		store := &slowReturn{Store: newLRU(t)}
		src := signedIn(t, srv, withStore(store))
		time.Sleep(2 * time.Hour)
		store.delay = 30 * time.Second
		bearer(t, src)
		store.delay = 0
		srv.RevokeSessions()
		if err := src.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := src.Token(); err != nil {
			t.Errorf("two hours after Login: %v", err)
		}
	})
}

// 8
func TestRepairedFileIsUsedAgain(t *testing.T) {
	t.Parallel()
	srv := idctest.New()
	dir := putIssued(t, srv, t.TempDir())
	now := time.Now()
	src := newSource(t, srv, withStore(dir), func(c *awsoidc.Config) { c.Now = func() time.Time { return now } })
	os.Chmod(dir.Filename("corp"), 0o664)
	_, err := src.Token()
	t.Log(err)
	os.Chmod(dir.Filename("corp"), 0o600) // as the error says
	now = now.Add(5 * time.Minute)
	time.Sleep(1100 * time.Millisecond)
	if _, err := src.Token(); err != nil {
		t.Errorf("after chmod 600: %v", err)
	}
}

// 8b
func TestLoginWhenExclusionIsLost(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		once := false
		store := &hooked{Store: newLRU(t)}
		store.change = func(key string, v []byte, err error) ([]byte, error) {
			if v != nil && strings.Contains(key, "session") && !once {
				once = true
				return nil, cache.ErrLost // somebody removed the lock file
			}
			return v, err
		}
		src := newSource(t, srv, withStore(store))
		if err := src.Login(t.Context()); err != nil {
			t.Errorf("%v; want it saved by a second Update at once", err)
		}
	})
}
