package prompt

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/awsoidc/awsoidc"
)

// place is a machine that does not exist.
type place struct {
	goos     string
	env      map[string]string
	files    []string
	programs []string
	w, h     int // of the terminal; 0, 0: the output is none
}

func (p place) surroundings() *surroundings {
	return &surroundings{
		goos:     p.goos,
		getenv:   func(name string) string { return p.env[name] },
		exists:   func(path string) bool { return slices.Contains(p.files, path) },
		runnable: func(program string) bool { return slices.Contains(p.programs, program) },
		size:     func() (int, int, bool) { return p.w, p.h, p.w > 0 },
	}
}

// desktop is a Linux machine with a screen and a browser. Further pairs are
// variables of its environment.
func desktop(env ...string) place {
	p := place{"linux", map[string]string{"DISPLAY": ":0", "TERM": "xterm", "LANG": "en_GB.UTF-8"}, nil, []string{"xdg-open"}, 80, 50}
	for i := 0; i < len(env); i += 2 {
		p.env[env[i]] = env[i+1]
	}
	return p
}

func (p place) on(goos string, programs ...string) place {
	p.goos, p.programs = goos, programs
	return p
}

func (p place) with(files ...string) place {
	p.files = files
	return p
}

func (p place) without(names ...string) place {
	p.env = maps.Clone(p.env)
	for _, name := range names {
		delete(p.env, name)
	}
	return p
}

func TestChooseGrant(t *testing.T) {
	const here = "a browser can be opened on this machine"
	noTerminal := desktop()
	noTerminal.w = 0
	for name, test := range map[string]struct {
		place  place
		reason string // begins with here: the authorization code grant
	}{
		"desktop":                  {desktop(), here},
		"Wayland":                  {desktop("WAYLAND_DISPLAY", "wayland-0").without("DISPLAY"), here},
		"FreeBSD":                  {desktop().on("freebsd", "xdg-open"), here},
		"macOS":                    {desktop().on("darwin").without("DISPLAY"), here},
		"Windows":                  {desktop().on("windows").without("DISPLAY"), here},
		"WSL with wslview":         {desktop("WSL_DISTRO_NAME", "Debian").on("linux", "wslview").without("DISPLAY"), here},
		"WSL with a display":       {desktop("WSL_INTEROP", "/run/WSL/8_interop"), here},
		"WSL with neither":         {desktop("WSL_DISTRO_NAME", "Debian").without("DISPLAY"), "no display"},
		"WSL over ssh":             {desktop("WSL_DISTRO_NAME", "Debian", "SSH_TTY", "/dev/pts/0").on("linux", "wslview"), "SSH"},
		"not a terminal":           {noTerminal, "not a terminal"},
		"ssh":                      {desktop("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22"), "SSH"},
		"ssh terminal":             {desktop("SSH_TTY", "/dev/pts/0"), "SSH"},
		"ssh to macOS":             {desktop("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22").on("darwin"), "SSH"},
		"ssh to Windows":           {desktop("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22").on("windows"), "SSH"},
		"docker":                   {desktop().with("/.dockerenv"), "container"},
		"podman":                   {desktop().with("/run/.containerenv"), "container"},
		"systemd-nspawn":           {desktop("container", "systemd-nspawn"), "container"},
		"Kubernetes":               {desktop("KUBERNETES_SERVICE_HOST", "192.0.2.1"), "container"},
		"no display":               {desktop().without("DISPLAY"), "no display"},
		"OpenBSD without display":  {desktop().on("openbsd", "xdg-open").without("DISPLAY"), "no display"},
		"no browser":               {desktop().on("linux"), "no program"},
		"text browser":             {desktop().on("linux", "www-browser"), "one for the terminal"},
		"WSL with a text browser":  {desktop("WSL_DISTRO_NAME", "Debian").on("linux", "www-browser"), "one for the terminal"},
		"any browser with windows": {desktop().on("linux", "x-www-browser", "www-browser"), here},
		"FreeBSD without xdg-open": {desktop().on("freebsd", "www-browser"), "no program"},
	} {
		t.Run(name, func(t *testing.T) {
			want := awsoidc.GrantDevice
			if strings.HasPrefix(test.reason, here) {
				want = awsoidc.GrantAuthCode
			}
			p := &Prompter{at: test.place.surroundings(), OpenURL: OpenBrowser}
			if grant, reason := p.ChooseGrant(); grant != want || !strings.Contains(reason, test.reason) {
				t.Errorf("chose %v: %q", grant, reason)
			}
			p.OpenURL = nil
			if grant, reason := p.ChooseGrant(); grant != awsoidc.GrantDevice || reason != "no browser is to be opened" {
				t.Errorf("without OpenURL: chose %v: %q", grant, reason)
			}
		})
	}
}

func TestNilFileIsNoTerminal(t *testing.T) {
	for _, p := range []*Prompter{Terminal(nil), Terminal((*os.File)(nil)), {}} {
		if _, _, ok := p.surroundings().size(); ok {
			t.Errorf("%v is a terminal", p.w)
		}
	}
}

// TestBrowserIsPromisedWhereItCanBeExpected has an OpenURL that fails: who was
// told to expect a browser is told of that.
func TestBrowserIsPromisedWhereItCanBeExpected(t *testing.T) {
	for name, test := range map[string]struct {
		place  place
		grant  awsoidc.Grant
		reason string
		opens  bool
		says   bool
	}{
		"no display":                     {desktop().without("DISPLAY"), awsoidc.GrantDevice, "there is no display", false, false},
		"no display, and a given grant":  {desktop().without("DISPLAY"), awsoidc.GrantDevice, "", true, false},
		"no display for the code grant":  {desktop().without("DISPLAY"), awsoidc.GrantAuthCode, "", true, false},
		"display, output not a terminal": {desktop(), awsoidc.GrantDevice, "the output is not a terminal", true, true},
		"display, and a given grant":     {desktop(), awsoidc.GrantDevice, "", true, true},
		"display for the code grant":     {desktop(), awsoidc.GrantAuthCode, "", true, true},
		"text browser":                   {desktop().on("linux", "www-browser"), awsoidc.GrantAuthCode, "", true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var b written
			opened := make(chan string, 1)
			p := Terminal(&b)
			p.at = test.place.surroundings()
			p.OpenURL = func(url string) error { opened <- url; return errors.New("no browser") }
			v := deviceCode()
			v.Grant, v.Reason = test.grant, test.reason
			finish, err := p.Prompt(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			finish(nil)
			said, told := strings.Contains(b.String(), "should open"), strings.Contains(b.String(), "No browser could be opened here")
			if (len(opened) == 1) != test.opens || said != test.says || told != test.says {
				t.Errorf("%s: opened %d, said so: %v, told that it failed: %v", name, len(opened), said, told)
			}
		})
	}
}

func TestText(t *testing.T) {
	authCode := func() awsoidc.Verification {
		return awsoidc.Verification{
			Grant: awsoidc.GrantAuthCode, Reason: "a browser can be opened on this machine", Session: "corp",
			URI:       "https://oidc.us-east-1.amazonaws.com/authorize?response_type=code&state=" + strings.Repeat("x", 90),
			ExpiresAt: time.Now().Add(10 * time.Minute),
		}
	}
	for _, verification := range []func() awsoidc.Verification{deviceCode, authCode} {
		for _, width := range []int{20, 40, 80, 200} {
			synctest.Test(t, func(t *testing.T) {
				v := verification()
				var b strings.Builder
				p := Terminal(&b)
				here := desktop()
				here.w, here.h = width, 10
				p.at = here.surroundings()
				finish, err := p.Prompt(t.Context(), v)
				if err != nil {
					t.Fatal(err)
				}
				finish(nil)
				url := max(v.URIComplete, v.URI)
				var whole bool
				for line := range strings.Lines(b.String()) {
					line = strings.TrimSuffix(line[strings.LastIndex(line, "\r")+1:], "\n")
					whole = whole || strings.TrimSpace(line) == url
					if len(line) > width && !strings.Contains(line, "://") {
						t.Errorf("%d columns: the line %q is longer", width, line)
					}
				}
				if !whole {
					t.Errorf("%d columns: the URL is not whole on a line of its own:\n%s", width, &b)
				}
				words := strings.Join(strings.Fields(b.String()), " ")
				wants := []string{"on this machine", "use the device grant", "You have 10 minutes", "Using the authorization code grant: a browser"}
				if v.Grant == awsoidc.GrantDevice {
					wants = []string{"B C D F - G H J K", "Or type BCDF-GHJK at " + v.URI, "valid for 10 minutes", "the same code"}
				}
				for _, want := range wants {
					if !strings.Contains(words, want) {
						t.Errorf("%d columns: lacks %q:\n%s", width, want, &b)
					}
				}
			})
		}
	}
}
