//go:build unix

package rediscache_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/awsoidc/awsoidc/cache"
	"github.com/awsoidc/awsoidc/cache/cachetest"
	"github.com/awsoidc/awsoidc/cache/rediscache"
)

// lossy is a client's hook that loses every third answer, and carries every
// fourth command out twice, as happens where a client repeats what the network
// delivers after all.
type lossy struct{ n atomic.Int64 }

func (*lossy) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*lossy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *lossy) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "eval" && cmd.Name() != "getrange" {
			return next(ctx, cmd)
		}
		n := l.n.Add(1)
		if n%4 == 0 {
			_ = next(ctx, cmd)
		}
		err := next(ctx, cmd)
		if n%3 == 0 {
			err = &net.OpError{Op: "read", Net: "tcp", Err: io.ErrUnexpectedEOF}
			cmd.SetErr(err)
		}
		return err
	}
}

// Answers that get lost, and commands that run twice, break no promise.
func TestConformanceOverALossyNetwork(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	cachetest.RunShared(t, func(t *testing.T) (a, b cache.Store) {
		o := ownPrefix(rediscache.Options{AllowPlaintext: true})
		open := func() cache.Store {
			c := s.client(t)
			c.AddHook(new(lossy))
			return newStore(t, c, o)
		}
		return open(), open()
	})
}

// cut is a client's hook that lets nothing through while it is set.
type cut struct {
	lossy
	off atomic.Bool
}

func (c *cut) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c.off.Load() {
			cmd.SetErr(&net.OpError{Op: "dial", Net: "tcp", Err: io.ErrUnexpectedEOF})
			return cmd.Err()
		}
		return next(ctx, cmd)
	}
}

var errFunction = errors.New("the function's")

// Whoever is cut off from Redis gives up well before anybody else has the
// record, and what it made then is not written.
func TestPartition(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	client, network := s.client(t), new(cut)
	client.AddHook(network)
	a, b := newStore(t, client, short), newStore(t, s.client(t), short)
	other := make(chan error, 1)
	err := a.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		network.off.Store(true)
		go func() {
			other <- b.Update(t.Context(), "key", func(context.Context, []byte) ([]byte, error) {
				if ctx.Err() == nil {
					t.Error("another one has the record while the function's context goes on")
				}
				return []byte("theirs"), nil
			})
		}()
		<-ctx.Done()
		if err := <-other; err != nil {
			t.Errorf("Update of the other: %v", err)
		}
		network.off.Store(false)
		return []byte("late"), nil
	})
	if !errors.Is(err, cache.ErrLost) {
		t.Errorf("Update: %v, want ErrLost", err)
	}
	if raw, err := b.Get(t.Context(), "key"); string(raw) != "theirs" || err != nil {
		t.Errorf("the record is %q, %v", raw, err)
	}

	// Where nobody else had it, what was made is written.
	err = a.Update(t.Context(), "key", func(ctx context.Context, _ []byte) ([]byte, error) {
		network.off.Store(true)
		<-ctx.Done()
		network.off.Store(false)
		return []byte("ours"), nil
	})
	if err != nil {
		t.Errorf("Update: %v", err)
	}

	// Where it can't be written, that is said.
	ctx, cancel := context.WithCancel(t.Context())
	err = a.Update(ctx, "key", func(context.Context, []byte) ([]byte, error) {
		network.off.Store(true)
		cancel()
		return []byte("lost"), errFunction
	})
	if !errors.Is(err, cache.ErrNotWritten) || !errors.Is(err, errFunction) {
		t.Errorf("Update: %v, want ErrNotWritten and the function's error", err)
	}
}
