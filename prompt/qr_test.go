package prompt

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// picture returns the QR code of what was written, as lines of characters.
func picture(written string) (lines [][]rune) {
	for line := range strings.Lines(written) {
		if _, code, found := strings.Cut(line, blackOnWhite); found {
			lines = append(lines, []rune(strings.TrimSuffix(code, plain+"\n")))
		}
	}
	return lines
}

// screenshot is a picture on a terminal of the given background.
func screenshot(t *testing.T, lines [][]rune, background color.Gray) []byte {
	t.Helper()
	const module, border = 6, 5
	img := image.NewGray(image.Rect(0, 0, (len(lines[0])+2*border)*module, (2*len(lines)+2*border)*module))
	for y := range img.Rect.Max.Y {
		for x := range img.Rect.Max.X {
			row, column := y/module-border, x/module-border
			shade := background
			if row >= 0 && row < 2*len(lines) && column >= 0 && column < len(lines[0]) {
				black := map[rune][2]bool{' ': {}, '█': {true, true}, '▀': {true, false}, '▄': {false, true}}
				halves, known := black[lines[row/2][column]]
				if !known {
					t.Fatalf("%q is in the picture", lines[row/2][column])
				}
				shade = color.Gray{255}
				if halves[row%2] {
					shade = color.Gray{0}
				}
			}
			img.SetGray(x, y, shade)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestQRCodeIsRead decodes the code with zbarimg.
func TestQRCodeIsRead(t *testing.T) {
	zbarimg, err := exec.LookPath("zbarimg")
	if err != nil {
		if os.Getenv("AWSOIDC_INTEROP") == "required" {
			t.Fatal("zbarimg is not installed; AWSOIDC_INTEROP=required says that it must be there")
		}
		t.Skip("zbarimg is not installed")
	}
	for _, url := range []string{
		"https://device.sso.us-east-1.amazonaws.com/?user_code=BCDF-GHJK",
		"https://d-1234567890.awsapps.com/start/#/device?user_code=BCDF-GHJK",
		"http://127.0.0.1:8080/device?user_code=BCDF-GHJK",
	} {
		for _, size := range [][2]int{{80, 50}, {80, 24}, {40, 24}} {
			v := deviceCode()
			v.URIComplete = url
			var b strings.Builder
			p := Terminal(&b)
			here := desktop()
			here.w, here.h = size[0], size[1]
			p.at = here.surroundings()
			finish, err := p.Prompt(t.Context(), v)
			if err != nil {
				t.Fatal(err)
			}
			finish(nil)
			lines := picture(b.String())
			if len(lines) == 0 || len(lines[0]) > size[0] || len(lines)+2 > size[1] {
				t.Fatalf("%s at %v: the picture has %d lines", url, size, len(lines))
			}
			for _, background := range []color.Gray{{0}, {255}} {
				cmd := exec.Command(zbarimg, "--quiet", "--raw", "--nodbus", "PNG:-")
				cmd.Stdin = bytes.NewReader(screenshot(t, lines, background))
				if out, err := cmd.Output(); err != nil || string(out) != url+"\n" {
					t.Errorf("%s at %v on %v was read as %q (%v)", url, size, background, out, err)
				}
			}
		}
	}
}

func TestQRCodeOnlyWhereItCanBeShown(t *testing.T) {
	sized := func(w, h int) place {
		p := desktop()
		p.w, p.h = w, h
		return p
	}
	for name, test := range map[string]struct {
		place place
		want  bool
	}{
		"room":            {sized(80, 24), true},
		"C.utf8":          {desktop("LANG", "C.utf8"), true},
		"LC_CTYPE":        {desktop("LC_CTYPE", "de_DE.UTF-8", "LANG", "C"), true},
		"macOS":           {desktop().on("darwin"), true},
		"narrow":          {sized(36, 50), false},
		"low":             {sized(80, 20), false},
		"size not known":  {sized(1, 0), false},
		"no terminal":     {sized(0, 0), false},
		"Latin-1":         {desktop("LANG", "en_GB.ISO-8859-1"), false},
		"LC_ALL":          {desktop("LC_ALL", "C"), false},
		"no locale":       {desktop().without("LANG"), false},
		"dumb":            {desktop("TERM", "dumb"), false},
		"no TERM":         {desktop().without("TERM"), false},
		"NO_COLOR":        {desktop("NO_COLOR", "1"), false},
		"Windows console": {desktop().on("windows"), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var b strings.Builder
			p := Terminal(&b)
			p.at = test.place.surroundings()
			finish, err := p.Prompt(t.Context(), deviceCode())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			finish(nil)
			if drawn, said := len(picture(b.String())) > 0, strings.Contains(b.String(), "scan this"); drawn != test.want || said != test.want {
				t.Errorf("%s: drawn: %v, said: %v", name, drawn, said)
			}
			if !test.want && strings.Contains(b.String(), "\x1b") {
				t.Errorf("%s: wrote %q", name, &b)
			}
		})
	}
}
