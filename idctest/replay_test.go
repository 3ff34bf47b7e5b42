package idctest_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// TestReplays checks that an assertion with an ID can be presented once, and
// what makes two of them the same.
func TestReplays(t *testing.T) {
	srv := idctest.New()
	client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	exchange := func(application, assertion string) error {
		in := jwtBearer(assertion)
		in.ClientId = &application
		_, err := client.CreateTokenWithIAM(t.Context(), in)
		return err
	}
	const elsewhere = "arn:aws:sso::123456789012:application/ssoins-ffffffffffffffff/apl-1234567890abcdef"
	withID := func(id any) string { return assertion(map[string]any{"jti": id}) }
	replays := 0
	for _, step := range []struct {
		what        string
		application string
		assertion   string
		replay      bool
	}{
		{"without an ID", application, withID(nil), false},
		{"without an ID, again", application, withID(nil), false},
		{"with an empty ID", application, withID(""), false},
		{"with an empty ID, again", application, withID(""), false},
		{"with an ID", application, withID("1"), false},
		{"the same", application, withID("1"), true},
		{"the same ID with other claims", application, assertion(map[string]any{"jti": "1", "sub": "joe"}), true},
		{"at another application", otherApplication, withID("1"), true},
		{"at another instance", elsewhere, withID("1"), false},
		{"of another issuer", application, assertion(map[string]any{"jti": "1", "iss": "https://other.example"}), false},
		{"the same parts, cut elsewhere", application, assertion(map[string]any{"jti": "e1", "iss": "https://issuer.exampl"}), false},
		{"another ID", application, withID("2"), false},
	} {
		err := exchange(step.application, step.assertion)
		if step.replay {
			replays++
		}
		if got := isException(err, wire.TypeInvalidGrant); got != step.replay || err != nil && !step.replay {
			t.Errorf("%s: %v", step.what, err)
		}
		if got := srv.Replays(); got != replays {
			t.Errorf("%s: %d replays, want %d", step.what, got, replays)
		}
	}
	wantException(t, exchange(application, withID(3)), wire.TypeInvalidGrant)
	for range 2 { // it is no replay where the ID can't be read
		if err := assumeWeb(t, srv, withID("web")); err != nil { // nor for STS
			t.Error(err)
		}
	}
	if got := srv.Replays(); got != replays {
		t.Errorf("%d replays, want %d", got, replays)
	}
}

// TestPresentedInVain checks which answers to the first presentation leave the
// assertion spent.
func TestPresentedInVain(t *testing.T) {
	type in = ssooidc.CreateTokenWithIAMInput
	for name, test := range map[string]struct {
		change func(*in)
		fault  idctest.Fault
		spent  bool
	}{
		"scope refused":      {change: func(i *in) { i.Scope = []string{"more"} }, spent: true},
		"not assigned":       {change: func(i *in) { i.ClientId = aws.String(otherApplication) }, spent: true},
		"answer lost":        {fault: idctest.Fault{ResetAfter: true}, spent: true},
		"carried out, 503":   {fault: idctest.Fault{Status: 503, Commit: true}, spent: true},
		"denied":             {fault: idctest.Fault{Type: wire.TypeAccessDenied, Commit: true}, spent: true},
		"never arrived":      {fault: idctest.Fault{ResetBefore: true}},
		"503":                {fault: idctest.Fault{Status: 503}},
		"application":        {change: func(i *in) { i.ClientId = aws.String(application + "0") }},
		"unknown grant":      {change: func(i *in) { i.GrantType = aws.String("x") }},
		"signed for another": {fault: idctest.Fault{Type: wire.TypeInvalidRequestRegion, Region: "eu-west-1"}},
	} {
		srv := idctest.New()
		srv.Applications = []idctest.Application{{ARN: application}, {ARN: otherApplication, Subjects: []string{"joe"}}}
		client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
		token := assertion(map[string]any{"jti": "1"})
		first := jwtBearer(token)
		if test.change != nil {
			test.change(first)
		}
		srv.Inject(idctest.CreateTokenWithIAM, test.fault)
		if _, err := client.CreateTokenWithIAM(t.Context(), first); err == nil {
			t.Errorf("%s: no error", name)
		}
		_, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(token))
		if isException(err, wire.TypeInvalidGrant) != test.spent || err != nil && !test.spent {
			t.Errorf("%s: the second time: %v, want it spent: %v", name, err, test.spent)
		}
		if got := srv.Replays() == 1; got != test.spent {
			t.Errorf("%s: %d replays", name, srv.Replays())
		}
	}
}

// TestForgottenReplays checks that an ID is known until its assertion expires,
// by when it is not good any more, and may then come again.
func TestForgottenReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		at := func(id string, lifetime time.Duration) string {
			return assertion(map[string]any{"jti": id, "exp": time.Now().Add(lifetime).Unix()})
		}
		long, short := at("long", time.Hour), at("short", time.Minute)
		for _, token := range []string{long, short} {
			if err := exchangeJWT(t, srv, token); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute - time.Second)
		wantException(t, exchangeJWT(t, srv, short), wire.TypeInvalidGrant)
		time.Sleep(time.Second)
		wantException(t, exchangeJWT(t, srv, short), wire.TypeInvalidGrant) // expired
		if err := exchangeJWT(t, srv, at("short", time.Minute)); err != nil {
			t.Errorf("the ID, used again after the expiry: %v", err)
		}
		wantException(t, exchangeJWT(t, srv, long), wire.TypeInvalidGrant)
		if got := srv.Replays(); got != 2 {
			t.Errorf("%d replays, want 2", got)
		}
	})
}

// TestConcurrentReplays presents one assertion from many goroutines: one wins.
func TestConcurrentReplays(t *testing.T) {
	srv := idctest.New()
	p := newProvider(t, "https://issuer.example")
	srv.TrustedIssuers = []idctest.TrustedIssuer{onlineIssuer(p)}
	token := p.token(t, map[string]any{"jti": "1"})
	var succeeded atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if exchangeJWT(t, srv, token) == nil {
				succeeded.Add(1)
			}
		})
	}
	wg.Wait()
	if succeeded.Load() != 1 || srv.Replays() != 19 {
		t.Errorf("%d succeeded, %d replays; want 1 and 19", succeeded.Load(), srv.Replays())
	}
}
