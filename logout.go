package awsoidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sso"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/wire"
)

// Logout ends the session: at the AWS access portal (operation Logout), in the
// Store, and in memory. Others who share the Store are signed out as soon as
// they look there, which is when their token is due. Sessions of other names
// stay, and so does the client registration. Without a session there is nothing
// to do.
//
// The session's record is removed whatever the portal answers; where it does
// not confirm that the session has ended, the error says until when a copy of
// the token may work. Role credentials that somebody has stay valid until they
// expire. An access token that has expired is refreshed first, because the
// portal ends only the session of a valid one.
//
// If ctx ends first, the error is its cause, and the session may be there still.
func (s *TokenSource) Logout(ctx context.Context) error {
	if s.isClosed() {
		return ErrClosed
	}
	s.tokens.get(ctx, s) // the portal wants a valid token; without one the record goes all the same
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var unconfirmed error
	var readOnly error
	err := s.update(ctx, func(ctx context.Context, old []byte) ([]byte, error) {
		stored, _, corrupt := s.find(ctx, old)
		ended := stored
		if l := s.superseding(stored, corrupt); l != nil {
			ended = l.value // it was never saved
		}
		readOnly = cache.NotWritable(ctx)
		if ended != nil {
			unconfirmed = s.revoke(ctx, ended)
		}
		s.forgetSession()
		if stored == nil && !corrupt {
			return nil, errUnchanged // of another configuration, or none
		}
		return nil, nil
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case err != nil && !errors.Is(err, errUnchanged) || readOnly != nil:
		return &failure{what: "the session's record could not be removed", cause: cmp.Or(readOnly, err), advice: "remove " + s.place() + " yourself"}
	}
	return unconfirmed
}

// revoke ends the session v at the portal. It may be sent again: a session ends
// only once.
func (s *TokenSource) revoke(ctx context.Context, v *session) error {
	if s.rules.now().time().After(v.expiresAt) {
		return nil // it could not be refreshed
	}
	err := s.sendToPortal(ctx, v.accessToken, func(ctx context.Context, token wire.Secret) error {
		accessToken := string(token)
		_, err := s.portal.Logout(ctx, &sso.LogoutInput{AccessToken: &accessToken})
		return err
	})
	if err == nil || isUnauthorized(err) {
		return nil
	}
	f := explainPortal("signed out here, but the portal did not confirm that the session has ended", err, nil, "")
	f.advice = fmt.Sprintf("the session's token may work until %s for whoever has a copy; to end it, sign in and out again", v.expiresAt.Local().Format(time.DateTime))
	return f
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
