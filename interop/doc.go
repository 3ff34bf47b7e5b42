// Package interop holds tests against clients that others wrote: the AWS SDKs
// for Go and JavaScript, botocore, the AWS CLI, the service's own Go client and
// golang.org/x/oauth2. They and this library's programs share one cache folder
// and one fake Identity Center on a loopback port.
//
//	npm --prefix node ci --omit=dev
//	go test ./...
//
// What is not installed is skipped: Node.js with the packages of the folder
// node, Python 3 with botocore, the AWS CLI. With AWSOIDC_INTEROP=required in
// the environment it fails instead. Every botocore and AWS CLI on PATH, and
// those of the system in /usr/bin, are tried.
package interop
