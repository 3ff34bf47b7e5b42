// Package program is what the example programs have in common: flags, errors
// of one line, and an end that loses nothing.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"unicode"
)

// A Program is a command. Its results go to standard output, everything else
// to standard error. Its exit status is 1 where Run fails.
type Program struct {
	Name  string // as in "token"
	Usage string // what follows the name on the command line
	About string // what it does, in sentences; for -h
	Args  int    // how many arguments follow the flags

	// Run does the work. Its context ends when the person presses Ctrl-C. It
	// must close what it opened: the process ends after it returned.
	Run func(ctx context.Context, args []string) error
}

// Main parses the command line by flag.CommandLine, which main has defined its
// flags on, runs the program, and ends the process.
func (p Program) Main() {
	args, err := p.parse(flag.CommandLine, os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		p.help(flag.CommandLine, os.Stdout)
		os.Exit(0)
	case err != nil:
		p.fail(fmt.Errorf("%w; see %s -h", err, p.Name))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	err = p.Run(ctx, args)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; run it again")
	}
	if err != nil {
		p.fail(err)
	}
}

// Close closes c when a function returns, and makes its error the function's,
// unless that has one already. Use it in a defer statement.
func Close(c io.Closer, err *error) {
	if closeErr := c.Close(); *err == nil {
		*err = closeErr
	}
}

// LoginCommand returns the command that signs in to a profile; "" is the
// environment's.
func LoginCommand(profile string) string {
	const command = "go run ./examples/login"
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@+/"
	switch {
	case profile == "":
		return command
	case strings.Trim(profile, plain) != "":
		profile = strconv.Quote(profile)
	}
	return command + " -profile " + profile
}

func (p Program) parse(flags *flag.FlagSet, args []string) ([]string, error) {
	flags.Init(p.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch rest := flags.Args(); {
	case len(rest) > p.Args:
		return nil, fmt.Errorf("argument %q is one too many", rest[p.Args])
	case len(rest) < p.Args:
		return nil, errors.New("an argument is missing")
	default:
		return rest, nil
	}
}

func (p Program) help(flags *flag.FlagSet, w io.Writer) {
	fmt.Fprintf(w, "Usage: %s %s\n\n%s\n", p.Name, p.Usage, p.About)
	flags.VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "\n  -%s\n\t%s", strings.TrimSpace(f.Name+" "+kind), text)
	})
	fmt.Fprintln(w)
}

func (p Program) fail(err error) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", p.Name, oneLine(err.Error()))
	os.Exit(1)
}

// oneLine puts s on one line of printable characters.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
