// Package browser holds tests of what a person sees and clicks on: the programs
// examples/login and examples/quickstart run as processes of their own, and
// their pages and those of idctest are opened in a headless Chromium. It is a
// module of its own, because it speaks to Chromium by way of chromedp.
//
//	apt-get install chromium
//	go test .
//
// Without Chromium the tests are skipped, or fail with AWSOIDC_INTEROP=required
// in the environment. With a folder in AWSOIDC_SCREENSHOTS, TestPages leaves a
// picture of every page there.
package browser
