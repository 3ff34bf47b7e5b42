package awsoidc

import (
	"slices"
	"sync/atomic"
	"unique"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// An entry is what an Exchanger holds of one identity.
//
// What finding a fresh one reads is at its beginning, up to the first field of
// tokens: that is one line of the processor's caches.
type entry struct {
	next   atomic.Pointer[entry] // in its slot of the index; changed under identities.mu
	hash   uint32                // by which the index tells most others apart
	marked atomic.Bool           // found since somebody was about to evict it
	realm  unique.Handle[realm]
	id     string
	tokens renewal[exchanged]
	roles  atomic.Pointer[[]*assumableRole] // never changed in place

	forgotten atomic.Bool

	// Guarded by identities.mu:
	holds        int32 // callers who may be about to renew something
	bytes        int32 // what was counted for it
	listed       bool  // in one of the orders
	precious     bool  // in that of the precious, or meant for it
	newer, older *entry
}

// realm is what the subjects of many identities have in common.
type realm struct{ issuer, tenant string }

func newEntry(s Subject, rules *rules) *entry {
	e := &entry{realm: unique.Make(realm{s.Issuer, s.Tenant}), id: s.ID}
	e.tokens.rules = rules
	return e
}

// isOf reports whether e is the entry of s.
func (e *entry) isOf(s Subject) bool {
	return e.id == s.ID && e.realm.Value() == realm{s.Issuer, s.Tenant}
}

func (e *entry) subject() Subject {
	r := e.realm.Value()
	return Subject{Issuer: r.issuer, ID: e.id, Tenant: r.tenant}
}

// busy reports whether something is obtained for the entry, or may be at any
// moment: were it evicted, Forget could not find it, and the next caller would
// obtain the same again. identities.mu must be held.
func (e *entry) busy() bool {
	if e.holds > 0 || e.tokens.call.Load() != nil {
		return true
	}
	for _, r := range e.heldRoles() {
		if r.credentials.call.Load() != nil {
			return true
		}
	}
	return false
}

func (e *entry) heldRoles() []*assumableRole {
	if roles := e.roles.Load(); roles != nil {
		return *roles
	}
	return nil
}

// clear makes an entry that is out of the index end without effect.
func (e *entry) clear() {
	e.forgotten.Store(true)
	e.tokens.clear()
	for _, r := range e.heldRoles() {
		r.credentials.clear()
	}
}

// leastSize is what an entry takes beside its ID and its secrets, about.
const leastSize = 250

// size returns about how many bytes the entry takes, its secrets included.
func (e *entry) size() int64 {
	const perRole = 600
	n := leastSize + len(e.id)
	if l := e.tokens.current.Load(); l != nil {
		n += len(l.value.secrets)
	}
	for _, r := range e.heldRoles() {
		n += perRole
		if l := r.credentials.current.Load(); l != nil {
			n += len(l.value.SecretAccessKey) + len(l.value.SessionToken)
		}
	}
	return int64(n)
}

// assumable is what a role of an identity is told apart by: one of STS, or one
// of the portal.
type assumable struct {
	role      Role
	portal    roleKey
	viaPortal bool // the portal's
}

// name returns the role's ARN, or account and role of the portal.
func (a assumable) name() string {
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
	for {
		var roles []*assumableRole
		old := e.roles.Load()
		if old != nil {
			roles = *old
		}
		if r := find(roles, a); r != nil {
			return r
		}
		r := &assumableRole{assumable: a}
		r.credentials.rules = rules
		roles = append(slices.Clone(roles[max(0, len(roles)-maxRoles+1):]), r)
		if e.roles.CompareAndSwap(old, &roles) {
			return r
		}
	}
}

func find(roles []*assumableRole, a assumable) *assumableRole {
	for _, r := range roles {
		if r.assumable == a {
			return r
		}
	}
	return nil
}
