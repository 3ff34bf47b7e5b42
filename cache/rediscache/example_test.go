package rediscache_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/rediscache"
)

// An Exchanger whose replicas share what they obtained for users, sealed.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{
		Addr:                  "redis.internal:6379",
		Username:              "reports",
		Password:              os.Getenv("REDIS_PASSWORD"),
		TLSConfig:             &tls.Config{},
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	shared, err := rediscache.New(client, rediscache.Options{Prefix: "reports:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := cache.NewEncryptionKey("2026", make([]byte, 32)) // 32 random bytes, from where secrets are kept
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := cache.NewEncrypted(shared, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	ex, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{
		Application: "arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef",
		AWS:         aws.Config{Region: "us-east-1", Credentials: aws.AnonymousCredentials{}}, // config.LoadDefaultConfig
		Store:       store,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ex.Close()
	fmt.Println(ex)

	// Whoever would store plain text is told so, before anything is sent.
	err = shared.Update(context.Background(), "session", func(context.Context, []byte) ([]byte, error) {
		return []byte("a refresh token"), nil
	})
	fmt.Println(err)
	// Output:
	// awsoidc.Exchanger(arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef)
	// rediscache: the record is not sealed; put a cache.Encrypted above the Store, or set AllowPlaintext
}

// A client that would ignore the deadlines of contexts is refused.
func ExampleNewLimiter() {
	options := &redis.ClusterOptions{Addrs: []string{"redis-1.internal:6379", "redis-2.internal:6379"}}
	_, err := rediscache.NewLimiter(redis.NewClusterClient(options), rediscache.LimiterOptions{})
	fmt.Println(err)

	options.ContextTimeoutEnabled = true
	limiter, err := rediscache.NewLimiter(redis.NewClusterClient(options), rediscache.LimiterOptions{
		Name:     "ssoins-1234567890abcdef", // all Exchangers of an instance share its quota
		Replicas: 8,                         // for when Redis does not answer
	})
	fmt.Println(limiter != nil, err)
	// Output:
	// rediscache: the client ignores the deadlines of contexts; set ContextTimeoutEnabled in its options
	// true <nil>
}
