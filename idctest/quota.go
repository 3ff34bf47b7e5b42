package idctest

import (
	"net/http"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// bucket is what is left of an operation's quota.
type bucket struct {
	tokens float64 // a request takes one
	filled time.Time
}

// overQuota counts a request towards its quotas, unless one of them is used up.
func (s *Server) overQuota(op Operation) bool {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	var buckets []*bucket
	for _, kind := range op.kinds() {
		if rate := s.Quotas[kind]; rate > 0 {
			buckets = append(buckets, s.state.bucket(kind, rate, now))
		}
	}
	for _, b := range buckets {
		if b.tokens < 1-1e-6 { // less than that is rounding
			return true
		}
	}
	for _, b := range buckets {
		b.tokens--
	}
	return false
}

// bucket returns the bucket of op, filled up to now. The caller holds mu.
func (st *state) bucket(op Operation, rate int, now time.Time) *bucket {
	b := st.buckets[op]
	if b == nil {
		if st.buckets == nil {
			st.buckets = make(map[Operation]*bucket)
		}
		b = &bucket{tokens: float64(rate), filled: now}
		st.buckets[op] = b
	}
	if d := now.Sub(b.filled); d > 0 {
		b.tokens = min(b.tokens+d.Seconds()*float64(rate), float64(rate))
		b.filled = now
	}
	return b
}

// throttle is the answer to a request too many.
func throttle(r *request) *answer {
	const message = "Rate exceeded"
	switch r.op.service() {
	case servicePortal:
		return portalError(http.StatusTooManyRequests, typeTooManyRequests, message)
	case serviceSTS:
		return stsError(r.requestID, http.StatusBadRequest, stsThrottling, message)
	}
	return oidcError(wire.TypeSlowDown, message)
}
