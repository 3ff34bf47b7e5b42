// Package awsoidc signs a Go program in to AWS through IAM Identity Center, as
// a person or on behalf of many, and hands the result to what Go code already
// speaks: oauth2.TokenSource, smithy's bearer.TokenProvider, http.Client and
// aws.CredentialsProvider. A person's session is shared with the AWS CLI and
// the AWS SDKs.
//
//	import (
//		"github.com/awsoidc/awsoidc/profile"
//		"github.com/awsoidc/awsoidc/prompt"
//	)
//
//	src, err := profile.Open(ctx, profile.Options{Profile: "dev", Prompt: prompt.Terminal(os.Stderr)})
//	if err != nil {
//		return err
//	}
//	defer src.Close()
//	err = src.Login(ctx)                                     // a person approves
//	client := src.Client("https://api.example.com")          // for an HTTP API
//	creds := src.RoleCredentials("123456789012", "ReadOnly") // for the AWS SDK
//
// # Which constructor
//
// For a person, all of them give the same [TokenSource].
//
//   - A program whose user has an AWS config file calls Open of package
//     profile, or LoadDefaultConfig there in place of the SDK's. They are the
//     only ones to read the environment and config files.
//   - A program with a configuration of its own calls [New]. Nothing is read
//     but the [Config].
//   - A test calls New with the in-memory transport of package idctest, a fake
//     Identity Center that approves, denies and fails as told.
//   - A service that acts for users whom somebody else signs in calls
//     [NewExchanger]. Where IAM itself trusts their issuer and no user of
//     Identity Center is meant, [NewWebIdentityCredentials] does.
//
// Package prompt shows a person in a terminal what to do; any [Prompter] may
// take its place.
//
// # What a TokenSource promises
//
// A token is fetched from memory; failing that from the [cache.Store]; failing
// that it is refreshed. A person is involved by [TokenSource.Login] alone, or
// by whoever asks for a token where [Config].LoginOnDemand is set.
//
// A refresh takes the store's lock for the session, reads the record again, and
// takes over what somebody else has refreshed meanwhile. Otherwise it reserves
// the space for the new record, sends the refresh token, saves the answer, and
// only then hands it out and frees the lock. So:
//
//   - A token is replaced well before its expiry (by a third of its lifetime,
//     at most 20 minutes and a little), in the background: until it expires,
//     nobody waits and no error is returned; failures are logged, and tried
//     again with a backoff. Only the first use in a process of a stored token
//     that is due waits, for 5 s at most: a short program must not end in the
//     middle of a refresh that it began.
//   - After the expiry all callers of all processes wait for one refresh, each
//     as long as its context allows. A caller who gives up does not end it. A
//     failure is shared by all, and remembered for a backoff that grows, or as
//     long as the service asked for.
//   - A refresh token, which may be good for one use, is sent again only where
//     the service certainly did not get it, or may not have (a reset, a timeout,
//     a status of 500 and more), three times at most. One that was refused, or
//     that this source has exchanged for another, is not.
//   - While the token is valid, no refresh is begun that could not be saved.
//     Past its expiry the session is refreshed and served from memory all the
//     same, and saved as soon as that is possible: at later uses and by
//     [TokenSource.Close], whose error says if it was not.
//   - A process may be killed at any moment: the record stays whole, the lock
//     is freed, and the session survives wherever the service's answer had
//     taken the record's place on the disk, or the service had not rotated the
//     refresh token.
//   - A session that the service has ended gives [ErrLoginRequired], and is
//     not asked for again until the store holds another.
//   - A token that a server refused (401) is not used again, and costs at most
//     one refresh a minute. One that can't be refreshed is tried again after a
//     minute, being all there is.
//   - A token has expired when the wall clock or the monotonic clock says so:
//     a clock that is set back serves no dead token.
//
// Caches above a source, such as those of oauth2.NewClient and aws.Config, ask
// again only when what they hold expires, and block their callers meanwhile.
// So the Expiry of a token and the Expires of credentials say when to ask
// again, which is earlier. The true expiry is in the token's
// Extra("expires_at"), in [TokenSource.RetrieveBearerToken] and in
// [RoleCredentials.Current].
//
// # What it can't promise
//
//   - A process that is killed between a refresh's answer and its saving loses
//     the session where the service takes a refresh token once only; so does a
//     connection that breaks in the middle of the answer. Call
//     [TokenSource.Close] before the process ends: it waits for what is under
//     way.
//   - While a process holds a session that it could not save, others that share
//     the store know only the one before: where the service rotates refresh
//     tokens, their refresh ends it for all.
//   - The AWS CLI and SDKs refresh without a lock. This package refreshes
//     earlier than they do, takes over what they have saved, and puts its own
//     session back where they wrote an older one; but where two of them send
//     the same refresh token, the service may end the session for all.
//   - The service may end a session, and refuse an access token, before its
//     expiry. [TokenSource.Client] notices a 401 and refreshes at once; others
//     call [TokenSource.Invalidate].
//   - The lock is as good as the file system's: some network file systems have
//     none that works between machines.
//
// # Acting for many users
//
// An [Exchanger] acts as one application of Identity Center for users whom an
// OpenID provider signs in (trusted identity propagation).
//
//	cfg, err := config.LoadDefaultConfig(ctx) // of github.com/aws/aws-sdk-go-v2/config
//	ex, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{Application: arn, AWS: cfg})
//
//	// for each request, with a JWT that was verified
//	user := ex.Identity(awsoidc.Subject{Issuer: iss, ID: sub}, awsoidc.JWT(raw))
//	creds := user.Credentials(awsoidc.Role{ARN: roleARN})
//	out, err := client.GetObject(ctx, in, func(o *s3.Options) { o.Credentials = creds })
//
// A user's tokens come from the first of these that has any:
//
//   - memory, where they are valid;
//   - the [cache.Store], where others who share it have renewed them;
//   - a refresh token;
//   - the [Assertion], unless it was used before;
//   - nothing: [ErrReauthRequired].
//
// Valid tokens and credentials are renewed before they expire, as those of a
// TokenSource are; but tokens without a refresh token, which cost an assertion,
// only in their last three minutes.
//
// What is promised:
//
//   - However many ask at the same time, there is one exchange for a user, and
//     one request for each of their roles; and one exchange for all processes
//     that share a Store. That one caller's assertion can't be used is not
//     shared with those who bring another; what the service answered is.
//   - What works once, a code or a JWT with a "jti", is not sent again once
//     the service may have looked at it: not after [Exchanger.Forget], nor by
//     others who share the Store. One that the service certainly did not look
//     at (no connection, a throttle, another region) is. An Exchanger
//     remembers the last 65,536 at least.
//   - One user never gets what is another's. All is keyed by the [Subject]; a
//     JWT with another iss or sub, or another tid than the Subject's Tenant, is
//     refused where it would be sent; a stored record names its key. Claims
//     have a JWT refused, and select nothing.
//   - A denial, or a setting that the service refuses, is remembered for 30 s:
//     nobody asks again for that user, or that role of theirs, meanwhile. Other
//     failures are remembered for some seconds, more each time.
//   - [Exchanger.Forget] wins: what is under way for the user ends with
//     ErrReauthRequired, and is not kept.
//   - A [Limiter] keeps to AWS's quotas, by default to those of one process
//     ([ExchangerConfig].Replicas). Who waits goes before what is renewed ahead
//     of time; nobody waits longer than 10 s for it: [ErrThrottled], and
//     [RetryAt] tells when.
//
// What can't be:
//
//   - The answer to an exchange may be lost. A JWT with a "jti" is then spent
//     for nothing, and the user must bring another: ErrReauthRequired.
//   - Without a Store that is shared, a restart or another replica knows
//     nothing of a user, and the JWT they bring may be spent. The same holds
//     for users evicted past MaxIdentities.
//   - Whether the service gives a refresh token for a JWT is not known to this
//     package. Where it does not, each user brings a new assertion about once
//     an hour, and a whole instance takes ten a second.
//   - Signatures are not verified here. Whoever takes a Subject from a token
//     that was not verified lets anyone be anyone. Of a [Code] and a
//     [SubjectToken] even that they are the Subject's can't be checked.
//   - After Forget, credentials that were handed out work until they expire,
//     and other processes use what is in their memory for a while:
//     [ExchangerConfig].MaxStale, or until it is due where no Store is shared,
//     or it does not answer.
//
// # Security
//
//   - Tokens, client secrets and codes reach no error, no log and no format
//     verb. They are in memory, in the store, and in the requests that need
//     them.
//   - Everything is sent by https, or http to a loopback address. No redirect
//     is followed by a request of this package, whatever the caller's
//     http.Client says. A client made by Client sends the token to the origins
//     it was given and to no others; one made by oauth2.NewClient sends it
//     wherever it is told to, a redirect's target included.
//   - Answers are bounded; tokens are held to visible ASCII before they are
//     stored or put in a header.
//   - A [cache.Dir] makes its folder with mode 0700 and its files with 0600. A
//     record that is a link, or that others own or may write, is not used: the
//     session is then kept in memory.
//   - Whoever can read the store can act as the person until the session ends,
//     and through that of an Exchanger as all its users. Where that is too
//     much, give no Store: all is then kept in memory, and every process signs
//     in, or exchanges, for itself.
//   - Access tokens are opaque. An ID token is passed on unverified: verify it
//     before you trust a claim.
//   - A device code can be phished: anyone can send a link that asks to
//     approve their own sign-in. Whoever approves must compare the code and
//     approve only what they have started.
//
// # Concurrency
//
// Everything exported is safe for concurrent use, except that a Config must
// not change while New or NewExchanger reads it. A token that is returned is a
// copy: the caller may change it. No timer and no goroutine is left idle; there is one
// while a refresh or a sign-in is under way, and Close waits for it. A source
// that is forgotten without Close loses at most a refresh that the end of the
// process interrupts.
//
// # Compatibility with the AWS CLI
//
// With a cache.Dir on ~/.aws/sso/cache, which is what package profile uses,
// the session is the AWS CLI's: same file names, same members, keyed by the
// sso-session's name or else by the start URL. Either side uses what the other
// signed in to or refreshed, and reuses its client registration for the same
// grant. A good one for the device grant stays in the CLI's file; the one for
// the authorization code grant is then kept beside it. The
// members issuedAt, idToken and scope are added; those of other tools are
// kept. A session of another start URL or region under the same name is not
// used, and stays until a sign-in replaces it. "aws sso logout" signs out here,
// too.
//
// # Errors
//
// Errors wrap the sentinels below, which errors.Is finds. Each is one line, and
// says what to do, but for [ErrClosed] and those of a context, which are its
// cause as it is. Where the sign-in service answered, errors.As finds its
// *wire.Error, with the request ID that AWS support asks for, and an
// *oauth2.RetrieveError. Of an answer of the AWS access portal or of STS, which
// give role credentials, it finds what the AWS SDK makes of that. [RetryAt]
// tells of some when to try again.
//
// # Versions
//
// This is version 0: names may still change. Package cache/rediscache, a module
// of its own, has a Store and a Limiter that a fleet shares.
package awsoidc
