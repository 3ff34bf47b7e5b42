package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/rediscache"
)

// A fleet is what the replicas of the service share, in Redis: what was obtained
// for users, sealed, and AWS's quotas. The zero value shares nothing.
type fleet struct {
	store   cache.Store
	limiter awsoidc.Limiter
	client  io.Closer
}

const (
	keyVariable = "AWSOIDC_ENCRYPTION_KEY"
	// fallbackReplicas is by how many a replica divides the quotas while Redis
	// does not answer. Make it the most that you run.
	fallbackReplicas = 4
)

// startFleet is joinFleet, within bounds.
func startFleet(ctx context.Context, s settings, log *slog.Logger) (fleet, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return joinFleet(ctx, s.redis, s.application, log)
}

// joinFleet connects the service with Redis at addr: HOST:PORT, several of a
// Cluster with commas between, behind rediss:// where they speak TLS. User and
// password are in REDIS_USERNAME and REDIS_PASSWORD. It fails where Redis does
// not answer now; once the service has begun, it gets by without.
func joinFleet(ctx context.Context, addr, application string, log *slog.Logger) (f fleet, err error) {
	if addr == "" {
		return fleet{}, nil
	}
	keys, err := encryptionKeys(os.Getenv(keyVariable))
	if err != nil {
		return fleet{}, err
	}
	options := &redis.UniversalOptions{
		Username: os.Getenv("REDIS_USERNAME"), Password: os.Getenv("REDIS_PASSWORD"),
		ContextTimeoutEnabled: true, // or the deadlines of requests would mean nothing
	}
	hosts, encrypted := strings.CutPrefix(addr, "rediss://")
	if encrypted {
		options.TLSConfig = &tls.Config{}
	}
	options.Addrs = strings.Split(hosts, ",")
	if strings.ContainsAny(hosts, "/@") {
		return fleet{}, errors.New("-redis must be HOST:PORT, or rediss://HOST:PORT; a user and password go into REDIS_USERNAME and REDIS_PASSWORD")
	}
	redis.SetLogger(silent{}) // what goes wrong is in the errors
	client := redis.NewUniversalClient(options)
	defer func() {
		if err != nil {
			client.Close()
		}
	}()
	store, err := rediscache.New(client, rediscache.Options{})
	if err != nil {
		return fleet{}, err
	}
	if _, err := store.Get(ctx, "start"); err != nil && !errors.Is(err, cache.ErrMiss) {
		return fleet{}, fmt.Errorf("-redis %s: %w", addr, err)
	}
	sealed, err := cache.NewEncrypted(store, keys[0], keys[1:]...)
	if err != nil {
		return fleet{}, err
	}
	limiter, err := rediscache.NewLimiter(client, rediscache.LimiterOptions{Name: application, Replicas: fallbackReplicas, Logger: log})
	return fleet{sealed, limiter, client}, err
}

// Close implements io.Closer.
func (f fleet) Close() error {
	if f.client == nil {
		return nil
	}
	return f.client.Close()
}

// encryptionKeys reads keys such as "2026:BASE64,2025:BASE64": the first seals,
// all of them open.
func encryptionKeys(text string) (keys []cache.EncryptionKey, err error) {
	if text == "" {
		return nil, errors.New("-redis needs a key to seal what is stored: set " + keyVariable + ` in every replica to a name for it, a colon, and 32 random bytes in base64, as this makes: echo "$(date +%Y):$(openssl rand -base64 32)"`)
	}
	for i, part := range strings.Split(text, ",") {
		id, secret, _ := strings.Cut(part, ":")
		raw, err := base64.StdEncoding.DecodeString(secret)
		if err != nil {
			return nil, fmt.Errorf("%s: key %d of it is not a name, a colon and base64", keyVariable, i+1)
		}
		key, err := cache.NewEncryptionKey(id, raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyVariable, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// silent is a logger of package redis that logs nothing.
type silent struct{}

// Printf implements redis's logger.
func (silent) Printf(context.Context, string, ...any) {}
