// Package program is what the example programs have in common: flags, errors
// and warnings of one line, and an end that loses nothing.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/aws/smithy-go/logging"

	"github.com/awsoidc/awsoidc/internal/terminal"
)

// A Program is a command. Its results go to standard output, everything else
// to standard error. Its exit status is 1 where Run fails.
type Program struct {
	Name  string // as in "token"
	Usage string // what follows the name on the command line
	About string // what it does, in sentences; for -h
	Args  int    // how many arguments follow the flags

	// Run does the work. Its context ends when the person presses Ctrl-C, or
	// the system ends the process (SIGTERM). It must close what it opened: the
	// process ends after it returned.
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
		p.fail(fmt.Errorf("%w; -h shows how to use it", err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
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

// CloseAfterResult closes c when a function returns that has written its result
// by then. That a session could not be saved does not make the result a
// failure, so that it is a warning. Use it in a defer statement.
func CloseAfterResult(c io.Closer) {
	if err := c.Close(); err != nil {
		warn(advise(err).Error())
	}
}

// Logger returns a logger that writes the library's warnings to standard
// error, each on one line.
func Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(warnings{}, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// SDKLogger is Logger for profile.LoadDefaultConfig. It leaves out what the AWS
// SDK itself has to say.
func SDKLogger() logging.Logger {
	return logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
		if text, ours := strings.CutPrefix(fmt.Sprintf(format, v...), "awsoidc: "); ours {
			warn(text)
		}
	})
}

// warnings writes each line as a warning.
type warnings struct{}

func (warnings) Write(line []byte) (int, error) {
	warn(string(line))
	return len(line), nil
}

func warn(text string) {
	say("%s: warning: %s", flag.CommandLine.Name(), oneLine(text))
}

// advise adds what somebody at a terminal can do to errors of their system.
func advise(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w; the disk is full: free some space on it", err)
	}
	return err
}

const loginCommand = "go run ./examples/login"

// LoginCommand returns the command that signs in to a profile; "" is the
// environment's.
func LoginCommand(profile string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:@+/"
	switch {
	case profile == "":
		return loginCommand
	case strings.Trim(profile, plain) != "":
		profile = strconv.Quote(profile)
	}
	return loginCommand + " -profile " + profile
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
	say("%s: %s", p.Name, oneLine(advise(err).Error()))
	os.Exit(1)
}

// say writes a line to standard error. A terminal would break it anywhere: there
// it is broken between words, and what LoginCommand has said stays whole, to be
// copied.
func say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	width, _, _ := terminal.Size(os.Stderr)
	if width == 0 {
		fmt.Fprintln(os.Stderr, line)
		return
	}
	text, command, found := strings.Cut(line, loginCommand)
	fmt.Fprint(os.Stderr, terminal.Wrap(text, width))
	if found {
		fmt.Fprintln(os.Stderr, loginCommand+command)
	}
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
