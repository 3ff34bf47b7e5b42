// Package providers holds tests against OpenID providers that others wrote:
// npm's oidc-provider in a process of its own, and zitadel/oidc's. Users sign in
// at their pages, golang.org/x/oauth2 gets the tokens, coreos/go-oidc verifies
// them, and an awsoidc.Exchanger makes AWS credentials of them, at a fake
// Identity Center that fetches the provider's keys. All that goes over sockets
// on loopback. Tokens with the claims of Microsoft Entra and Amazon Cognito,
// which nobody can run, are signed here.
//
//	npm --prefix ../node ci --omit=dev
//	go test .
//
// Without Node.js and the packages of the folder ../node the tests of
// oidc-provider are skipped, or fail with AWSOIDC_INTEROP=required in the
// environment.
package providers
