package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/awsoidc/awsoidc/cache"
)

// kmsAPI is what a KeyWrapper needs of AWS KMS: Encrypt and Decrypt, with an
// encryption context. A *kms.Client of the AWS SDK has them, with other types.
type kmsAPI interface {
	Encrypt(ctx context.Context, keyID string, plaintext []byte, encryptionContext map[string]string) ([]byte, error)
	Decrypt(ctx context.Context, keyID string, ciphertext []byte, encryptionContext map[string]string) ([]byte, error)
}

// kmsWrapper makes a key of AWS KMS a cache.KeyWrapper.
type kmsWrapper struct {
	client kmsAPI
	keyID  string // its ARN
}

var _ cache.KeyWrapper = kmsWrapper{}

var purpose = map[string]string{"purpose": "awsoidc data key"}

func (w kmsWrapper) Wrap(ctx context.Context, dataKey []byte) ([]byte, error) {
	return w.client.Encrypt(ctx, w.keyID, dataKey, purpose)
}

func (w kmsWrapper) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	return w.client.Decrypt(ctx, w.keyID, wrapped, purpose)
}

// fakeKMS stands in for AWS KMS: it keeps what it encrypted.
type fakeKMS struct{ plaintexts map[string]string }

func (f fakeKMS) Encrypt(_ context.Context, keyID string, plaintext []byte, _ map[string]string) ([]byte, error) {
	ciphertext := fmt.Sprintf("%s #%d", keyID, len(f.plaintexts))
	f.plaintexts[ciphertext] = string(plaintext)
	return []byte(ciphertext), nil
}

func (f fakeKMS) Decrypt(_ context.Context, _ string, ciphertext []byte, _ map[string]string) ([]byte, error) {
	plaintext, ok := f.plaintexts[string(ciphertext)]
	if !ok {
		return nil, errors.New("InvalidCiphertextException")
	}
	return []byte(plaintext), nil
}

// Data keys are wrapped by AWS KMS: it is asked once for each, not for each
// record. Keep the old key to read until no record is left under it.
func ExampleNewEncrypted() {
	kms := fakeKMS{map[string]string{}}
	newKey := cache.EncryptionKey{ID: "2027", Wrapper: kmsWrapper{kms, "arn:aws:kms:us-east-1:123456789012:key/b"}}
	oldKey := cache.EncryptionKey{ID: "2026", Wrapper: kmsWrapper{kms, "arn:aws:kms:us-east-1:123456789012:key/a"}}
	shared := cache.Local(table{}) // or any other store
	store, err := cache.NewEncrypted(shared, newKey, oldKey)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	err = store.Update(ctx, "session", func(ctx context.Context, old []byte) ([]byte, error) {
		return []byte("a refresh token"), nil
	})
	if err != nil {
		fmt.Println(err)
	}
	record, err := store.Get(ctx, "session")
	fmt.Println(string(record), err)
	sealed, _ := shared.Get(ctx, "session")
	fmt.Println(strings.Contains(string(sealed), "refresh"))

	_ = shared.Update(ctx, "another", func(context.Context, []byte) ([]byte, error) { return sealed, nil })
	_, err = store.Get(ctx, "another")
	fmt.Println(errors.Is(err, cache.ErrTampered))
	// Output:
	// a refresh token <nil>
	// false
	// true
}
