package idctest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	oidctypes "github.com/aws/aws-sdk-go-v2/service/ssooidc/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc/idctest"
	"github.com/awsoidc/awsoidc/wire"
)

// TestExchangeErrors checks that each error that CreateTokenWithIAM can meet
// can be injected, as this module's own client reports it, and that none of
// them spends the assertion.
func TestExchangeErrors(t *testing.T) {
	type seen struct {
		status                              int
		typ, code, reason, region, endpoint string
	}
	tests := map[string]struct {
		fault idctest.Fault
		want  seen
	}{
		"caller's policy": {idctest.Fault{Status: 403, Type: wire.TypeAccessDenied, Description: "not authorized to perform: sso-oauth:CreateTokenWithIAM"}, seen{status: 403, typ: wire.TypeAccessDenied}},
		"metadata":        {idctest.Fault{Type: wire.TypeInvalidClientMetadata}, seen{400, wire.TypeInvalidClientMetadata, "invalid_client_metadata", "", "", ""}},
		"redirect URI":    {idctest.Fault{Type: wire.TypeInvalidRedirectURI}, seen{400, wire.TypeInvalidRedirectURI, "invalid_redirect_uri", "", "", ""}},
		"another region":  {idctest.Fault{Type: wire.TypeInvalidRequestRegion, Region: "eu-west-1", Endpoint: "https://oidc.evil.example"}, seen{400, wire.TypeInvalidRequestRegion, "invalid_request", "", "eu-west-1", "https://oidc.evil.example"}},
		"429":             {idctest.Fault{Status: 429}, seen{429, "TooManyRequestsException", "too_many_requests", "", "", ""}},
		"500":             {idctest.Fault{Status: 500}, seen{500, wire.TypeInternalServer, "server_error", "", "", ""}},
		"502":             {idctest.Fault{Status: 502}, seen{status: 502}},
		"503":             {idctest.Fault{Status: 503}, seen{status: 503}},
		"504":             {idctest.Fault{Status: 504}, seen{status: 504}},
	}
	for _, f := range idctest.Exceptions(idctest.CreateTokenWithIAMJWTBearer) {
		test := tests[f.Type+" "+f.Reason]
		test.fault, test.want = f, seen{f.Status, f.Type, f.Code, f.Reason, f.Region, f.Endpoint}
		tests[f.Type+" "+f.Reason] = test
	}
	for _, reason := range []string{"NotFound", "InvalidKeyUsage", "InvalidState", "Disabled"} {
		if _, ok := tests[wire.TypeInvalidRequest+" KMS_"+reason+"Exception"]; !ok {
			t.Errorf("the reason KMS_%sException is missing", reason)
		}
	}
	if _, ok := tests[wire.TypeAccessDenied+" KMS_AccessDeniedException"]; !ok {
		t.Error("the reason KMS_AccessDeniedException is missing")
	}
	srv := idctest.New()
	client := &wire.Client{Endpoint: "https://oidc.us-east-1.amazonaws.com", HTTPClient: &http.Client{Transport: srv.Transport()}, Signer: wireSigner{srv.AddAccessKey(idctest.AccessKey{})}}
	in := &wire.CreateTokenWithIAMInput{ClientID: application, GrantType: wire.GrantJWTBearer, Assertion: wire.Secret(assertion(map[string]any{"jti": "1"}))}
	for name, test := range tests {
		srv.Inject(idctest.CreateTokenWithIAMJWTBearer, test.fault)
		_, err := client.CreateTokenWithIAM(t.Context(), in)
		var e *wire.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := (seen{e.StatusCode, e.Type, e.Code, e.Reason, e.Region, e.Endpoint}); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
		if e.Description != test.fault.Description {
			t.Errorf("%s: description %q, want %q", name, e.Description, test.fault.Description)
		}
	}
	if _, err := client.CreateTokenWithIAM(t.Context(), in); err != nil {
		t.Errorf("the assertion was spent: %v", err)
	}
}

// wireSigner signs with AWS's own signer.
type wireSigner struct{ key idctest.AccessKey }

func (s wireSigner) Sign(ctx context.Context, req *http.Request, payloadHash string) error {
	creds, err := static(s.key).Retrieve(ctx)
	if err != nil {
		return err
	}
	return v4.NewSigner().SignHTTP(ctx, creds, req, payloadHash, wire.SigningName, "us-east-1", time.Now())
}

// TestCallerDenied checks that AWS's own client can tell the caller's denial
// from the user's.
func TestCallerDenied(t *testing.T) {
	srv := idctest.New()
	client := iamClient(srv.Transport(), "us-east-1", srv.AddAccessKey(idctest.AccessKey{}))
	for _, test := range []struct {
		fault  idctest.Fault
		status int
		code   string
	}{
		{idctest.Fault{Status: 403, Type: wire.TypeAccessDenied, Description: "not authorized"}, 403, ""},
		{idctest.Fault{Type: wire.TypeAccessDenied}, 400, "access_denied"},
		{idctest.Fault{Status: 403, Type: wire.TypeAccessDenied, Reason: "KMS_AccessDeniedException"}, 403, "access_denied"},
	} {
		srv.Inject(idctest.CreateTokenWithIAM, test.fault)
		_, err := client.CreateTokenWithIAM(t.Context(), jwtBearer(assertion(nil)))
		var denied *oidctypes.AccessDeniedException
		var re *awshttp.ResponseError
		if !errors.As(err, &denied) || !errors.As(err, &re) || re.HTTPStatusCode() != test.status || aws.ToString(denied.Error_) != test.code {
			t.Errorf("%+v: %v, %+v", test.fault, err, denied)
		}
	}
}

// TestSTSFaults checks that each operation of STS can be refused, delayed, cut
// off and counted like any other.
func TestSTSFaults(t *testing.T) {
	for op, call := range stsCalls(idctest.New()) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	for _, op := range []idctest.Operation{idctest.AssumeRole, idctest.AssumeRoleWithWebIdentity, idctest.GetCallerIdentity} {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := idctest.New()
				call := stsCalls(srv)[op]
				for code, status := range map[string]int{"AccessDenied": 403, "Throttling": 400, "ExpiredToken": 403, "InternalFailure": 500, "ServiceUnavailable": 503} {
					srv.Inject(op, idctest.Fault{Type: code})
					err := call(t.Context())
					wantException(t, err, code)
					var re *awshttp.ResponseError
					if !errors.As(err, &re) || re.HTTPStatusCode() != status {
						t.Errorf("%s: %v, want status %d", code, err, status)
					}
				}
				srv.Inject(op, idctest.Fault{Dial: true}, idctest.Fault{ResetBefore: true}, idctest.Fault{ResetAfter: true}, idctest.Fault{Status: 503, Commit: true})
				for range 4 {
					if err := call(t.Context()); err == nil {
						t.Error("a fault made no error")
					}
				}
				srv.Inject(op, idctest.Fault{Hang: true}, idctest.Fault{Latency: time.Minute})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("hang: %v", err)
				}
				synctest.Wait() // until the server has noticed
				before := time.Now()
				if err := call(t.Context()); err != nil || time.Since(before) != time.Minute {
					t.Errorf("latency: %v after %v", err, time.Since(before))
				}
				want := idctest.Counts{Requests: 10, Succeeded: 3, Failed: 7, Faulted: 10, MaxConcurrent: 1}
				if got := srv.Count(op); got != want {
					t.Errorf("counts %+v, want %+v", got, want)
				}
			})
		})
	}
}

// stsCalls are the operations of STS with input that they accept.
func stsCalls(srv *idctest.Server) map[idctest.Operation]func(context.Context) error {
	client := stsAs(srv.Transport(), srv.AddAccessKey(idctest.AccessKey{}))
	return map[idctest.Operation]func(context.Context) error{
		idctest.AssumeRole: func(ctx context.Context) error {
			_, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("jane")})
			return err
		},
		idctest.AssumeRoleWithWebIdentity: func(ctx context.Context) error {
			_, err := client.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String(role), RoleSessionName: aws.String("jane"), WebIdentityToken: aws.String(assertion(nil))})
			return err
		},
		idctest.GetCallerIdentity: func(ctx context.Context) error {
			_, err := client.GetCallerIdentity(ctx, nil)
			return err
		},
	}
}
