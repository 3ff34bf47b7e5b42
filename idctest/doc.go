// Package idctest is a fake AWS IAM Identity Center for tests: sign-in, token
// refresh, the access portal and the caller's identity, without an AWS account
// and without a network.
//
// A [Server] is one [http.Handler]. It answers for three services of AWS, so
// that one base URL serves AWS_ENDPOINT_URL_SSO_OIDC, AWS_ENDPOINT_URL_SSO and
// AWS_ENDPOINT_URL_STS (or AWS_ENDPOINT_URL for all), which every AWS SDK
// reads:
//
//   - SSO OIDC: RegisterClient, StartDeviceAuthorization, and CreateToken with
//     the device code and refresh token grants;
//   - the access portal: GetRoleCredentials, ListAccounts, ListAccountRoles and
//     Logout;
//   - STS: GetCallerIdentity, for credentials that the portal handed out and
//     requests they really signed.
//
// Beside them, /device is the page on which a person approves a sign-in, and
// GET /userinfo is a resource that wants the access token as a bearer token
// (RFC 6750) and says whose it is.
//
// # Use
//
// Over a network, wrap it: httptest.NewServer(idctest.New()). In one process,
// [Server.Transport] needs no sockets, and works in the virtual time of
// testing/synctest, where polling, expiry and hours of refreshing take no time
// at all:
//
//	srv := idctest.New()
//	client := &http.Client{Transport: srv.Transport()} // any host will do
//
// Somebody has to approve a device authorization: [Server.Approve] with the
// user code that the program under test shows, [Server.ApproveAfter] for all of
// them, or a person on the page. [Server.Issue] makes a session without any of
// that, and its JSON is a token file of the AWS CLI.
//
// # Strictness
//
// A test server that forgives what the service would not lets bugs through. New
// returns a Server that takes the strict side wherever the service is known to,
// and wherever nobody knows: refresh tokens rotate, and one used twice ends its
// session ([Server.RotateRefreshTokens], [Server.DetectReuse]); device codes
// work once; polling too fast makes the interval 5 s longer for good; tokens
// are bound to their client; only clients with scopes get refresh tokens; JSON
// names are matched exactly. A client should also be tested against a server
// that does not rotate, and one that leaves the refresh token out of its
// answers ([Server.OmitRefreshToken]).
//
// It does not check the time or region of a signature, and it does not look at
// which region a request's host names: [Server.Log] shows the host.
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
//	Fault{Status: 429, Header: http.Header{"Retry-After": {"2"}}}
//	Fault{Status: 307, Header: http.Header{"Location": {"https://elsewhere.example/"}}}
//	Fault{Body: []byte("<html>")}                 // from a captive portal, with status 200
//	Fault{BodySize: 1 << 40}                      // valid, but for its size
//	Fault{CutBody: true}                          // broken off in the middle
//
// [Server.RevokeAccessTokens], [Server.RevokeSessions],
// [Server.ExpireRegistrations] and [Server.ForgetClients] are what
// administrators and time do.
//
// # Counting
//
// [Server.Count] says how often an operation was asked for, carried out, and
// asked for at the same time; [Server.Reuses] how often a spent refresh token
// came back, which for a correct client is never, save after a lost answer.
//
// # Limits
//
// All state is in memory, and bounded: 10,000 clients and device
// authorizations, 131,072 access tokens, refresh tokens and role credentials,
// 1024 log entries, 1 MiB of a request's body. Past a bound the oldest is
// forgotten. A Server needs no closing: it has no goroutines between requests.
//
// Its tokens are random and worth nothing elsewhere, but whoever reaches the
// server over a network can sign in. Serve it on a loopback address.
package idctest
