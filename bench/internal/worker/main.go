//go:build unix

// Worker is one of several processes that share a session. For each line of its
// input it gets an access token, as a program that just began would, and answers
// with "ok", or "error" and why.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/service/ssooidc"
	"github.com/aws/smithy-go/auth/bearer"

	"github.com/awsoidc/awsoidc"
	"github.com/awsoidc/awsoidc/cache"
)

const (
	session = "corp"
	patient = time.Minute // how long a token is waited for
)

func main() {
	impl := flag.String("impl", "awsoidc", "`library`: awsoidc, ssocreds or bearer.TokenCache")
	dir := flag.String("dir", "", "`folder` of the session")
	endpoint := flag.String("endpoint", "", "`URL` of the service")
	full := flag.Bool("full", false, "the disk is full until the first answer")
	linger := flag.Duration("linger", 0, "end so long after the first answer, as a program does that closes nothing")
	flag.Parse()

	get, ok := map[string]func(dir, endpoint string, end func()) error{
		"awsoidc": ours, "ssocreds": ssoCreds, "bearer.TokenCache": tokenCache,
	}[*impl]
	if !ok {
		fmt.Fprintln(os.Stderr, "worker: no such library:", *impl)
		os.Exit(2)
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if *full {
			limitFiles(0)
		}
		err := get(*dir, *endpoint, func() {
			if *full {
				limitFiles(^uint64(0))
			}
			if *linger > 0 {
				fmt.Println("ok")
				time.Sleep(*linger)
				os.Exit(0)
			}
		})
		if err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
			continue
		}
		fmt.Println("ok")
	}
}

// limitFiles makes files grow no further than so many bytes.
func limitFiles(n uint64) {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit)
	if err == nil {
		limit.Cur = min(n, limit.Max)
		err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(2)
	}
}

// ours calls end when it has a token, before it closes the source.
func ours(dir, endpoint string, end func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	store, err := cache.NewDir(dir)
	if err != nil {
		return err
	}
	src, err := awsoidc.New(awsoidc.Config{
		StartURL: "https://d-1234567890.awsapps.com/start", Region: "us-east-1", SessionName: session, Store: store,
		Endpoints: awsoidc.Endpoints{OIDC: endpoint, Portal: endpoint},
	})
	if err != nil {
		return err
	}
	_, err = src.Bearer(ctx)
	end()
	return errors.Join(err, src.Close())
}

func ssoCreds(dir, endpoint string, end func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	_, err := ssocreds.NewSSOTokenProvider(oidc(endpoint), file(dir)).RetrieveBearerToken(ctx)
	end()
	return err
}

// tokenCache refreshes in the background, as the AWS SDK's cache of bearer
// tokens does for a provider that refreshes when it is asked again.
func tokenCache(dir, endpoint string, end func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	c := bearer.NewTokenCache(&refresher{client: oidc(endpoint), file: file(dir)}, func(o *bearer.TokenCacheOptions) {
		o.RefreshBeforeExpires = 20 * time.Minute
	})
	for range 2 { // the first has what is stored, the second finds that it is due
		if _, err := c.RetrieveBearerToken(ctx); err != nil {
			return err
		}
	}
	end()
	return nil
}

func oidc(endpoint string) *ssooidc.Client {
	return ssooidc.New(ssooidc.Options{Region: "us-east-1", BaseEndpoint: aws.String(endpoint)})
}

func file(dir string) string {
	name, err := ssocreds.StandardCachedTokenFilepath(session)
	if err != nil {
		return ""
	}
	return filepath.Join(dir, filepath.Base(name))
}

// A refresher gives out what is stored, and then refreshes that.
type refresher struct {
	client *ssooidc.Client
	file   string
	stored map[string]any
}

func (r *refresher) RetrieveBearerToken(ctx context.Context) (bearer.Token, error) {
	if r.stored != nil {
		return r.refresh(ctx)
	}
	raw, err := os.ReadFile(r.file)
	if err == nil {
		err = json.Unmarshal(raw, &r.stored)
	}
	if err != nil {
		return bearer.Token{}, err
	}
	expires, err := time.Parse(time.RFC3339, r.member("expiresAt"))
	return bearer.Token{Value: r.member("accessToken"), CanExpire: true, Expires: expires}, err
}

func (r *refresher) member(name string) string {
	s, _ := r.stored[name].(string)
	return s
}

func (r *refresher) refresh(ctx context.Context) (bearer.Token, error) {
	out, err := r.client.CreateToken(ctx, &ssooidc.CreateTokenInput{
		ClientId: aws.String(r.member("clientId")), ClientSecret: aws.String(r.member("clientSecret")),
		GrantType: aws.String("refresh_token"), RefreshToken: aws.String(r.member("refreshToken")),
	})
	if err != nil {
		return bearer.Token{}, err
	}
	expires := time.Now().Add(time.Duration(out.ExpiresIn) * time.Second)
	r.stored["accessToken"], r.stored["refreshToken"] = out.AccessToken, out.RefreshToken
	r.stored["expiresAt"] = expires.UTC().Format(time.RFC3339)
	raw, err := json.Marshal(r.stored)
	if err == nil {
		err = os.WriteFile(r.file+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(r.file+".new", r.file)
	}
	return bearer.Token{Value: aws.ToString(out.AccessToken), CanExpire: true, Expires: expires}, err
}
