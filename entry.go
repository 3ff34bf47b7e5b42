package awsoidc

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/awsoidc/awsoidc/wire"
)

// An entry is what an Exchanger holds of one identity.
type entry struct {
	subject   Subject
	tokens    renewal[*exchanged]
	used      atomic.Int64 // when recency was noted last, on the monotonic clock
	forgotten atomic.Bool

	holds int   // guarded by identities.mu: callers who may be about to renew something
	bytes int64 // guarded by identities.mu: what was counted for it

	mu      sync.Mutex                       // guards changes of roles, and retired
	roles   atomic.Pointer[[]*assumableRole] // never changed in place
	retired *[2]wire.Secret                  // the refresh tokens that the service refused last
}

// retire keeps a refused refresh token from being sent again.
func (e *entry) retire(refreshToken wire.Secret) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.retired == nil {
		e.retired = new([2]wire.Secret)
	}
	e.retired[0], e.retired[1] = refreshToken, e.retired[0]
}

func (e *entry) isRetired(refreshToken wire.Secret) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.retired != nil && (e.retired[0] == refreshToken || e.retired[1] == refreshToken)
}

// busy reports whether something is obtained for the entry, or may be at any
// moment: were it evicted, Forget could not find it, and the next caller would
// obtain the same again. identities.mu must be held.
func (e *entry) busy() bool {
	if e.holds > 0 || e.tokens.calling.Load() {
		return true
	}
	for _, r := range e.assumable() {
		if r.credentials.calling.Load() {
			return true
		}
	}
	return false
}

func (e *entry) assumable() []*assumableRole {
	if roles := e.roles.Load(); roles != nil {
		return *roles
	}
	return nil
}

// clear makes an entry that is out of the index end without effect.
func (e *entry) clear() {
	e.forgotten.Store(true)
	e.tokens.clear()
	for _, r := range e.assumable() {
		r.credentials.clear()
	}
}

// size returns about how many bytes the entry takes, its secrets included.
func (e *entry) size() int64 {
	const fixed, perRole = 600, 600
	n := fixed + len(e.subject.Issuer) + len(e.subject.ID) + len(e.subject.Tenant)
	if l := e.tokens.current.Load(); l != nil {
		t := l.value
		n += len(t.accessToken) + len(t.refreshToken) + len(t.idToken) + len(t.identityContext) + len(t.scope)
	}
	for _, r := range e.assumable() {
		n += perRole
		if l := r.credentials.current.Load(); l != nil {
			n += len(l.value.SecretAccessKey) + len(l.value.SessionToken)
		}
	}
	return int64(n)
}

// hasRefreshToken reports whether the entry has one that works as far as is
// known.
func (e *entry) hasRefreshToken() bool {
	l := e.tokens.current.Load()
	return l != nil && l.value.refreshToken != "" && !e.isRetired(l.value.refreshToken)
}

// assumable is what a role of an identity is told apart by: one of STS, or one
// of the portal.
type assumable struct {
	role      Role
	portal    roleKey
	viaPortal bool // the portal's
}

func (a assumable) String() string {
	if !a.viaPortal {
		return a.role.ARN
	}
	return a.portal.accountID + "/" + a.portal.roleName
}

// assumableRole holds the credentials of one role of an identity.
type assumableRole struct {
	assumable
	credentials renewal[aws.Credentials]
}

// maxRoles bounds the roles of one identity that are held at a time.
const maxRoles = 32

// role returns what is held of a role, new if need be.
func (e *entry) role(a assumable, rules *rules) *assumableRole {
	if r := find(e.assumable(), a); r != nil {
		return r
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	roles := e.assumable()
	if r := find(roles, a); r != nil {
		return r
	}
	if len(roles) >= maxRoles {
		roles = roles[1:]
	}
	r := &assumableRole{assumable: a}
	r.credentials.rules = rules
	roles = append(slices.Clone(roles), r)
	e.roles.Store(&roles)
	return r
}

func find(roles []*assumableRole, a assumable) *assumableRole {
	for _, r := range roles {
		if r.assumable == a {
			return r
		}
	}
	return nil
}
