package awsoidc_test

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// A day is what TestADay simulates: users who come in three waves, stay for
// hours, and call every few minutes; a restart that keeps the store, and one
// that loses it.
type day struct {
	users    int
	length   time.Duration
	exchange int // the quotas, a second
	refresh  int
	tokens   bool // the service issues refresh tokens for JWTs
}

const (
	tokenLatency = 50 * time.Millisecond
	callEvery    = 8 * time.Minute // on average
)

// phase is what happened between two restarts.
type phase struct {
	name                          string
	calls, waited, throttled, bad int
	longest                       time.Duration
	asked, refused                int // of the service
}

func TestADay(t *testing.T) {
	d := day{users: 1_000, length: 3 * time.Hour, exchange: 1, refresh: 8}
	switch scale := os.Getenv("AWSOIDC_TEST_DAY"); scale {
	case "":
	case "twentieth": // a tenth of the users and quotas, for half as long
		d = day{users: 10_000, length: 12 * time.Hour, exchange: 1, refresh: 8}
	case "full":
		d = day{users: 100_000, length: 24 * time.Hour, exchange: 10, refresh: 80}
	default:
		t.Fatalf("AWSOIDC_TEST_DAY is %q; it may be twentieth or full", scale)
	}
	for _, tokens := range []bool{true, false} {
		d.tokens = tokens
		t.Run(fmt.Sprint("refresh tokens=", tokens), func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				phases := d.run(t)
				for _, p := range phases {
					t.Logf("%-22s %8d calls, %6d waited, the longest %7v, %7d throttled, %7d requests", p.name, p.calls, p.waited, p.longest.Round(10*time.Millisecond), p.throttled, p.asked)
					if p.refused > 0 {
						t.Errorf("%s: a quota was exceeded %d times", p.name, p.refused)
					}
					if p.bad > 0 {
						t.Errorf("%s: %d calls failed", p.name, p.bad)
					}
					if p.longest > 12*time.Second {
						t.Errorf("%s: a call waited %v", p.name, p.longest)
					}
					if tokens && p.name != "store lost" && p.throttled > 0 {
						t.Errorf("%s: %d calls were throttled", p.name, p.throttled)
					}
				}
			})
		})
	}
}

// run simulates the day.
func (d day) run(t *testing.T) []phase {
	srv := idctest.New()
	srv.JWTBearerRefreshTokens, srv.RotateRefreshTokens = d.tokens, false
	srv.Applications = []idctest.Application{{ARN: applicationARN, Scopes: []string{"sts:identity_context"}}}
	srv.SessionLifetime = 30 * 24 * time.Hour
	srv.Quotas = map[idctest.Operation]int{idctest.CreateTokenWithIAMJWTBearer: d.exchange, idctest.CreateTokenWithIAMRefresh: d.refresh}
	srv.Inject(idctest.CreateTokenWithIAM, idctest.Fault{Times: idctest.Always, LatencyAfter: tokenLatency})
	newStore := func() cache.Store {
		store, err := cache.NewLRU(d.users, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	store := newStore()
	start := func() *awsoidc.Exchanger {
		return newExchanger(t, srv, func(c *awsoidc.ExchangerConfig) {
			c.Store, c.MaxIdentities = store, d.users
			c.Limiter = awsoidc.NewLimiter(awsoidc.Rates{Exchange: float64(d.exchange), Refresh: float64(d.refresh)}, 1)
		})
	}
	ex := start()
	begin := time.Now()
	restarts := []struct {
		at   time.Duration
		name string
	}{{d.length / 2, "store kept"}, {d.length * 3 / 4, "store lost"}}

	var mu sync.Mutex
	phases := []phase{{name: "from the first user on"}}
	seen := srv.Count(idctest.CreateTokenWithIAM)
	chance := rand.New(rand.NewPCG(1, 2)) // who comes when is the same each time
	visits := d.visits(chance)
	var calls sync.WaitGroup
	for len(visits) > 0 {
		v := heap.Pop(&visits).(visit)
		if len(restarts) > 0 && v.at >= restarts[0].at {
			time.Sleep(time.Until(begin.Add(restarts[0].at)))
			calls.Wait() // the process drains,
			if err := ex.Close(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second) // and takes a second to start
			if restarts[0].name == "store lost" {
				store = newStore()
			}
			ex = start()
			counts := srv.Count(idctest.CreateTokenWithIAM)
			mu.Lock()
			p := &phases[len(phases)-1]
			p.asked, p.refused = counts.Requests-seen.Requests, counts.Throttled-seen.Throttled
			phases = append(phases, phase{name: restarts[0].name})
			mu.Unlock()
			seen, restarts = counts, restarts[1:]
		}
		time.Sleep(time.Until(begin.Add(v.at)))
		now, index := ex, len(phases)-1
		calls.Go(func() {
			subject := awsoidc.Subject{Issuer: issuer, ID: fmt.Sprint(v.user)}
			assertion := awsoidc.JWTFunc(func(context.Context) (string, error) { return assertionOf(subject, nil), nil })
			began := time.Now()
			_, err := now.Identity(subject, assertion).Token()
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			p := &phases[index]
			p.calls++
			if took > 0 {
				p.waited++
				p.longest = max(p.longest, took)
			}
			switch {
			case errors.Is(err, awsoidc.ErrThrottled):
				p.throttled++
			case err != nil:
				p.bad++
			}
		})
		v.at += time.Duration(chance.Float64() * 2 * float64(callEvery))
		if v.at < v.until {
			heap.Push(&visits, v)
		}
	}
	calls.Wait()
	synctest.Wait()
	counts := srv.Count(idctest.CreateTokenWithIAM)
	p := &phases[len(phases)-1]
	p.asked, p.refused = counts.Requests-seen.Requests, counts.Throttled-seen.Throttled
	return phases
}

// visit is a user's next call.
type visit struct {
	user      int
	at, until time.Duration // since the day began
}

// visits returns each user's first: three waves, at most 8 in 10 of what the
// quota of JWTs takes.
func (d day) visits(chance *rand.Rand) visits {
	var all visits
	slot := d.length / 24
	for user := range d.users {
		var at time.Duration
		switch r := chance.Float64(); {
		case r < 0.5:
			at = 2*slot + time.Duration(chance.Float64()*5*float64(slot))
		case r < 0.8:
			at = 8*slot + time.Duration(chance.Float64()*5*float64(slot))
		default:
			at = 14*slot + time.Duration(chance.Float64()*4*float64(slot))
		}
		stay := slot + time.Duration(chance.Float64()*8*float64(slot))
		all = append(all, visit{user: user, at: at, until: min(at+stay, d.length)})
	}
	heap.Init(&all)
	return all
}

// visits is a heap, the earliest first.
type visits []visit

func (v visits) Len() int           { return len(v) }
func (v visits) Less(i, j int) bool { return v[i].at < v[j].at }
func (v visits) Swap(i, j int)      { v[i], v[j] = v[j], v[i] }
func (v *visits) Push(x any)        { *v = append(*v, x.(visit)) }
func (v *visits) Pop() any {
	last := len(*v) - 1
	x := (*v)[last]
	*v = (*v)[:last]
	return x
}
