package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/idctest"
)

// A panel is what persons see on the terminals of several programs.
type panel struct {
	prompts atomic.Int32
	waiting atomic.Int32
	adopted atomic.Int32
	whose   atomic.Value                // what Waiting was told last
	came    chan struct{}               // unless nil, gets a value from each Waiting
	decide  func(userCode string) error // at once; nil leaves the person thinking
}

func (p *panel) Prompt(_ context.Context, v awsoidc.Verification) (func(error), error) {
	p.prompts.Add(1)
	if p.decide == nil {
		return nil, nil
	}
	return nil, p.decide(v.UserCode)
}

func (p *panel) Waiting(_, who string) {
	p.whose.Store(who)
	p.waiting.Add(1)
	if p.came != nil {
		p.came <- struct{}{}
	}
}

func (p *panel) Adopted(string) { p.adopted.Add(1) }

// crowd has sources sign in at once, and returns their errors.
func crowd(t *testing.T, sources []*awsoidc.TokenSource) []error {
	t.Helper()
	errs := make([]error, len(sources))
	var all sync.WaitGroup
	for i, src := range sources {
		all.Go(func() { errs[i] = src.Login(t.Context()) })
	}
	all.Wait()
	return errs
}

// crowdOf returns 20 sources that share a store.
func crowdOf(t *testing.T, srv *idctest.Server, p *panel) []*awsoidc.TokenSource {
	t.Helper()
	store := newLRU(t)
	var sources []*awsoidc.TokenSource
	for range 20 {
		sources = append(sources, newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = p }))
	}
	return sources
}

func TestOneSignInForAll(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		p := &panel{decide: srv.Approve}
		sources := crowdOf(t, srv, p)
		for _, err := range crowd(t, sources) {
			if err != nil {
				t.Errorf("Login: %v", err)
			}
		}
		token := bearer(t, sources[0])
		for _, src := range sources {
			if got := bearer(t, src); got != token {
				t.Errorf("got another token")
			}
		}
		if n := srv.Count(idctest.StartDeviceAuthorization).Requests; n != 1 || p.prompts.Load() != 1 {
			t.Errorf("%d authorizations and %d prompts, want one", n, p.prompts.Load())
		}
		if err := sources[3].Login(t.Context()); err != nil {
			t.Errorf("a later Login: %v", err)
		}
		if n := p.prompts.Load(); n != 2 {
			t.Errorf("a later Login must ask the person anew; %d prompts", n)
		}
	})
}

// A browserPanel is a panel whose person answers in a browser, once all others
// wait for it.
type browserPanel struct {
	*panel
	t      *testing.T
	others int
	answer func(authorizationURL string) (callback string, err error)
}

func (p browserPanel) Prompt(_ context.Context, v awsoidc.Verification) (func(error), error) {
	if p.prompts.Add(1) == 1 {
		for range p.others {
			<-p.came
		}
	}
	callback, err := p.answer(v.URI)
	if err == nil {
		browse(p.t, callback, 0)
	}
	return nil, err
}

// TestOneAnswerInTheBrowserForAll is in real time, with a real listener.
func TestOneAnswerInTheBrowserForAll(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{"approved": nil, "denied": awsoidc.ErrAccessDenied} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, store := idctest.New(), newLRU(t)
			p := browserPanel{&panel{came: make(chan struct{}, 20)}, t, 19, srv.ApproveAuthorization}
			if want != nil {
				p.answer = srv.DenyAuthorization
			}
			var sources []*awsoidc.TokenSource
			for range 20 {
				sources = append(sources, newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Grant, c.Prompt = awsoidc.GrantAuthCode, p }))
			}
			for _, err := range crowd(t, sources) {
				if !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
			}
			if n := p.prompts.Load(); n != 1 {
				t.Errorf("%d prompts, want one", n)
			}
		})
	}
}

func TestOneDenialForAll(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		p := &panel{decide: srv.Deny}
		for _, err := range crowd(t, crowdOf(t, srv, p)) {
			if !errors.Is(err, awsoidc.ErrAccessDenied) {
				t.Errorf("got %v, want ErrAccessDenied", err)
			}
		}
		if n := p.prompts.Load(); n != 1 {
			t.Errorf("%d prompts, want one", n)
		}
	})
}

// TestTurnPassesOn has the program that asks the person give up.
func TestTurnPassesOn(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newLRU(t)
		absent, present := &panel{}, &panel{decide: srv.Approve}
		first := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = absent })
		second := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = present })
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if err := first.Login(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who gave up got %v", err)
			}
		})
		synctest.Wait()
		all.Go(func() {
			if err := second.Login(t.Context()); err != nil {
				t.Errorf("Login: %v", err)
			}
		})
		time.Sleep(time.Minute)
		if n := present.prompts.Load(); n != 0 {
			t.Errorf("the person was asked twice at a time")
		}
		if _, err := newSource(t, srv, withStore(store)).Bearer(t.Context()); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("who may not ask got %v", err)
		}
		cancel()
		all.Wait()
		bearer(t, second)
	})
}

// TestNobodyWaitsForThePerson refreshes a session while a person is asked to
// replace it.
func TestNobodyWaitsForThePerson(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newLRU(t)
		src := signedIn(t, srv, withStore(store))
		asking := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = &panel{} })
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { asking.Login(ctx) })
		time.Sleep(time.Minute)
		atOnce(t, "a valid token", func() { bearer(t, src) })
		cancel()
		all.Wait()
		again, cancel := context.WithCancel(t.Context())
		time.Sleep(2 * time.Hour) // expired
		all.Go(func() { asking.Login(again) })
		synctest.Wait()
		atOnce(t, "a refresh", func() { bearer(t, src) })
		cancel()
		all.Wait()
		if n := refreshes(srv); n != 1 {
			t.Errorf("%d refreshes", n)
		}
	})
}

func TestAdoptedSessionIsTold(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		p := &panel{decide: srv.Approve}
		crowd(t, crowdOf(t, srv, p))
		if n := p.adopted.Load(); n != 19 {
			t.Errorf("%d sign-ins said that they took over another's, want 19", n)
		}
	})
}

// TestWaitingForAProgramThatStopped has a sign-in that somebody suspended long
// ago, in a process that has the same number elsewhere: whoever waits for it has
// to know.
func TestWaitingForAProgramThatStopped(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newNoted(t, os.Getpid(), time.Now().Add(-24*time.Hour))
		stopped := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = &panel{} })
		var all sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		all.Go(func() { stopped.Login(ctx) })
		synctest.Wait()
		p := &panel{}
		waiting := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = p })
		all.Go(func() { waiting.Login(ctx) })
		time.Sleep(30 * time.Second)
		if n := p.waiting.Load(); n != 1 {
			t.Errorf("the person was told %d times what the sign-in waits for", n)
		}
		cancel()
		all.Wait()
	})
}

// TestClockSetBackAfterADenial finds the note of a sign-in that seems to have
// ended since, though nobody waited for it.
func TestClockSetBackAfterADenial(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newLRU(t)
		denied := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = &panel{decide: srv.Deny} })
		if err := denied.Login(t.Context()); !errors.Is(err, awsoidc.ErrAccessDenied) {
			t.Fatal(err)
		}
		p := &panel{decide: srv.Approve}
		src := newSource(t, srv, withStore(store), func(c *awsoidc.Config) {
			c.Prompt = p
			c.Now = func() time.Time { return time.Now().Add(-30 * time.Second) }
		})
		if err := src.Login(t.Context()); err != nil || p.prompts.Load() != 1 {
			t.Errorf("Login: %v, after %d prompts", err, p.prompts.Load())
		}
	})
}

// TestWaitingForAProgramWithoutANote has a sign-in that could not say whose it
// is, as on a full disk.
func TestWaitingForAProgramWithoutANote(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), &noted{Store: newLRU(t), note: `{"pid"`}
		var all sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		asking := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = &panel{} })
		all.Go(func() { asking.Login(ctx) })
		synctest.Wait()
		p := &panel{}
		waiting := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = p })
		all.Go(func() { waiting.Login(ctx) })
		time.Sleep(9 * time.Second)
		early := p.waiting.Load()
		time.Sleep(30 * time.Second)
		if n := p.waiting.Load(); early != 0 || n != 1 || p.whose.Load() != "" {
			t.Errorf("the person was told %d times in 9 s and %d times in all, last of %q", early, n, p.whose.Load())
		}
		cancel()
		all.Wait()
	})
}

func TestErrorNamesTheSignInUnderWay(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv, store := idctest.New(), newNoted(t, 4711, time.Now())
		src := newSource(t, srv, withStore(store))
		says := func() bool {
			_, err := src.Bearer(t.Context())
			if !errors.Is(err, awsoidc.ErrLoginRequired) || !strings.Contains(err.Error(), "to sign in, call Login") {
				t.Errorf("got %v", err)
			}
			return strings.Contains(err.Error(), "a sign-in is under way (process 4711, since ")
		}
		if says() {
			t.Error("of a process that was killed, the error says that its sign-in is under way")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		asking := newSource(t, srv, withStore(store), func(c *awsoidc.Config) { c.Prompt = &panel{} })
		all.Go(func() { asking.Login(ctx) })
		time.Sleep(time.Minute) // the error before is remembered for less
		begin := time.Now()
		if !says() {
			t.Error("the error does not say that a sign-in is under way")
		}
		if d := time.Since(begin); d >= time.Second {
			t.Errorf("who may not ask waited %v", d)
		}
		cancel()
		all.Wait()
	})
}

// noted is a Store in which a process has noted that it signs a person in.
type noted struct {
	cache.Store
	note string
}

func newNoted(t *testing.T, pid int, since time.Time) *noted {
	return &noted{newLRU(t), fmt.Sprintf(`{"pid":%d,"start":%q}`, pid, since.UTC().Format(time.RFC3339))}
}

func (n *noted) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, "awsoidc-sign-in note-") {
		return []byte(n.note), nil
	}
	return n.Store.Get(ctx, key)
}
