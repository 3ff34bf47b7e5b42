package idctest

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/xml"
	"net/http"
)

// Error codes of STS.
const (
	stsInvalidToken = "InvalidClientTokenId"
	stsExpiredToken = "ExpiredToken"
	stsMissingToken = "MissingAuthenticationToken"
	stsIncomplete   = "IncompleteSignature"
	stsBadSignature = "SignatureDoesNotMatch"
)

// getCallerIdentity is STS's GetCallerIdentity operation.
func (s *Server) getCallerIdentity(r *request) *answer {
	sig, ok := readSignature(r.http)
	if !ok {
		return stsError(r.requestID, http.StatusForbidden, stsMissingToken, "Request is missing Authentication Token")
	}
	if !sig.complete() {
		return stsError(r.requestID, http.StatusBadRequest, stsIncomplete, "Authorization header requires Credential, SignedHeaders and Signature")
	}
	k := s.roleKey(sig.accessKeyID)
	if k == nil || k.sessionToken != sig.sessionToken {
		return stsError(r.requestID, http.StatusForbidden, stsInvalidToken, "The security token included in the request is invalid")
	}
	if !s.now().Before(k.expires) {
		return stsError(r.requestID, http.StatusForbidden, stsExpiredToken, "The security token included in the request is expired")
	}
	if !sig.matches(r.http, r.body, k.secret) {
		return stsError(r.requestID, http.StatusForbidden, stsBadSignature, "The request signature we calculated does not match the signature you provided.")
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
	}{Result: result{k.arn(), k.userID(), k.account}, RequestID: r.requestID})
}

func (s *Server) roleKey(id string) *roleKey {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	return s.state.roleKeys.get(id)
}

// arn is that of the assumed role. Identity Center's roles are named after
// permission sets, with a suffix that stays the same in an account.
func (k *roleKey) arn() string {
	return "arn:aws:sts::" + k.account + ":assumed-role/AWSReservedSSO_" + k.role + "_" + hex.EncodeToString(k.hash()[:8]) + "/" + k.user
}

// userID is the role's unique ID with the session's name.
func (k *roleKey) userID() string {
	return "AROA" + base32.StdEncoding.EncodeToString(k.hash())[:17] + ":" + k.user
}

func (k *roleKey) hash() []byte {
	h := sha256.Sum256([]byte(k.account + "/" + k.role))
	return h[:]
}
