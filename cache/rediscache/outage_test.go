package rediscache

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// An outage is noticed by callers who have little time, too, and then costs one
// of them a wait now and then; what a caller did not wait for tells nothing.
func TestOutageIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outage
		ask := func(within time.Duration) (asked bool) {
			if o.refuse() != nil {
				return false
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			sent := time.Now()
			<-ctx.Done()
			o.note(ctx, sent, ctx.Err())
			return true
		}
		for range 100 {
			ask(100 * time.Millisecond)
		}
		if o.lasts() {
			t.Error("hasty callers make an outage")
		}
		for began := time.Now(); !o.lasts(); ask(time.Second) {
			if time.Since(began) > 2*patience {
				t.Fatal("nobody notices")
			}
		}
		for range 10 {
			if ask(time.Second) {
				t.Fatal("in an outage everybody asks")
			}
		}
		if err := o.refuse(); errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v wraps the error of another caller's context", err)
		}
		time.Sleep(probeEvery)
		if !ask(time.Second) || ask(time.Second) {
			t.Error("one should have asked, and another not")
		}
		time.Sleep(probeEvery)
		if o.refuse() != nil || o.refuse() == nil {
			t.Error("two ask at a time")
		}
		o.note(t.Context(), time.Now(), nil)
		if o.lasts() || o.refuse() != nil {
			t.Error("an answer does not end the outage")
		}
	})
}
