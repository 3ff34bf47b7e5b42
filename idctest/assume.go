package idctest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AssumedRole is the record of a role that was assumed. It holds no secret but
// the token code, which works once.
type AssumedRole struct {
	Time        time.Time     // on the server's clock
	Operation   Operation     // AssumeRole or AssumeRoleWithWebIdentity
	AccessKeyID string        // of the credentials that were issued
	ARN         string        // of the session, as GetCallerIdentity has it
	RoleARN     string        // as the request named the role
	SessionName string        // as the request named the session
	Duration    time.Duration // of the credentials, from Time on
	Caller      string        // ARN of who signed the request; "" with AssumeRoleWithWebIdentity

	ExternalID     string // what a role of another account may demand; "" where absent, as all below
	SerialNumber   string // of the MFA device
	TokenCode      string // from the MFA device
	SourceIdentity string // that the session is to keep
	Policy         string // the inline session policy, JSON

	// Subject is the person on whose behalf the session acts: the one that the
	// identity context or the web identity token stands for. "" where there is
	// none. Issuer is the issuer of the JWT that named them; "" for a person
	// who signed in.
	Subject, Issuer string
	// Application is the ARN of the application that the identity context was
	// issued to.
	Application string

	role role
}

// AssumedRoles returns the last 1024 roles that were assumed, oldest first.
func (s *Server) AssumedRoles() []AssumedRole {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.assumed.all()
}

// maxChained is the longest session of a role that was assumed with the
// credentials of another.
const maxChained = time.Hour

// credentialsResult is what the operations that assume a role have in common in
// their answers.
type credentialsResult struct {
	Credentials struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}
	User struct {
		ID  string `xml:"AssumedRoleId"`
		ARN string `xml:"Arn"`
	} `xml:"AssumedRoleUser"`
}

// assume issues credentials, and records it.
func (s *Server) assume(in *AssumedRole) (out credentialsResult) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	id, c := s.issueCredential(in.role, in.SessionName, in.Time.Truncate(time.Second).Add(in.Duration), Identity{in.Subject, in.Issuer, in.Application})
	in.AccessKeyID, in.ARN = id, c.arn
	s.state.assumed.add(*in)
	out.Credentials.AccessKeyID, out.Credentials.SecretAccessKey = id, c.secret
	out.Credentials.SessionToken = c.sessionToken
	out.Credentials.Expiration = c.expires.UTC().Format(time.RFC3339)
	out.User.ID, out.User.ARN = c.userID(), c.arn
	return out
}

// readAssumption reads and checks what both operations take.
func readAssumption(r *request) (*AssumedRole, *answer) {
	in := &AssumedRole{
		RoleARN: r.form.Get("RoleArn"), SessionName: r.form.Get("RoleSessionName"),
		ExternalID: r.form.Get("ExternalId"), SerialNumber: r.form.Get("SerialNumber"), TokenCode: r.form.Get("TokenCode"),
		SourceIdentity: r.form.Get("SourceIdentity"), Policy: r.form.Get("Policy"),
	}
	problem := in.violation()
	if problem == "" {
		in.Duration, problem = readDuration(r.form.Get("DurationSeconds"))
	}
	var ok bool
	if in.role, ok = parseRole(in.RoleARN); !ok && problem == "" {
		problem = "Request ARN is invalid"
	}
	if r.bad != nil {
		problem = r.bad.Error()
	}
	switch {
	case problem != "":
		return nil, stsFailure(r, stsValidation, problem)
	case in.Policy != "" && !json.Valid([]byte(in.Policy)):
		return nil, stsFailure(r, stsMalformedPolicy, "The policy is not in the valid JSON format.")
	}
	return in, nil
}

// violation returns which parameter is not as the service's model has it.
func (in *AssumedRole) violation() string {
	for _, p := range []struct {
		name, value    string
		required       bool
		minLen, maxLen int
		characters     string // beside letters, digits and underscores; "" for any
	}{
		{"roleArn", in.RoleARN, true, 20, 2048, ""},
		{"roleSessionName", in.SessionName, true, 2, 64, "+=,.@-"},
		{"externalId", in.ExternalID, false, 2, 1224, "+=,.@:/-"},
		{"serialNumber", in.SerialNumber, false, 9, 256, "+=/:,.@-"},
		{"tokenCode", in.TokenCode, false, 6, 6, ""},
		{"sourceIdentity", in.SourceIdentity, false, 2, 64, "+=,.@-"},
		{"policy", in.Policy, false, 1, 2048, ""},
	} {
		if !p.required && p.value == "" {
			continue
		}
		if problem := checkLength(p.name, p.value, p.minLen, p.maxLen); problem != "" {
			return problem
		}
		if p.characters != "" && !isWord(p.value, p.characters) {
			return violated(p.name, "satisfy regular expression pattern: [\\w"+p.characters+"]*")
		}
	}
	if strings.Trim(in.TokenCode, "0123456789") != "" {
		return violated("tokenCode", "satisfy regular expression pattern: [\\d]*")
	}
	return ""
}

// readDuration reads how long the session is to last: 15 minutes to 12 hours,
// and 1 hour where it is not said.
func readDuration(text string) (d time.Duration, problem string) {
	if text == "" {
		return time.Hour, ""
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 900 || n > 43200 {
		return 0, violated("durationSeconds", "have value between 900 and 43200")
	}
	return time.Duration(n) * time.Second, ""
}

// addContext reads the context that the session is to be enhanced with. What it
// asserts has to come from CreateTokenWithIAM of this server, and can't be
// older than the access token that came with it.
func (s *Server) addContext(r *request, in *AssumedRole) *answer {
	provider, assertion := r.form.Get("ProvidedContexts.member.1.ProviderArn"), r.form.Get("ProvidedContexts.member.1.ContextAssertion")
	if provider == "" && assertion == "" {
		return nil
	}
	s.state.mu.Lock()
	identity := s.state.contexts.get(assertion)
	s.state.mu.Unlock()
	problem := checkLength("providedContexts.1.member.contextAssertion", assertion, 4, 2048)
	switch {
	case problem != "":
		return stsFailure(r, stsValidation, problem)
	case provider != "arn:"+in.role.partition+":iam::aws:contextProvider/IdentityCenter":
		return stsFailure(r, stsValidation, "The context provider is not known")
	case r.form.Has("ProvidedContexts.member.2.ProviderArn"):
		return stsFailure(r, stsValidation, "There is one context provider, and more than one context was provided")
	case identity == nil:
		return stsFailure(r, stsValidation, "The context assertion is not valid")
	case !in.Time.Before(identity.expires):
		return stsFailure(r, stsExpiredAssertion, "The context assertion has expired")
	}
	in.Subject, in.Issuer, in.Application = identity.Subject, identity.Issuer, identity.Application
	return nil
}

// checkLength returns what is wrong with the length of a parameter.
func checkLength(name, value string, minLen, maxLen int) string {
	switch {
	case len(value) < minLen:
		return violated(name, fmt.Sprintf("have length greater than or equal to %d", minLen))
	case len(value) > maxLen:
		return violated(name, fmt.Sprintf("have length less than or equal to %d", maxLen))
	}
	return ""
}

// violated does not show the value, which may be a secret.
func violated(name, constraint string) string {
	return "1 validation error detected: Value at '" + name + "' failed to satisfy constraint: Member must " + constraint
}
