package idctest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sso"
	ssotypes "github.com/aws/aws-sdk-go-v2/service/sso/types"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	oidctypes "github.com/aws/aws-sdk-go-v2/service/ssooidc/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// calls are the operations with AWS's own clients, with whatever input they
// take.
func calls(srv *idctest.Server) map[idctest.Operation]func(context.Context) error {
	rt, x := srv.Transport(), aws.String("x")
	key := srv.AddAccessKey(idctest.AccessKey{})
	oidc, portal, stsc := oidcClient(rt), portalClient(rt), stsAs(rt, key)
	return map[idctest.Operation]func(context.Context) error{
		idctest.RegisterClient: func(ctx context.Context) error {
			_, err := oidc.RegisterClient(ctx, &ssooidc.RegisterClientInput{ClientName: x, ClientType: x})
			return err
		},
		idctest.StartDeviceAuthorization: func(ctx context.Context) error {
			_, err := oidc.StartDeviceAuthorization(ctx, &ssooidc.StartDeviceAuthorizationInput{ClientId: x, ClientSecret: x, StartUrl: x})
			return err
		},
		idctest.CreateToken: func(ctx context.Context) error {
			_, err := oidc.CreateToken(ctx, &ssooidc.CreateTokenInput{ClientId: x, ClientSecret: x, GrantType: x})
			return err
		},
		idctest.CreateTokenWithIAM: func(ctx context.Context) error {
			_, err := iamClient(rt, "us-east-1", key).CreateTokenWithIAM(ctx, &ssooidc.CreateTokenWithIAMInput{ClientId: x, GrantType: x})
			return err
		},
		idctest.GetRoleCredentials: func(ctx context.Context) error {
			_, err := portal.GetRoleCredentials(ctx, &sso.GetRoleCredentialsInput{AccessToken: x, AccountId: x, RoleName: x})
			return err
		},
		idctest.ListAccounts: func(ctx context.Context) error {
			_, err := portal.ListAccounts(ctx, &sso.ListAccountsInput{AccessToken: x})
			return err
		},
		idctest.ListAccountRoles: func(ctx context.Context) error {
			_, err := portal.ListAccountRoles(ctx, &sso.ListAccountRolesInput{AccessToken: x, AccountId: x})
			return err
		},
		idctest.Logout: func(ctx context.Context) error {
			_, err := portal.Logout(ctx, &sso.LogoutInput{AccessToken: x})
			return err
		},
		idctest.AssumeRole: func(ctx context.Context) error {
			_, err := stsc.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: x, RoleSessionName: x})
			return err
		},
		idctest.AssumeRoleWithWebIdentity: func(ctx context.Context) error {
			_, err := stsc.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: x, RoleSessionName: x, WebIdentityToken: x})
			return err
		},
		idctest.GetCallerIdentity: func(ctx context.Context) error {
			_, err := stsc.GetCallerIdentity(ctx, nil)
			return err
		},
	}
}

// modelled returns the exception types of AWS's own clients. Those of STS that
// none of the operations here can give are left out.
func modelled() []error {
	return []error{
		new(oidctypes.AccessDeniedException), new(oidctypes.AuthorizationPendingException), new(oidctypes.ExpiredTokenException),
		new(oidctypes.InternalServerException), new(oidctypes.InvalidClientException), new(oidctypes.InvalidClientMetadataException),
		new(oidctypes.InvalidGrantException), new(oidctypes.InvalidRedirectUriException), new(oidctypes.InvalidRequestException),
		new(oidctypes.InvalidRequestRegionException), new(oidctypes.InvalidScopeException), new(oidctypes.SlowDownException),
		new(oidctypes.UnauthorizedClientException), new(oidctypes.UnsupportedGrantTypeException),
		new(ssotypes.InvalidRequestException), new(ssotypes.ResourceNotFoundException), new(ssotypes.TooManyRequestsException), new(ssotypes.UnauthorizedException),
		new(ststypes.ExpiredTokenException), new(ststypes.IDPCommunicationErrorException), new(ststypes.IDPRejectedClaimException),
		new(ststypes.InvalidIdentityTokenException), new(ststypes.MalformedPolicyDocumentException), new(ststypes.PackedPolicyTooLargeException),
		new(ststypes.RegionDisabledException),
	}
}

// TestExceptions checks that AWS's own clients see each exception as the type
// that they have for it, with the same members, and that none is missing.
func TestExceptions(t *testing.T) {
	srv := idctest.New()
	seen := make(map[reflect.Type]bool)
	for op, call := range calls(srv) {
		for _, f := range idctest.Exceptions(op) {
			srv.Inject(op, f)
			err := call(t.Context())
			var re *awshttp.ResponseError
			if !errors.As(err, &re) || re.HTTPStatusCode() != f.Status || re.ServiceRequestID() == "" {
				t.Errorf("%s %s: %v, want status %d and a request id", op, f.Type, err, f.Status)
				continue
			}
			// What the client unwraps to is the exception.
			typed := re.Unwrap()
			i := slices.IndexFunc(modelled(), func(m error) bool { return reflect.TypeOf(m) == reflect.TypeOf(typed) })
			if i < 0 {
				t.Errorf("%s %s: %T is no type of the client's model", op, f.Type, typed)
				continue
			}
			seen[reflect.TypeOf(typed)] = true
			if got := members(typed); !reflect.DeepEqual(got, wanted(op, f)) {
				t.Errorf("%s %s: members %v, want %v", op, f.Type, got, wanted(op, f))
			}
			if code := typed.(interface{ ErrorCode() string }).ErrorCode(); code != f.Type {
				t.Errorf("%s: code %s, want %s", op, code, f.Type)
			}
		}
	}
	for _, m := range modelled() {
		if !seen[reflect.TypeOf(m)] {
			t.Errorf("%T never came", m)
		}
	}
	for op, want := range map[idctest.Operation]int{
		idctest.RegisterClient: 7 + 4, idctest.StartDeviceAuthorization: 5 + 4, idctest.CreateToken: 11 + 5, idctest.CreateTokenRefresh: 11 + 5,
		idctest.CreateTokenWithIAM: 12 + 5, idctest.CreateTokenWithIAMJWTBearer: 12 + 5, idctest.ListAccounts: 4, idctest.Logout: 3,
		idctest.AssumeRole: 4, idctest.AssumeRoleWithWebIdentity: 7, idctest.GetCallerIdentity: 0, idctest.UserInfo: 0, idctest.AnyOperation: 0,
	} {
		if got := len(idctest.Exceptions(op)); got != want {
			t.Errorf("%s: %d exceptions, want %d", op, got, want)
		}
	}
}

// TestExceptionStatus pins the status of each exception of SSO OIDC.
func TestExceptionStatus(t *testing.T) {
	want := map[string]int{
		"AccessDeniedException": 400, "AuthorizationPendingException": 400, "ExpiredTokenException": 400, "InternalServerException": 500,
		"InvalidClientException": 401, "InvalidClientMetadataException": 400, "InvalidGrantException": 400, "InvalidRedirectUriException": 400,
		"InvalidRequestException": 400, "InvalidRequestRegionException": 400, "InvalidScopeException": 400, "SlowDownException": 400,
		"UnauthorizedClientException": 400, "UnsupportedGrantTypeException": 400,
	}
	srv := idctest.New()
	call := calls(srv)
	seen := make(map[string]bool)
	for _, op := range []idctest.Operation{idctest.RegisterClient, idctest.StartDeviceAuthorization, idctest.CreateToken, idctest.CreateTokenWithIAM} {
		for _, f := range idctest.Exceptions(op) {
			if f.Status != want[f.Type] {
				t.Errorf("%s %s: status %d, want %d", op, f.Type, f.Status, want[f.Type])
			}
			srv.Inject(op, idctest.Fault{Type: f.Type}) // without its status
			var re *awshttp.ResponseError
			if err := call[op](t.Context()); !errors.As(err, &re) || re.HTTPStatusCode() != want[f.Type] {
				t.Errorf("%s %s: %v, want status %d", op, f.Type, err, want[f.Type])
			}
			seen[f.Type] = true
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d exceptions, want %d", len(seen), len(want))
	}
}

// members returns the exported string members of an exception that are set.
func members(err error) map[string]string {
	got := make(map[string]string)
	v := reflect.ValueOf(err).Elem()
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if !field.IsExported() {
			continue
		}
		if value.Kind() == reflect.Pointer {
			if value.IsNil() {
				continue
			}
			value = value.Elem()
		}
		if s := fmt.Sprint(value); s != "" {
			got[strings.Trim(field.Name, "_")] = s
		}
	}
	return got
}

func wanted(op idctest.Operation, f idctest.Fault) map[string]string {
	want := map[string]string{"Message": f.Description}
	if slices.Contains([]idctest.Operation{idctest.RegisterClient, idctest.StartDeviceAuthorization, idctest.CreateToken, idctest.CreateTokenWithIAM}, op) {
		want = map[string]string{"Error": f.Code, "Error_description": f.Description}
		for name, value := range map[string]string{"Reason": f.Reason, "Region": f.Region, "Endpoint": f.Endpoint} {
			if value != "" {
				want[name] = value
			}
		}
	}
	return want
}

// TestQuotas checks that a quota fills up again, what each service says to one
// request too many, and which quotas a request counts towards.
func TestQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		srv.JWTBearerRefreshTokens = true
		srv.Quotas = map[idctest.Operation]int{
			idctest.CreateTokenWithIAMJWTBearer: 10, idctest.CreateTokenWithIAM: 15, idctest.GetRoleCredentials: 1, idctest.GetCallerIdentity: 1,
		}
		client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
		exchange := func() error {
			_, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil)))
			return err
		}
		for range 10 {
			if err := exchange(); err != nil {
				t.Fatal(err)
			}
		}
		var slow *oidctypes.SlowDownException
		if err := exchange(); !errors.As(err, &slow) || *slow.Error_ != "slow_down" {
			t.Errorf("the eleventh at once: %v", err)
		}
		for range 5 { // the others' share is smaller now
			_, err := client.CreateTokenWithIAM(t.Context(), iamRefresh(aws.String("x")))
			wantException(t, err, wire.TypeInvalidGrant)
		}
		for range 3 { // what is refused takes nothing
			_, err := client.CreateTokenWithIAM(t.Context(), iamRefresh(aws.String("x")))
			wantException(t, err, wire.TypeSlowDown)
		}
		time.Sleep(time.Second / 10)
		if err := exchange(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		for range 100 { // at the pace of the quota
			if err := exchange(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second / 10)
		}
		if got, want := srv.Count(idctest.CreateTokenWithIAM), (idctest.Counts{Requests: 120, Succeeded: 111, Failed: 9, Throttled: 4, MaxConcurrent: 1}); got != want {
			t.Errorf("counts %+v, want %+v", got, want)
		}

		call := calls(srv)
		call[idctest.GetRoleCredentials](t.Context())
		var many *ssotypes.TooManyRequestsException
		if err := call[idctest.GetRoleCredentials](t.Context()); !errors.As(err, &many) {
			t.Errorf("portal: %v", err)
		}
		if err := call[idctest.GetCallerIdentity](t.Context()); err != nil {
			t.Error(err)
		}
		wantException(t, call[idctest.GetCallerIdentity](t.Context()), "Throttling")
		if err := call[idctest.ListAccounts](t.Context()); errors.As(err, &many) {
			t.Error("an operation without a quota was throttled")
		}
	})
}

// TestThrottledOnDemand checks the faults that stand for throttling.
func TestThrottledOnDemand(t *testing.T) {
	srv := idctest.New()
	call := calls(srv)
	for _, test := range []struct {
		op    idctest.Operation
		fault idctest.Fault
		code  string
		want  int
	}{
		{idctest.CreateTokenWithIAM, idctest.Fault{Type: wire.TypeSlowDown}, wire.TypeSlowDown, 400},
		{idctest.CreateTokenWithIAM, idctest.Fault{Status: 429}, "TooManyRequestsException", 429},
		{idctest.GetRoleCredentials, idctest.Fault{Status: 429}, "TooManyRequestsException", 429},
		{idctest.AssumeRole, idctest.Fault{Type: "Throttling"}, "Throttling", 400},
		{idctest.AssumeRole, idctest.Fault{Code: "Throttling"}, "Throttling", 400},
		{idctest.AssumeRole, idctest.Fault{Code: "AccessDenied", Status: 400}, "AccessDenied", 400},
		{idctest.GetRoleCredentials, idctest.Fault{Code: "TooManyRequestsException"}, "TooManyRequestsException", 429},
		{idctest.AssumeRole, idctest.Fault{Type: "AccessDenied"}, "AccessDenied", 403},
		{idctest.AssumeRole, idctest.Fault{Type: "ServiceUnavailable"}, "ServiceUnavailable", 503},
		{idctest.AssumeRole, idctest.Fault{Type: "InternalFailure"}, "InternalFailure", 500},
	} {
		test.fault.Header = http.Header{"Retry-After": {"2"}}
		srv.Inject(test.op, test.fault)
		err := call[test.op](t.Context())
		wantException(t, err, test.code)
		var re *awshttp.ResponseError
		if !errors.As(err, &re) || re.HTTPStatusCode() != test.want || re.Response.Header.Get("Retry-After") != "2" {
			t.Errorf("%s: %v, want status %d", test.op, err, test.want)
		}
	}
}
