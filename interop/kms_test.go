package interop

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/awsoidc/awsoidc/cache"
)

// The program of docs/encryption.md, letter for letter.

// kmsKey wraps data keys with a key of AWS KMS. It is a cache.KeyWrapper.
type kmsKey struct {
	client *kms.Client
	arn    string
	// context is compared by KMS when it unwraps, and can stand in policies.
	context map[string]string
}

func (k kmsKey) Wrap(ctx context.Context, dataKey []byte) ([]byte, error) {
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: &k.arn, Plaintext: dataKey, EncryptionContext: k.context,
	})
	if err != nil {
		return nil, err
	}
	return out.CiphertextBlob, nil
}

func (k kmsKey) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: &k.arn, CiphertextBlob: wrapped, EncryptionContext: k.context,
	})
	var forged *types.InvalidCiphertextException
	if errors.As(err, &forged) {
		return nil, fmt.Errorf("%w: %w", cache.ErrTampered, err)
	}
	if err != nil {
		return nil, err
	}
	return out.Plaintext, nil
}

// sealed returns a store that keeps its records in shared, sealed by a key of
// AWS KMS, for one deployment, such as "production".
func sealed(shared cache.Store, client *kms.Client, arn, deployment string) (cache.Store, error) {
	return cache.NewEncrypted(shared, cache.EncryptionKey{
		ID:        arn,
		Namespace: deployment,
		Wrapper: kmsKey{client, arn, map[string]string{
			"purpose": "awsoidc", "deployment": deployment,
		}},
	})
}

func TestDocsKMS(t *testing.T) {
	page, err := os.ReadFile("../docs/encryption.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("kms_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "\n```go\n")
	block, _, found := strings.Cut(rest, "```")
	if !found || !strings.Contains(string(program), "\n"+block) {
		t.Errorf("not in kms_test.go as docs/encryption.md has it:\n%s", block)
	}
}

// fakeKMS answers Encrypt and Decrypt of one key of AWS KMS.
type fakeKMS struct {
	aead               cipher.AEAD
	encrypts, decrypts atomic.Int32
	disabled           atomic.Bool
}

const kmsARN = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

func newKMS(t *testing.T) (*fakeKMS, *kms.Client) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeKMS{}
	if f.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	return f, kms.New(kms.Options{
		Region: "us-east-1", BaseEndpoint: &srv.URL, Credentials: aws.AnonymousCredentials{}, RetryMaxAttempts: 1,
	})
}

func (f *fakeKMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		KeyID             string `json:"KeyId"`
		Plaintext         []byte
		CiphertextBlob    []byte
		EncryptionContext map[string]string
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || in.KeyID != kmsARN {
		refuse(w, "NotFoundException")
		return
	}
	if f.disabled.Load() {
		refuse(w, "DisabledException")
		return
	}
	bound, _ := json.Marshal(in.EncryptionContext) // its keys are sorted
	switch target := r.Header.Get("X-Amz-Target"); target {
	case "TrentService.Encrypt":
		f.encrypts.Add(1)
		json.NewEncoder(w).Encode(map[string]any{"KeyId": kmsARN, "CiphertextBlob": f.aead.Seal(nil, nil, in.Plaintext, bound)})
	case "TrentService.Decrypt":
		f.decrypts.Add(1)
		plaintext, err := f.aead.Open(nil, nil, in.CiphertextBlob, bound)
		if err != nil {
			refuse(w, "InvalidCiphertextException")
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"KeyId": kmsARN, "Plaintext": plaintext})
	default:
		refuse(w, "UnknownOperationException")
	}
}

func refuse(w http.ResponseWriter, exception string) {
	w.Header().Set("X-Amzn-ErrorType", exception)
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"__type":%q}`, exception)
}

func TestKMS(t *testing.T) {
	fake, client := newKMS(t)
	shared, err := cache.NewLRU(100, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	open := func(deployment string) cache.Store {
		s, err := sealed(shared, client, kmsARN, deployment)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	writer, reader, stranger := open("production"), open("production"), open("staging")
	for _, key := range []string{"a", "b"} {
		err := writer.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return []byte("record " + key), nil })
		if err != nil {
			t.Fatal(err)
		}
		if got, err := reader.Get(t.Context(), key); string(got) != "record "+key || err != nil {
			t.Errorf("Get: %q, %v", got, err)
		}
		if _, err := stranger.Get(t.Context(), key); !errors.Is(err, cache.ErrTampered) {
			t.Errorf("another deployment: %v, want ErrTampered", err)
		}
	}
	if fake.encrypts.Load() != 1 || fake.decrypts.Load() != 1+2 {
		t.Errorf("%d data keys were wrapped, want 1, and %d unwrapped, want 1 and 2 in vain", fake.encrypts.Load(), fake.decrypts.Load())
	}

	fake.disabled.Store(true)
	_, err = open("production").Get(t.Context(), "a")
	if _, disabled := errors.AsType[*types.DisabledException](err); !errors.Is(err, cache.ErrSealed) || !disabled || errors.Is(err, cache.ErrTampered) {
		t.Errorf("with the key disabled: %v, want ErrSealed and why", err)
	}
	if got, err := reader.Get(t.Context(), "a"); string(got) != "record a" || err != nil {
		t.Errorf("who has the data key: %q, %v", got, err)
	}
}
