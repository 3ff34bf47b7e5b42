// Bench measures this library beside others that do the same, and prints a
// scoreboard in Markdown. It is run from its own folder:
//
//	go -C bench run .          # all, eight rounds: about an hour
//	go -C bench run . -short   # whether all of it still works
//
// The benchmarks are those of this folder's tests; README.md says what each
// shows, and what it does not. A round runs each of them once, in a process of
// its own and in an order of its own, with its contestants side by side. What
// is compared is what was measured in the same round: on a machine that others
// use, figures change from one minute to the next, and ratios much less.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"time"
)

// A suite is a benchmark, and how it is run.
type suite struct {
	name   string // with the parameters, where not for all
	procs  string // values of GOMAXPROCS
	time   string // for each contestant: a duration, or a number of operations such as "50x"
	turns  int    // how often in a round, of which the best counts; 0: once
	rounds int    // at most so many; 0: all
	test   bool   // it is a test, in virtual time
	long   bool   // it takes its time on any scale
}

var suites = []suite{
	{name: "HotToken", procs: "1,2", time: "60ms", turns: 5},
	{name: "Goroutines", procs: "2", time: "60ms", turns: 5},
	{name: "RoundTripper", procs: "1,2", time: "60ms", turns: 5},
	{name: "Identities/n=(1000|10000|100000)", procs: "1,2", time: "60ms", turns: 5},
	{name: "Identities/n=1000000", procs: "1,2", time: "60ms"}, // it takes long to have so many
	{name: "Resident", procs: "1,2", time: "60ms", turns: 5},
	{name: "IdentityCredentials", procs: "2", time: "1x", rounds: 3},
	{name: "CreateToken", procs: "1,2", time: "60ms", turns: 5},
	{name: "CreateTokenWithIAM", procs: "1,2", time: "60ms", turns: 5},
	{name: "Start", procs: "2", time: "100ms", turns: 3},
	{name: "Size", procs: "2", time: "1x", rounds: 1},
	{name: "Expired", procs: "2", time: "3x"},
	{name: "Due", procs: "2", time: "3x"},
	{name: "Down", procs: "2", time: "1x", rounds: 3},
	{name: "Outage", procs: "2", time: "1x", rounds: 3},
	{name: "Hang", procs: "2", time: "1x", rounds: 3},
	{name: "Deadline", procs: "2", time: "1x"},
	{name: "Window", procs: "2", time: "1x", rounds: 1},
	{name: "Share", procs: "2", time: "1x", rounds: 3},
	{name: "Kill", procs: "2", time: "125x"}, // 1,000 times in eight rounds
	{name: "InPlace", procs: "2", time: "1000x"},
	{name: "FullDisk", procs: "2", time: "5x", rounds: 3},
	{name: "ShortProgram", procs: "2", time: "50x", rounds: 1},
	{name: "HungEndpoint", procs: "2", time: "1x", rounds: 1, long: true},
	{name: "Race", procs: "2", time: "1x", rounds: 1},
	{name: "Day", test: true, rounds: 1},
	{name: "DevicePolling", test: true, rounds: 1},
	{name: "Redirect", test: true, rounds: 1},
}

func main() {
	rounds := flag.Int("rounds", 8, "how often to measure")
	short := flag.Bool("short", false, "run everything once, on a small scale; the figures mean nothing")
	only := flag.String("bench", "", "run only benchmarks whose name matches this `regexp`")
	raw := flag.String("raw", "", "add all results to this `file`, for go tool benchstat -col /impl; results that are there count as well")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *rounds, *short, *only, *raw); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, short bool, only, raw string) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "awsoidc-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := runner{binary: filepath.Join(dir, "bench.test"), short: short}
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", r.binary, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	var results bytes.Buffer
	if raw != "" {
		before, err := os.ReadFile(raw)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		results.Write(before)
		f, err := os.OpenFile(raw, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		r.out = io.MultiWriter(&results, f)
	} else {
		r.out = &results
	}
	if short {
		rounds = 1
	}
	var failed error
	begun := time.Now().Unix()
	for round := range rounds {
		for _, i := range rand.Perm(len(suites)) {
			s := suites[i]
			if !chosen.MatchString(s.name) || s.rounds > 0 && round >= s.rounds || short && s.long {
				continue
			}
			fmt.Fprintf(r.out, "round: %d-%d\n", begun, round)
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, rounds, s.name)
			if err := r.run(ctx, s); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return errors.Join(scoreboard(os.Stdout, &results, short), failed)
}

// A runner runs suites.
type runner struct {
	binary string // of the tests
	short  bool
	out    io.Writer
}

func (r runner) run(ctx context.Context, s suite) error {
	args := []string{"-test.run=^$", "-test.bench=^Benchmark" + s.name + "$", "-test.cpu=" + s.procs, "-test.timeout=20m"}
	switch {
	case s.test:
		args = []string{"-test.run=^Test" + s.name + "$"}
	case r.short:
		args = append(args, "-test.benchtime=1x")
	default:
		args = append(args, "-test.benchtime="+s.time, fmt.Sprint("-test.count=", max(1, s.turns)))
	}
	if r.short {
		args = append(args, "-test.short")
	}
	cmd := exec.CommandContext(ctx, r.binary, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, r.out), os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w\n%s", err, out.Bytes())
	}
	return nil
}
