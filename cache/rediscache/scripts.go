package rediscache

// The scripts run on the server, each as a whole. A client repeats a command
// whose answer it did not get, so that each may run twice: the second time it
// changes nothing more, and answers the same. KEYS are the record and its lease,
// a hash of
//
//	owner   a random name of one Update
//	grant   the time when it got the lease, which no two have in common
//	until   when the lease ends, in milliseconds of the server's clock
//	seen    when somebody else first found it ended
//
// A lease is given to another only some time after it was first seen ended:
// where the server was what stood still, its owner can then still write.

// acquireScript takes the lease. ARGV: owner, lease, grace in milliseconds, the
// size of the largest record. It answers 1, the grant and the record, which is
// empty where there is none; or 0 and how long to wait at most.
const acquireScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local grant = t[1] .. '.' .. t[2]
local lease = redis.call('HMGET', KEYS[2], 'owner', 'grant', 'until', 'seen')
if lease[1] == ARGV[1] then
	grant = lease[2]
elseif lease[1] then
	local left = lease[3] - now
	if left > 0 then
		return {0, left}
	end
	if not lease[4] then
		redis.call('HSET', KEYS[2], 'seen', now)
		return {0, tonumber(ARGV[3])}
	end
	left = lease[4] + ARGV[3] - now
	if left > 0 and left <= tonumber(ARGV[3]) then
		return {0, left}
	end
end
redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'grant', grant, 'until', now + ARGV[2])
redis.call('HDEL', KEYS[2], 'seen')
redis.call('PEXPIRE', KEYS[2], ARGV[2] + 3600000)
return {1, grant, redis.call('GETRANGE', KEYS[1], 0, ARGV[4])}`

// renewScript prolongs the lease, also one that ended, as long as nobody else
// had it since. ARGV: owner, grant, lease in milliseconds. It answers 0 where it
// is lost.
const renewScript = `
local lease = redis.call('HMGET', KEYS[2], 'owner', 'grant')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
	return 0
end
local t = redis.call('TIME')
redis.call('HSET', KEYS[2], 'until', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[3])
redis.call('HDEL', KEYS[2], 'seen')
redis.call('PEXPIRE', KEYS[2], ARGV[3] + 3600000)
return 1`

// writeScript writes the record, and leaves the lease as it is: an answer may get
// lost. ARGV: owner, grant, the record, which is empty to delete it, its lifetime
// in milliseconds. It answers 0 where the lease is lost, unless the record is
// there: then it was an earlier run that wrote it.
const writeScript = `
local lease = redis.call('HMGET', KEYS[2], 'owner', 'grant')
if lease[1] == ARGV[1] and lease[2] == ARGV[2] then
	if ARGV[3] == '' then
		redis.call('DEL', KEYS[1])
	else
		redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
	end
	return 1
end
if (redis.call('GET', KEYS[1]) or '') == ARGV[3] then
	return 1
end
return 0`

// releaseScript gives the lease back. ARGV: owner.
const releaseScript = `
if redis.call('HGET', KEYS[2], 'owner') == ARGV[1] then
	redis.call('DEL', KEYS[2])
end
return 1`
