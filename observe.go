package awsoidc

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/puzpuzpuz/xsync/v4"

	"github.com/awsoidc/awsoidc/wire"
)

// Rung is where on its ladder an Exchanger got what an identity needed.
type Rung string

// The rungs that cost a request to the store or to a service. What is in memory
// is not observed: Stats counts it.
const (
	RungStore       Rung = "store"       // taken over from the Store
	RungRefresh     Rung = "refresh"     // CreateTokenWithIAM with the refresh token
	RungExchange    Rung = "exchange"    // CreateTokenWithIAM with the assertion
	RungCredentials Rung = "credentials" // AssumeRole of STS, or GetRoleCredentials of the portal
)

// Event is what ExchangerConfig.Observe is told. It holds no secret. It is a
// slog.LogValuer.
type Event struct {
	Application string        // ARN
	Subject     Subject       // on whose behalf
	Rung        Rung          // what was tried
	Role        string        // ARN of the role, or account and role of the portal; "" but for RungCredentials
	Err         error         // nil where it succeeded; it wraps this package's sentinel errors
	Duration    time.Duration // of the request; 0 where the Limiter refused it
	RequestID   string        // of AWS; "" where it succeeded, or none came
}

// LogValue implements slog.LogValuer.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("application", e.Application),
		slog.String("issuer", wire.Redact(e.Subject.Issuer)),
		slog.String("subject", wire.Redact(e.Subject.ID)),
		slog.String("rung", string(e.Rung)),
		slog.Duration("duration", e.Duration),
	}
	if e.Subject.Tenant != "" {
		attrs = append(attrs, slog.String("tenant", wire.Redact(e.Subject.Tenant)))
	}
	if e.Role != "" {
		attrs = append(attrs, slog.String("role", wire.Redact(e.Role)))
	}
	if e.RequestID != "" {
		attrs = append(attrs, slog.String("request_id", e.RequestID))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// observe counts an event of the identity and tells whoever observes.
func (i Identity) observe(ctx context.Context, ev Event) {
	i.exchanger.counters.count(ev)
	i.tell(ctx, ev)
}

func (i Identity) tell(ctx context.Context, ev Event) {
	e := i.exchanger
	if e.cfg.Observe == nil {
		return
	}
	ev.Application, ev.Subject = e.cfg.Application, i.subject
	if answer, ok := errors.AsType[*wire.Error](ev.Err); ok {
		ev.RequestID = answer.RequestID
	} else if answer, ok := errors.AsType[*awshttp.ResponseError](ev.Err); ok {
		ev.RequestID = wire.Redact(answer.ServiceRequestID())
	}
	e.cfg.Observe(ctx, ev)
}

// Stats are an Exchanger's figures since it was made.
type Stats struct {
	Identities  int    // in memory now
	Bytes       int64  // that they take, about
	Hits        uint64 // of tokens and credentials that were in memory and not due
	Adopted     uint64 // tokens taken over from the Store
	Refreshes   uint64 // requests with a refresh token
	Exchanges   uint64 // requests with an assertion
	Credentials uint64 // requests for credentials
	Throttles   uint64 // requests that were answered with a throttle, among those above
	Limited     uint64 // requests that were not sent, because a budget was used up
	Failures    uint64 // requests that failed otherwise, among those above
}

// Stats returns the figures. It is cheap enough to be called every second.
func (e *Exchanger) Stats() Stats {
	c := e.counters
	entries, bytes := e.identities.len()
	return Stats{
		Identities:  entries,
		Bytes:       bytes,
		Hits:        uint64(c.hits.Value()),
		Adopted:     c.adopted.Load(),
		Refreshes:   c.refreshes.Load(),
		Exchanges:   c.exchanges.Load(),
		Credentials: c.credentials.Load(),
		Throttles:   c.throttles.Load(),
		Limited:     c.limited.Load(),
		Failures:    c.failures.Load(),
	}
}

type counters struct {
	hits                                                                     *xsync.Counter // striped: counted by every call
	adopted, refreshes, exchanges, credentials, throttles, limited, failures atomic.Uint64
}

func newCounters() *counters { return &counters{hits: xsync.NewCounter()} }

func (c *counters) count(ev Event) {
	switch ev.Rung {
	case RungStore:
		c.adopted.Add(1)
	case RungRefresh:
		c.refreshes.Add(1)
	case RungExchange:
		c.exchanges.Add(1)
	case RungCredentials:
		c.credentials.Add(1)
	}
	switch {
	case ev.Err == nil:
	case errors.Is(ev.Err, ErrThrottled):
		c.throttles.Add(1)
	default:
		c.failures.Add(1)
	}
}
