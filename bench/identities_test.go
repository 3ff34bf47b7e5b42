package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
	"github.com/puzpuzpuz/xsync/v4"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

const (
	applicationARN = "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef"
	accessRole     = "arn:aws:iam::123456789012:role/Access"
)

// BenchmarkIdentities gets the tokens of one of so many identities, by a zipf
// law, from all processors; all of them are in memory. Each contestant holds the
// same three tokens for each, and looks whether they have expired. B/entry is
// what an identity takes beyond those tokens, which have lengths that the
// allocator has a size for; the subjects that they are found by are the
// caller's.
func BenchmarkIdentities(b *testing.B) {
	for _, n := range scaled([]int{1_000, 10_000, 100_000, 1_000_000}, []int{1_000}) {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			subjects, order := someSubjects(n), zipfian(n)
			var all []contestant
			for _, kind := range holders() {
				var perEntry float64
				filled := sync.OnceValue(func() use {
					before := heapBytes()
					use := kind.make(b, n, newTokenStore())
					for _, s := range subjects {
						if err := use(s); err != nil {
							b.Fatal(err)
						}
					}
					perEntry = float64(heapBytes()-before)/float64(n) - tokenBytes
					return use
				})
				all = append(all, contestant{kind.name, func(b *testing.B) {
					use := filled()
					b.ReportAllocs()
					eachOf(b, subjects, order, use)
					b.ReportMetric(perEntry, "B/entry")
				}})
			}
			beside(b, all...)
		})
	}
}

// BenchmarkResident has a tenth of 100,000 identities in memory. For the others
// each contestant reads the same record from the same store, and decodes it.
func BenchmarkResident(b *testing.B) {
	n := scaled(100_000, 1_000)
	subjects, order := someSubjects(n), zipfian(n)
	var all []contestant
	for _, kind := range holders() {
		if kind.unbounded {
			continue
		}
		store := newTokenStore()
		filled := sync.OnceValue(func() use {
			use := kind.make(b, n/10, store)
			for _, i := range order {
				if err := use(subjects[i]); err != nil {
					b.Fatal(err)
				}
			}
			return use
		})
		all = append(all, contestant{kind.name, func(b *testing.B) {
			use := filled()
			store.reads.Store(0)
			eachOf(b, subjects, order, use)
			perOp(b, store.reads.Load(), "misses/op")
		}})
	}
	beside(b, all...)
}

// eachOf uses the subjects in the given order from all processors, each of which
// begins somewhere else.
func eachOf(b *testing.B, subjects []awsoidc.Subject, order []int, use use) {
	withCPU(b, false, func() {
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(order)); pb.Next(); i++ {
				if err := use(subjects[order[i%len(order)]]); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func someSubjects(n int) []awsoidc.Subject {
	subjects := make([]awsoidc.Subject, n)
	for i := range subjects {
		subjects[i] = awsoidc.Subject{Issuer: "https://issuer.example", ID: fmt.Sprintf("user-%08d", i)}
	}
	return subjects
}

func zipfian(n int) []int {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(n-1))
	order := make([]int, 1<<18)
	for i := range order {
		order[i] = int(zipf.Uint64())
	}
	return order
}

// use gets a subject's tokens, from memory or else from the store.
type use func(awsoidc.Subject) error

// A holder makes a cache of tokens, of so many subjects.
type holder struct {
	name      string
	make      func(b *testing.B, size int, store *tokenStore) use
	unbounded bool // it evicts nothing, whatever the size
}

func holders() []holder {
	return []holder{
		{name: "awsoidc", make: exchangerHolder},
		{name: "golang-lru", make: func(_ *testing.B, size int, store *tokenStore) use {
			c, _ := lru.New[awsoidc.Subject, *tokens](size)
			return store.aside(c.Get, func(s awsoidc.Subject, t *tokens) { c.Add(s, t) })
		}},
		{name: "golang-lru-16-shards", make: func(_ *testing.B, size int, store *tokenStore) use {
			var shards [16]*lru.Cache[awsoidc.Subject, *tokens]
			for i := range shards {
				shards[i], _ = lru.New[awsoidc.Subject, *tokens](size/len(shards) + size/50) // no two are filled alike
			}
			seed := maphash.MakeSeed()
			shard := func(s awsoidc.Subject) *lru.Cache[awsoidc.Subject, *tokens] {
				return shards[maphash.Comparable(seed, s)%uint64(len(shards))]
			}
			return store.aside(
				func(s awsoidc.Subject) (*tokens, bool) { return shard(s).Get(s) },
				func(s awsoidc.Subject, t *tokens) { shard(s).Add(s, t) })
		}},
		{name: "otter", make: func(_ *testing.B, size int, store *tokenStore) use {
			c := otter.Must(&otter.Options[awsoidc.Subject, *tokens]{MaximumSize: size})
			return store.aside(c.GetIfPresent, func(s awsoidc.Subject, t *tokens) { c.Set(s, t) })
		}},
		{name: "sync.Map", unbounded: true, make: func(_ *testing.B, _ int, store *tokenStore) use {
			var c sync.Map
			return store.aside(func(s awsoidc.Subject) (*tokens, bool) {
				t, ok := c.Load(s)
				if !ok {
					return nil, false
				}
				return t.(*tokens), true
			}, func(s awsoidc.Subject, t *tokens) { c.Store(s, t) })
		}},
		{name: "xsync.Map", unbounded: true, make: func(_ *testing.B, _ int, store *tokenStore) use {
			c := xsync.NewMap[awsoidc.Subject, *tokens]()
			return store.aside(c.Load, func(s awsoidc.Subject, t *tokens) { c.Store(s, t) })
		}},
	}
}

func exchangerHolder(b *testing.B, size int, store *tokenStore) use {
	ex := newExchanger(b, func(c *awsoidc.ExchangerConfig) {
		c.Store, c.MaxIdentities, c.MaxBytes = store, size, 1<<40
	})
	ctx := context.Background()
	return func(s awsoidc.Subject) error {
		_, err := ex.Identity(s, awsoidc.Assertion{}).RetrieveBearerToken(ctx)
		return err
	}
}

func newExchanger(b *testing.B, option func(*awsoidc.ExchangerConfig)) *awsoidc.Exchanger {
	srv := idctest.New()
	key := srv.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:iam::123456789012:user/service"})
	cfg := awsoidc.ExchangerConfig{Application: applicationARN, AWS: aws.Config{
		Region:     "us-east-1",
		HTTPClient: &http.Client{Transport: srv.Transport()},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
		}),
	}}
	option(&cfg)
	ex, err := awsoidc.NewExchanger(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ex.Close() })
	return ex
}

// tokens are what a peer holds of an identity.
type tokens struct {
	AccessToken, RefreshToken, IdentityContext string
	ExpiresAt                                  time.Time
}

// tokenBytes is how long the tokens of an identity are together.
const tokenBytes = 16 + 112 + 112

// A tokenStore has tokens for whoever is asked for.
type tokenStore struct {
	reads             atomic.Int64
	issuedAt, expires string
}

func newTokenStore() *tokenStore {
	now := time.Now().UTC()
	return &tokenStore{issuedAt: now.Format(time.RFC3339), expires: now.Add(10 * time.Hour).Format(time.RFC3339)}
}

func (s *tokenStore) Get(_ context.Context, key string) ([]byte, error) {
	s.reads.Add(1)
	return fmt.Appendf(nil, `{"key":%q,"n":1,"accessToken":%q,"refreshToken":%q,"identityContext":%q,"issuedAt":%q,"expiresAt":%q}`,
		key, aToken[:16], aToken, aToken, s.issuedAt, s.expires), nil
}

func (*tokenStore) Update(context.Context, string, func(context.Context, []byte) ([]byte, error)) error {
	return cache.ErrLock
}

var aToken = strings.Repeat("t", 112)

// aside returns a use of a cache that leaves it to its user to fill it.
func (s *tokenStore) aside(get func(awsoidc.Subject) (*tokens, bool), put func(awsoidc.Subject, *tokens)) use {
	return func(subject awsoidc.Subject) error {
		if t, ok := get(subject); ok && time.Now().Before(t.ExpiresAt) {
			return nil
		}
		raw, err := s.Get(context.Background(), subject.ID)
		t := new(tokens)
		if err == nil {
			err = json.Unmarshal(raw, t)
		}
		put(subject, t)
		return err
	}
}

// BenchmarkIdentityCredentials obtains the credentials of one role for each of
// 10,000 identities. B/entry is what they take beyond the secrets; of this
// library, beyond the identity, which holds tokens as well.
func BenchmarkIdentityCredentials(b *testing.B) {
	n := scaled(10_000, 100)
	retained := func(b *testing.B, obtain func(i int) (keep any, err error)) {
		for range b.N {
			kept := make([]any, n)
			before := heapBytes()
			for i := range kept {
				var err error
				if kept[i], err = obtain(i); err != nil {
					b.Fatal(err)
				}
			}
			after := heapBytes()
			b.ReportMetric(float64(after-before)/float64(n)-secretBytes, "B/entry")
			runtime.KeepAlive(kept)
		}
		b.ReportMetric(0, "ns/op")
	}
	beside(b,
		contestant{"awsoidc", func(b *testing.B) {
			ex := newExchanger(b, func(c *awsoidc.ExchangerConfig) {
				c.Store, c.MaxIdentities, c.MaxBytes = newTokenStore(), n, 1<<40
				c.Limiter = awsoidc.NewLimiter(awsoidc.Rates{STS: 1e6}, 1)
				c.AWS.HTTPClient = &http.Client{Transport: roundTripper(assumeRole)}
			})
			subjects := someSubjects(n)
			for _, s := range subjects {
				if _, err := ex.Identity(s, awsoidc.Assertion{}).RetrieveBearerToken(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			retained(b, func(i int) (any, error) {
				_, err := ex.Identity(subjects[i], awsoidc.Assertion{}).Credentials(awsoidc.Role{ARN: accessRole}).Retrieve(b.Context())
				return nil, err
			})
		}},
		contestant{"aws.CredentialsCache", func(b *testing.B) {
			client := sts.New(sts.Options{
				Region: "us-east-1", HTTPClient: &http.Client{Transport: roundTripper(assumeRole)},
				Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
					return aws.Credentials{AccessKeyID: "key", SecretAccessKey: "secret"}, nil
				}),
			})
			retained(b, func(int) (any, error) {
				c := aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(client, accessRole))
				_, err := c.Retrieve(b.Context())
				return c, err
			})
		}},
	)
}

// secretBytes is how long the secrets in the answer of assumeRole are.
const secretBytes = 16 + 48 + 512

// assumeRole answers as STS does.
func assumeRole(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	body := fmt.Sprintf(`<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/Access/s</Arn></AssumedRoleUser><Credentials><AccessKeyId>ASIAIOSFODNN7EXA</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
		strings.Repeat("s", 48), strings.Repeat("t", 512), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"text/xml"}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}
