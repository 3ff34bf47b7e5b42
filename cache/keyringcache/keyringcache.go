package keyringcache

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/awsoidc/awsoidc/cache"
)

// ErrKeyring means that the keyring could not be used: there is none, it is
// locked, it gave no answer in time, or it holds something else in the key's
// place. It wraps cache.ErrSealed: records stay as they are, and in Update the
// update function did not run.
var ErrKeyring error = unusable{}

// ErrKeyLost means that the keyring does not have the key that a record was
// sealed with. It wraps cache.ErrMiss: an update function sees no record.
var ErrKeyLost = fmt.Errorf("keyringcache: the keyring does not have the record's key any more: %w", cache.ErrMiss)

type unusable struct{}

func (unusable) Error() string { return "keyringcache: the operating system's keyring can't be used" }

func (unusable) Unwrap() error { return cache.ErrSealed }

// Options are the settings of a Store. The zero value works.
type Options struct {
	// Service and Account name the key in the keyring. By default they are
	// "awsoidc" and the folder's full name, so that each folder has a key of its
	// own. Stores of one folder must have the same, and those of two folders not.
	Service, Account string
	// Timeout bounds each question to the keyring, with the time that a person
	// takes to unlock it. By default it is 30 seconds.
	Timeout time.Duration

	// Export is a folder that is given the access tokens IN PLAIN TEXT, such as
	// ~/.aws/sso/cache, for the AWS CLI and AWS SDKs to use them. Only start URL,
	// region, access token and its expiry are written: who reads the folder can
	// act as the person until that token expires, in an hour for most sessions,
	// and can't renew it. Nor can the AWS CLI, which has to wait for a program
	// that uses the Store. A session that the AWS CLI has signed in to itself is
	// left as it is, also one that has ended, and ExportFailed is told. By default
	// nothing is exported.
	Export *cache.Dir
	// ExportFailed, if not nil, is called where a record was saved, and could
	// not be exported. It may be called from several goroutines at a time.
	ExportFailed func(error)
}

// Store is a cache.Store in a folder whose records are sealed with a key in the
// operating system's keyring. Its exclusion is that of cache.Dir. It takes
// records of at most cache.MaxEncryptedBytes. It is safe for concurrent use, and
// needs no closing: a goroutine of it ends with the keyring's answer, and there
// is at most one that waits for that.
type Store struct {
	dir     *cache.Dir
	options Options
	keyring keyring

	mu     sync.Mutex // guards what follows; never held while anybody is waited for
	keys   []key      // that of the keyring first, then those that it had before
	sealed *cache.Encrypted
	lost   map[string]bool // IDs of keys that the keyring does not have
	load   *load           // under way
}

// maxKeys and maxLost bound what a Store remembers of a keyring that changes.
const (
	maxKeys = 4
	maxLost = 64
)

// load is one attempt to get the key.
type load struct {
	done   chan struct{}
	sealed *cache.Encrypted // written before done is closed
	err    error
}

// New returns a Store in folder, which need not exist. A relative path is
// resolved now. The keyring is not asked before a record is there, or is to be
// saved. Do not use the AWS CLI's folder, which cannot hold sealed records.
func New(folder string, options Options) (*Store, error) {
	dir, err := cache.NewDir(folder)
	if err != nil {
		return nil, fmt.Errorf("keyringcache: %w", err)
	}
	if options.Export != nil && options.Export.Filename("") == dir.Filename("") {
		return nil, errors.New("keyringcache: Export must be another folder than that of the sealed records")
	}
	options.Service = cmp.Or(options.Service, "awsoidc")
	options.Account = cmp.Or(options.Account, filepath.Dir(dir.Filename("")))
	options.Timeout = cmp.Or(options.Timeout, 30*time.Second)
	return &Store{
		dir: dir, options: options, lost: map[string]bool{},
		keyring: newKeyring(options.Service, options.Account, options.Timeout),
	}, nil
}

// Unlock gets the key from the keyring, or makes it, and gives a person the time
// of ctx and of three times Timeout to unlock it. Its error wraps ErrKeyring, or
// is the folder's.
func (s *Store) Unlock(ctx context.Context) error {
	_, err := s.open(ctx)
	return err
}

// Filename returns the full name of the file that holds key's record, or would.
func (s *Store) Filename(key string) string { return s.dir.Filename(key) }

// AWSCLI reports that the keys are those of the AWS CLI, so that records can be
// exported. It returns true.
func (s *Store) AWSCLI() bool { return true }

// MaxRecordBytes returns cache.MaxEncryptedBytes.
func (s *Store) MaxRecordBytes() int { return cache.MaxEncryptedBytes }

// Format implements fmt.Formatter: no verb shows a key.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "keyringcache.Store") }

// Get implements cache.Store. Where there is no record, the keyring is not
// asked.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if s.current() == nil {
		if _, err := s.dir.Get(ctx, key); err != nil {
			return nil, err
		}
	}
	sealed, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	record, err := sealed.Get(ctx, key)
	if errors.Is(err, cache.ErrNoKey) || errors.Is(err, ErrKeyLost) {
		if sealed, err = s.reload(ctx, key, sealed); err == nil {
			record, err = sealed.Get(ctx, key)
		}
	}
	return record, err
}

// Update implements cache.Store.
func (s *Store) Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) (new []byte, err error)) error {
	if key == "" || ctx.Err() != nil {
		return s.dir.Update(ctx, key, fn) // which does not run it, and says why
	}
	sealed, err := s.open(ctx)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", cache.ErrLockTimeout, err)
	}
	if err != nil {
		return err
	}
	changed := false
	update := func() error {
		return sealed.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
			before := slices.Clone(old)
			value, err := fn(ctx, old)
			changed = !slices.Equal(before, value)
			return value, err
		})
	}
	err = update()
	if errors.Is(err, cache.ErrNoKey) {
		if sealed, err = s.reload(ctx, key, sealed); err == nil {
			err = update()
		}
	}
	if changed && s.options.Export != nil {
		s.export(ctx, key)
	}
	return err
}

func (s *Store) current() *cache.Encrypted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sealed
}

// open returns the store of the records, with the key.
func (s *Store) open(ctx context.Context) (*cache.Encrypted, error) {
	if sealed := s.current(); sealed != nil {
		return sealed, nil
	}
	return s.await(ctx, nil)
}

// reload asks the keyring again, because the record's key is not among those
// that stale has: another process may have made a new one. If the keyring does
// not have it either, it is lost.
func (s *Store) reload(ctx context.Context, record string, stale *cache.Encrypted) (*cache.Encrypted, error) {
	sealed, err := s.await(ctx, stale)
	if err != nil {
		return nil, err
	}
	raw, err := s.dir.Get(ctx, record)
	if err != nil && !errors.Is(err, cache.ErrMiss) {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lost) >= maxLost {
		clear(s.lost)
	}
	id := keyID(raw)
	if id != "" && !slices.ContainsFunc(s.keys, func(k key) bool { return k.id == id }) {
		s.lost[id] = true
	}
	return sealed, nil
}

// await waits for a load of the key, unless there is another store than stale
// already.
func (s *Store) await(ctx context.Context, stale *cache.Encrypted) (*cache.Encrypted, error) {
	s.mu.Lock()
	if s.sealed != stale {
		defer s.mu.Unlock()
		return s.sealed, nil
	}
	l := s.load
	if l == nil {
		l = &load{done: make(chan struct{})}
		s.load = l
		go s.run(context.WithoutCancel(ctx), l)
	}
	s.mu.Unlock()
	select {
	case <-l.done:
		return l.sealed, l.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: it has not answered yet: %w; unlock it, and try again", ErrKeyring, ended(ctx))
	}
}

// ended returns why ctx ended.
func ended(ctx context.Context) error {
	if err, cause := ctx.Err(), context.Cause(ctx); !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return context.Cause(ctx)
}

// run is a load. It ends by itself, in three times Timeout and the time that the
// folder's lock takes.
func (s *Store) run(ctx context.Context, l *load) {
	ctx, cancel := context.WithTimeout(ctx, 3*s.options.Timeout)
	defer cancel()
	k, err := s.fetch(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && (len(s.keys) == 0 || s.keys[0].id != k.id) {
		err = s.use(k)
	}
	l.sealed, l.err = s.sealed, err
	s.load = nil
	close(l.done)
}

// use makes k the key that seals. s.mu must be held.
func (s *Store) use(k key) error {
	keys := []key{k}
	for _, old := range s.keys[:min(len(s.keys), maxKeys-1)] {
		if old.id != k.id {
			keys = append(keys, old)
		}
	}
	var all []cache.EncryptionKey
	for _, k := range keys {
		e, err := cache.NewEncryptionKey(k.id, k.secret)
		if err != nil {
			return fmt.Errorf("keyringcache: %w", err)
		}
		all = append(all, e)
	}
	newSealed := func(write cache.EncryptionKey, read ...cache.EncryptionKey) (*cache.Encrypted, error) {
		return cache.NewEncrypted(records{s}, write, read...)
	}
	if s.sealed != nil {
		newSealed = s.sealed.WithKeys // it goes on refusing what is older than it has seen
	}
	sealed, err := newSealed(all[0], all[1:]...)
	if err != nil {
		return fmt.Errorf("keyringcache: %w", err)
	}
	s.keys, s.sealed = keys, sealed
	delete(s.lost, k.id)
	return nil
}

// fetch returns the key in the keyring, or makes it: alone among all who share
// the folder, so that all have the same.
func (s *Store) fetch(ctx context.Context) (k key, err error) {
	if k, err = s.keyring.get(ctx); !errors.Is(err, errNoItem) {
		return k, err
	}
	updateErr := s.dir.Update(ctx, "keyringcache: the key is being made", func(ctx context.Context, old []byte) ([]byte, error) {
		if k, err = s.keyring.get(ctx); errors.Is(err, errNoItem) {
			k, err = s.keyring.make(ctx)
		}
		return old, err
	})
	return k, updateErr
}

// isLost reports whether raw is a record under a lost key.
func (s *Store) isLost(raw []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lost) > 0 && s.lost[keyID(raw)]
}

// keyID returns the ID of the key of a sealed record, "" where raw is none.
func keyID(raw []byte) string {
	var envelope struct {
		KeyID string `json:"keyId"`
	}
	if json.Unmarshal(raw, &envelope) != nil {
		return ""
	}
	return envelope.KeyID
}

// records is the folder, without the records whose key is lost.
type records struct{ *Store }

func (r records) Get(ctx context.Context, key string) ([]byte, error) {
	raw, err := r.dir.Get(ctx, key)
	if err == nil && r.isLost(raw) {
		return nil, ErrKeyLost
	}
	return raw, err
}

func (r records) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	return r.dir.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		if !r.isLost(old) {
			return fn(ctx, old)
		}
		value, err := fn(ctx, nil)
		if len(value) == 0 {
			return old, err // there is nothing better
		}
		return value, err
	})
}
