// On-behalf-of is an HTTP service that calls AWS on behalf of each of its
// users, whom somebody else signs in: GET /whoami, with a user's JWT as the
// bearer token, answers who the user is to AWS.
//
//	go run . -issuer https://login.example.com -audience reports \
//		-application arn:aws:sso::123456789012:application/ssoins-1234567890abcdef/apl-1234567890abcdef \
//		-role arn:aws:iam::123456789012:role/reports -region us-east-1 -addr 127.0.0.1:8080
//
// Read it in this order: main.go starts and stops the service, user.go says who
// is asking, whoami.go acts for them, redis.go shares what was obtained with other
// replicas, metrics.go and page.go show the figures.
//
// Users' tokens come with every request: put something that ends TLS in front
// of it wherever others share the network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/examples/internal/program"
	"github.com/awsoidc/awsoidc/profile"
)

// settings are the flags.
type settings struct {
	issuer, audience, application, role, region, addr, redis string
	size                                                     int
}

func main() {
	var s settings
	flag.StringVar(&s.issuer, "issuer", "", "`URL` of the issuer of the users' JWTs, as their claim iss has it")
	flag.StringVar(&s.audience, "audience", "", "audience `A` that the users' JWTs must be for: their claim aud")
	flag.StringVar(&s.application, "application", "", "`ARN` of the application of IAM Identity Center")
	flag.StringVar(&s.role, "role", "", "`ARN` of the role to assume on behalf of users")
	flag.StringVar(&s.region, "region", "", "region `R` of Identity Center and STS, such as us-east-1")
	flag.StringVar(&s.addr, "addr", "", "`HOST:PORT` to listen on; port 0 takes a free one")
	flag.IntVar(&s.size, "size", 10_000, "keep up to `N` users in memory; give more than come within an hour")
	flag.StringVar(&s.redis, "redis", "", "share what was obtained, and AWS's quotas, with the other replicas in Redis at `ADDR`: HOST:PORT; needs AWSOIDC_ENCRYPTION_KEY")
	program.Program{
		Name:  "on-behalf-of",
		Usage: "-issuer URL -audience A -application ARN -role ARN -region R -addr HOST:PORT [-size N] [-redis ADDR]",
		About: "Serves GET /whoami, which says who the user of a JWT is to AWS; DELETE /session, which\n" +
			"forgets them; a page of live figures at /; /metrics and /healthz. AWS credentials and endpoints are those of the environment.",
		Run: func(ctx context.Context, _ []string) error { return run(ctx, s) },
	}.Main()
}

const (
	startTimeout   = 30 * time.Second // for what is asked before the service listens
	requestTimeout = 20 * time.Second // for the answer to one request
	drainTimeout   = 25 * time.Second // for the requests that a signal finds under way
)

// run serves until ctx ends.
func run(ctx context.Context, s settings) (err error) {
	if err := s.check(); err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	fleet, err := startFleet(ctx, s, log)
	if err != nil {
		return err
	}
	defer program.Close(fleet, &err)
	service, err := newService(ctx, s, fleet, log)
	if err != nil {
		return err
	}
	defer program.Close(service.exchanger, &err) // after the last request
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("%w; give another -addr", err)
	}
	fmt.Println("listening on", listener.Addr())
	return serve(ctx, listener, service)
}

// check says which flag can't be used as it is. What it leaves out is checked
// by those who use it.
func (s settings) check() error {
	for _, required := range []struct{ name, value string }{
		{"issuer", s.issuer}, {"audience", s.audience}, {"application", s.application},
		{"role", s.role}, {"region", s.region}, {"addr", s.addr},
	} {
		if required.value == "" {
			return fmt.Errorf("-%s is missing; -h shows what to give", required.name)
		}
	}
	if role, err := arn.Parse(s.role); err != nil || role.Service != "iam" || !strings.HasPrefix(role.Resource, "role/") {
		return fmt.Errorf("-role %q is not the ARN of a role; give one such as arn:aws:iam::123456789012:role/reports", s.role)
	}
	if s.size < 1 {
		return fmt.Errorf("-size %d is too small; give how many users to keep in memory, such as 10000", s.size)
	}
	return nil
}

// newService connects the service with AWS and the users' issuer.
func newService(ctx context.Context, s settings, fleet fleet, log *slog.Logger) (*service, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(s.region))
	if err != nil {
		return nil, err
	}
	// It could wait for the first user, who could do nothing about it.
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return nil, fmt.Errorf("no AWS credentials for the service itself: %w; set AWS_PROFILE, or whatever else the AWS SDKs read", err)
	}
	endpoints, err := profile.Endpoints(ctx, cfg, s.region)
	if err != nil {
		return nil, err
	}
	users, err := newVerifier(ctx, s.issuer, s.audience)
	if err != nil {
		return nil, err
	}
	metrics := newMetrics()
	exchanger, err := awsoidc.NewExchanger(awsoidc.ExchangerConfig{
		Application:   s.application,
		AWS:           cfg,
		Endpoints:     endpoints,
		Audiences:     []string{s.audience},
		MaxIdentities: s.size,
		Store:         fleet.store,
		Limiter:       fleet.limiter,
		Logger:        log,
		Observe: func(ctx context.Context, e awsoidc.Event) {
			metrics.observe(e)
			audit(ctx, log, e)
		},
	})
	if err != nil {
		return nil, err
	}
	return &service{
		users:     users,
		exchanger: exchanger,
		role:      awsoidc.Role{ARN: s.role},
		sts:       sts.NewFromConfig(cfg),
		metrics:   metrics,
		log:       log,
	}, nil
}

// audit logs who was acted for: one line for each request to AWS. An Event has
// no secret.
func audit(ctx context.Context, log *slog.Logger, e awsoidc.Event) {
	level := slog.LevelInfo
	if e.Err != nil {
		level = slog.LevelWarn
	}
	log.LogAttrs(ctx, level, "audit", slog.Any("event", e))
}

// serve answers requests until ctx ends, and then those that are under way.
func serve(ctx context.Context, listener net.Listener, s *service) error {
	server := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      requestTimeout + 10*time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    80 << 10, // a token has 64 KiB at most
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests were cut off after %v: %w", drainTimeout, err), server.Close())
	}
	return nil
}
