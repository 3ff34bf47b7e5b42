package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// manyAccounts has more accounts, and one more roles, than fit on a page.
func manyAccounts(n int) []idctest.Account {
	accounts := make([]idctest.Account, n)
	for i := range accounts {
		accounts[i] = idctest.Account{ID: fmt.Sprintf("%012d", i), Name: fmt.Sprint("Account ", i), Email: fmt.Sprintf("a%d@example.com", i), Roles: []string{"Admin", "ReadOnly"}}
	}
	for i := range 150 {
		accounts[0].Roles = append(accounts[0].Roles, fmt.Sprint("Role", i))
	}
	return accounts
}

func collectAccounts(ctx context.Context, src *awsoidc.TokenSource) (accounts []awsoidc.Account, err error) {
	for a, err := range src.Accounts(ctx) {
		if err != nil {
			return accounts, err
		}
		accounts = append(accounts, a)
	}
	return accounts, nil
}

func TestAccounts(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Accounts = manyAccounts(250)
		src := signedIn(t, srv)
		accounts, err := collectAccounts(t.Context(), src)
		if err != nil || len(accounts) != 250 || accounts[249] != (awsoidc.Account{ID: "000000000249", Name: "Account 249", Email: "a249@example.com"}) {
			t.Fatalf("%d accounts, %v", len(accounts), err)
		}
		if n := srv.Count(idctest.ListAccounts).Requests; n != 3 {
			t.Errorf("%d requests for 3 pages", n)
		}
		var roles []string
		for role, err := range src.Roles(t.Context(), "000000000000") {
			if err != nil {
				t.Fatal(err)
			}
			roles = append(roles, role)
		}
		if !slices.Equal(roles, srv.Accounts[0].Roles) {
			t.Errorf("got %d roles", len(roles))
		}
		for range src.Accounts(t.Context()) {
			break // asks for one page only
		}
		if n := srv.Count(idctest.ListAccounts).Requests; n != 4 {
			t.Errorf("%d requests after a range that was left", n)
		}
	})
}

// TestPortalRate lists the roles of many accounts, in as many goroutines as
// there are: no second sees more than 20 requests.
func TestPortalRate(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		srv.Accounts = manyAccounts(100)
		var times []time.Time
		src := signedIn(t, srv, watching(srv, func(r *http.Request) *http.Response {
			if strings.HasPrefix(r.URL.Host, "portal.sso.") {
				times = append(times, time.Now())
			}
			return nil
		}))
		accounts, err := collectAccounts(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range accounts {
			for _, err := range src.Roles(t.Context(), a.ID) {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(times) != 102 {
			t.Errorf("%d requests", len(times))
		}
		for i := range len(times) - 20 {
			if d := times[i+20].Sub(times[i]); d < time.Second {
				t.Fatalf("21 requests within %v", d)
			}
		}
	})
}

// watching passes what a source sends to see first, which may answer itself.
func watching(srv *idctest.Server, see func(*http.Request) *http.Response) func(*awsoidc.Config) {
	return func(c *awsoidc.Config) {
		c.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if answer := see(r); answer != nil {
				answer.Request = r
				return answer, nil
			}
			return srv.Transport().RoundTrip(r)
		})}
	}
}

func jsonResponse(body string) *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestAccountsWithoutEnd(t *testing.T) {
	for name, page := range map[string]func(n int) string{
		"repeated": func(int) string { return "again" },
		"in turns": func(n int) string { return fmt.Sprint(n % 3) },
		"endless":  func(n int) string { return fmt.Sprint(n) },
		"too long": func(int) string { return strings.Repeat("x", 70<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T) {
				srv, n := idctest.New(), 0
				src := signedIn(t, srv, watching(srv, func(r *http.Request) *http.Response {
					if r.URL.Path != "/assignment/accounts" {
						return nil
					}
					n++
					return jsonResponse(`{"accountList": [{"accountId": "123456789012"}], "nextToken": "` + page(n) + `"}`)
				}))
				_, err := collectAccounts(t.Context(), src)
				if err == nil || !strings.Contains(err.Error(), "check the endpoint") || strings.Contains(err.Error(), "\n") {
					t.Errorf("after %d pages: %v", n, err)
				}
				if n > 1000 {
					t.Errorf("%d pages were asked for", n)
				}
			})
		})
	}
}

func TestAccountsInTrouble(t *testing.T) {
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		src := signedIn(t, srv)
		busy := idctest.Fault{Status: 429, Type: "TooManyRequestsException"}
		srv.Inject(idctest.ListAccounts, busy, busy, busy)
		if _, err := collectAccounts(t.Context(), src); err != nil {
			t.Errorf("three answers of 429 were not outlasted: %v", err)
		}
		busy.Times = idctest.Always
		srv.Inject(idctest.ListAccounts, busy)
		before := srv.Count(idctest.ListAccounts).Requests
		if _, err := collectAccounts(t.Context(), src); !errors.Is(err, awsoidc.ErrThrottled) || !strings.Contains(err.Error(), "try again later") {
			t.Errorf("got %v, want ErrThrottled", err)
		}
		if n := srv.Count(idctest.ListAccounts).Requests - before; n > 5 {
			t.Errorf("%d requests of a portal that is asked too often", n)
		}
		srv.ClearFaults()

		srv.RevokeAccessTokens()
		if _, err := collectAccounts(t.Context(), src); err != nil || refreshes(srv) != 1 {
			t.Errorf("a revoked access token was not replaced: %v", err)
		}
		time.Sleep(2 * time.Minute)
		srv.RevokeSessions()
		if _, err := collectAccounts(t.Context(), src); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired", err)
		}
	})
	virtual(t, func(t *testing.T) {
		srv := idctest.New()
		if _, err := collectAccounts(t.Context(), newSource(t, srv)); !errors.Is(err, awsoidc.ErrLoginRequired) {
			t.Errorf("got %v, want ErrLoginRequired", err)
		}
		src := signedIn(t, srv)
		for _, err := range src.Roles(t.Context(), "000000000000") {
			if !errors.Is(err, awsoidc.ErrNotAssigned) || !strings.Contains(err.Error(), "assigned to a role") {
				t.Errorf("got %v, want ErrNotAssigned", err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := collectAccounts(ctx, src); err != context.Canceled {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func ExampleTokenSource_Accounts() {
	_, src := signedInOnce()
	for account, err := range src.Accounts(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(account.ID, account.Name, account.Email)
	}
	// Output:
	// 123456789012 Example aws@example.com
}

func ExampleTokenSource_Roles() {
	_, src := signedInOnce()
	for role, err := range src.Roles(context.Background(), "123456789012") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(role)
	}
	// Output:
	// ReadOnly
	// Admin
}
