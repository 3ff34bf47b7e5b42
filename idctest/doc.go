// Package idctest is a fake AWS IAM Identity Center for tests: sign-in, token
// refresh, the access portal, token exchange on behalf of users and the roles
// that follow from it, without an AWS account and without a network.
//
// A [Server] is one [http.Handler]. It answers for three services of AWS, so
// that one base URL serves AWS_ENDPOINT_URL_SSO_OIDC, AWS_ENDPOINT_URL_SSO and
// AWS_ENDPOINT_URL_STS (or AWS_ENDPOINT_URL for all), which every AWS SDK
// reads:
//
//   - SSO OIDC: RegisterClient, StartDeviceAuthorization, CreateToken and
//     CreateTokenWithIAM, with every grant that each of them has, and the
//     authorization endpoint, /authorize;
//   - the access portal: GetRoleCredentials, ListAccounts, ListAccountRoles and
//     Logout;
//   - STS: GetCallerIdentity, AssumeRole and AssumeRoleWithWebIdentity.
//
// Beside them, /device is the page on which a person approves a device's
// sign-in, and GET /userinfo is a resource that wants the access token as a
// bearer token (RFC 6750) and says whose it is.
//
// # Use
//
// Over a network, wrap it: httptest.NewServer(idctest.New()), below a path with
// [http.StripPrefix]. In one process, [Server.Transport] needs no sockets, and
// works in the virtual time of testing/synctest, where polling, expiry and hours
// of refreshing take no time at all:
//
//	srv := idctest.New()
//	client := &http.Client{Transport: srv.Transport()} // any host will do
//
// Somebody has to approve a device authorization: [Server.Approve] with the
// user code that the program under test shows, [Server.ApproveAfter] for all of
// them, or a person on the page. [Server.Issue] makes a session without any of
// that, and its JSON is a token file of the AWS CLI.
//
// Of the authorization code grant, a test plays the browser: it hands the URL
// that the program under test would open to [Server.ApproveAuthorization], and
// fetches the callback URL that it is given. After ApproveAfter(0) fetching
// the first URL is enough, as /authorize redirects at once.
//
// # On behalf of users
//
// Programs sign CreateTokenWithIAM and AssumeRole with IAM credentials. The
// server knows those that it issued itself, and [Server.AddAccessKey] makes
// some for the program to begin with. An application is whatever ARN the
// program names, unless [Server.Applications] lists them, with what each has of
// its own: scopes, users who are assigned, a region. An assertion is any JWT
// with the claims iss, sub, aud and exp, unless [Server.TrustedIssuers] lists
// whose are accepted, for which audiences, and with which keys: given, or
// fetched from the issuer as the service does, so that a real OpenID provider
// can be the issuer. An [Issuer] stands in for one: it signs what a test says,
// and publishes its keys.
//
//	issuer := idctest.NewIssuer("https://issuer.example")
//	srv.TrustedIssuers = []idctest.TrustedIssuer{issuer.Trusted("my-service")}
//	jwt := issuer.Sign(map[string]any{"sub": "jane", "aud": "my-service"})
//
// The identityContext that comes with the token goes into ProvidedContexts of
// AssumeRole. GetCallerIdentity, as in AWS, then tells only the role and the
// session's name; [Server.Identify] tells whose any token, identity context or
// credentials are, and [Server.AssumedRoles] how a role was assumed.
//
// An application's access token is good for the portal, too, where it has the
// scope sso:account:access, which only an application listed with it can have.
//
// # Strictness
//
// A test server that forgives what the service would not lets bugs through. New
// returns a Server that takes the strict side wherever the service is known to,
// and wherever nobody knows: refresh tokens rotate, and one used twice ends its
// session ([Server.RotateRefreshTokens], [Server.DetectReuse]); device codes
// work once; polling too fast makes the interval 5 s longer for good; tokens
// are bound to their client; only clients with scopes get refresh tokens; JSON
// names are matched exactly. Authorization codes work once, for 60 s, with PKCE
// (S256) alone, and using one twice ends its session. An assertion with an ID
// (jti) works once in all applications of an instance of Identity Center, and
// is spent as soon as it was found good. The JWT bearer grant brings no refresh
// token ([Server.JWTBearerRefreshTokens]). A client should also be tested
// against a server that does not rotate, and one that leaves the refresh token
// out of its answers ([Server.OmitRefreshToken]).
//
// A signature (SigV4) has to be over the request exactly as it came: method,
// path, query, body, and every header that it names, which are at least Host,
// Content-Type and all whose names begin with X-Amz-. It has to be of the last
// five minutes, for the service asked, and for the region that the host names,
// if it names one as AWS's own do. SSO OIDC takes it in the Authorization
// header only.
//
// Not checked are policies: any known credentials may call CreateTokenWithIAM
// for any application, and assume any role but their own. Nor is it checked
// that an application is in the audience of the token that it exchanges.
//
// # Faults
//
// [Server.Inject] queues what shall go wrong: a [Fault] for each request to
// come, or for all of them until [Server.ClearFaults]. Some that find bugs:
//
//	Fault{ResetAfter: true}                       // carried out, but the answer is lost
//	Fault{Status: 503, Commit: true}              // carried out, but said not to be
//	Fault{ResetBefore: true}                      // not carried out; the client can't tell
//	Fault{Dial: true, Times: idctest.Always}      // nobody there
//	Fault{Hang: true}                             // no answer, ever
//	Fault{Latency: time.Minute}                   // a late one
//	Fault{Type: wire.TypeSlowDown}                // an exception of the service
//	Fault{Type: "Throttling"}                     // of STS, as are "AccessDenied" and "ExpiredToken"
//	Fault{Status: 403, Type: wire.TypeAccessDenied} // CreateTokenWithIAM: the caller's policies, not the user
//	Fault{Status: 429, Header: http.Header{"Retry-After": {"2"}}}
//	Fault{Status: 307, Header: http.Header{"Location": {"https://elsewhere.example/"}}}
//	Fault{Body: []byte("<html>")}                 // from a captive portal, with status 200
//	Fault{BodySize: 1 << 40}                      // valid, but for its size
//	Fault{CutBody: true}                          // broken off in the middle
//
// [Exceptions] lists those that an operation can have, one Fault each.
// [Server.Quotas] throttle whoever asks too often.
//
// [Server.RevokeAccessTokens], [Server.RevokeSessions],
// [Server.ExpireRegistrations] and [Server.ForgetClients] are what
// administrators and time do.
//
// # Counting
//
// [Server.Count] says how often an operation was asked for, carried out, and
// asked for at the same time; [Server.Reuses] how often a spent refresh token
// came back, which for a correct client is never, save after a lost answer;
// [Server.Replays] how often a spent assertion did.
//
// # Limits
//
// All state is in memory, and bounded: 10,000 each of clients, device
// authorizations, authorization codes and added access keys, 131,072 each of
// access tokens, refresh tokens, identity contexts, presented assertions with an
// ID and credentials of roles, 1024 entries of each log, 1 MiB of a request's
// body. Past a bound the oldest is forgotten, and of the assertions the one that
// expires next. A Server needs no closing: it has no goroutines between
// requests.
//
// Its tokens are random and worth nothing elsewhere, but whoever reaches the
// server over a network can sign in. Serve it on a loopback address.
package idctest
