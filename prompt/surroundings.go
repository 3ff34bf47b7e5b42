package prompt

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/internal/terminal"
)

// ChooseGrant chooses the authorization code grant where a browser can be
// expected to open on this machine, in front of the person who reads the
// terminal, and otherwise the device grant. That is: where OpenURL is nil, in an
// SSH session, in a container, on Linux and the BSDs where there is no display
// or no program that opens a browser outside of the terminal, and where the
// output is no terminal. The reason says which of these it was; it is for
// people, and may change.
//
// In the Windows Subsystem for Linux the program wslview, which opens Windows'
// browser, does in place of a display.
func (p *Prompter) ChooseGrant() (grant awsoidc.Grant, reason string) {
	if p.OpenURL == nil {
		return awsoidc.GrantDevice, "no browser is to be opened"
	}
	return p.surroundings().chooseGrant()
}

// surroundings is what is known of the place where a program runs.
type surroundings struct {
	goos     string
	getenv   func(name string) string
	exists   func(path string) bool
	runnable func(program string) bool
	size     func() (width, height int, ok bool) // of the terminal; not ok: it is none
}

func (p *Prompter) surroundings() *surroundings {
	if p.at != nil {
		return p.at
	}
	return surroundingsOf(p.w)
}

// surroundingsOf returns what is known of this machine, and of w.
func surroundingsOf(w io.Writer) *surroundings {
	return &surroundings{
		goos:   runtime.GOOS,
		getenv: os.Getenv,
		exists: func(path string) bool {
			_, err := os.Stat(path)
			return err == nil
		},
		runnable: func(program string) bool {
			_, err := exec.LookPath(program)
			return err == nil
		},
		size: func() (int, int, bool) { return terminal.Size(w) },
	}
}

// isSameTerminal reports whether both write to one terminal.
func isSameTerminal(a, b io.Writer) bool {
	f, isFile := a.(*os.File)
	g, isFileToo := b.(*os.File)
	if !isFile || !isFileToo || f == nil || g == nil || !term.IsTerminal(int(f.Fd())) || !term.IsTerminal(int(g.Fd())) {
		return false
	}
	first, err := f.Stat()
	if err != nil {
		return false
	}
	second, err := g.Stat()
	return err == nil && os.SameFile(first, second)
}

func (s *surroundings) chooseGrant() (grant awsoidc.Grant, reason string) {
	if reason := s.lacksBrowser(); reason != "" {
		return awsoidc.GrantDevice, reason
	}
	if _, _, isTerminal := s.size(); !isTerminal {
		return awsoidc.GrantDevice, "the output is not a terminal"
	}
	return awsoidc.GrantAuthCode, "a browser can be opened on this machine"
}

// lacksBrowser says why no browser can be expected to open in front of the
// person; "" where one can.
func (s *surroundings) lacksBrowser() string {
	switch {
	case s.isSet("SSH_CONNECTION"), s.isSet("SSH_TTY"), s.isSet("SSH_CLIENT"):
		return "this is an SSH session"
	case s.goos == "linux" && (s.exists("/.dockerenv") || s.exists("/run/.containerenv") || s.isSet("container") || s.isSet("KUBERNETES_SERVICE_HOST")):
		return "this is a container"
	}
	return s.lacksWindow()
}

// lacksWindow says why no browser can be expected to open in a window of its
// own; "" where one can.
func (s *surroundings) lacksWindow() string {
	unix := !slices.Contains([]string{"windows", "darwin", "ios", "plan9", "js", "wasip1"}, s.goos)
	wsl := s.goos == "linux" && (s.isSet("WSL_DISTRO_NAME") || s.isSet("WSL_INTEROP"))
	switch opener := s.opener(); {
	case !unix, wsl && s.runnable("wslview"):
		return ""
	case !s.isSet("DISPLAY") && !s.isSet("WAYLAND_DISPLAY"):
		return "there is no display for a browser"
	case opener == "":
		return "there is no program that opens a browser, such as xdg-open"
	case opener == "www-browser":
		return "there is no browser but one for the terminal"
	}
	return ""
}

// opener returns which of the programs that open a browser on Linux and the BSDs
// OpenBrowser starts, "" where there is none. On Debian www-browser is a text
// browser.
func (s *surroundings) opener() string {
	programs := []string{"xdg-open"}
	if s.goos == "linux" {
		programs = append(programs, "x-www-browser", "www-browser", "wslview")
	}
	for _, program := range programs {
		if s.runnable(program) {
			return program
		}
	}
	return ""
}

// live reports whether a line can be written over and over.
func (s *surroundings) live() bool {
	width, _, ok := s.size()
	return ok && width > 1 && s.getenv("TERM") != "dumb"
}

// drawsBlocks reports whether the terminal is known to show block characters
// in colours.
func (s *surroundings) drawsBlocks() bool {
	locale := s.getenv("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = s.getenv(name)
		}
	}
	_, charset, _ := strings.Cut(strings.ToLower(locale), ".")
	utf8 := strings.HasPrefix(charset, "utf-8") || strings.HasPrefix(charset, "utf8")
	return utf8 && s.goos != "windows" && s.isSet("TERM") && s.getenv("TERM") != "dumb" && !s.isSet("NO_COLOR")
}

func (s *surroundings) isSet(name string) bool { return s.getenv(name) != "" }
