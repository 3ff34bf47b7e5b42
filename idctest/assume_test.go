package idctest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/awsoidc/awsoidc/idctest"
)

const (
	role     = "arn:aws:iam::210987654321:role/team/Analyst"
	provider = "arn:aws:iam::aws:contextProvider/IdentityCenter"
)

func stsAs(rt http.RoundTripper, key idctest.AccessKey) *sts.Client {
	return stsClient(rt, key.ID, key.Secret, key.SessionToken)
}

// keyOf is what an operation that assumes a role issued.
func keyOf(c *ststypes.Credentials) idctest.AccessKey {
	return idctest.AccessKey{ID: *c.AccessKeyId, Secret: *c.SecretAccessKey, SessionToken: *c.SessionToken}
}

// identityContextOf exchanges an assertion for an identity context.
func identityContextOf(t *testing.T, rt http.RoundTripper, key idctest.AccessKey, assertion string) *string {
	t.Helper()
	out, err := iamClient(rt, "us-east-1", key).CreateTokenWithIAM(t.Context(), jwtBearer(assertion))
	if err != nil {
		t.Fatal(err)
	}
	return out.AwsAdditionalDetails.IdentityContext
}

// TestAssumeRole goes from an assertion to credentials that act for its
// subject, with AWS's own clients.
func TestAssumeRole(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		srv := idctest.New()
		assumeRole(t, srv, srv.Transport())
	})
	t.Run("tcp", func(t *testing.T) {
		srv := idctest.New()
		ts := httptest.NewServer(srv)
		defer ts.Close()
		assumeRole(t, srv, toServer{ts.URL})
	})
}

func assumeRole(t *testing.T, srv *idctest.Server, rt http.RoundTripper) {
	key := srv.AddAccessKey(idctest.AccessKey{})
	before := time.Now().Truncate(time.Second)
	out, err := stsAs(rt, key).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(role), RoleSessionName: aws.String("jane@example.com"), DurationSeconds: aws.Int32(43200),
		ProvidedContexts: []ststypes.ProvidedContext{{ProviderArn: aws.String(provider), ContextAssertion: identityContextOf(t, rt, key, assertion(nil))}},
		ExternalId:       aws.String("ext:1"), SerialNumber: aws.String("arn:aws:iam::123456789012:mfa/ci"), TokenCode: aws.String("123456"),
		SourceIdentity: aws.String("ci"), Policy: aws.String(`{"Version":"2012-10-17","Statement":[]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	const session = "arn:aws:sts::210987654321:assumed-role/Analyst/jane@example.com"
	if *out.AssumedRoleUser.Arn != session || !strings.HasPrefix(*out.AssumedRoleUser.AssumedRoleId, "AROA") ||
		!strings.HasSuffix(*out.AssumedRoleUser.AssumedRoleId, ":jane@example.com") || *out.SourceIdentity != "ci" {
		t.Errorf("answer: %+v", out.AssumedRoleUser)
	}
	if left := out.Credentials.Expiration.Sub(before); left < 12*time.Hour || left > 12*time.Hour+time.Minute {
		t.Errorf("credentials for %v, want 12 h", left)
	}
	who, err := stsAs(rt, keyOf(out.Credentials)).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *who.Arn != session || *who.Account != "210987654321" || *who.UserId != *out.AssumedRoleUser.AssumedRoleId {
		t.Errorf("identity: %+v", who)
	}
	log := srv.AssumedRoles()
	if len(log) != 1 {
		t.Fatalf("%d roles assumed, want 1", len(log))
	}
	got, want := log[0], idctest.AssumedRole{
		Operation: idctest.AssumeRole, AccessKeyID: *out.Credentials.AccessKeyId, ARN: session,
		RoleARN: role, SessionName: "jane@example.com", Duration: 12 * time.Hour, Caller: key.ARN,
		ExternalID: "ext:1", SerialNumber: "arn:aws:iam::123456789012:mfa/ci", TokenCode: "123456",
		SourceIdentity: "ci", Policy: `{"Version":"2012-10-17","Statement":[]}`,
		Subject: "jane", Issuer: "https://issuer.example", Application: application,
	}
	if got.Time.Before(before) {
		t.Errorf("time %v", got.Time)
	}
	if want.Time = got.Time; toJSON(t, got) != toJSON(t, want) {
		t.Errorf("recorded %+v\nwant %+v", got, want)
	}
}

// TestChaining checks what a session of a role may assume, and for how long.
func TestChaining(t *testing.T) {
	srv := idctest.New()
	assume := func(key idctest.AccessKey, role string, seconds int32) (*sts.AssumeRoleOutput, error) {
		return stsAs(srv.Transport(), key).AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: &role, RoleSessionName: aws.String("chain"), DurationSeconds: &seconds,
		})
	}
	first, err := assume(srv.AddAccessKey(idctest.AccessKey{}), role, 43200)
	if err != nil {
		t.Fatal(err)
	}
	portal, err := roleCredentials(t, srv, srv.Issue().AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	p := portal.RoleCredentials
	for name, key := range map[string]idctest.AccessKey{
		"assumed": keyOf(first.Credentials),
		"portal":  {ID: *p.AccessKeyId, Secret: *p.SecretAccessKey, SessionToken: *p.SessionToken},
		"added":   srv.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:sts::123456789012:assumed-role/Service/i-1"}),
	} {
		_, err := assume(key, "arn:aws:iam::210987654321:role/Other", 3601)
		wantException(t, err, "ValidationError")
		if err == nil || !strings.Contains(err.Error(), "role chaining") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := assume(key, "arn:aws:iam::210987654321:role/Other", 3600); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Its own role, whatever the path.
	_, err = assume(keyOf(first.Credentials), "arn:aws:iam::210987654321:role/Analyst", 900)
	wantException(t, err, "AccessDenied")
	if _, err := assume(keyOf(first.Credentials), "arn:aws:iam::123456789012:role/Analyst", 900); err != nil {
		t.Errorf("a role of the same name in another account: %v", err)
	}
}

func TestAssumeRoleRefuses(t *testing.T) {
	srv := idctest.New()
	key := srv.AddAccessKey(idctest.AccessKey{})
	good := identityContextOf(t, srv.Transport(), key, assertion(nil))
	contexts := func(c ...ststypes.ProvidedContext) sts.AssumeRoleInput {
		return sts.AssumeRoleInput{ProvidedContexts: c}
	}
	for name, test := range map[string]struct {
		in   sts.AssumeRoleInput
		code string
	}{
		"short name":        {sts.AssumeRoleInput{RoleSessionName: aws.String("j")}, "ValidationError"},
		"long name":         {sts.AssumeRoleInput{RoleSessionName: aws.String(strings.Repeat("j", 65))}, "ValidationError"},
		"name with a space": {sts.AssumeRoleInput{RoleSessionName: aws.String("jane doe")}, "ValidationError"},
		"no name":           {sts.AssumeRoleInput{RoleSessionName: aws.String("")}, "ValidationError"},
		"short":             {sts.AssumeRoleInput{DurationSeconds: aws.Int32(899)}, "ValidationError"},
		"long":              {sts.AssumeRoleInput{DurationSeconds: aws.Int32(43201)}, "ValidationError"},
		"no role":           {sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:user/name")}, "ValidationError"},
		"no account":        {sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::12345:role/name-of-a-role")}, "ValidationError"},
		"short ARN":         {sts.AssumeRoleInput{RoleArn: aws.String("role")}, "ValidationError"},
		"external ID":       {sts.AssumeRoleInput{ExternalId: aws.String("a b")}, "ValidationError"},
		"serial number":     {sts.AssumeRoleInput{SerialNumber: aws.String("short")}, "ValidationError"},
		"token code":        {sts.AssumeRoleInput{TokenCode: aws.String("12345")}, "ValidationError"},
		"token of letters":  {sts.AssumeRoleInput{TokenCode: aws.String("12345a")}, "ValidationError"},
		"policy":            {sts.AssumeRoleInput{Policy: aws.String("{")}, "MalformedPolicyDocument"},
		"large policy":      {sts.AssumeRoleInput{Policy: aws.String(strings.Repeat(" ", 2048) + "{}")}, "ValidationError"},
		"other provider":    {contexts(ststypes.ProvidedContext{ProviderArn: aws.String(role), ContextAssertion: good}), "ValidationError"},
		"no provider":       {contexts(ststypes.ProvidedContext{ContextAssertion: good}), "ValidationError"},
		"no context":        {contexts(ststypes.ProvidedContext{ProviderArn: aws.String(provider)}), "ValidationError"},
		"unknown context":   {contexts(ststypes.ProvidedContext{ProviderArn: aws.String(provider), ContextAssertion: aws.String("AQoJ")}), "ValidationError"},
		"two contexts": {contexts(ststypes.ProvidedContext{ProviderArn: aws.String(provider), ContextAssertion: good},
			ststypes.ProvidedContext{ProviderArn: aws.String(provider), ContextAssertion: good}), "ValidationError"},
	} {
		if test.in.RoleArn == nil {
			test.in.RoleArn = aws.String(role)
		}
		if test.in.RoleSessionName == nil {
			test.in.RoleSessionName = aws.String("jane")
		}
		_, err := stsAs(srv.Transport(), key).AssumeRole(t.Context(), &test.in)
		var api interface{ ErrorCode() string }
		if !errors.As(err, &api) || api.ErrorCode() != test.code {
			t.Errorf("%s: got %v, want %s", name, err, test.code)
		}
	}
	if n := len(srv.AssumedRoles()); n != 0 {
		t.Errorf("%d roles assumed, want 0", n)
	}
	_, err := stsAs(srv.Transport(), idctest.AccessKey{ID: "x", Secret: "a secret access key"}).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("jane")})
	wantException(t, err, "InvalidClientTokenId")
	resp, body := send(t, srv.Transport(), "POST", "https://sts.example/", "application/x-www-form-urlencoded",
		"Action=AssumeRole&DurationSeconds=hour&RoleArn="+role+"&RoleSessionName=jane")
	if resp.StatusCode != 403 || !strings.Contains(body, "MissingAuthenticationToken") {
		t.Errorf("not signed: status %d, %s", resp.StatusCode, body)
	}
}

// TestIdentityContextExpires checks that it does with the access token, and in
// the middle of nothing else.
func TestIdentityContextExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := idctest.New()
		key := srv.AddAccessKey(idctest.AccessKey{})
		identity := identityContextOf(t, srv.Transport(), key, assertion(nil))
		in := &sts.AssumeRoleInput{
			RoleArn: aws.String(role), RoleSessionName: aws.String("jane"),
			ProvidedContexts: []ststypes.ProvidedContext{{ProviderArn: aws.String(provider), ContextAssertion: identity}},
		}
		time.Sleep(time.Hour - time.Second)
		srv.RevokeSessions()
		out, err := stsAs(srv.Transport(), key).AssumeRole(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		var expired *ststypes.ExpiredTokenException
		if _, err = stsAs(srv.Transport(), key).AssumeRole(t.Context(), in); !errors.As(err, &expired) {
			t.Errorf("got %v, want ExpiredTokenException", err)
		}
		time.Sleep(time.Hour - 2*time.Second)
		if _, err := stsAs(srv.Transport(), keyOf(out.Credentials)).GetCallerIdentity(t.Context(), nil); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		_, err = stsAs(srv.Transport(), keyOf(out.Credentials)).GetCallerIdentity(t.Context(), nil)
		wantException(t, err, "ExpiredToken")
	})
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	srv := idctest.New()
	anonymous := sts.New(sts.Options{Region: "us-east-1", HTTPClient: &http.Client{Transport: srv.Transport()}, RetryMaxAttempts: 1})
	in := func(token string) *sts.AssumeRoleWithWebIdentityInput {
		return &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String("arn:aws-cn:iam::210987654321:role/Web"), RoleSessionName: aws.String("pod"), WebIdentityToken: &token, DurationSeconds: aws.Int32(7200),
		}
	}
	out, err := anonymous.AssumeRoleWithWebIdentity(t.Context(), in(assertion(map[string]any{"sub": "system:serviceaccount:a:b", "aud": []string{"sts.amazonaws.com", "x"}})))
	if err != nil {
		t.Fatal(err)
	}
	if *out.AssumedRoleUser.Arn != "arn:aws-cn:sts::210987654321:assumed-role/Web/pod" || *out.SubjectFromWebIdentityToken != "system:serviceaccount:a:b" ||
		*out.Audience != "sts.amazonaws.com" || *out.Provider != "https://issuer.example" || time.Until(*out.Credentials.Expiration) < 119*time.Minute {
		t.Errorf("answer: %+v", out)
	}
	who, err := stsAs(srv.Transport(), keyOf(out.Credentials)).GetCallerIdentity(t.Context(), nil)
	if err != nil || *who.Arn != *out.AssumedRoleUser.Arn {
		t.Errorf("identity: %+v, %v", who, err)
	}
	if log := srv.AssumedRoles(); len(log) != 1 || log[0].Operation != idctest.AssumeRoleWithWebIdentity || log[0].Caller != "" ||
		log[0].Subject != "system:serviceaccount:a:b" || log[0].Issuer != "https://issuer.example" || log[0].Duration != 2*time.Hour {
		t.Errorf("recorded %+v", log)
	}

	var expired *ststypes.ExpiredTokenException
	if _, err := anonymous.AssumeRoleWithWebIdentity(t.Context(), in(assertion(map[string]any{"exp": 1}))); !errors.As(err, &expired) {
		t.Errorf("expired: %v", err)
	}
	var invalid *ststypes.InvalidIdentityTokenException
	for _, token := range []string{"opaque", assertion(map[string]any{"iss": nil}), assertion(map[string]any{"exp": nil})} {
		if _, err := anonymous.AssumeRoleWithWebIdentity(t.Context(), in(token)); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", token, err)
		}
	}
	_, err = anonymous.AssumeRoleWithWebIdentity(t.Context(), in("x"))
	wantException(t, err, "ValidationError")
	bad := in(assertion(nil))
	bad.RoleSessionName = aws.String("a b")
	_, err = anonymous.AssumeRoleWithWebIdentity(t.Context(), bad)
	wantException(t, err, "ValidationError")
	resp, body := send(t, srv.Transport(), "POST", "https://sts.example/?Action=AssumeRoleWithWebIdentity&RoleSessionName=jane&RoleArn="+role, "application/x-www-form-urlencoded",
		"WebIdentityToken="+url.QueryEscape(strings.Repeat("x", 1<<20)))
	if resp.StatusCode != 400 || !strings.Contains(body, "larger than") {
		t.Errorf("too large: status %d, %s", resp.StatusCode, body)
	}
}
