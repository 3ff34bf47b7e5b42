package awsoidc

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/awsoidc/awsoidc/wire"
)

// registrationMargin is how long a cached client registration must still be
// valid for a sign-in to use it. A session can't be refreshed without one, so it
// should outlive at least a day's work.
const registrationMargin = 24 * time.Hour

// registration returns a client registration that fits: the stored one, or
// else a new one, which it stores.
func (s *TokenSource) registration(ctx context.Context) (*registration, error) {
	if raw, err := s.store.Get(ctx, s.keys.registration); err == nil {
		if reg := s.fitting(raw); reg != nil {
			return reg, nil
		}
	}
	var reg *registration
	err := s.updateRecord(ctx, s.keys.registration, func(ctx context.Context, old []byte) (_ []byte, err error) {
		if reg = s.fitting(old); reg != nil {
			return nil, errUnchanged
		}
		if reg, err = s.register(ctx); err != nil || reg.expiresAt.IsZero() {
			return nil, cmp.Or(err, errUnchanged)
		}
		return reg.encode(), nil
	})
	if reg == nil && !isAnswer(err) && ctx.Err() == nil {
		reg, err = s.register(ctx) // it serves this sign-in, if no other
	}
	if reg != nil {
		return reg, nil // whether or not it could be saved
	}
	return nil, s.signInFailed("the client could not be registered", err)
}

// fitting returns the registration in a record if a sign-in can use it.
func (s *TokenSource) fitting(raw []byte) *registration {
	if raw == nil {
		return nil
	}
	reg, err := parseRegistration(raw)
	if err != nil ||
		s.isDeadClient(reg.clientID) ||
		reg.expiresAt.Before(s.rules.now().time().Add(registrationMargin)) ||
		len(reg.grantTypes) > 0 || // for the authorization code grant
		!sameSet(reg.scopes, s.cfg.Scopes) {
		return nil
	}
	return reg
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// register registers a new client.
func (s *TokenSource) register(ctx context.Context) (*registration, error) {
	var out *wire.RegisterClientOutput
	err := repeat(ctx, func(ctx context.Context) (err error) {
		out, err = s.wire.RegisterClient(ctx, &wire.RegisterClientInput{
			ClientName: s.cfg.ClientName,
			Scopes:     s.cfg.Scopes,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &registration{
		clientID:     out.ClientID,
		clientSecret: out.ClientSecret,
		expiresAt:    out.ClientSecretExpiresAt,
		scopes:       s.cfg.Scopes,
	}, nil
}

// isAnswer reports whether err came from the service or the way to it.
func isAnswer(err error) bool {
	_, answered := errors.AsType[*wire.Error](err)
	_, sent := errors.AsType[*wire.SendError](err)
	return answered || sent
}
