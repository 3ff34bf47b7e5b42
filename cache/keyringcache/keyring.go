package keyringcache

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	zalando "github.com/zalando/go-keyring"
)

// key is a key of records. In the keyring it is "awsoidc1:<id>:<secret>".
type key struct {
	id     string // also in each record, in plain text
	secret []byte
}

const (
	keyFormat   = "awsoidc1"
	idPrefix    = "keyring "
	idBytes     = 8
	secretBytes = 32
)

func newKey() key {
	id, secret := make([]byte, idBytes), make([]byte, secretBytes)
	_, _ = rand.Read(id) // it never fails
	_, _ = rand.Read(secret)
	return key{idPrefix + hex.EncodeToString(id), secret}
}

func (k key) encode() string {
	return keyFormat + ":" + k.id + ":" + base64.StdEncoding.EncodeToString(k.secret)
}

func decodeKey(item string) (_ key, ok bool) {
	parts := strings.Split(item, ":")
	if len(parts) != 3 || parts[0] != keyFormat {
		return key{}, false
	}
	number, ok := strings.CutPrefix(parts[1], idPrefix)
	id, idErr := hex.DecodeString(number)
	secret, err := base64.StdEncoding.DecodeString(parts[2])
	return key{parts[1], secret}, ok && idErr == nil && len(id) == idBytes && err == nil && len(secret) == secretBytes
}

// errNoItem means that the keyring answered, and does not have the key.
var errNoItem = errors.New("keyringcache: the keyring has no key")

// keyring asks the operating system's keyring, whose calls take no context, one
// question at a time: one that hangs keeps one goroutine, not one each.
type keyring struct {
	service, account string
	timeout          time.Duration
	asking           chan struct{} // holds a value while a question is unanswered
	getItem          func(service, account string) (string, error)
	setItem          func(service, account, item string) error
}

func newKeyring(service, account string, timeout time.Duration) keyring {
	return keyring{service, account, timeout, make(chan struct{}, 1), zalando.Get, zalando.Set}
}

// get returns the key. Its error wraps errNoItem or ErrKeyring.
func (r *keyring) get(ctx context.Context) (key, error) {
	item, err := r.ask(ctx, func() (string, error) { return r.getItem(r.service, r.account) })
	if err != nil {
		return key{}, err
	}
	k, ok := decodeKey(item)
	if !ok {
		return key{}, fmt.Errorf("%w: %q of %q in it is no key of this program; remove that, and sign in again", ErrKeyring, r.account, r.service)
	}
	return k, nil
}

// make puts a new key in the keyring, and returns what it then has: a key that
// is gone tomorrow is worse than none.
func (r *keyring) make(ctx context.Context) (key, error) {
	_, err := r.ask(ctx, func() (string, error) { return "", r.setItem(r.service, r.account, newKey().encode()) })
	if err != nil {
		return key{}, err
	}
	k, err := r.get(ctx)
	if errors.Is(err, errNoItem) {
		return key{}, r.failed(errors.New("it does not keep what it is given"))
	}
	return k, err
}

// ask calls f, and waits for its answer as long as ctx and the timeout allow.
func (r *keyring) ask(ctx context.Context, f func() (string, error)) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, fmt.Errorf("it gave no answer in %v: %w", r.timeout, context.DeadlineExceeded))
	defer cancel()
	select {
	case r.asking <- struct{}{}:
	case <-ctx.Done():
		return "", r.failed(fmt.Errorf("an earlier question is unanswered: %w", ended(ctx)))
	}
	type answer struct {
		item string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-r.asking }()
		// What comes over D-Bus can make the client panic.
		defer func() {
			if recover() != nil {
				answers <- answer{err: errors.New("its answer was malformed, or the connection was lost")}
			}
		}()
		item, err := f()
		answers <- answer{item, err}
	}()
	select {
	case a := <-answers:
		if errors.Is(a.err, zalando.ErrNotFound) {
			return "", errNoItem
		}
		if a.err != nil {
			return "", r.failed(a.err)
		}
		return a.item, nil
	case <-ctx.Done():
		return "", r.failed(ended(ctx))
	}
}

func (r *keyring) failed(cause error) error {
	return fmt.Errorf("%w: %w; %s", ErrKeyring, cause, advice)
}
