package awsoidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sso"

	"github.com/awsoidc/awsoidc/wire"
)

// Logout ends the session: in the Store, in memory, and at the AWS access
// portal (operation Logout). Others who share the Store are signed out as soon
// as they look there, which is when their token is due. Sessions of other names
// stay, and so does the client registration. Without a session there is nothing
// to do.
//
// The session's record is removed first, and whatever the portal answers; where
// that does not confirm that the session has ended, the error says until when a
// copy of the token may work. An access token that has expired is refreshed
// before, because the portal ends only the session of a valid one.
//
// Role credentials stay valid until they expire, for whoever has them. What the
// RoleStore keeps of the roles that RoleCredentials was asked for is removed,
// the AWS CLI's own included.
//
// If ctx ends before the record is removed, the error is its cause.
func (s *TokenSource) Logout(ctx context.Context) error {
	if s.isClosed() {
		return ErrClosed
	}
	s.tokens.get(ctx, s) // the portal wants a valid token; without one the record goes all the same
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ended, err := s.removeSession(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	kept := s.removeRoles(ctx)
	// Nobody can refresh the session any more, and nobody waits for the portal.
	unconfirmed := s.revoke(ctx, ended)
	return cmp.Or(err, unconfirmed, kept)
}

// removeSession removes the session's record, and returns the session that is
// to be ended, nil where there is none, whether or not it could be removed.
func (s *TokenSource) removeSession(ctx context.Context) (ended *session, _ error) {
	err := s.update(ctx, func(ctx context.Context, old []byte) ([]byte, error) {
		stored, _, corrupt := s.find(ctx, old)
		ended = stored
		if l := s.superseding(stored, corrupt); l != nil {
			ended = l.value // it was never saved
		}
		s.forgetSession()
		if stored == nil && !corrupt {
			return nil, errUnchanged // of another configuration, or none
		}
		return nil, nil
	})
	if err != nil && !errors.Is(err, errUnchanged) { // a full disk, where nothing can be written, is no reason
		return ended, &failure{what: "the session's record could not be removed", cause: err, advice: "remove " + s.place() + " yourself"}
	}
	return ended, nil
}

// revoke ends the session v, if any, at the portal. It may be sent again: a
// session ends only once.
func (s *TokenSource) revoke(ctx context.Context, v *session) error {
	if v == nil || s.rules.now().time().After(v.expiresAt) {
		return nil // it could not be refreshed
	}
	sendCtx, cancel := context.WithTimeout(ctx, sendBudget)
	defer cancel()
	err := s.sendToPortal(sendCtx, v.accessToken, func(ctx context.Context, token wire.Secret) error {
		accessToken := string(token)
		_, err := s.portal.Logout(ctx, &sso.LogoutInput{AccessToken: &accessToken})
		return err
	})
	if err == nil || isUnauthorized(err) {
		return nil
	}
	if ctx.Err() != nil {
		err = errors.New("it was not waited for") // to run it again would do nothing
	}
	f := explainPortal("signed out here, but the portal did not confirm that the session has ended", err, nil, "")
	f.advice = fmt.Sprintf("the session's token may work until %s for whoever has a copy; to end it sooner, have an administrator delete your active session in IAM Identity Center", v.expiresAt.Local().Format(time.DateTime))
	return f
}

// removeRoles removes what the RoleStore keeps of the roles that are known here.
func (s *TokenSource) removeRoles(ctx context.Context) error {
	if s.cfg.RoleStore == nil {
		return nil
	}
	s.mu.Lock()
	roles := slices.Collect(maps.Values(s.roles))
	s.mu.Unlock()
	var failed error
	for _, r := range roles {
		if err := r.removeStored(ctx); err != nil && failed == nil {
			failed = &failure{what: "signed out, but kept credentials for " + r.role.String() + " could not be removed", cause: err,
				advice: "they work until they expire; remove them from where role credentials are kept"}
		}
	}
	return failed
}

// forgetSession drops what is in memory of the session, and what is under way
// for it.
func (s *TokenSource) forgetSession() {
	s.mu.Lock()
	s.over = s.seq.Add(1)
	s.latest.lease, s.latest.unsaved, s.latest.signedIn = nil, false, false
	s.mu.Unlock()
	s.tokens.clear()
	s.clearRoles()
}
