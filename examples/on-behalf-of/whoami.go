package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc"
)

// A service is what all requests share.
type service struct {
	users     *verifier
	exchanger *awsoidc.Exchanger
	role      awsoidc.Role
	sts       *sts.Client // one for all users: the credentials come with each call
	metrics   *metrics
	log       *slog.Logger
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /whoami", s.whoami)
	mux.HandleFunc("DELETE /session", s.forget)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		var b bytes.Buffer // whoever reads slowly must hold nobody up
		s.metrics.write(&b, s.exchanger.Stats())
		w.Write(b.Bytes())
	})
	s.addPage(mux)
	return mux
}

// whoami answers with the ARN under which AWS knows the user.
func (s *service) whoami(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	user, jwt, err := s.users.user(ctx, r)
	if err != nil {
		s.refuse(w, r, user, err)
		return
	}
	credentials := s.exchanger.Identity(user, awsoidc.JWT(jwt)).Credentials(s.role)
	out, err := s.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
		o.Credentials = credentials
	})
	if err != nil {
		s.refuse(w, r, user, err)
		return
	}
	s.answer(w, http.StatusOK, map[string]string{"arn": aws.ToString(out.Arn)})
}

// forget drops all that is held for the user, here at once, and in the other
// replicas within ExchangerConfig.MaxStale. The user's JWT is spent, and does not
// begin anew what was ended.
func (s *service) forget(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	user, _, err := s.users.user(ctx, r)
	if err != nil {
		s.refuse(w, r, user, err)
		return
	}
	if err := s.exchanger.Forget(ctx, user); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "not forgotten", slog.String("subject", user.ID), slog.Any("error", err))
		s.answer(w, http.StatusServiceUnavailable, map[string]string{"error": "you may still be known elsewhere; try again"})
		return
	}
	s.answer(w, http.StatusOK, map[string]string{"forgotten": user.ID})
}

// refuse answers with what the user can do about err, and logs the rest, which
// is not theirs to know.
func (s *service) refuse(w http.ResponseWriter, r *http.Request, user awsoidc.Subject, err error) {
	if r.Context().Err() != nil {
		return // the client has left
	}
	status, text := http.StatusBadGateway, "AWS did not answer as expected; try again later"
	switch {
	case errors.Is(err, errNoToken):
		status, text = http.StatusUnauthorized, "send a JWT as the bearer token"
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750 section 3.1: no error without a token
	case errors.Is(err, errBadToken):
		status, text = http.StatusUnauthorized, errBadToken.Error()+"; sign in again"
	case errors.Is(err, awsoidc.ErrReauthRequired), errors.Is(err, awsoidc.ErrSubjectMismatch):
		status, text = http.StatusUnauthorized, "the token was used before, or AWS does not take it; sign in again"
	case errors.Is(err, awsoidc.ErrAccessDenied):
		status, text = http.StatusForbidden, "AWS does not let you use this; ask an administrator to assign you to the application"
	case errors.Is(err, awsoidc.ErrThrottled):
		status, text = http.StatusServiceUnavailable, "AWS is asked too often; try again later"
		w.Header().Set("Retry-After", retryAfter(err))
	case errors.Is(err, errNoKeys), errors.Is(err, awsoidc.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusServiceUnavailable, "the service can't answer now; try again later"
		w.Header().Set("Retry-After", retryAfter(err))
	}
	if status == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "refused", slog.Int("status", status),
		slog.String("issuer", user.Issuer), slog.String("subject", user.ID), slog.String("error", err.Error()))
	s.answer(w, status, map[string]string{"error": text})
}

// retryAfter returns in how many seconds what failed with err may be tried
// again: 1 where that is not known.
func retryAfter(err error) string {
	at, _ := awsoidc.RetryAt(err)
	return strconv.Itoa(max(1, int(math.Ceil(time.Until(at).Seconds()))))
}

func (s *service) answer(w http.ResponseWriter, status int, v any) {
	s.metrics.answered(status)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
