package awsoidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// assertionWatch counts how often each assertion was sent and may have been
// looked at.
type assertionWatch struct {
	base http.RoundTripper
	mu   sync.Mutex
	sent map[string]int
}

func (w *assertionWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.RawQuery != "aws_iam=t" {
		return w.base.RoundTrip(r)
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	resp, err := w.base.RoundTrip(r)
	var in struct{ Assertion string }
	json.Unmarshal(body, &in)
	op, isDial := err, false
	var e *net.OpError
	if errors.As(op, &e) {
		isDial = e.Op == "dial"
	}
	looked := !isDial && (err != nil || resp.StatusCode != 429 && resp.StatusCode != 403)
	if in.Assertion != "" && looked {
		w.mu.Lock()
		w.sent[in.Assertion]++
		w.mu.Unlock()
	}
	return resp, err
}

// TestNoAssertionIsSentTwice lets users come and go for three days, with a jti
// in their assertions, at a service that fails in every way, and looks at what
// it was sent. Each user gets their own tokens, whoever else asks.
func TestNoAssertionIsSentTwice(t *testing.T) {
	steps := scale(1000, 3000)
	for _, mode := range []struct {
		refresh, stored bool
	}{{false, false}, {true, false}, {true, true}} {
		t.Run(fmt.Sprintf("refresh=%v,stored=%v", mode.refresh, mode.stored), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv := idctest.New()
				srv.JWTBearerRefreshTokens, srv.RotateRefreshTokens = mode.refresh, true
				srv.SessionLifetime = 10 * time.Hour
				watch := &assertionWatch{base: srv.Transport(), sent: map[string]int{}}
				var store cache.Store
				if mode.stored {
					store = newLRU(t)
				}
				var fleet []*awsoidc.Exchanger
				for range 2 {
					fleet = append(fleet, newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
						c.HTTPClient, c.MaxIdentities, c.Store = &http.Client{Transport: watch}, 15, store
					}))
					if !mode.stored {
						break // without a store two processes know nothing of each other
					}
				}
				random := rand.New(rand.NewPCG(1, 2))
				faults := []idctest.Fault{
					{}, {Status: 500}, {Status: 503}, {Status: 429}, {Status: 403, Type: "AccessDeniedException"}, {ResetBefore: true},
					{ResetAfter: true}, {Hang: true}, {Dial: true}, {Type: "InvalidGrantException"}, {Type: "AccessDeniedException"},
					{Body: []byte("garbage")}, {LatencyAfter: 3 * time.Second}, {LatencyAfter: 20 * time.Second}, {CutBody: true},
				}
				held := map[int]string{} // the assertion that each user goes on showing
				got := 0
				var mu sync.Mutex
				for range steps {
					time.Sleep(time.Duration(random.Int64N(int64(2 * time.Minute))))
					srv.ClearFaults()
					if random.IntN(3) == 0 {
						srv.Inject(idctest.CreateTokenWithIAM, faults[random.IntN(len(faults))])
					}
					n := random.IntN(20)
					user := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint("user", n)}
					if held[n] == "" || random.IntN(10) == 0 {
						held[n] = assertionOf(user, nil)
					}
					assertion, ex := awsoidc.JWT(held[n]), fleet[random.IntN(len(fleet))]
					if random.IntN(50) == 0 {
						go ex.Forget(context.Background(), user)
					}
					for range 1 + random.IntN(3) {
						patience := time.Duration(1 + random.Int64N(int64(time.Minute)))
						go func() {
							ctx, cancel := context.WithTimeout(context.Background(), patience)
							defer cancel()
							token, err := ex.Identity(user, assertion).TokenContext(ctx)
							if err != nil {
								return
							}
							if id, ok := srv.Identify(token.AccessToken); ok && id.Subject != user.ID {
								t.Errorf("%s got the token of %s", user.ID, id.Subject)
							}
							mu.Lock()
							got++
							mu.Unlock()
						}()
					}
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				for assertion, n := range watch.sent {
					if n > 1 {
						t.Errorf("an assertion was sent %d times: %s", n, assertion)
					}
				}
				if srv.Replays() != 0 || srv.Reuses() > 0 && !mode.refresh {
					t.Errorf("%d replays", srv.Replays())
				}
				if got < steps/3 || len(watch.sent) < steps/30 {
					t.Errorf("%d tokens were had for %d assertions: the run shows nothing", got, len(watch.sent))
				}
			})
		})
	}
}
