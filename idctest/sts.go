package idctest

import (
	"encoding/xml"
	"errors"
	"net/http"
)

// getCallerIdentity is STS's GetCallerIdentity operation.
func (s *Server) getCallerIdentity(r *request) *answer {
	c, denied := s.authenticate(r, signingSTS)
	if denied != nil {
		return denied.stsAnswer(r)
	}
	type result struct {
		Arn     string
		UserID  string `xml:"UserId"`
		Account string
	}
	return xmlAnswer(http.StatusOK, "", struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Result    result   `xml:"GetCallerIdentityResult"`
		RequestID string   `xml:"ResponseMetadata>RequestId"`
	}{Result: result{c.arn, c.userID(), c.account()}, RequestID: r.requestID})
}

// assumeRole is STS's AssumeRole operation. Any credential that the server
// knows may assume any role but the one that it is itself a session of.
func (s *Server) assumeRole(r *request) *answer {
	c, denied := s.authenticate(r, signingSTS)
	if denied != nil {
		return denied.stsAnswer(r)
	}
	in, problem := readAssumption(r)
	if problem != nil {
		return problem
	}
	own, _, chained := c.role()
	switch {
	case chained && own == in.role:
		return stsFailure(r, stsAccessDenied, "User: "+c.arn+" is not authorized to perform: sts:AssumeRole on resource: "+in.RoleARN)
	case chained && in.Duration > maxChained:
		return stsFailure(r, stsValidation, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	in.Operation, in.Caller, in.Time = AssumeRole, c.arn, s.now()
	if problem := s.addContext(r, in); problem != nil {
		return problem
	}
	type result struct {
		credentialsResult
		SourceIdentity string `xml:",omitempty"`
	}
	return xmlAnswer(http.StatusOK, "", struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		Result    result   `xml:"AssumeRoleResult"`
		RequestID string   `xml:"ResponseMetadata>RequestId"`
	}{Result: result{s.assume(in), in.SourceIdentity}, RequestID: r.requestID})
}

// assumeRoleWithWebIdentity is STS's AssumeRoleWithWebIdentity operation, which
// no credentials sign: the token of another issuer stands in for them.
func (s *Server) assumeRoleWithWebIdentity(r *request) *answer {
	in, problem := readAssumption(r)
	if problem != nil {
		return problem
	}
	token := r.form.Get("WebIdentityToken")
	if problem := checkLength("webIdentityToken", token, 4, 20_000); problem != "" {
		return stsFailure(r, stsValidation, problem)
	}
	now := s.now()
	identity, err := s.readJWT(r.http.Context(), token, now)
	var unreachable *keysError
	switch {
	case err == errJWTExpired:
		return stsFailure(r, stsExpiredAssertion, "Token expired: the current date/time must be before the expiration date/time")
	case errors.As(err, &unreachable):
		return stsFailure(r, stsIDPCommunication, err.Error())
	case err != nil:
		return stsFailure(r, stsInvalidIdentity, "The web identity token can't be used: "+err.Error())
	}
	in.Operation, in.Time, in.Issuer, in.Subject = AssumeRoleWithWebIdentity, now, identity.issuer, identity.subject
	type result struct {
		credentialsResult
		Subject  string `xml:"SubjectFromWebIdentityToken"`
		Audience string
		Provider string
	}
	return xmlAnswer(http.StatusOK, "", struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleWithWebIdentityResponse"`
		Result    result   `xml:"AssumeRoleWithWebIdentityResult"`
		RequestID string   `xml:"ResponseMetadata>RequestId"`
	}{Result: result{s.assume(in), identity.subject, identity.audience[0], identity.issuer}, RequestID: r.requestID})
}

// stsFailure is an error of STS with the status that its code has.
func stsFailure(r *request, code, message string) *answer {
	return stsError(r.requestID, stsStatus(code), code, message)
}

// stsAnswer is what STS says.
func (e *authError) stsAnswer(r *request) *answer {
	code := [...]string{
		authMissing: stsMissingToken, authIncomplete: stsIncomplete,
		authUnknown: stsInvalidToken, authExpired: stsExpiredToken, authMismatch: stsBadSignature,
	}[e.kind]
	return stsFailure(r, code, e.message)
}
