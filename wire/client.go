package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client calls the service at one endpoint. It is safe for concurrent use; its
// fields must not be changed once it is in use.
type Client struct {
	// Endpoint is the service's base URL, such as EndpointFor returns. It is
	// required, and must pass CheckEndpoint. A path in it is kept: operations
	// are appended to it.
	Endpoint string

	// HTTPClient lends its Transport and its Timeout. nil means a client that
	// all who leave it nil share: it keeps connections, takes a proxy from the
	// environment, and gives up after 10 s of dialing, 10 s of TLS handshake,
	// 30 s of waiting for an answer, and a minute in all.
	//
	// Redirects are refused and cookies dropped whatever it says.
	HTTPClient *http.Client

	// UserAgent is the User-Agent header; "" means "awsoidc".
	UserAgent string

	// Signer signs CreateTokenWithIAM, which can't do without; the other
	// operations are not signed.
	Signer Signer

	// Logger is told of every request at level Debug, after its end; nil means
	// nobody is. A record has the attributes operation, method, path and
	// duration; status and request_id where an answer came; error, a string,
	// where the call failed. No query, no body, and of the header the request
	// ID alone gets there; error is the error's text, which shows no secret.
	Logger *slog.Logger
}

// RegisterClient registers a public client (POST /client/register). The
// registration serves any number of sign-ins until ClientSecretExpiresAt.
//
// Its errors are described in the package documentation. Among those of the
// service are TypeInvalidClientMetadata, TypeInvalidRedirectURI,
// TypeInvalidScope, TypeInvalidRequest, TypeUnsupportedGrantType and
// TypeSlowDown.
func (c *Client) RegisterClient(ctx context.Context, in *RegisterClientInput) (*RegisterClientOutput, error) {
	cl := &call{operation: "RegisterClient", path: "/client/register"}
	if err := in.check(); err != nil {
		return nil, cl.refuse(err)
	}
	var a registerClientAnswer
	meta, err := c.do(ctx, cl, in.body(), &a)
	if err != nil {
		return nil, err
	}
	return a.output(meta), nil
}

// StartDeviceAuthorization begins a device authorization (RFC 8628 section 3.1,
// POST /device_authorization).
//
// Its errors are described in the package documentation. Among those of the
// service are TypeInvalidClient, TypeInvalidRequest (also for a start URL that
// it does not know), TypeUnauthorizedClient and TypeSlowDown.
func (c *Client) StartDeviceAuthorization(ctx context.Context, in *StartDeviceAuthorizationInput) (*StartDeviceAuthorizationOutput, error) {
	cl := &call{operation: "StartDeviceAuthorization", path: "/device_authorization"}
	if err := in.check(); err != nil {
		return nil, cl.refuse(err)
	}
	cl.hidden.secrets = []Secret{in.ClientSecret}
	var a startDeviceAuthorizationAnswer
	meta, err := c.do(ctx, cl, in.body(), &a)
	if err != nil {
		return nil, err
	}
	return a.output(meta), nil
}

// CreateToken exchanges a device code, a refresh token or an authorization code
// for an access token (POST /token).
//
// Its errors are described in the package documentation. Among those of the
// service are, for a device code, TypeAuthorizationPending, TypeSlowDown,
// TypeExpiredToken and TypeAccessDenied; for the other grants, TypeInvalidGrant;
// for all, TypeInvalidClient. After a *SendError that is not Unspent, and after
// a status of 500 or more, the service may have carried the operation out: a
// code may be used up, a refresh token replaced.
func (c *Client) CreateToken(ctx context.Context, in *CreateTokenInput) (*CreateTokenOutput, error) {
	cl := &call{operation: "CreateToken", path: "/token"}
	if err := in.check(); err != nil {
		return nil, cl.refuse(err)
	}
	cl.hidden.secrets = []Secret{in.ClientSecret, in.DeviceCode, in.Code, in.CodeVerifier, in.RefreshToken}
	var a createTokenAnswer
	meta, err := c.do(ctx, cl, in.body(), &a)
	if err != nil {
		return nil, err
	}
	return a.output(meta), nil
}

// call is one operation in progress.
type call struct {
	operation string
	path      string
	query     string // of the URL
	signer    Signer // nil: unsigned
	hidden    hidden // what the request carries and no text may show
}

// refuse makes the error of an input, or a Client, that can't be used.
func (cl *call) refuse(err error) error {
	return fmt.Errorf("wire: %s: %w", cl.operation, err)
}

// do sends one request and reads its answer into out.
func (c *Client) do(ctx context.Context, cl *call, in any, out answer) (Metadata, error) {
	if ctx == nil {
		return Metadata{}, cl.refuse(errors.New("the context is nil"))
	}
	u, err := c.url(cl.path)
	if err != nil {
		return Metadata{}, cl.refuse(err)
	}
	u.RawQuery = cl.query
	header, err := c.header()
	if err != nil {
		return Metadata{}, cl.refuse(err)
	}
	body, err := encode(in)
	if err != nil {
		return Metadata{}, cl.refuse(errors.New("the input can't be written as JSON"))
	}
	logged := c.Logger != nil && c.Logger.Enabled(ctx, slog.LevelDebug)
	var began time.Time
	if logged {
		began = time.Now()
	}
	r, err := c.exchange(ctx, cl, u, header, body)
	if err == nil {
		err = cl.read(&r, out)
	}
	meta := cl.metadata(&r)
	if logged {
		c.log(ctx, cl, r.status, meta.RequestID, time.Since(began), err)
	}
	if err != nil {
		return Metadata{}, err
	}
	return meta, nil
}

// read reads an answer into out. Its errors are *Error.
func (cl *call) read(r *reply, out answer) error {
	if !r.success() {
		return cl.failure(r)
	}
	err := r.read(out.fields())
	if err == nil {
		err = out.check()
	}
	if err != nil {
		return cl.unusable(r, err)
	}
	return nil
}

// log reports a request to the Logger. status is 0 where no answer came.
func (c *Client) log(ctx context.Context, cl *call, status int, requestID string, took time.Duration, err error) {
	attrs := []slog.Attr{
		slog.String("operation", cl.operation),
		slog.String("method", http.MethodPost),
		slog.String("path", cl.path),
		slog.Duration("duration", took),
	}
	if status != 0 {
		attrs = append(attrs, slog.Int("status", status), slog.String("request_id", requestID))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error())) // not the error: a handler may print what it wraps
	}
	c.Logger.LogAttrs(ctx, slog.LevelDebug, "request to IAM Identity Center", attrs...)
}

// url returns an operation's URL.
func (c *Client) url(path string) (*url.URL, error) {
	u, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the endpoint %w", err)
	}
	if u.RawPath != "" {
		return u.JoinPath(path), nil
	}
	u.Path = strings.TrimRight(u.Path, "/") + path
	return u, nil
}

func (c *Client) header() (http.Header, error) {
	agent := cmp.Or(c.UserAgent, "awsoidc")
	if !isVisibleASCII(strings.ReplaceAll(agent, " ", "")) {
		return nil, errors.New("UserAgent holds characters that a header can't carry; use printable ASCII")
	}
	values := [...]string{"application/json", agent}
	return http.Header{"Content-Type": values[0:1:1], "User-Agent": values[1:2:2]}, nil
}
