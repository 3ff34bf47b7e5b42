package prompt

import (
	"errors"
	"sync"

	"github.com/cli/browser"
)

// OpenBrowser opens url, which must be https or http on a loopback address, in
// the browser that the system prefers. On Linux and the BSDs it fails where
// there is no display, or only a text browser, which would want the terminal.
// No shell is involved, and what the browser prints is discarded: for all users of github.com/cli/browser in the
// process. It returns when the system's opener does, which may be as late as
// when the browser is closed.
func OpenBrowser(url string) error {
	if !isWebURL(url) {
		return errors.New("prompt: only a URL that is https, or http on a loopback address, is opened in a browser")
	}
	if why := surroundingsOf(nil).lacksWindow(); why != "" {
		return errors.New("prompt: " + why + "; open the URL yourself")
	}
	silenceBrowser()
	return browser.OpenURL(url)
}

// silenceBrowser leads what browsers print to the null device. Any other
// writer would be filled by a goroutine, and make the opener last until the
// last program that inherited it ends.
var silenceBrowser = sync.OnceFunc(func() { browser.Stdout, browser.Stderr = nil, nil })
