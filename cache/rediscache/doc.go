// Package rediscache shares records, and AWS's quotas, among a fleet, in Redis 7
// or Valkey.
//
// A [Store] is a cache.Store: a refresh happens once for all processes that share
// it, and each finds its result there. A [Limiter] is an awsoidc.Limiter whose
// budgets are the fleet's.
//
//	client := redis.NewClient(&redis.Options{
//		Addr:                  "redis.internal:6379",
//		TLSConfig:             &tls.Config{},
//		ContextTimeoutEnabled: true,
//	})
//	shared, err := rediscache.New(client, rediscache.Options{})
//	store, err := cache.NewEncrypted(shared, key)
//	limiter, err := rediscache.NewLimiter(client, rediscache.LimiterOptions{Replicas: 8})
//	ex, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{Store: store, Limiter: limiter, ...})
//
// Records are sealed: put a cache.Encrypted above the Store. Without one it
// refuses to work, before anything is obtained that it would not keep, unless
// Options.AllowPlaintext is set.
//
// # Exclusion
//
// Update holds a lease on its record, which it renews about once a second, and
// which Redis ends by its own clock 12 s after the last renewal. Whoever waits
// for it asks again every few milliseconds. Writing checks, in one step with the
// write, that nobody else had the lease since: a late write is refused
// (cache.ErrLost), whatever the writer believes. The update function's context
// ends earlier, 3 s after the last renewal that Redis confirmed, measured from
// before that was sent. What package awsoidc has sent by then takes 8 s at most,
// and so ends before anybody else can have the lease.
//
// A process that was killed delays those who wait for its record by about 13 s. An
// Exchanger waits 5 s of them, and then uses the assertion that it was given.
// One that stood still for longer than its lease finds its context ended and its
// write refused; what it had sent before, or sends in the instant before it
// notices, nobody can take back, so that a refresh token may then be sent twice.
//
// A command that was not answered is repeated: the scripts change nothing when
// they run twice. Where the answer to a write was lost, and the lease with it, the
// record itself tells whether it was written.
//
// Whoever can write to Redis below a cache.Encrypted learns and plants nothing, but
// can take a lease away, which may end a session, or keep one, which holds up
// whoever needs that record.
//
// # When Redis does not answer
//
// Nobody needs it for a token that is valid and not due. What is due but valid is
// served, and renewed later. Who needs the Store waits for it, as through a
// restart; once it has not answered for 5 s, calls fail at once, with an error
// that says what to see to. An Exchanger then serves those who bring an
// assertion, and its Limiter keeps to 1/Replicas of the quotas. All of it ends by
// itself when Redis is back, and what was due meanwhile is renewed once.
//
// While Redis stands still with a lease in it, no one else can have that. When it
// goes on, whoever held it has a second to write what it has.
//
// # Keep what Redis has
//
// A refresh token works once, where the service replaces it with each use. Losing
// the record loses the session, and its user signs in again. Bringing back an
// older record is worse: the token in it is spent, sending it again looks like
// theft, and a service may end the session for it. Therefore:
//
//   - Set "appendonly yes" and "appendfsync always", so that what was written is
//     there after a crash. With "everysec", up to a second of it is not. With
//     RDB snapshots alone, a server that starts again has the records of the last
//     snapshot, minutes or hours old, with refresh tokens that were spent since.
//     For the same reason, delete the records when you restore a backup.
//   - Set "maxmemory-policy noeviction": an evicted record is a lost session, and
//     an evicted lease is no exclusion.
//   - Replication is asynchronous. After a failover, by Sentinel or in a Cluster,
//     the new primary may lack the last records, and the last leases: two may
//     then hold the same one, and a refresh token be sent twice. Nobody gets
//     another's token by it, but whose session was refreshed in that moment may
//     have to sign in again. "min-replicas-to-write 1" makes that rare. Where it
//     must not be, use one server with a disk that lasts, and let it be down while
//     it is moved: see above.
//   - A process that has seen a newer record refuses an older one that was brought
//     back, as if somebody had planted it (cache.ErrTampered): a TokenSource then
//     keeps its session to itself, an Exchanger takes assertions alone. That ends
//     once a process that has not seen the newer one writes the record, or
//     somebody deletes it: where a log shows that error after a failover, delete
//     all keys that begin with the prefix.
//   - Forgetting a user writes a record too: while Redis is full it fails, with an
//     error.
//   - After FLUSHALL a TokenSource finds itself signed out once its token is due. An
//     Exchanger goes on from what its process has in memory.
//
// # Lifetimes
//
// The Store knows nothing of tokens. Package awsoidc tells it, with
// cache.KeepFor, until when a record is of use: until all in it has expired. A
// record with a refresh token, whose end nobody knows, is kept for Options.MaxAge
// after it was last written: 90 days, which no session or registration outlasts.
// So is that a user was forgotten.
//
// # What a user of Redis must be allowed
//
// All keys begin with the prefix, so that "~awsoidc:*" suffices, with no channels
// and these commands:
//
//	+eval +getrange
//	+time +get +set +del +hget +hset +hmget +hdel +pexpire
//
// In a Cluster, also +cluster|slots, +cluster|shards and +command. The two keys
// of a record share a hash tag, so that they are on the same server.
//
// # Servers and clients
//
// The tests run against Redis 7.0. Nothing is used that Valkey 7.2 and later do
// not have; it was not tested with them. The client is
// github.com/redis/go-redis/v9, of the caller's making: a *redis.Client, also one
// of redis.NewFailoverClient, or a *redis.ClusterClient. It reports connections
// that fail on standard error; redis.SetLogger changes that.
package rediscache
