package idctest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

func TestPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		srv.PollInterval = 5 * time.Second
		s := begin(t, srv)
		poll := func(after time.Duration, want string) {
			t.Helper()
			time.Sleep(after)
			_, err := s.poll()
			wantException(t, err, want)
		}
		poll(0, wire.TypeAuthorizationPending)
		poll(5*time.Second, wire.TypeAuthorizationPending)
		poll(5*time.Second-1, wire.TypeSlowDown)            // the interval is 10 s from here on
		poll(10*time.Second-1, wire.TypeSlowDown)           // 15 s
		poll(15*time.Second, wire.TypeAuthorizationPending) // and stays so
		poll(14*time.Second, wire.TypeSlowDown)
		if err := srv.Approve(s.userCode); err != nil {
			t.Fatal(err)
		}
		poll(time.Second, wire.TypeSlowDown) // approved or not
		time.Sleep(25 * time.Second)
		if _, err := s.poll(); err != nil {
			t.Fatal(err)
		}
		poll(time.Minute, wire.TypeInvalidGrant) // a device code works once
		if got, want := srv.Count(idctest.CreateTokenDeviceCode), (idctest.Counts{Requests: 9, Succeeded: 1, Failed: 8, MaxConcurrent: 1}); got != want {
			t.Errorf("counts %+v, want %+v", got, want)
		}
	})
}

func TestInjectedSlowDownLengthensInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		s := begin(t, srv)
		srv.Inject(idctest.CreateToken, idctest.Fault{Type: wire.TypeSlowDown})
		_, err := s.poll()
		wantException(t, err, wire.TypeSlowDown)
		time.Sleep(6*time.Second - 1)
		_, err = s.poll() // 1 s + 5 s had to pass
		wantException(t, err, wire.TypeSlowDown)
		time.Sleep(11 * time.Second)
		_, err = s.poll()
		wantException(t, err, wire.TypeAuthorizationPending)
	})
}

func TestDeviceCodeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		srv.DeviceCodeLifetime = time.Minute
		s := begin(t, srv)
		time.Sleep(time.Minute - 1)
		_, err := s.poll()
		wantException(t, err, wire.TypeAuthorizationPending)
		time.Sleep(time.Nanosecond)
		_, err = s.poll()
		wantException(t, err, wire.TypeExpiredToken)
		if len(srv.Pending()) != 0 {
			t.Errorf("an expired code is pending")
		}
		if err := srv.Approve(s.userCode); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("approving an expired code: %v", err)
		}
	})
}

func TestDeny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		s := begin(t, srv)
		if err := srv.Deny(s.userCode); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_, err := s.poll()
			wantException(t, err, wire.TypeAccessDenied)
			time.Sleep(time.Second)
		}
		if err := srv.Approve(s.userCode); err == nil {
			t.Error("a denied code was approved")
		}
	})
}

func TestApproveAfter(t *testing.T) {
	for _, polls := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			srv := idctest.New()
			srv.ApproveAfter(polls)
			s := begin(t, srv)
			for range polls {
				_, err := s.poll()
				wantException(t, err, wire.TypeAuthorizationPending)
				time.Sleep(time.Second)
			}
			if _, err := s.poll(); err != nil {
				t.Errorf("poll %d: %v", polls+1, err)
			}
		})
	}
	srv := idctest.New()
	srv.ApproveAfter(0)
	srv.ApproveAfter(-1)
	_, err := begin(t, srv).poll()
	wantException(t, err, wire.TypeAuthorizationPending)
}

func TestApproveByHand(t *testing.T) {
	srv := idctest.New()
	s := begin(t, srv)
	if err := srv.Approve("NOPE-NOPE"); err == nil || !strings.HasPrefix(err.Error(), "idctest: ") {
		t.Errorf("approving an unknown code: %v", err)
	}
	if err := srv.Approve(" " + strings.ToLower(strings.ReplaceAll(s.userCode, "-", " "))); err != nil {
		t.Errorf("a code typed carelessly: %v", err)
	}
	if err := srv.Approve(s.userCode); err == nil {
		t.Error("approved twice")
	}
	if _, err := s.poll(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Deny(s.userCode); err == nil {
		t.Error("denied after use")
	}
}

func TestStartURLs(t *testing.T) {
	srv := idctest.New()
	s := register(t, srv)
	start := func(url string) error {
		_, err := s.oidc.StartDeviceAuthorization(t.Context(), &ssooidc.StartDeviceAuthorizationInput{
			ClientId: s.clientID, ClientSecret: s.clientSecret, StartUrl: aws.String(url),
		})
		return err
	}
	for _, url := range []string{"http://x.awsapps.com/start", "x.awsapps.com", "https://", "%"} {
		wantException(t, start(url), wire.TypeInvalidRequest)
	}
	if err := start("https://anything.example/"); err != nil {
		t.Error(err)
	}
	srv = idctest.New()
	srv.StartURLs = []string{startURL}
	s = register(t, srv)
	for _, url := range []string{startURL, startURL + "/", startURL + "/#/"} {
		if err := start(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	wantException(t, start("https://other.awsapps.com/start"), wire.TypeInvalidRequest)
}

// TestExpiredRegistration pins what the real service does: only CreateToken
// minds, and the page.
func TestExpiredRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RegistrationLifetime = time.Hour
		s := begin(t, srv)
		time.Sleep(time.Hour)
		if err := s.start(); err != nil {
			t.Errorf("StartDeviceAuthorization: %v, want none", err)
		}
		_, err := s.poll()
		wantException(t, err, wire.TypeInvalidClient)
		if err := srv.Approve(s.userCode); err == nil || !strings.Contains(err.Error(), "invalid client") {
			t.Errorf("Approve: %v", err)
		}
		_, body := send(t, srv.Transport(), "GET", "https://idc.example/device?user_code="+s.userCode, "", "")
		if !strings.Contains(body, "Invalid client") {
			t.Errorf("the page does not say so: %s", body)
		}
	})
}

func TestExpireAndForgetClients(t *testing.T) {
	srv := idctest.New()
	s := begin(t, srv)
	srv.ExpireRegistrations()
	if err := s.start(); err != nil {
		t.Errorf("StartDeviceAuthorization with an expired registration: %v, want none", err)
	}
	_, err := s.poll()
	wantException(t, err, wire.TypeInvalidClient)
	srv.ForgetClients()
	wantException(t, s.start(), wire.TypeInvalidClient)
	_, err = s.poll()
	wantException(t, err, wire.TypeInvalidClient)
}

func TestDeviceCodeIsBoundToItsClient(t *testing.T) {
	srv := idctest.New()
	srv.ApproveAfter(0)
	a, b := begin(t, srv), begin(t, srv)
	b.deviceCode = a.deviceCode
	_, err := b.poll()
	wantException(t, err, wire.TypeInvalidGrant)
	b.clientID = a.clientID // with b's secret
	wantException(t, b.start(), wire.TypeInvalidClient)
	_, err = b.poll()
	wantException(t, err, wire.TypeInvalidClient)
	if _, err := a.poll(); err != nil {
		t.Error(err)
	}
}
