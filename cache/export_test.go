package cache

import (
	"time"

	"github.com/awsoidc/awsoidc/internal/atomicfile"
)

// SetFS makes d write with fs.
func (d *Dir) SetFS(fs atomicfile.FS) { d.fs = fs }

// HeldKeys returns how many keys somebody holds the right to, or waits for.
func (l *LRU) HeldKeys() int {
	l.updates.mu.Lock()
	defer l.updates.mu.Unlock()
	return len(l.updates.locks)
}

// TieredAge returns the age of a record as of asOf.
func TieredAge(asOf, now time.Time) time.Duration { return tieredRecord{asOf: asOf}.age(now) }
