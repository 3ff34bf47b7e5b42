package cache

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// KeyWrapper encrypts data keys under a key that it keeps. It must be safe for
// concurrent use. Encrypt and Decrypt of AWS KMS fit it: the example has the
// shape, and docs/encryption.md what works with the AWS SDK.
type KeyWrapper interface {
	// Wrap returns dataKey, of 32 bytes, encrypted: 1 to 2048 bytes. It must not
	// keep dataKey.
	Wrap(ctx context.Context, dataKey []byte) (wrapped []byte, err error)
	// Unwrap returns the data key in what Wrap returned. It must refuse anything
	// else; an error that wraps ErrTampered says that this is why. What it is
	// given comes from the store. Its error must show no secret.
	Unwrap(ctx context.Context, wrapped []byte) (dataKey []byte, err error)
}

// EncryptionKey is a key of an Encrypted store.
type EncryptionKey struct {
	// ID names the key in each record sealed under it, in plain text, and in
	// errors: 1 to 256 bytes of UTF-8, never the name of another key.
	ID string
	// Wrapper wraps the data keys.
	Wrapper KeyWrapper
	// Namespace, if any, names whose records the key seals, such as one of
	// several deployments that share it: what is sealed in one namespace does not
	// open in another, whoever moves it there. Records do not show it.
	Namespace string
}

// NewEncryptionKey returns a key made of a secret, which must be 32 random
// bytes: AES-256-GCM wraps the data keys. It keeps no reference to secret. Set
// Namespace on it where deployments share the secret.
func NewEncryptionKey(id string, secret []byte) (EncryptionKey, error) {
	if len(secret) != dataKeyBytes {
		return EncryptionKey{}, fmt.Errorf("cache: the secret of encryption key %q has %d bytes; it must have %d random ones", id, len(secret), dataKeyBytes)
	}
	aead, err := newAEAD(secret)
	if err != nil {
		return EncryptionKey{}, err
	}
	k := EncryptionKey{ID: id, Wrapper: &secretKey{aead: aead, ad: []byte("awsoidc cache data key 1 " + id)}}
	return k, k.check()
}

// Format implements fmt.Formatter: every verb shows the ID only.
func (k EncryptionKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "cache.EncryptionKey(%q)", k.ID) }

func (k EncryptionKey) check() error {
	switch {
	case k.ID == "" || len(k.ID) > maxKeyIDBytes || !utf8.ValidString(k.ID):
		return fmt.Errorf("cache: the ID of an encryption key must have 1 to %d bytes of UTF-8; %q has %d", maxKeyIDBytes, k.ID, len(k.ID))
	case k.Wrapper == nil:
		return fmt.Errorf("cache: encryption key %q has no Wrapper", k.ID)
	}
	return nil
}

const (
	dataKeyBytes    = 32
	maxKeyIDBytes   = 256
	maxWrappedBytes = 2048
	// maxSeals bounds the records that one data key seals.
	maxSeals = 1 << 20
	// maxDataKeys bounds the data keys that are remembered.
	maxDataKeys = 1024
)

// secretKey is the KeyWrapper of NewEncryptionKey.
type secretKey struct {
	aead cipher.AEAD
	ad   []byte
}

func (k *secretKey) Wrap(_ context.Context, dataKey []byte) ([]byte, error) {
	return k.aead.Seal(nil, nil, dataKey, k.ad), nil
}

func (k *secretKey) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	dataKey, err := k.aead.Open(nil, nil, wrapped, k.ad)
	if err != nil {
		return nil, fmt.Errorf("%w: its data key was not wrapped with this key's secret", ErrTampered)
	}
	return dataKey, nil
}

// Format implements fmt.Formatter: no verb shows the key.
func (k *secretKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "cache.KeyWrapper") }

// newAEAD returns AES-256-GCM, which draws its nonces itself and puts them
// before the ciphertext, as a process restricted to FIPS 140-3 must.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// dataKey seals records, or opens them.
type dataKey struct {
	keyID     string
	namespace string
	wrapped   []byte
	aead      cipher.AEAD
}

// keyring holds an Encrypted store's keys.
type keyring struct {
	write  EncryptionKey
	read   map[string]EncryptionKey // write among them
	asking keyLocks                 // one question to a KeyWrapper at a time, for each data key

	mu      sync.Mutex // guards what follows; never held while a KeyWrapper works
	current *dataKey
	seals   int // left to current
	opened  *simplelru.LRU[[32]byte, *dataKey]
}

func (r *keyring) init(write EncryptionKey, read []EncryptionKey) (err error) {
	r.write, r.read = write, make(map[string]EncryptionKey)
	for _, k := range append([]EncryptionKey{write}, read...) {
		if err := k.check(); err != nil {
			return err
		}
		if _, twice := r.read[k.ID]; twice {
			return fmt.Errorf("cache: two encryption keys have the ID %q", k.ID)
		}
		r.read[k.ID] = k
	}
	r.opened, err = simplelru.NewLRU[[32]byte, *dataKey](maxDataKeys, nil)
	return err
}

// sealer returns a data key for one record to seal.
func (r *keyring) sealer(ctx context.Context) (*dataKey, error) {
	if k := r.takeSeal(); k != nil {
		return k, nil
	}
	unlock, err := r.asking.lock(ctx, "seal")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if k := r.takeSeal(); k != nil {
		return k, nil
	}
	secret := make([]byte, dataKeyBytes)
	_, _ = rand.Read(secret) // it never fails
	defer clear(secret)
	k, err := newDataKey(r.write, nil, secret)
	if err != nil {
		return nil, err
	}
	wrapped, err := r.write.Wrapper.Wrap(ctx, secret)
	if err == nil && (len(wrapped) == 0 || len(wrapped) > maxWrappedBytes) {
		err = fmt.Errorf("it has %d bytes wrapped; 1 to %d are allowed", len(wrapped), maxWrappedBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("cache: the data key can't be wrapped with encryption key %q: %w", r.write.ID, err)
	}
	k.wrapped = append([]byte(nil), wrapped...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.seals = k, maxSeals-1
	r.opened.Add(k.digest(), k)
	return k, nil
}

func (r *keyring) takeSeal() *dataKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current == nil || r.seals == 0 {
		return nil
	}
	r.seals--
	return r.current
}

// opener returns the data key that box is sealed with.
func (r *keyring) opener(ctx context.Context, box envelope) (*dataKey, error) {
	key, ok := r.read[box.KeyID]
	if !ok {
		return nil, fmt.Errorf("%w, %q", ErrNoKey, box.KeyID)
	}
	id := (&dataKey{keyID: box.KeyID, wrapped: box.DataKey}).digest()
	if k := r.lookup(id); k != nil {
		return k, nil
	}
	unlock, err := r.asking.lock(ctx, "open"+string(id[:]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	defer unlock()
	if k := r.lookup(id); k != nil {
		return k, nil
	}
	secret, err := key.Wrapper.Unwrap(ctx, append([]byte(nil), box.DataKey...))
	if err == nil && len(secret) != dataKeyBytes {
		err = errors.New("what was unwrapped is no data key")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: encryption key %q does not unwrap its data key: %w", ErrSealed, box.KeyID, err)
	}
	defer clear(secret)
	k, err := newDataKey(key, box.DataKey, secret)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened.Add(id, k)
	return k, nil
}

func (r *keyring) lookup(id [32]byte) *dataKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, _ := r.opened.Get(id)
	return k
}

func newDataKey(key EncryptionKey, wrapped, secret []byte) (*dataKey, error) {
	aead, err := newAEAD(secret)
	return &dataKey{keyID: key.ID, namespace: key.Namespace, wrapped: wrapped, aead: aead}, err
}

func (k *dataKey) digest() [32]byte { return digest(k.keyID, string(k.wrapped)) }

// digest is a hash of parts that no other parts have.
func digest(parts ...string) [32]byte { return sha256.Sum256(join(parts...)) }
