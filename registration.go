package awsoidc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// registrationMargin is how long a cached client registration must still be
// valid for a sign-in to use it. A session can't be refreshed without one, so it
// should outlive at least a day's work.
const registrationMargin = 24 * time.Hour

// registration returns a client registration like want: the stored one where it
// fits, or else a new one, which it stores. Both grants have their
// registrations in one record, as the AWS CLI does it: one takes the other's
// place, and sessions keep their own copy. But older AWS CLIs know the device
// grant only, and take what is there for one of theirs: a good registration for
// that grant stays, and the other is kept beside it.
func (s *TokenSource) registration(ctx context.Context, want *wire.RegisterClientInput) (*registration, error) {
	key := s.keys.registration
	if raw, err := s.store.Get(ctx, key); err == nil {
		if reg := s.fitting(raw, want); reg != nil {
			return reg, nil
		}
		if len(want.GrantTypes) > 0 && s.fitting(raw, &wire.RegisterClientInput{Scopes: s.cfg.Scopes}) != nil {
			key = s.keys.codeRegistration
		}
	}
	var reg *registration
	err := s.updateRecord(ctx, key, func(ctx context.Context, old []byte) (_ []byte, err error) {
		if reg = s.fitting(old, want); reg != nil {
			return nil, errUnchanged
		}
		if reg, err = s.register(ctx, want); err != nil || reg.expiresAt.IsZero() {
			return nil, cmp.Or(err, errUnchanged)
		}
		return reg.encode(), nil
	})
	if reg == nil && !isAnswer(err) && ctx.Err() == nil {
		reg, err = s.register(ctx, want) // it serves this sign-in, if no other
	}
	if reg != nil {
		return reg, nil // whether or not it could be saved
	}
	return nil, s.signInFailed("the client could not be registered", err)
}

// fitting returns the registration in a record if a sign-in that needs one like
// want can use it.
func (s *TokenSource) fitting(raw []byte, want *wire.RegisterClientInput) *registration {
	if raw == nil {
		return nil
	}
	reg, err := parseRegistration(raw)
	if err != nil ||
		s.isDeadClient(reg.clientID) ||
		reg.expiresAt.Before(s.rules.now().time().Add(registrationMargin)) ||
		!reg.suits(want.GrantTypes) ||
		!sameSet(reg.scopes, want.Scopes) {
		return nil
	}
	return reg
}

// suits reports whether r is for clients that ask for these grant types when
// they register. Those of the device grant ask for none.
func (r *registration) suits(grantTypes []string) bool {
	if len(grantTypes) == 0 {
		return len(r.grantTypes) == 0
	}
	return !slices.ContainsFunc(grantTypes, func(g string) bool { return !slices.Contains(r.grantTypes, g) })
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// register registers a new client.
func (s *TokenSource) register(ctx context.Context, want *wire.RegisterClientInput) (*registration, error) {
	var out *wire.RegisterClientOutput
	err := repeat(ctx, func(ctx context.Context) (err error) {
		out, err = s.wire.RegisterClient(ctx, want)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &registration{
		clientID:     out.ClientID,
		clientSecret: out.ClientSecret,
		expiresAt:    out.ClientSecretExpiresAt,
		scopes:       want.Scopes,
		grantTypes:   want.GrantTypes,
	}, nil
}

// newSession is the session of an answer to what a registered client sent at
// sentAt.
func (s *TokenSource) newSession(reg *registration, answer *wire.CreateTokenOutput, sentAt time.Time) *session {
	return &session{
		startURL:              s.cfg.StartURL,
		region:                s.cfg.Region,
		accessToken:           answer.AccessToken,
		refreshToken:          answer.RefreshToken,
		idToken:               answer.IDToken,
		scope:                 strings.Join(reg.scopes, " "),
		issuedAt:              sentAt,
		expiresAt:             sentAt.Add(answer.ExpiresIn),
		clientID:              reg.clientID,
		clientSecret:          reg.clientSecret,
		registrationExpiresAt: reg.expiresAt,
	}
}

// isAnswer reports whether err came from the service or the way to it.
func isAnswer(err error) bool {
	_, answered := errors.AsType[*wire.Error](err)
	_, sent := errors.AsType[*wire.SendError](err)
	return answered || sent
}
