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
// the usual way. Where one can be expected to open in front of the person,
// [Prompter.ChooseGrant] takes the authorization code grant, and otherwise the
// device grant. What it knows of WSL, Windows and macOS is held by unit tests
// and builds alone.
//
// On a terminal that is known to show it, the URL of the device grant is drawn
// as a QR code as well, and a live line says how much time is left. Whatever the service sent is shown without its control
// characters, and only an https URL, or one that is http on a loopback
// address, is shown or opened at all.
package prompt
