package idctest

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"strings"
	"time"
)

// AccessKey is an IAM credential that signs requests.
type AccessKey struct {
	ID           string // such as "AKIAIOSFODNN7EXAMPLE"
	Secret       string // the secret access key
	SessionToken string // of temporary credentials; "" for a long-term access key
	// ARN is whose the key is: "arn:aws:iam::123456789012:user/name", or that
	// of a role's session, "arn:aws:sts::123456789012:assumed-role/role/session".
	ARN string
}

// AddAccessKey makes the server accept what this key signs, as that of a
// service which calls CreateTokenWithIAM and AssumeRole: any key that it knows
// may do so. An empty ID or Secret is made up, and an empty ARN is that of the
// user idctest in account 123456789012; what is returned has all of them. The
// key does not expire. One with the same ID takes the place of the earlier one.
func (s *Server) AddAccessKey(key AccessKey) AccessKey {
	if key.ID == "" {
		key.ID = randomAccessKeyID("AKIA")
		if key.SessionToken != "" {
			key.ID = randomAccessKeyID("ASIA")
		}
	}
	if key.Secret == "" {
		key.Secret = randomSecretKey()
	}
	if key.ARN == "" {
		key.ARN = "arn:aws:iam::123456789012:user/idctest"
	}
	c := &credential{secret: key.Secret, sessionToken: key.SessionToken, arn: key.ARN}
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if known := s.state.addedKeys.get(key.ID); known != nil {
		*known = *c
	} else {
		s.state.addedKeys.put(key.ID, c, maxKeys)
	}
	return key
}

// credential is an AccessKey, or credentials for a session of a role.
type credential struct {
	secret       string
	sessionToken string
	arn          string    // whose it is
	expires      time.Time // zero: never
	identity     Identity  // on whose behalf; zero: nobody's
}

// issueCredential issues credentials for a session of a role, on behalf of
// whoever that is. The caller holds mu.
func (s *Server) issueCredential(r role, session string, expires time.Time, on Identity) (id string, c *credential) {
	c = &credential{
		secret: randomSecretKey(), sessionToken: randomSessionToken(),
		arn: r.sessionARN(session), expires: expires, identity: on,
	}
	id = randomAccessKeyID("ASIA")
	s.state.roleKeys.put(id, c, maxTokens)
	return id, c
}

// credential returns what an access key ID stands for, nil if nothing.
func (s *Server) credential(id string) *credential {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c := s.state.addedKeys.get(id)
	if c == nil {
		c = s.state.roleKeys.get(id)
	}
	if c == nil {
		return nil
	}
	found := *c // AddAccessKey may change the original
	return &found
}

// account is the one that the ARN names.
func (c *credential) account() string { return parseARN(c.arn).account }

// userID is the unique ID of an IAM user, or of a role with the session's name.
func (c *credential) userID() string {
	if r, session, ok := c.role(); ok {
		return r.id() + ":" + session
	}
	return "AIDA" + uniqueID(c.arn)
}

// role returns the role that the credentials are for a session of.
func (c *credential) role() (r role, session string, ok bool) {
	a := parseARN(c.arn)
	rest, ok := strings.CutPrefix(a.resource, "assumed-role/")
	name, session, _ := strings.Cut(rest, "/")
	return role{a.partition, a.account, name}, session, ok && a.service == "sts"
}

// role is an IAM role. Its path is not part of its identity: names are unique
// in an account.
type role struct{ partition, account, name string }

// permissionSetRole is the role that Identity Center makes of a permission set,
// with a suffix that stays the same in an account.
func permissionSetRole(account, permissionSet string) role {
	h := sha256.Sum256([]byte(account + "/" + permissionSet))
	return role{"aws", account, "AWSReservedSSO_" + permissionSet + "_" + hex.EncodeToString(h[:8])}
}

// parseRole reads a role's ARN, such as "arn:aws:iam::123456789012:role/path/name".
func parseRole(s string) (r role, ok bool) {
	a := parseARN(s)
	path, ok := strings.CutPrefix(a.resource, "role/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	ok = ok && a.service == "iam" && a.region == "" && isAccount(a.account) && len(name) <= 64 && isWord(name, "+=,.@-")
	return role{a.partition, a.account, name}, ok
}

func (r role) sessionARN(session string) string {
	return "arn:" + r.partition + ":sts::" + r.account + ":assumed-role/" + r.name + "/" + session
}

func (r role) id() string { return "AROA" + uniqueID(r.account+"/"+r.name) }

// uniqueID is the part of an IAM unique ID after its prefix.
func uniqueID(of string) string {
	h := sha256.Sum256([]byte(of))
	return base32.StdEncoding.EncodeToString(h[:])[:17]
}

// arn is an Amazon Resource Name in its parts.
type arn struct{ partition, service, region, account, resource string }

// parseARN returns the zero arn where s is none.
func parseARN(s string) arn {
	p := strings.SplitN(s, ":", 6)
	if len(p) < 6 || p[0] != "arn" || (p[1] != "aws" && !strings.HasPrefix(p[1], "aws-")) || !isWord(p[1], "-") {
		return arn{}
	}
	return arn{p[1], p[2], p[3], p[4], p[5]}
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

// isWord reports whether s is not empty and has only letters, digits,
// underscores, and what else is named.
func isWord(s, others string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && !strings.ContainsRune(others, r)
	})
}
