// Package wire is a client of the IAM Identity Center OIDC service (SSO OIDC),
// which registers public clients and issues access tokens to them and to
// applications. It speaks the service's own protocol, JSON in and JSON out, and
// imports nothing but the standard library.
//
// # Calling the service
//
// A [Client] needs an endpoint and nothing else:
//
//	endpoint, err := wire.EndpointFor("us-east-1", false, false)
//	client := &wire.Client{Endpoint: endpoint}
//	out, err := client.RegisterClient(ctx, &wire.RegisterClientInput{ClientName: "my-tool"})
//
// Each method is one operation and sends one request: nothing is repeated, and
// nothing is remembered between calls. A device authorization (RFC 8628) is
// RegisterClient, StartDeviceAuthorization, and then CreateToken at the
// interval given until its error is no longer [TypeAuthorizationPending] or
// [TypeSlowDown].
//
// CreateTokenWithIAM acts for people whom another identity provider signed in
// (trusted identity propagation). It is the one operation that AWS credentials
// sign, by the Client's [Signer], of which this package has none:
//
//	client := &wire.Client{Endpoint: endpoint, Signer: awsoidc.NewSigner(cfg.Credentials, "us-east-1")}
//	out, err := client.CreateTokenWithIAM(ctx, &wire.CreateTokenWithIAMInput{
//		ClientID:  applicationARN,
//		GrantType: wire.GrantJWTBearer,
//		Assertion: wire.Secret(jwt),
//	})
//
// Three things the service does not tell:
//
//   - A client registered without scopes gets no refresh token.
//   - An expired registration is no error at StartDeviceAuthorization, only a
//     page that refuses the person: look at ClientSecretExpiresAt first.
//   - A refresh may answer without a refresh token: go on using the old one.
//
// # Errors
//
// An error is one of three:
//
//   - [*Error]: the service, or something in its place, answered, and not with
//     success. Compare Type with the Type constants. Where the answer was none
//     of the service's, errors.Is(err, ErrResponse) holds as well.
//   - [*SendError]: there was no answer, or of a success not all. Unspent tells
//     whether the request is known not to have reached the service, as one that
//     could not be signed. The context's error is visible to errors.Is.
//   - Anything else: the input or the endpoint can't be used, and nothing was
//     sent.
//
// The text of each is one line of printable characters and bounded, whatever
// the server sent.
//
// # What every call holds to
//
//   - https only, except to a loopback address or localhost ([CheckEndpoint]).
//   - No redirect is followed, no cookie is kept, whatever Client.HTTPClient
//     says: of it only the Transport and the Timeout are used.
//   - Members of an answer are matched by their exact names.
//   - At most [MaxResponseBytes] of an answer are read, counted after
//     decompression.
//   - Tokens, codes and client secrets are visible ASCII of at most
//     [MaxTokenBytes], in a request as in an answer. Lifetimes are positive and
//     at most [MaxExpiresIn]. URLs that a person will open are https, or http on
//     loopback.
//   - Secrets have the type [Secret], which no way of printing shows; what the
//     request carried as one, or as the session token of AWS credentials, is
//     cut out of the text of errors, too.
//
// Client.Logger sees each request's operation, method, path, status, request ID
// and duration, and the text of its error.
package wire
