package idctest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	ssotypes "github.com/aws/aws-sdk-go-v2/service/sso/types"

	"github.com/awsoidc/awsoidc/idctest"
)

func TestPaging(t *testing.T) {
	srv := idctest.New()
	var want []string
	for i := range 45 {
		want = append(want, fmt.Sprintf("%012d", i))
		srv.Accounts = append(srv.Accounts, idctest.Account{ID: want[i], Roles: []string{"A", "B", "C"}})
	}
	token, portal := srv.Issue().AccessToken, portalClient(srv.Transport())
	for _, size := range []*int32{nil, aws.Int32(1), aws.Int32(44), aws.Int32(45), aws.Int32(100)} {
		var got []string
		pages := sso.NewListAccountsPaginator(portal, &sso.ListAccountsInput{AccessToken: &token, MaxResults: size})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range page.AccountList {
				got = append(got, *a.AccountId)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("page size %v: got %d accounts, want %d", size, len(got), len(want))
		}
	}
	roles, err := portal.ListAccountRoles(t.Context(), &sso.ListAccountRolesInput{AccessToken: &token, AccountId: &want[7], MaxResults: aws.Int32(2)})
	if err != nil || len(roles.RoleList) != 2 || roles.NextToken == nil {
		t.Errorf("first page of roles: %+v, %v", roles, err)
	}
	for _, in := range []sso.ListAccountsInput{
		{MaxResults: aws.Int32(101)}, {MaxResults: aws.Int32(0)}, {MaxResults: aws.Int32(-1)},
		{NextToken: aws.String("no")}, {NextToken: aws.String("LTE")}, {NextToken: aws.String("OTk5")},
	} {
		in.AccessToken = &token
		_, err := portal.ListAccounts(t.Context(), &in)
		wantException(t, err, "InvalidRequestException")
	}
}

func TestPortalRefuses(t *testing.T) {
	srv := idctest.New()
	token, portal := srv.Issue().AccessToken, portalClient(srv.Transport())
	var unauthorized *ssotypes.UnauthorizedException
	_, err := portal.ListAccounts(t.Context(), &sso.ListAccountsInput{AccessToken: aws.String("nobody's")})
	if !errors.As(err, &unauthorized) || *unauthorized.Message != "Session token not found or invalid" {
		t.Errorf("got %v", err)
	}
	_, err = portal.ListAccountRoles(t.Context(), &sso.ListAccountRolesInput{AccessToken: aws.String("x"), AccountId: aws.String("123456789012")})
	wantException(t, err, "UnauthorizedException")
	_, err = portal.Logout(t.Context(), &sso.LogoutInput{AccessToken: aws.String("x")})
	wantException(t, err, "UnauthorizedException")

	get := func(account, role string) error {
		_, err := portal.GetRoleCredentials(t.Context(), &sso.GetRoleCredentialsInput{AccessToken: &token, AccountId: &account, RoleName: &role})
		return err
	}
	for _, err := range []error{get("123456789012", "Owner"), get("000000000000", "ReadOnly")} {
		var re *awshttp.ResponseError
		wantException(t, err, "ForbiddenException")
		if !errors.As(err, &re) || re.HTTPStatusCode() != 403 || !strings.Contains(err.Error(), "No access") {
			t.Errorf("got %v, want 403 No access", err)
		}
	}
	wantException(t, get("", ""), "InvalidRequestException")
	_, err = portal.ListAccountRoles(t.Context(), &sso.ListAccountRolesInput{AccessToken: &token, AccountId: aws.String("")})
	wantException(t, err, "InvalidRequestException")
	_, err = portal.ListAccountRoles(t.Context(), &sso.ListAccountRolesInput{AccessToken: &token, AccountId: aws.String("000000000000")})
	wantException(t, err, "ForbiddenException")

	for typ, status := range map[string]int{
		"TooManyRequestsException": 429, "ResourceNotFoundException": 404, "UnauthorizedException": 401,
		"ForbiddenException": 403, "InternalServerException": 500, "InvalidRequestException": 400,
	} {
		srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Type: typ, Description: "later"})
		err := get("123456789012", "ReadOnly")
		wantException(t, err, typ)
		var re *awshttp.ResponseError
		if !errors.As(err, &re) || re.HTTPStatusCode() != status {
			t.Errorf("%s: %v, want status %d", typ, err, status)
		}
	}
	_, err = portal.ListAccountRoles(t.Context(), &sso.ListAccountRolesInput{AccessToken: &token, AccountId: aws.String("123456789012"), MaxResults: aws.Int32(101)})
	wantException(t, err, "InvalidRequestException")
	var throttled *ssotypes.TooManyRequestsException
	srv.Inject(idctest.GetRoleCredentials, idctest.Fault{Status: 429, Description: "later"})
	if err := get("123456789012", "ReadOnly"); !errors.As(err, &throttled) || *throttled.Message != "later" {
		t.Errorf("got %v", err)
	}
}

func TestCallerIdentityRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		srv.RoleCredentialsLifetime = 15 * time.Minute
		out, err := roleCredentials(t, srv, srv.Issue().AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		c := out.RoleCredentials
		who := func(id, secret, token string) error {
			_, err := stsClient(srv.Transport(), id, secret, token).GetCallerIdentity(t.Context(), nil)
			return err
		}
		if err := who(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken); err != nil {
			t.Error(err)
		}
		wantException(t, who("ASIAAAAAAAAAAAAAAAAA", *c.SecretAccessKey, *c.SessionToken), "InvalidClientTokenId")
		wantException(t, who(*c.AccessKeyId, *c.SecretAccessKey, "other"), "InvalidClientTokenId")
		wantException(t, who(*c.AccessKeyId, *c.SecretAccessKey, ""), "InvalidClientTokenId")
		wantException(t, who(*c.AccessKeyId, "another secret access key", *c.SessionToken), "SignatureDoesNotMatch")
		for _, f := range []idctest.Fault{{Type: "Throttling", Description: "Rate exceeded"}, {Type: "InternalFailure", Status: 500}} {
			srv.Inject(idctest.GetCallerIdentity, f)
			wantException(t, who(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken), f.Type)
		}
		time.Sleep(15 * time.Minute)
		wantException(t, who(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken), "ExpiredToken")
	})
	for _, test := range []struct {
		url, authorization, code string
		status                   int
	}{
		{"https://sts.example/?Action=GetCallerIdentity&Version=2011-06-15", "", "MissingAuthenticationToken", 403},
		{"https://sts.example/?Action=GetCallerIdentity", "AWS4-HMAC-SHA256 Credential=x", "IncompleteSignature", 400},
		{"https://sts.example/?Action=GetSessionToken", "", "InvalidAction", 400},
	} {
		req, err := http.NewRequest("GET", test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", test.authorization)
		resp, err := idctest.New().Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := resp.Write(&b); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != test.status || !strings.Contains(b.String(), "<Code>"+test.code+"</Code>") {
			t.Errorf("%s: got %s, want %s", test.url, b.String(), test.code)
		}
	}
}

func TestUserInfo(t *testing.T) {
	srv := idctest.New()
	srv.UserName = "sam"
	s := srv.Issue("sso:account:access")
	get := func(authorization string) *http.Response {
		req, err := http.NewRequest("GET", "https://api.example/userinfo", nil)
		if err != nil {
			t.Fatal(err)
		}
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := srv.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var who struct{ Sub, Scope string }
	resp := get("bearer " + s.AccessToken)
	if err := json.NewDecoder(resp.Body).Decode(&who); err != nil || resp.StatusCode != 200 || who.Sub != "sam" || who.Scope != "sso:account:access" {
		t.Errorf("status %d, %+v, %v", resp.StatusCode, who, err)
	}
	for authorization, want := range map[string]string{
		"":                         `Bearer realm="idctest"`,
		"Basic " + s.AccessToken:   `Bearer realm="idctest"`,
		"Bearer " + s.RefreshToken: `Bearer realm="idctest", error="invalid_token"`,
	} {
		resp := get(authorization)
		if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != 401 || !strings.HasPrefix(got, want) {
			t.Errorf("%.10s: status %d, %q; want 401, %s", authorization, resp.StatusCode, got, want)
		}
	}
}
