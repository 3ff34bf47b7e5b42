package awsoidc

import (
	"testing"
	"testing/synctest"
	"time"
)

// A wall clock that is set is believed within a millisecond.
func TestClockLooksAtTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		c.init(nil)
		for range 3 {
			if now := c.now(); !now.time().Equal(time.Now()) || now.mono != int64(time.Since(c.base)) {
				t.Errorf("%v, %d ns after the beginning; want %v, %v", now.time(), now.mono, time.Now(), time.Since(c.base))
			}
			c.ahead.Add(int64(time.Hour)) // as if it had been set back by an hour since it was read
			time.Sleep(time.Millisecond)
		}
	})
}

// One that is given is read each time.
func TestClockReadsAGivenWallClock(t *testing.T) {
	wall := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	var c clock
	c.init(func() time.Time { return wall })
	for range 3 {
		if now := c.now().time(); !now.Equal(wall) {
			t.Errorf("%v, want %v", now, wall)
		}
		wall = wall.Add(-time.Hour)
	}
}
