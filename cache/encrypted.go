package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// MaxEncryptedBytes is the size of the largest record that an Encrypted store
// takes: sealed, and as JSON, it fits MaxRecordBytes.
const MaxEncryptedBytes = MaxRecordBytes/4*3 - maxSealOverhead

// Errors of an Encrypted store. In Update, the update function did not run.
var (
	// ErrSealed means that a record can't be opened here and now: ErrNoKey, or the
	// key's KeyWrapper failed.
	// The record stays as it is.
	ErrSealed = errors.New("cache: the sealed record can't be opened")
	// ErrNoKey means that a record was sealed under a key that this store was not
	// given. It wraps ErrSealed.
	ErrNoKey = fmt.Errorf("%w: this store was not given its key", ErrSealed)
	// ErrTampered means that a record is not one that was sealed for its key, or
	// is older than one that this process has seen there. It wraps ErrUnsafe.
	// The record stays as it is; whoever trusts the store again deletes it there.
	ErrTampered = fmt.Errorf("%w: it was not sealed for this key, or was changed or put back since", ErrUnsafe)
)

// Encrypted is a Store that seals the records of another one, so that whoever
// reads that store learns no record, and whoever writes to it plants none. It
// excludes as the other store does, and takes records of at most
// MaxEncryptedBytes. Record keys, the records' lengths and the times of writing
// are not hidden. It starts no goroutine and needs no closing.
//
// # Keys
//
// Each record is sealed with AES-256-GCM (NIST SP 800-38D), with its key in the
// store and the EncryptionKey's Namespace as additional data. The data keys that
// do that are random, made in this process, and never used by another one to
// seal; the EncryptionKey only wraps them, and each record carries its data key
// wrapped. Nonces are 96 random bits.
// A data key seals at most 2^20 records, where the chance that any two nonces
// are equal is below 2^-56; SP 800-38D asks for 2^-32 or less. A process whose
// memory was cloned while it ran, as with a snapshot of a virtual machine, draws
// other nonces than its clone, because the randomness is the operating system's.
//
// A KeyWrapper is asked once for each data key: to wrap it where this process
// begins to write, and to unwrap it where it first meets a record of another
// process. The 1024 data keys used last are remembered, so that a wrapping key
// that was disabled may go on opening records until the process ends.
//
// # Rotation
//
// The write key seals; it and the read keys open. To rotate, give every process
// the new key to read, then to write; WithKeys does so while it runs. A record
// under an old key stays until it is next written. Once none is left, drop the
// old key. A record under a key that was dropped too early is refused with
// ErrSealed and never overwritten: give the key back and it opens.
//
// # What an attacker can do
//
// Values that were forged, changed, cut short, or moved to another key or
// namespace are refused with ErrTampered, or with ErrSealed where a remote
// KeyWrapper is what refuses them, and are not overwritten. (A Dir takes a file
// that is no JSON any more for missing: to cut one short is to delete it.) So is
// a version of a record that is older than one which this process has read or
// written under that key, or deleted. It remembers that for the 65,536 keys used
// last, in about 13 MB. Versions are times in microseconds, or one more than the
// version replaced, so that a record that is made again after it was deleted is
// newer, as long as the clocks of those who share the store differ by less than
// the time between.
//
// What remains: whoever writes to the store can delete records, and can put an
// old one back before a process that has not seen a newer one. That process
// then uses an old token, which expires at its time, or sends a refresh token
// that was already spent, which the service refuses and for which it may end the
// session; or it goes on serving a user whom another process has forgotten.
// Nothing of it reaches the attacker.
type Encrypted struct {
	inner Store
	keys  keyring
	seen  *versions
}

// NewEncrypted returns a Store that keeps its records sealed in inner. It seals
// under write, and opens what was sealed under write or any of read. It fails
// where a key has no ID or no Wrapper, or two have the same ID.
func NewEncrypted(inner Store, write EncryptionKey, read ...EncryptionKey) (*Encrypted, error) {
	if inner == nil {
		return nil, errors.New("cache: an Encrypted needs a Store to keep its records in")
	}
	floors, err := simplelru.NewLRU[[32]byte, uint64](maxVersions, nil)
	if err != nil {
		return nil, err
	}
	return (&Encrypted{inner: inner, seen: &versions{floors: floors}}).WithKeys(write, read...)
}

// WithKeys returns a Store of the same records with other keys, as NewEncrypted
// does. Both know the versions of records that either has seen, so that none is
// put back while the keys of a process are changed.
func (e *Encrypted) WithKeys(write EncryptionKey, read ...EncryptionKey) (*Encrypted, error) {
	other := &Encrypted{inner: e.inner, seen: e.seen}
	if err := other.keys.init(write, read); err != nil {
		return nil, err
	}
	return other, nil
}

// MaxRecordBytes returns MaxEncryptedBytes.
func (e *Encrypted) MaxRecordBytes() int { return MaxEncryptedBytes }

// Format implements fmt.Formatter: no verb shows a key.
func (e *Encrypted) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "cache.Encrypted") }

// Get implements Store. Its error wraps ErrSealed or ErrTampered where the
// record can't be opened or is refused.
func (e *Encrypted) Get(ctx context.Context, key string) ([]byte, error) {
	// Taken before the record is read: a write meanwhile makes it no replay.
	floor := e.seen.floor(key)
	raw, err := e.inner.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	record, _, err := e.open(ctx, key, raw, floor)
	return record, err
}

// Update implements Store. Where the data key can't be wrapped, fn runs all the
// same, and NotWritable tells it; wrapping is tried once more afterwards.
func (e *Encrypted) Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) (new []byte, err error)) error {
	var changed uint64 // what the key's version must be from now on, if it was changed
	err := e.inner.Update(context.WithValue(ctx, sealingKey{}, true), key, func(ctx context.Context, raw []byte) ([]byte, error) {
		floor := e.seen.floor(key)
		var old []byte
		version := floor
		if len(raw) > 0 {
			var err error
			if old, version, err = e.open(ctx, key, raw, floor); err != nil {
				return nil, err
			}
		}
		sealer, sealErr := e.keys.sealer(ctx)
		written := raw // as it is, which writes nothing
		err := apply(WithNotWritable(ctx, cmp.Or(NotWritable(ctx), sealErr)), old, fn, func(record []byte) error {
			next := max(version+1, uint64(max(0, time.Now().UnixMicro())))
			sealed, err := e.sealRecord(ctx, sealer, key, next, record)
			if err == nil {
				written, changed = sealed, next
			}
			return err
		})
		if changed == 0 && err != nil {
			return nil, err
		}
		return written, err
	})
	if changed > 0 && !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotWritten) {
		e.seen.raise(key, changed)
	}
	return err
}

// open returns the record in raw and its version, which must be at least floor.
func (e *Encrypted) open(ctx context.Context, key string, raw []byte, floor uint64) ([]byte, uint64, error) {
	box, err := parseEnvelope(raw)
	if err != nil {
		return nil, 0, err
	}
	opener, err := e.keys.opener(ctx, box)
	if err != nil {
		return nil, 0, err
	}
	record, version, err := openBox(opener, key, box)
	if err != nil {
		return nil, 0, err
	}
	if version < floor {
		return nil, 0, fmt.Errorf("%w: a newer version of it was seen before", ErrTampered)
	}
	e.seen.raise(key, version)
	return record, version, nil
}

// sealRecord seals record, nil to delete, with a new sealer where there was none
// before the update function ran.
func (e *Encrypted) sealRecord(ctx context.Context, sealer *dataKey, key string, version uint64, record []byte) ([]byte, error) {
	if record == nil {
		return nil, nil
	}
	if len(record) > MaxEncryptedBytes {
		return nil, fmt.Errorf("%w: it has %d bytes; at most %d are allowed in an Encrypted store", ErrNotWritten, len(record), MaxEncryptedBytes)
	}
	if sealer == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
		defer cancel()
		var err error
		if sealer, err = e.keys.sealer(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotWritten, err)
		}
	}
	return sealBox(sealer, key, version, record)
}

// maxVersions bounds what versions remembers.
const maxVersions = 1 << 16

// versions remembers the lowest version that each key's record may have.
type versions struct {
	mu     sync.Mutex
	floors *simplelru.LRU[[32]byte, uint64]
}

func (v *versions) floor(key string) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	floor, _ := v.floors.Get(digest(key))
	return floor
}

func (v *versions) raise(key string, version uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := digest(key)
	if floor, _ := v.floors.Get(id); version >= floor {
		v.floors.Add(id, version)
	}
}
