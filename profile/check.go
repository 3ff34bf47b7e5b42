package profile

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/awsoidc/awsoidc/wire"
)

// Keys of the config file that concern a sign-in.
const (
	keySession    = "sso_session"
	keyStartURL   = "sso_start_url"
	keyRegion     = "sso_region"
	keyAccount    = "sso_account_id"
	keyRole       = "sso_role_name"
	keyScopes     = "sso_registration_scopes"
	keyRoleARN    = "role_arn"
	keySource     = "source_profile"
	keyWorkRegion = "region"
)

// checkSyntax refuses files with lines that the SDK ignores: they are often
// the header of a section, whose settings then go to the one before.
func (s *sections) checkSyntax() error {
	if len(s.flaws) == 0 {
		return nil
	}
	f := s.flaws[0]
	return badConfig("%s: line %d %s", printable(f.file), f.line, f.what)
}

// findProfile returns a profile's section. from says where the name is from.
func (s *sections) findProfile(name, from string) (*section, error) {
	sec, ok := s.byName[name]
	if !ok {
		what := fmt.Sprintf(`there is no profile "%s"%s`, printable(name), from)
		return nil, s.absent(what, suggest(name, "profile", s.profiles()))
	}
	return sec, nil
}

// findSession returns an sso-session's section.
func (s *sections) findSession(name string) (*section, error) {
	sec := s.session(name)
	if sec == nil {
		what := fmt.Sprintf("there is no [sso-session %s]", printable(name))
		return nil, s.absent(what, suggest(name, "sso-session", s.sessions()))
	}
	return sec, nil
}

func (s *sections) absent(what, advice string) error {
	err := badConfig("%s in %s; %s", what, s.files(), advice)
	if len(s.missing) == len(s.config) && len(s.byName) == 0 {
		err = badConfig(`%s, as %s does not exist: run "aws configure sso" to write it, or set AWS_CONFIG_FILE`, strings.TrimSuffix(what, ","), s.files())
	}
	err.kind = ErrNoProfile
	return err
}

func (s *sections) files() string {
	names := make([]string, len(s.config))
	for i, name := range s.config {
		names[i] = printable(name)
	}
	if len(names) == 0 {
		return "the config file, of which there is none"
	}
	return strings.Join(names, " or ")
}

// checkSSO checks the sign-in that a profile's section describes: its
// sso-session, or its own settings where it names none.
func (s *sections) checkSSO(sec *section) error {
	session := sec.values[keySession]
	if session == "" {
		legacy := []string{keyStartURL, keyRegion, keyAccount, keyRole}
		if !slices.ContainsFunc(legacy, func(key string) bool { return sec.values[key] != "" }) {
			return noSSO(sec)
		}
		return sec.require(keyStartURL, keyRegion)
	}
	other := s.session(session)
	if other == nil {
		advice := "add that section, with " + keyStartURL + " and " + keyRegion
		if names := s.sessions(); len(names) > 0 {
			advice += "; or " + suggest(session, "sso-session", names)
		}
		return badConfig("%s has %s = %s, but there is no [sso-session %s]: %s",
			sec, keySession, printable(session), printable(session), advice)
	}
	if err := other.require(keyStartURL, keyRegion); err != nil {
		return err
	}
	for _, key := range []string{keyStartURL, keyRegion} {
		if own := sec.values[key]; own != "" && own != other.values[key] {
			return badConfig("%s has an %s other than that of its [%s]: remove it from the profile",
				sec, key, printable(other.header))
		}
	}
	return nil
}

// checkChain checks what LoadDefaultConfig needs of a profile, or of the one
// that its source_profile leads to: nil where that is none with SSO settings.
func (s *sections) checkChain(name string) error {
	seen := map[string]bool{}
	sec, err := s.findProfile(name, "")
	for err == nil && sec.values[keySource] != "" && !seen[name] {
		seen[name] = true
		name = sec.values[keySource]
		sec, err = s.findProfile(name, ", the "+keySource+" in "+sec.String()+",")
	}
	if err != nil {
		return err
	}
	if err := s.checkSSO(sec); err != nil {
		if errors.Is(err, ErrNoSSO) {
			return nil
		}
		return err
	}
	if sec.values[keySession] == "" {
		return checkRole(sec) // with an sso-session, only credentials need it
	}
	return nil
}

// checkRole checks that a profile names an account and a role.
func checkRole(sec *section) error { return sec.require(keyAccount, keyRole) }

func noSSO(sec *section) error {
	advice := fmt.Sprintf("add %s, %s and %s, or run \"aws configure sso\"", keySession, keyAccount, keyRole)
	if source := sec.values[keySource]; source != "" {
		advice = fmt.Sprintf(`it has %s = %s: name that profile, or use LoadDefaultConfig`, keySource, printable(source))
	}
	err := badConfig("%s has no SSO settings; %s", sec, advice)
	err.kind = ErrNoSSO
	return err
}

// require refuses a section in which one of the keys is missing or empty, or
// has a value that can't be used.
func (sec *section) require(keys ...string) error {
	for _, key := range keys {
		value := sec.values[key]
		if value == "" {
			return badConfig("%s has no %s: add %s", sec, key, meaning(key))
		}
		if err := checkValue(sec.of(key).String()+": "+key, key, value); err != nil {
			return err
		}
	}
	return nil
}

// checkValue refuses a start URL or a region that can't be used. where names
// the setting. A value that may hold a password is not shown.
func checkValue(where, key, value string) error {
	var cause error
	var why string
	switch key {
	case keyStartURL:
		if _, cause = wire.CheckURL(value); cause != nil {
			why = strings.TrimPrefix(oneLine(cause), "wire: ")
		}
	case keyRegion:
		_, cause = wire.EndpointFor(value, false, false)
		why = "it is not the name of a region"
	}
	if cause == nil {
		return nil
	}
	shown := " = " + printable(value)
	if strings.Contains(value, "@") {
		shown = ""
	}
	return &configError{text: fmt.Sprintf("%s%s can't be used: %s; give %s", where, shown, why, meaning(key)), cause: cause}
}

func meaning(key string) string {
	switch key {
	case keyStartURL:
		return "the AWS access portal's URL, such as https://d-1234567890.awsapps.com/start"
	case keyRegion:
		return "the region of the IAM Identity Center instance, such as us-east-1"
	case keyAccount:
		return "the AWS account's number, or run \"aws configure sso\""
	default:
		return "the name of the permission set, or run \"aws configure sso\""
	}
}

// String says where the section is, such as "/home/me/.aws/config: [profile dev]".
func (sec *section) String() string {
	return printable(sec.file) + ": [" + printable(sec.header) + "]"
}

// scopes returns a sso-session's scopes, nil where it names none.
func (sec *section) scopes() []string {
	var scopes []string
	for scope := range strings.SplitSeq(sec.values[keyScopes], ",") {
		if scope = strings.TrimSpace(scope); scope != "" {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// loginHint is the AWS CLI's command for the sign-in; its flag is --profile or
// --sso-session.
func loginHint(flag, name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@+/"
	if strings.Trim(name, plain) != "" {
		name = strconv.Quote(printable(name))
	}
	return "run aws sso login " + flag + " " + name
}
