package cache

import "context"

// IsSealed reports whether record is in the form that an Encrypted store gives
// to what it keeps in another one. It says nothing of whether it can be opened.
func IsSealed(record []byte) bool {
	_, err := parseEnvelope(record)
	return err == nil
}

type sealingKey struct{}

// Sealing reports, to a Store, whether the caller is an Encrypted, so that a
// store which takes sealed records alone can refuse another caller before its
// update function spends anything.
func Sealing(ctx context.Context) bool {
	sealing, _ := ctx.Value(sealingKey{}).(bool)
	return sealing
}
