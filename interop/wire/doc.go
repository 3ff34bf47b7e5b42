// Package wire holds tests of this library's package wire against others'
// clients of the same service: service/ssooidc of the AWS SDK for Go,
// @aws-sdk/client-sso-oidc of the one for JavaScript, and @smithy/signature-v4,
// which makes signatures without knowing of the service. All send the same
// requests and read the same answers.
//
//	npm --prefix ../node ci --omit=dev
//	go test .
//	go test -run '^$' -bench . .
package wire
