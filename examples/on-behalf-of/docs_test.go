package main_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/idctest"
)

// The programs of docs/oidc.md, entra.md, cognito.md and okta.md, letter for
// letter, each with an Example. They are here because they use go-oidc.

// TestDocs compares the pages with what is compiled here.
func TestDocs(t *testing.T) {
	source, err := os.ReadFile("docs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"oidc.md", "entra.md", "cognito.md", "okta.md"} {
		page, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(page), "\n```go\n")
		block, _, found := strings.Cut(rest, "```")
		if !found || !strings.Contains(string(source), "\n"+block) {
			t.Errorf("not in docs_test.go as %s has it:\n%s", name, block)
		}
	}
}

// An actor acts in AWS on behalf of the users of an OpenID provider.
type actor struct {
	tokens    *oidc.IDTokenVerifier
	exchanger *awsoidc.Exchanger
}

func newActor(ctx context.Context, cfg aws.Config) (*actor, error) {
	provider, err := oidc.NewProvider(ctx, "https://login.example.com") // as the claim iss has it
	if err != nil {
		return nil, err
	}
	exchanger, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{
		Application: "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef",
		AWS:         cfg, // of config.LoadDefaultConfig
		Audiences:   []string{"reports"},
	})
	if err != nil {
		return nil, err
	}
	return &actor{provider.Verifier(&oidc.Config{ClientID: "reports"}), exchanger}, nil
}

// credentials returns AWS credentials on behalf of the user of a JWT.
func (a *actor) credentials(ctx context.Context, jwt string) (aws.CredentialsProvider, error) {
	token, err := a.tokens.Verify(ctx, jwt) // signature, iss, aud, exp
	if err != nil {
		return nil, err
	}
	user := awsoidc.Subject{Issuer: token.Issuer, ID: token.Subject}
	role := awsoidc.Role{ARN: "arn:aws:iam::123456789012:role/reports"}
	return a.exchanger.Identity(user, awsoidc.JWT(jwt)).Credentials(role), nil
}

func Example_oidc() {
	idc := idctest.New()
	login := trusted(idc, "https://login.example.com", "reports")
	ctx := reaching(login)
	a, err := newActor(ctx, serviceConfig(idc))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.exchanger.Close()

	jane, err := a.credentials(ctx, login.Sign(map[string]any{"sub": "jane", "aud": "reports"}))
	fmt.Println(whose(idc, jane), err)
	_, err = a.credentials(ctx, login.Sign(map[string]any{"sub": "jane", "aud": "another"}))
	fmt.Println("for another service:", err != nil)
	// Output:
	// jane of https://login.example.com <nil>
	// for another service: true
}

// customers verify the tokens of each tenant that is served, by the claim iss.
type customers map[string]*oidc.IDTokenVerifier

func newCustomers(ctx context.Context, tenants ...string) (customers, error) {
	c := customers{}
	for _, tenant := range tenants {
		issuer := "https://login.microsoftonline.com/" + tenant + "/v2.0"
		provider, err := oidc.NewProvider(ctx, issuer)
		if err != nil {
			return nil, err
		}
		c[issuer] = provider.Verifier(&oidc.Config{ClientID: "55555555-6666-7777-8888-999999999999"}) // the API's
	}
	return c, nil
}

// user returns whom a JWT is about.
func (c customers) user(ctx context.Context, jwt string) (awsoidc.Subject, error) {
	tokens := c[claimedIssuer(jwt)] // says whom to ask, no more
	if tokens == nil {
		return awsoidc.Subject{}, errors.New("the token is not of a customer's tenant")
	}
	token, err := tokens.Verify(ctx, jwt) // signature, iss, aud, exp
	if err != nil {
		return awsoidc.Subject{}, err
	}
	var claims struct {
		Tenant string `json:"tid"`
	}
	if err := token.Claims(&claims); err != nil {
		return awsoidc.Subject{}, err
	}
	return awsoidc.Subject{Issuer: token.Issuer, ID: token.Subject, Tenant: claims.Tenant}, nil
}

// claimedIssuer returns the claim iss of a JWT that nobody has verified yet.
func claimedIssuer(jwt string) string {
	var claims struct {
		Issuer string `json:"iss"`
	}
	if parts := strings.Split(jwt, "."); len(parts) == 3 {
		body, _ := base64.RawURLEncoding.DecodeString(parts[1])
		json.Unmarshal(body, &claims)
	}
	return claims.Issuer
}

func Example_entra() {
	const (
		contoso  = "aaaaaaaa-1111-2222-3333-444444444444"
		fabrikam = "bbbbbbbb-1111-2222-3333-444444444444"
		stranger = "cccccccc-1111-2222-3333-444444444444"
		api      = "55555555-6666-7777-8888-999999999999"
	)
	idc := idctest.New()
	issuers := map[string]*idctest.Issuer{}
	for _, tenant := range []string{contoso, fabrikam, stranger} {
		issuers[tenant] = trusted(idc, "https://login.microsoftonline.com/"+tenant+"/v2.0", api)
	}
	ctx := reaching(issuers[contoso], issuers[fabrikam], issuers[stranger])
	c, err := newCustomers(ctx, contoso, fabrikam)
	if err != nil {
		fmt.Println(err)
		return
	}
	ex := exchangerOf(idc)
	defer ex.Close()
	for _, tenant := range []string{contoso, fabrikam, stranger} {
		jwt := issuers[tenant].Sign(map[string]any{
			"sub": "pairwise", "oid": "cafe", "tid": tenant, "aud": api, "ver": "2.0", "uti": "id-of-the-token",
		})
		user, err := c.user(ctx, jwt)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(whose(idc, ex.Identity(user, awsoidc.JWT(jwt)).Credentials(awsoidc.Role{ARN: roleARN})))
	}
	// Output:
	// pairwise of https://login.microsoftonline.com/aaaaaaaa-1111-2222-3333-444444444444/v2.0
	// pairwise of https://login.microsoftonline.com/bbbbbbbb-1111-2222-3333-444444444444/v2.0
	// the token is not of a customer's tenant
}

// newPool returns what verifies the ID tokens of an app client of a user pool.
func newPool(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	provider, err := oidc.NewProvider(ctx, "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_EXAMPLE")
	if err != nil {
		return nil, err
	}
	return provider.Verifier(&oidc.Config{ClientID: "1example23456789"}), nil // the app client's
}

// cognitoUser returns whom an ID token is about.
func cognitoUser(ctx context.Context, pool *oidc.IDTokenVerifier, jwt string) (awsoidc.Subject, error) {
	token, err := pool.Verify(ctx, jwt) // signature, iss, aud, exp
	if err != nil {
		return awsoidc.Subject{}, err
	}
	var claims struct {
		Use string `json:"token_use"`
	}
	if err := token.Claims(&claims); err != nil {
		return awsoidc.Subject{}, err
	}
	if claims.Use != "id" {
		return awsoidc.Subject{}, errors.New("send the ID token in place of the access token")
	}
	return awsoidc.Subject{Issuer: token.Issuer, ID: token.Subject}, nil
}

func Example_cognito() {
	const client = "1example23456789"
	idc := idctest.New()
	login := trusted(idc, "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_EXAMPLE", client)
	ctx := reaching(login)
	pool, err := newPool(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	ex := exchangerOf(idc)
	defer ex.Close()

	idToken := login.Sign(map[string]any{"sub": "jane", "aud": client, "token_use": "id", "jti": "1"})
	user, err := cognitoUser(ctx, pool, idToken)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(whose(idc, ex.Identity(user, awsoidc.JWT(idToken)).Credentials(awsoidc.Role{ARN: roleARN})))

	access := login.Sign(map[string]any{"sub": "jane", "client_id": client, "token_use": "access", "jti": "2"})
	_, err = cognitoUser(ctx, pool, access)
	fmt.Println("an access token:", err != nil)
	withAudience := login.Sign(map[string]any{"sub": "jane", "aud": client, "token_use": "access", "jti": "3"})
	_, err = cognitoUser(ctx, pool, withAudience)
	fmt.Println("an access token with an audience:", err)
	// Output:
	// jane of https://cognito-idp.us-east-1.amazonaws.com/us-east-1_EXAMPLE
	// an access token: true
	// an access token with an audience: send the ID token in place of the access token
}

// newAPI returns what verifies the access tokens of a custom authorization
// server.
func newAPI(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	provider, err := oidc.NewProvider(ctx, "https://example.okta.com/oauth2/aus1example")
	if err != nil {
		return nil, err
	}
	return provider.Verifier(&oidc.Config{ClientID: "api://reports"}), nil // the server's audience
}

// oktaUser returns whom an access token is about.
func oktaUser(ctx context.Context, api *oidc.IDTokenVerifier, jwt string) (awsoidc.Subject, error) {
	token, err := api.Verify(ctx, jwt) // signature, iss, aud, exp
	if err != nil {
		return awsoidc.Subject{}, err
	}
	var claims struct {
		UserID string `json:"uid"`
	}
	if err := token.Claims(&claims); err != nil {
		return awsoidc.Subject{}, err
	}
	if claims.UserID == "" {
		return awsoidc.Subject{}, errors.New("the token is a service's, and no user's")
	}
	// sub is the login name, which may go to somebody else one day; uid may not.
	return awsoidc.Subject{Issuer: token.Issuer, ID: token.Subject, Tenant: claims.UserID}, nil
}

func Example_okta() {
	idc := idctest.New()
	login := trusted(idc, "https://example.okta.com/oauth2/aus1example", "api://reports")
	ctx := reaching(login)
	api, err := newAPI(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	ex := exchangerOf(idc)
	defer ex.Close()

	access := login.Sign(map[string]any{"sub": "jane@example.com", "uid": "00u1", "cid": "0oa1", "aud": "api://reports", "jti": "AT.1"})
	user, err := oktaUser(ctx, api, access)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(whose(idc, ex.Identity(user, awsoidc.JWT(access)).Credentials(awsoidc.Role{ARN: roleARN})))

	_, err = oktaUser(ctx, api, login.Sign(map[string]any{"sub": "00u1", "aud": "0oa1", "jti": "ID.1"}))
	fmt.Println("an ID token:", err != nil)
	_, err = oktaUser(ctx, api, login.Sign(map[string]any{"sub": "0oa1", "cid": "0oa1", "aud": "api://reports", "jti": "AT.2"}))
	fmt.Println(err)
	// Output:
	// jane@example.com of https://example.okta.com/oauth2/aus1example
	// an ID token: true
	// the token is a service's, and no user's
}

// trusted returns an issuer that idc trusts for one audience.
func trusted(idc *idctest.Server, url, audience string) *idctest.Issuer {
	i := idctest.NewIssuer(url)
	idc.TrustedIssuers = append(idc.TrustedIssuers, i.Trusted(audience))
	return i
}

// reaching returns a context in which go-oidc finds the issuers, by the
// beginning of a URL.
func reaching(issuers ...*idctest.Issuer) context.Context {
	return oidc.ClientContext(context.Background(), &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		for _, i := range issuers {
			if strings.HasPrefix(r.URL.String(), i.URL+"/") {
				return i.Transport().RoundTrip(r)
			}
		}
		return nil, fmt.Errorf("nobody at %s", r.URL)
	})})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// serviceConfig is what config.LoadDefaultConfig would return to a service in
// idc's AWS.
func serviceConfig(idc *idctest.Server) aws.Config {
	key := idc.AddAccessKey(idctest.AccessKey{ARN: "arn:aws:iam::123456789012:user/service"})
	return aws.Config{
		Region:     "us-east-1",
		HTTPClient: &http.Client{Transport: idc.Transport()},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret}, nil
		}),
	}
}

func exchangerOf(idc *idctest.Server) *awsoidc.Exchanger {
	ex, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{Application: applicationARN, AWS: serviceConfig(idc)})
	if err != nil {
		panic(err)
	}
	return ex
}

// whose returns on whose behalf the credentials are.
func whose(idc *idctest.Server, creds aws.CredentialsProvider) string {
	c, err := creds.Retrieve(context.Background())
	if err != nil {
		return err.Error()
	}
	i, ok := idc.Identify(c.AccessKeyID)
	if !ok {
		return "nobody"
	}
	return i.Subject + " of " + i.Issuer
}
