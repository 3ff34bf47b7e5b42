package profile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxFile bounds the config and credentials files, in bytes. A generated file
// with 40,000 profiles fits.
const maxFile = 8 << 20

// The prefixes of section names.
const (
	profilePrefix  = "profile "
	sessionPrefix  = "sso-session "
	servicesPrefix = "services "
)

// sections is what the config and credentials files hold, read as the AWS SDK
// for Go reads them. The SDK says neither where a setting stands nor what is
// wrong with a file, and it knows no scopes.
type sections struct {
	config      []string // names of the config files
	credentials []string
	missing     []string // the config files that do not exist
	byName      map[string]*section
	flaws       []flaw
}

// section is one section of a file; sections of the same name are one.
type section struct {
	header string // between its brackets, as "profile dev"
	file   string // where it was met first
	values map[string]string
	above  map[string]*section // settings that are from a file of higher precedence; nil where none is
}

// of returns the section in which a setting stands.
func (sec *section) of(key string) *section {
	if above, ok := sec.above[key]; ok {
		return above
	}
	return sec
}

// flaw is a line that is no setting: ignored by the SDK for Go, refused by the
// AWS CLI, and often a setting of the wrong section.
type flaw struct {
	file string
	line int
	what string // an end of the sentence "line 7 …"
}

// readSections reads the files in the order of rising precedence. A file that
// does not exist is an empty one. The error is that of the first file that
// can't be read; the other files are read all the same.
func readSections(config, credentials []string) (*sections, error) {
	s := &sections{config: config, credentials: credentials, byName: map[string]*section{}}
	var failed error
	for _, name := range config {
		parsed, err := s.readFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			s.missing = append(s.missing, name)
		} else if err != nil && failed == nil {
			failed = err
		}
		merge(s.byName, parsed)
	}
	keepConfig(s.byName)

	above := map[string]*section{}
	for _, name := range credentials {
		parsed, err := s.readFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && failed == nil {
			failed = err
		}
		merge(above, parsed)
	}
	for name := range above {
		if strings.HasPrefix(name, profilePrefix) {
			delete(above, name) // the credentials file names profiles without it
		}
	}
	merge(s.byName, above)
	return s, failed
}

func (s *sections) readFile(name string) (map[string]*section, error) {
	data, err := readBounded(name)
	if err != nil {
		return nil, err
	}
	p := parser{file: name, byName: map[string]*section{}}
	p.parse(string(data))
	s.flaws = append(s.flaws, p.flaws...)
	return p.byName, nil
}

// readBounded refuses what is not a file, such as a pipe: it could be read once
// only, and the SDK reads it too. A device such as /dev/null is let pass.
func readBounded(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if m := info.Mode(); !m.IsRegular() && m&fs.ModeDevice == 0 {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d MiB", name, maxFile>>20)
	}
	return data, err
}

// keepConfig gives the profiles of a config file their plain names and drops
// the sections that are neither profiles nor known. [profile x] replaces [x],
// [default] included. The order is the SDK's and matters where one name
// becomes another's.
func keepConfig(byName map[string]*section) {
	done := map[string]bool{}
	for _, name := range sortedKeys(byName) {
		switch {
		case done[name]:
		case strings.HasPrefix(name, profilePrefix):
			plain := strings.TrimPrefix(name, profilePrefix)
			sec := byName[name]
			delete(byName, name)
			byName[plain] = sec
			done[plain] = true
		case strings.HasPrefix(name, sessionPrefix), strings.HasPrefix(name, servicesPrefix), strings.EqualFold(name, "default"):
		default:
			delete(byName, name)
		}
	}
}

// merge adds the sections of a file of higher precedence. Of those that exist
// already only some settings are replaced; of the ones that matter here, these.
func merge(into, from map[string]*section) {
	for name, src := range from {
		dst, ok := into[name]
		if !ok {
			into[name] = src
			continue
		}
		for _, key := range []string{keySession, keyStartURL, keyRegion, keyAccount, keyRole, keyRoleARN, keySource, keyWorkRegion} {
			if v, ok := src.values[key]; ok {
				dst.values[key] = v
				if dst.above == nil {
					dst.above = map[string]*section{}
				}
				dst.above[key] = src
			}
		}
	}
}

// profiles returns the names of all profiles, sorted.
func (s *sections) profiles() []string {
	return slices.DeleteFunc(sortedKeys(s.byName), func(name string) bool {
		return strings.HasPrefix(name, sessionPrefix) || strings.HasPrefix(name, servicesPrefix)
	})
}

// sessions returns the names of all sso-sessions, sorted.
func (s *sections) sessions() []string {
	var names []string
	for _, key := range sortedKeys(s.byName) {
		if name, ok := strings.CutPrefix(key, sessionPrefix); ok {
			names = append(names, name)
		}
	}
	return names
}

// session returns the section of an sso-session, or nil.
func (s *sections) session(name string) *section {
	return s.byName[sessionPrefix+strings.TrimSpace(name)]
}

// using returns the profiles with an account and a role that p's session gives
// credentials of.
func (s *sections) using(p *Profile) (found []*section) {
	for _, name := range s.profiles() {
		sec := s.byName[name]
		session := strings.TrimSpace(sec.values[keySession])
		same := session == p.SessionName && (session != "" || sec.values[keyStartURL] == p.StartURL)
		if same && sec.values[keyAccount] != "" && sec.values[keyRole] != "" {
			found = append(found, sec)
		}
	}
	return found
}

// parser reads one file. Its rules are those of the SDK for Go.
type parser struct {
	file    string
	byName  map[string]*section
	current *section // nil before the first
	key     string   // the setting that an indented line belongs to
	flaws   []flaw
}

func (p *parser) parse(data string) {
	if what := notText(data); what != "" {
		p.flaws = append(p.flaws, flaw{p.file, 1, what})
	}
	n := 0
	for line := range strings.SplitSeq(data, "\n") {
		n++
		if what := p.line(line); what != "" {
			p.flaws = append(p.flaws, flaw{p.file, n, what})
		}
	}
}

// notText recognizes what an editor, or a shell's redirection, makes of a file.
func notText(data string) string {
	switch {
	case strings.HasPrefix(data, "\ufeff"):
		return "begins with a byte order mark; save the file without one"
	case strings.Contains(data, "\x00"), !utf8.ValidString(data):
		return "begins a file that is not UTF-8 text; save it as UTF-8"
	}
	return ""
}

const unclosed = "begins a section that is not closed with ]"

// line returns what is wrong with the line, if anything.
func (p *parser) line(line string) string {
	trimmed := strings.TrimLeft(line, " \t")
	if strings.TrimSpace(line) == "" || trimmed[0] == '#' || trimmed[0] == ';' {
		return ""
	}
	if name, ok := header(line); ok {
		return p.open(name)
	}
	indented := trimmed != line
	text := trimmed
	if !indented {
		text = strings.TrimRight(cutComment(line), " \t")
	}
	key, value, ok := cutSetting(text)
	what := ""
	if value == `"` || value == "'" {
		what = "has a quotation mark that is not closed" // the SDK panics on it
	}
	switch {
	case !indented && trimmed[0] == '[' && (p.current == nil || !ok):
		return unclosed
	case p.current == nil:
		return "comes before the first section, such as [default]"
	case !ok && !indented:
		return "is neither a section in brackets nor a setting with ="
	case !ok:
		p.continueValue(text)
	case indented && p.key != "" && p.current.values[p.key] == "":
		// One of the settings nested below p.key, as those of a service are.
	case indented:
		p.set(key, strings.TrimSpace(cutComment(unquote(value))))
	default:
		p.set(key, unquote(value))
		if key[:min(1, len(key))] == "[" {
			return unclosed
		}
	}
	return what
}

func (p *parser) open(name string) string {
	p.key = ""
	if name == "" {
		p.current = nil
		return "is a section without a name"
	}
	p.current = p.byName[name]
	if p.current == nil {
		p.current = &section{header: name, file: p.file, values: map[string]string{}}
		p.byName[name] = p.current
	}
	return ""
}

func (p *parser) set(key, value string) {
	p.key = key
	p.current.values[key] = value
}

func (p *parser) continueValue(text string) {
	if p.key != "" && p.current.values[p.key] != "" {
		p.current.values[p.key] += "\n" + text
	}
}

// header returns the name in "[ type name ] ; comment", with one space.
func header(line string) (string, bool) {
	line, _, _ = strings.Cut(line, "#")
	line, _, _ = strings.Cut(line, ";")
	line = strings.TrimSpace(line)
	if len(line) < 2 || line[0] != '[' || line[len(line)-1] != ']' {
		return "", false
	}
	name := strings.TrimSpace(line[1 : len(line)-1])
	if i := strings.IndexAny(name, " \t"); i >= 0 {
		name = name[:i] + " " + strings.TrimLeft(name[i:], " \t")
	}
	return name, true
}

// cutComment cuts a comment, which begins after a blank, from a setting.
func cutComment(s string) string {
	for _, mark := range []string{" #", " ;", "\t#", "\t;"} {
		s, _, _ = strings.Cut(s, mark)
	}
	return s
}

// cutSetting splits "key = value", or with a colon.
func cutSetting(s string) (key, value string, ok bool) {
	i := strings.IndexAny(s, "=:")
	if i < 0 {
		return "", "", false
	}
	return strings.ToLower(strings.TrimSpace(s[:i])), strings.TrimSpace(s[i+1:]), true
}

func unquote(s string) string {
	if n := len(s); n >= 2 && (s[0] == '"' || s[0] == '\'') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}
