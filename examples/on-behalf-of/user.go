package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/wire"
)

var (
	errNoToken  = errors.New("the request has no bearer token")
	errBadToken = errors.New("the token is not a JWT of the issuer for this audience, or has expired")
	errNoKeys   = errors.New("the issuer's keys can't be had")
)

// A verifier tells whose a JWT is. It is safe for concurrent use.
type verifier struct{ tokens *oidc.IDTokenVerifier }

// newVerifier asks the issuer where its keys are (OpenID Connect Discovery 1.0
// section 4). They are fetched with the first token, and again when one comes
// that none of them verifies.
func newVerifier(ctx context.Context, issuer, audience string) (*verifier, error) {
	if _, err := wire.CheckEndpoint(issuer); err != nil {
		return nil, fmt.Errorf("-issuer %s", strings.TrimPrefix(err.Error(), "wire: the endpoint "))
	}
	client := &http.Client{Transport: strict{}, Timeout: 10 * time.Second}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), issuer)
	if err != nil {
		return nil, fmt.Errorf("-issuer %s does not describe itself: %.300s; give its URL exactly as the claim iss has it", issuer, err.Error())
	}
	// The algorithms are those that the issuer names, asymmetric ones alone.
	return &verifier{provider.Verifier(&oidc.Config{ClientID: audience})}, nil
}

// user returns whom the bearer token of a request is about, once its signature,
// issuer, audience and expiry are found good, and the token. Errors wrap
// errNoToken, errBadToken or errNoKeys.
func (v *verifier) user(ctx context.Context, r *http.Request) (user awsoidc.Subject, raw string, err error) {
	raw, err = bearer(r.Header)
	if err != nil {
		return user, "", err
	}
	token, err := v.tokens.Verify(ctx, raw)
	if err != nil {
		kind := errBadToken
		if strings.HasPrefix(err.Error(), "failed to verify signature: fetching keys") { // it has no type
			kind = errNoKeys
		}
		return user, "", fmt.Errorf("%w: %.300s", kind, err.Error())
	}
	user, err = subject(token)
	return user, raw, err
}

// bearer returns the token of the one Authorization header (RFC 6750 section
// 2.1).
func bearer(h http.Header) (string, error) {
	const b64token = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/="
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", errNoToken
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer") || token == "":
		return "", errNoToken
	case strings.Trim(token, b64token) != "":
		return "", fmt.Errorf("%w: it has characters that no JWT has", errBadToken)
	}
	return token, nil
}

// subject returns whom a verified token is about. Everything that is held for a
// user is found by it, so that it must be who AWS takes the token for.
func subject(token *oidc.IDToken) (user awsoidc.Subject, err error) {
	var claims json.RawMessage
	var tenant struct {
		ID string `json:"tid"` // of an issuer with many tenants
	}
	if token.Claims(&claims) != nil || token.Claims(&tenant) != nil {
		return user, fmt.Errorf("%w: its claims can't be read", errBadToken)
	}
	if err := checkNames(claims); err != nil {
		return user, fmt.Errorf("%w: %w", errBadToken, err)
	}
	const longest = 255 // OpenID Connect Core 1.0 section 2
	if token.Subject == "" || len(token.Subject) > longest || len(tenant.ID) > longest {
		return user, fmt.Errorf("%w: it names no user", errBadToken)
	}
	if strings.ContainsRune(token.Issuer+token.Subject+tenant.ID, utf8.RuneError) { // as encoding/json reads what is not Unicode
		return user, fmt.Errorf("%w: it has half a character", errBadToken)
	}
	return awsoidc.Subject{Issuer: token.Issuer, ID: token.Subject, Tenant: tenant.ID}, nil
}

// checkNames refuses claims that different programs read differently.
// encoding/json, and with it go-oidc, takes "SUB" for "sub", and of two the
// last; an issuer may let its users choose claims of their own.
func checkNames(claims []byte) error {
	d := json.NewDecoder(bytes.NewReader(claims))
	if _, err := d.Token(); err != nil { // the opening brace
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		for _, known := range []string{"iss", "sub", "aud", "exp", "nbf", "tid"} {
			if name, _ := name.(string); strings.EqualFold(name, known) {
				if name != known || seen[known] {
					return fmt.Errorf("it has a claim %s twice, or under another name", known)
				}
				seen[known] = true
			}
		}
	}
	return nil
}

// strict is a transport that uses https, and http on loopback addresses alone,
// wherever the issuer says that its keys are. It bounds answers.
type strict struct{}

// RoundTrip implements http.RoundTripper.
func (strict) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := wire.CheckURL(r.URL.String()); err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, 1<<20)
	return resp, nil
}
