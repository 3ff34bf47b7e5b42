package rediscache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc/cache"
)

// ErrPlaintext means that a record is not sealed, and Options.AllowPlaintext is
// not set. In Update, the update function did not run, unless the error also
// wraps cache.ErrNotWritten.
var ErrPlaintext = errors.New("rediscache: the record is not sealed; put a cache.Encrypted above the Store, or set AllowPlaintext")

// Options of a Store. The zero value is a usable default.
type Options struct {
	// Prefix begins the name of every key in Redis. The default is "awsoidc:".
	// It must have no braces. Whoever shares a prefix shares records.
	Prefix string

	// AllowPlaintext lets records be stored as they are: whoever reads the
	// server, its files or its replicas has the refresh tokens in them. Without
	// it, only a cache.Encrypted can use the Store.
	AllowPlaintext bool

	// Lease is for how long others stay excluded after the process that holds a
	// record was last heard of: how long they wait where it was killed. It is
	// renewed in time, so that an update may take longer. A quarter of it after
	// the last renewal that succeeded, the update function's context ends; what
	// it then has under way has the other three quarters to end. The default is
	// 12 s: requests of package awsoidc take at most 8 s. At least 1 s.
	Lease time.Duration

	// MaxAge is how long a record is kept after it was last written whose writer
	// does not say (cache.KeepFor). The default is 90 days, which is how long a
	// session of IAM Identity Center, and a client's registration, last at most.
	MaxAge time.Duration
}

const (
	defaultPrefix = "awsoidc:"
	defaultLease  = 12 * time.Second
	minLease      = time.Second
	defaultMaxAge = 90 * 24 * time.Hour
	// minAge is how long a record is kept at least, whatever its writer says:
	// clocks differ.
	minAge = time.Minute
	// attemptTimeout bounds one command, the client's own retries included, and
	// with it how long a caller whose context is cancelled may have to wait.
	attemptTimeout = 2 * time.Second
)

// Store is a cache.Store in Redis, shared by all who have a Store with the same
// Prefix there. It is safe for concurrent use, keeps no state of its own but
// whether Redis answers, and needs no closing: it leaves the client to its owner.
type Store struct {
	client  redis.UniversalClient
	options Options
	outage  outage
}

// New returns a Store. The client is a *redis.Client, of a single server or of
// one that Sentinel names, or a *redis.ClusterClient. Its options must have
// ContextTimeoutEnabled, or contexts would bound nothing, and must not read from
// replicas, which show records that were replaced. Nothing is sent.
func New(client redis.UniversalClient, o Options) (*Store, error) {
	if err := checkClient(client); err != nil {
		return nil, err
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return nil, fmt.Errorf("rediscache: the prefix %q has braces; give one without", o.Prefix)
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	if o.MaxAge == 0 {
		o.MaxAge = defaultMaxAge
	}
	if o.Lease < minLease || o.MaxAge < minAge {
		return nil, fmt.Errorf("rediscache: Lease %v, MaxAge %v: give at least %v and %v, or 0 for the defaults", o.Lease, o.MaxAge, minLease, minAge)
	}
	return &Store{client: client, options: o}, nil
}

func checkClient(client redis.UniversalClient) error {
	var bounded, replicas bool
	switch c := client.(type) {
	case *redis.Client:
		if c == nil {
			return errors.New("rediscache: the client is nil; give a *redis.Client or *redis.ClusterClient")
		}
		bounded = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		if c == nil {
			return errors.New("rediscache: the client is nil; give a *redis.Client or *redis.ClusterClient")
		}
		o := c.Options()
		bounded, replicas = o.ContextTimeoutEnabled, o.ReadOnly || o.RouteByLatency || o.RouteRandomly
	default:
		return fmt.Errorf("rediscache: a client of type %T does not keep all keys of a record in one place; give a *redis.Client or *redis.ClusterClient", client)
	}
	switch {
	case !bounded:
		return errors.New("rediscache: the client ignores the deadlines of contexts; set ContextTimeoutEnabled in its options")
	case replicas:
		return errors.New("rediscache: the client reads from replicas, which may be behind; unset ReadOnly, RouteByLatency and RouteRandomly in its options")
	}
	return nil
}

// Get implements cache.Store. While Redis does not answer, it tries again for up
// to 5 s; once that has been so for longer, for everybody, it fails at once, but
// for one call a second or so that finds out whether Redis is back.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if key == "" {
		return nil, errEmptyKey
	}
	keys := s.keys(key)
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		raw, err := s.read(ctx, keys)
		if err == nil {
			return s.checkRecord(raw)
		}
		if s.hopeless(err) {
			return nil, err
		}
		if pause(ctx, wait) != nil {
			return nil, fmt.Errorf("%w; %w", contextError(ctx), err)
		}
	}
}

// read reads a record, and no more than one byte beyond the largest.
func (s *Store) read(ctx context.Context, keys []string) ([]byte, error) {
	if err := s.outage.refuse(); err != nil {
		return nil, err
	}
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	sent := time.Now()
	raw, err := s.client.GetRange(attempt, keys[0], 0, cache.MaxRecordBytes).Bytes()
	return raw, s.outage.note(ctx, sent, err)
}

// checkRecord returns what was stored, if it is a record that may be there.
func (s *Store) checkRecord(raw []byte) ([]byte, error) {
	switch {
	case len(raw) == 0:
		return nil, cache.ErrMiss
	case len(raw) > cache.MaxRecordBytes:
		return nil, fmt.Errorf("%w: it has more than the %d bytes that are allowed", cache.ErrUnsafe, cache.MaxRecordBytes)
	case !s.options.AllowPlaintext && !cache.IsSealed(raw):
		return nil, fmt.Errorf("%w: %w", cache.ErrUnsafe, ErrPlaintext)
	}
	return raw, nil
}

// Update implements cache.Store. It waits for the lease by asking again and
// again, about 25 times a second at most; while Redis does not answer, as Get
// does.
//
// fn's context ends where the lease was not renewed for a quarter of its time,
// and where Redis says that somebody else had it, or knows of none. Only the
// latter makes the write fail, with cache.ErrLost: as long as nobody else had
// it, exclusion held. A write that Redis does not answer is repeated until ctx
// ends; then the error wraps cache.ErrNotWritten, and it may yet turn out to be
// written.
func (s *Store) Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) (new []byte, err error)) error {
	if key == "" {
		return errEmptyKey
	}
	if !s.options.AllowPlaintext && !cache.Sealing(ctx) {
		return ErrPlaintext
	}
	l, raw, err := s.acquire(ctx, s.keys(key))
	if err != nil {
		return err
	}
	defer l.end()
	old, err := s.checkRecord(raw)
	if err != nil && !errors.Is(err, cache.ErrMiss) {
		return err
	}
	fnCtx, lifetime := cache.WithLifetime(cache.WithNotWritable(l.ctx, nil))
	value, err := fn(fnCtx, bytes.Clone(old))
	if bytes.Equal(value, old) || len(value) == 0 && err != nil {
		return err
	}
	saveErr := s.save(ctx, l, value, s.age(lifetime()))
	switch {
	case saveErr == nil:
		return err
	case err == nil:
		return saveErr
	default:
		return fmt.Errorf("%w; %w", err, saveErr)
	}
}

// save writes the record that an update function made, until it succeeds or ctx
// ends, but for attemptTimeout at least: it may be one that can't be made again,
// and an answer may get lost.
func (s *Store) save(ctx context.Context, l *lease, value []byte, age time.Duration) error {
	switch {
	case len(value) > cache.MaxRecordBytes:
		return fmt.Errorf("%w: it has %d bytes; at most %d are allowed", cache.ErrNotWritten, len(value), cache.MaxRecordBytes)
	case len(value) > 0 && !s.options.AllowPlaintext && !cache.IsSealed(value):
		return fmt.Errorf("%w: %w", cache.ErrNotWritten, ErrPlaintext)
	}
	least, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		err := l.write(ctx, value, age)
		if err == nil || errors.Is(err, cache.ErrLost) {
			return err
		}
		if !isTransient(err) || pause(ctx, wait) != nil && pause(least, wait) != nil {
			return fmt.Errorf("%w: %w", cache.ErrNotWritten, err)
		}
	}
}

// age returns how long a record is to be kept whose writer told a lifetime, or
// did not.
func (s *Store) age(lifetime time.Duration, told bool) time.Duration {
	if told {
		return min(max(lifetime, minAge), s.options.MaxAge)
	}
	return s.options.MaxAge
}

// keys returns the names of a record and its lease. What is in braces decides
// where a Cluster keeps a key.
func (s *Store) keys(key string) []string {
	name := s.options.Prefix + "{" + tag(key) + "}"
	return []string{name, name + ":lease"}
}

// tag returns a name for a key: the key itself, as package awsoidc makes them,
// or its hash, which begins with a character that those do not have.
func tag(key string) string {
	const plain, longest = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", 200
	if len(key) <= longest && strings.Trim(key, plain) == "" {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "#" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Pauses between attempts.
const (
	firstPoll = 2 * time.Millisecond
	lastPoll  = 50 * time.Millisecond
)

// pause waits between half of d and d, so that those who wait for the same thing
// do not stay in step.
func pause(ctx context.Context, d time.Duration) error { return sleep(ctx, d/2+rand.N(d/2+1)) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
