package awsoidc

import (
	"sync/atomic"
	"time"
)

// An instant is one moment on both clocks, in nanoseconds. A moment is reached
// when either clock says so: the wall clock alone can be set back, and the
// monotonic one alone stands still while a machine is suspended.
type instant struct {
	wall int64 // since the Unix epoch
	mono int64 // since the clock's base
}

func (i instant) reached(t instant) bool { return i.wall >= t.wall || i.mono >= t.mono }

func (i instant) add(d time.Duration) instant {
	return instant{wall: i.wall + int64(d), mono: i.mono + int64(d)}
}

// since returns how long before i the instant t was, on the monotonic clock.
func (i instant) since(t instant) time.Duration { return time.Duration(i.mono - t.mono) }

// time returns the wall clock's reading.
func (i instant) time() time.Time { return time.Unix(0, i.wall) }

// earlier returns the earlier of i and t on each clock.
func (i instant) earlier(t instant) instant {
	return instant{wall: min(i.wall, t.wall), mono: min(i.mono, t.mono)}
}

// A clock tells instants. Reading one of a machine's clocks is most of what it
// costs to use a fresh token, so the wall clock is read once a millisecond at
// most: in between it is told by the monotonic one, and only its being set, or a
// suspended machine's waking up, is noticed that much later.
type clock struct {
	base   time.Time        // where the monotonic reading begins
	wall   func() time.Time // read each time; nil: that of time.Now
	ahead  atomic.Int64     // what the wall clock showed more than the monotonic one
	readAt atomic.Int64     // when that was, on the monotonic clock
}

const wallReadEvery = int64(time.Millisecond)

// init sets c going. A nil wall means time.Now.
func (c *clock) init(wall func() time.Time) {
	c.base, c.wall = time.Now(), wall
	c.ahead.Store(c.base.UnixNano())
}

func (c *clock) now() instant {
	mono := int64(time.Since(c.base))
	if c.wall != nil {
		return instant{wall: c.wall().UnixNano(), mono: mono}
	}
	if mono-c.readAt.Load() >= wallReadEvery {
		t := time.Now()
		c.ahead.Store(t.UnixNano() - int64(t.Sub(c.base)))
		c.readAt.Store(mono)
	}
	return instant{wall: mono + c.ahead.Load(), mono: mono}
}

// at returns the instant when the wall clock will show t, as seen from now.
func (i instant) at(t time.Time) instant { return i.add(t.Sub(i.time())) }
