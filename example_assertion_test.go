package awsoidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"golang.org/x/oauth2"

	"github.com/awsoidc/awsoidc"
)

// What proves to AWS that a user signed in. See example_iam_test.go for the
// workplace.

// A token with a jti is sent once, whoever presents it.
func ExampleJWT() {
	w := newWorkplace()
	defer w.Close()
	jane := awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"} // of the verified token
	jwt := w.signIn("jane")
	if _, err := w.Identity(jane, awsoidc.JWT(jwt)).Token(); err != nil {
		fmt.Println(err)
	}

	joe := awsoidc.Subject{Issuer: "https://login.example.com", ID: "joe"}
	_, err := w.Identity(joe, awsoidc.JWT(jwt)).Token()
	fmt.Println("another's:", errors.Is(err, awsoidc.ErrSubjectMismatch))
	// Output: another's: true
}

// The function is called where nothing better is left, and not otherwise.
func ExampleJWTFunc() {
	w := newWorkplace()
	defer w.Close()
	fetch := awsoidc.JWTFunc(func(ctx context.Context) (string, error) {
		fmt.Println("a new token, please")
		return w.signIn("jane"), ctx.Err() // from the issuer's token endpoint, say
	})
	user := w.Identity(awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}, fetch)
	for range 3 {
		if _, err := user.Token(); err != nil {
			fmt.Println(err)
		}
	}
	// Output: a new token, please
}

func ExampleIDTokenOf() {
	w := newWorkplace()
	defer w.Close()
	// That of oauth2.Config.TokenSource gives an id_token where openid is among
	// the scopes.
	signedIn := &oauth2.Token{AccessToken: "opaque"}
	src := oauth2.StaticTokenSource(signedIn.WithExtra(map[string]any{"id_token": w.signIn("jane")}))

	user := w.Identity(awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}, awsoidc.IDTokenOf(src))
	_, err := user.Token()
	fmt.Println(err)
	// Output: <nil>
}

func ExampleAccessTokenOf() {
	w := newWorkplace()
	defer w.Close()
	src := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: w.signIn("jane")}) // it must be a JWT

	user := w.Identity(awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}, awsoidc.AccessTokenOf(src))
	_, err := user.Token()
	fmt.Println(err)
	// Output: <nil>
}

// Another application passes on what Identity Center gave it for the user. It is
// opaque: the caller has to know whose it is.
func ExampleSubjectToken() {
	w := newWorkplace()
	defer w.Close()
	token, err := w.user("jane").Token() // in the other application
	if err != nil {
		fmt.Println(err)
		return
	}
	jane := awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}
	next := newWorkplaceBeside(w)
	defer next.Close()
	_, err = next.Identity(jane, awsoidc.SubjectToken(token.AccessToken)).Token()
	fmt.Println(err)
	// Output: <nil>
}

// An Identity is an oauth2.TokenSource, and so is a TokenSource: either may
// prove to another application who the user is.
func ExampleSubjectTokenOf() {
	w := newWorkplace()
	defer w.Close()
	jane := awsoidc.Subject{Issuer: "https://login.example.com", ID: "jane"}
	next := newWorkplaceBeside(w)
	defer next.Close()
	_, err := next.Identity(jane, awsoidc.SubjectTokenOf(w.user("jane"))).Token()
	fmt.Println(err)
	// Output: <nil>
}

// The application has a sign-in page of its own, and its callback got a code.
func ExampleCode() {
	w := newWorkplace()
	defer w.Close()
	const redirectURI = "https://reports.example.com/callback"
	verifier := oauth2.GenerateVerifier()
	code := w.signInAt(redirectURI, oauth2.S256ChallengeFromVerifier(verifier))

	// Who it is has to be known otherwise, such as from the browser's session.
	user := w.Identity(awsoidc.Subject{Issuer: "https://reports.example.com", ID: "session-1"},
		awsoidc.Code(code, redirectURI, verifier))
	_, err := user.Token()
	fmt.Println(err)
	// Output: <nil>
}

// newWorkplaceBeside returns another application in w's AWS.
func newWorkplaceBeside(w *workplace) *workplace {
	ex, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{Application: otherApplicationARN, AWS: w.aws})
	if err != nil {
		panic(err)
	}
	return &workplace{Exchanger: ex, aws: w.aws, idc: w.idc, issuer: w.issuer}
}

// signInAt is what a person's browser does with the application's sign-in page.
// It returns the code that the redirect URI gets.
func (w *workplace) signInAt(redirectURI, challenge string) (code string) {
	callback, err := w.idc.ApproveAuthorization("https://oidc.us-east-1.amazonaws.com/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {applicationARN}, "redirect_uri": {redirectURI}, "state": {"xyz"},
		"code_challenge_method": {"S256"}, "code_challenge": {challenge},
	}.Encode())
	if err != nil {
		panic(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		panic(err)
	}
	return u.Query().Get("code")
}
