package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// envelopeVersion is the version of the format of sealed records.
const envelopeVersion = 1

// maxSealOverhead is more than sealing adds to a record, before base64 adds a
// third to everything.
const maxSealOverhead = 8 << 10

// envelope is a sealed record. It is JSON, so that a Dir can hold it.
type envelope struct {
	Version int    `json:"awsoidcSealed"` // envelopeVersion
	KeyID   string `json:"keyId"`         // of the EncryptionKey
	DataKey []byte `json:"dataKey"`       // wrapped with it
	Box     []byte `json:"box"`           // nonce, ciphertext and tag
}

// parseEnvelope refuses all but what sealBox writes, byte by byte: there is one
// form of each envelope.
func parseEnvelope(raw []byte) (envelope, error) {
	var box envelope
	if len(raw) > MaxRecordBytes || json.Unmarshal(raw, &box) != nil || box.Version == 0 {
		return box, fmt.Errorf("%w: it is no sealed record", ErrTampered)
	}
	if box.Version != envelopeVersion {
		return box, fmt.Errorf("%w: its format is version %d, and this program knows %d", ErrSealed, box.Version, envelopeVersion)
	}
	if again, err := json.Marshal(box); err != nil || !bytes.Equal(again, raw) {
		return box, fmt.Errorf("%w: it is not as it was written", ErrTampered)
	}
	if box.KeyID == "" || len(box.KeyID) > maxKeyIDBytes || len(box.DataKey) == 0 || len(box.DataKey) > maxWrappedBytes {
		return box, fmt.Errorf("%w: its header is malformed", ErrTampered)
	}
	return box, nil
}

func sealBox(k *dataKey, key string, version uint64, record []byte) ([]byte, error) {
	plain := append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(record)), version), record...)
	box := envelope{Version: envelopeVersion, KeyID: k.keyID, DataKey: k.wrapped}
	box.Box = k.aead.Seal(nil, nil, plain, k.additionalData(key, box))
	return json.Marshal(box)
}

func openBox(k *dataKey, key string, box envelope) (record []byte, version uint64, err error) {
	plain, err := k.aead.Open(nil, nil, box.Box, k.additionalData(key, box))
	if err != nil || len(plain) <= 8 {
		return nil, 0, fmt.Errorf("%w: its seal is broken", ErrTampered)
	}
	return plain[8:], binary.BigEndian.Uint64(plain), nil
}

// additionalData is what a box is bound to: its place, and its header.
func (k *dataKey) additionalData(key string, box envelope) []byte {
	return join("awsoidc cache record", fmt.Sprint(box.Version), k.namespace, key, box.KeyID, string(box.DataKey))
}

// join returns the parts, each after its length.
func join(parts ...string) []byte {
	var b []byte
	for _, part := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
	}
	return b
}
