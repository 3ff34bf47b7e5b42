package awsoidc

import "time"

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

type clock struct {
	base time.Time        // where the monotonic reading begins
	wall func() time.Time // nil: the same reading serves both clocks
}

func newClock(wall func() time.Time) clock { return clock{base: time.Now(), wall: wall} }

func (c *clock) now() instant {
	t := time.Now()
	now := instant{wall: t.UnixNano(), mono: int64(t.Sub(c.base))}
	if c.wall != nil {
		now.wall = c.wall().UnixNano()
	}
	return now
}

// at returns the instant when the wall clock will show t, as seen from now.
func (i instant) at(t time.Time) instant { return i.add(t.Sub(i.time())) }
