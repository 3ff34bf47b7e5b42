// Package prompt shows a person in a terminal how to approve a sign-in: the
// URL, the user code to compare, how long it is valid, and that the sign-in
// succeeded.
//
//	src, err := awsoidc.New(awsoidc.Config{
//		StartURL: "https://d-1234567890.awsapps.com/start",
//		Region:   "us-east-1",
//		Prompt:   prompt.Terminal(os.Stderr),
//	})
//
// A browser is opened only where [Prompter.OpenURL] says how; [OpenBrowser] is
// the usual way. Whatever the service sent is shown without its control
// characters, and only an https URL, or one that is http on a loopback
// address, is shown or opened at all.
package prompt
