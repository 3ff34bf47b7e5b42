package awsoidc_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// TestHitRateUnderPressure has a tenth of the users in memory, and compares
// with golang-lru on the same calls.
func TestHitRateUnderPressure(t *testing.T) {
	virtual(t, func(t *testing.T) {
		const users, resident, calls = 2_000, 200, 8_000
		srv := idctest.New()
		srv.AccessTokenLifetime = 24 * time.Hour
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.MaxIdentities = resident
			c.Limiter = awsoidc.NewLimiter(awsoidc.Rates{Exchange: 1e6}, 1)
		})
		peer, _ := lru.New[int, struct{}](resident)
		zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, users-1)
		peerHits := 0
		for range calls {
			time.Sleep(100 * time.Millisecond)
			n := int(zipf.Uint64())
			if _, ok := peer.Get(n); ok {
				peerHits++
			} else {
				peer.Add(n, struct{}{})
			}
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n)}
			accessToken(t, ex.Identity(s, fresh(s)))
		}
		hits := int(ex.Stats().Hits)
		t.Logf("%d hits in %d calls; golang-lru has %d", hits, calls, peerHits)
		if hits < peerHits {
			t.Errorf("%d hits in %d calls; golang-lru has %d", hits, calls, peerHits)
		}
	})
}

// Credentials make room for tokens, and what can be had again for refresh
// tokens that nobody else has.
func TestWhatIsEvictedFirst(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.MaxBytes = 30_000 })
		for n := range 10 {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n)}
			callerOf(t, srv, ex.Identity(s, fresh(s)).Credentials(awsoidc.Role{ARN: accessRole}))
		}
		if stats := ex.Stats(); stats.Bytes > 30_000 || stats.Identities < 10 {
			t.Errorf("%d identities in %d bytes, want all 10 in at most 30,000", stats.Identities, stats.Bytes)
		}
		before := ex.Stats().Credentials
		first := awsoidc.Subject{Issuer: issuer, ID: "0"}
		callerOf(t, srv, ex.Identity(first, awsoidc.Assertion{}).Credentials(awsoidc.Role{ARN: accessRole}))
		if n := ex.Stats().Credentials - before; n != 1 {
			t.Errorf("the credentials that were used longest ago were obtained %d times again, want once", n)
		}
		if n := exchanges(srv); n != 10 {
			t.Errorf("%d exchanges for 10 users", n)
		}
	})
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.MaxIdentities = 16 })
		for n := range 12 {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n)}
			accessToken(t, ex.Identity(s, fresh(s)))
		}
		srv.JWTBearerRefreshTokens = false
		for n := range 100 {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint("without", n)}
			accessToken(t, ex.Identity(s, fresh(s)))
		}
		time.Sleep(2 * time.Hour)
		for n := range 12 {
			accessToken(t, ex.Identity(awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n)}, awsoidc.Assertion{}))
		}
	})
}

// Where places are short and not bytes, one user makes room for another, and the
// others keep their credentials.
func TestCredentialsStayWherePlacesAreShort(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) { c.MaxIdentities = 4 })
		use := func(n int) {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n)}
			callerOf(t, srv, ex.Identity(s, fresh(s)).Credentials(awsoidc.Role{ARN: accessRole}))
		}
		for n := range 5 { // the first makes room for the last
			use(n)
		}
		before := ex.Stats().Credentials
		for n := 1; n < 5; n++ {
			use(n)
		}
		if n := ex.Stats().Credentials - before; n != 0 {
			t.Errorf("credentials were obtained %d times again", n)
		}
	})
}

// Where bytes are short and not places, refresh tokens stay as well: those
// without are left an eighth of the identities that there are.
func TestJunkDoesNotEvictRefreshTokensForTheirBytes(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.MaxBytes = 40_000
			c.Limiter = awsoidc.NewLimiter(awsoidc.Rates{Exchange: 1e6}, 1)
		})
		for n := range 12 {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n)}
			accessToken(t, ex.Identity(s, fresh(s)))
		}
		if bytes := ex.Stats().Bytes; bytes > 35_000 {
			t.Fatalf("12 identities take %d bytes: the test shows nothing", bytes)
		}
		srv.JWTBearerRefreshTokens = false
		for n := range 100 {
			s := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint("without", n)}
			accessToken(t, ex.Identity(s, fresh(s)))
		}
		if bytes := ex.Stats().Bytes; bytes > 40_000 {
			t.Errorf("%d bytes, want at most 40,000", bytes)
		}
		time.Sleep(2 * time.Hour)
		for n := range 12 {
			accessToken(t, ex.Identity(awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(n)}, awsoidc.Assertion{}))
		}
	})
}

// One identity whose role is being assumed does not keep others from being
// evicted for their bytes.
func TestBytesAreBoundedWhileARoleIsAssumed(t *testing.T) {
	virtual(t, func(t *testing.T) {
		const most = 20_000
		srv := idctest.New()
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.MaxBytes = most
			c.Limiter = awsoidc.NewLimiter(awsoidc.Rates{Exchange: 1e6}, 1)
		})
		srv.Inject(idctest.AssumeRole, idctest.Fault{Hang: true, Times: idctest.Always})
		role := ex.Identity(jane, fresh(jane)).Credentials(awsoidc.Role{ARN: accessRole})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := role.Retrieve(ctx); err == nil { // goes on
			t.Fatal("the role was assumed")
		}
		for _, s := range someSubjects(100) {
			accessToken(t, ex.Identity(s, fresh(s)))
		}
		if bytes := ex.Stats().Bytes; bytes > most {
			t.Errorf("%d bytes, want at most %d", bytes, most)
		}
	})
}

// An identity takes about 230 bytes beside its secrets.
func TestMemoryOfAnIdentity(t *testing.T) {
	const n, most = 20_000, 250
	ex, perEntry := withIdentities(t, someSubjects(n))
	if got := ex.Stats().Identities; got != n {
		t.Fatalf("%d identities, want %d", got, n)
	}
	if perEntry > most {
		t.Errorf("an identity takes %.0f bytes beside its secrets, want at most %d", perEntry, most)
	}
}

// Users are found all the while others come and go around them.
func TestHitsAmongChanges(t *testing.T) {
	const regulars, others, most = 100, 4_000, 2_000
	store := &readsCounted{}
	ex := newExchanger(t, idctest.New(), func(c *awsoidc.ExchangerConfig) { c.Store, c.MaxIdentities = store, most })
	subjects := someSubjects(regulars + others)
	use := func(s awsoidc.Subject) {
		if _, err := ex.Identity(s, awsoidc.Assertion{}).RetrieveBearerToken(context.Background()); err != nil {
			t.Error(err)
		}
	}
	for _, s := range subjects[:regulars] {
		use(s)
	}
	over := make(chan struct{})
	var calling sync.WaitGroup
	for range 2 {
		calling.Go(func() {
			for {
				for _, s := range subjects[:regulars] {
					use(s)
				}
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	for i, s := range subjects[regulars:] {
		use(s)
		if i%3 == 0 {
			if err := ex.Forget(t.Context(), s); err != nil {
				t.Error(err)
			}
		}
	}
	close(over)
	calling.Wait()
	if n := store.reads.Load(); n != regulars+others {
		t.Errorf("the store was read %d times for %d users", n, regulars+others)
	}
	if n := ex.Stats().Identities; n > most {
		t.Errorf("%d identities, want at most %d", n, most)
	}
}

// readsCounted is anyIdentity, and counts.
type readsCounted struct {
	anyIdentity
	reads atomic.Int32
}

func (s *readsCounted) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, "awsoidc-identity-") {
		s.reads.Add(1)
	}
	return s.anyIdentity.Get(ctx, key)
}

func (s *readsCounted) Update(ctx context.Context, _ string, fn func(context.Context, []byte) ([]byte, error)) error {
	_, err := fn(ctx, nil)
	return err
}

func someSubjects(n int) []awsoidc.Subject {
	subjects := make([]awsoidc.Subject, n)
	for i := range subjects {
		subjects[i] = awsoidc.Subject{Issuer: issuer, ID: fmt.Sprintf("user-%08d", i)}
	}
	return subjects
}

// withIdentities returns an exchanger that holds tokens for all subjects, and
// how many bytes each takes beside its secrets.
func withIdentities(t testing.TB, subjects []awsoidc.Subject) (*awsoidc.Exchanger, float64) {
	t.Helper()
	before := heapBytes()
	ex := newExchanger(t, idctest.New(), func(c *awsoidc.ExchangerConfig) {
		c.Store, c.MaxIdentities, c.MaxBytes = anyIdentity{}, len(subjects), 1<<40
	})
	for _, s := range subjects {
		if _, err := ex.Identity(s, awsoidc.Assertion{}).RetrieveBearerToken(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return ex, float64(heapBytes()-before)/float64(len(subjects)) - anySecrets
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// anyIdentity is a store that has tokens for whoever is asked for.
type anyIdentity struct{}

// anySecrets is how many bytes of secrets they have.
const anySecrets = 10 + 100 + 100

func (anyIdentity) Get(_ context.Context, key string) ([]byte, error) {
	now := time.Now()
	return json.Marshal(map[string]any{
		"key": key, "n": 1, "accessToken": strings.Repeat("a", 10), "refreshToken": strings.Repeat("r", 100),
		"identityContext": strings.Repeat("c", 100), "issuedAt": now, "expiresAt": now.Add(10 * time.Hour),
	})
}

func (anyIdentity) Update(context.Context, string, func(context.Context, []byte) ([]byte, error)) error {
	return cache.ErrLock
}

// Credentials of an identity take about half a kilobyte beside their secrets.
func TestMemoryOfCredentials(t *testing.T) {
	const n, most = 500, 600
	secrets := 0
	held := func(credentials bool) int64 { // by an exchanger
		srv := idctest.New()
		ex := newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.Limiter = awsoidc.NewLimiter(awsoidc.Rates{Exchange: 1e6, STS: 1e6}, 1)
		})
		for _, s := range someSubjects(n) {
			id := ex.Identity(s, fresh(s))
			accessToken(t, id)
			if credentials {
				c, err := id.Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				secrets += len(c.AccessKeyID) + len(c.SecretAccessKey) + len(c.SessionToken)
			}
		}
		with := heapBytes()
		if err := ex.Close(); err != nil {
			t.Fatal(err)
		}
		held := with - heapBytes()
		runtime.KeepAlive(srv)
		return held
	}
	with, without := held(true), held(false)
	if per := float64(with-without-int64(secrets)) / n; per > most {
		t.Errorf("credentials take %.0f bytes beside their secrets, want at most %d", per, most)
	}
}
