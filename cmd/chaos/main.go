// Command chaos breaks a running system in every way it can, from a seed, and has router verify judge what is left. It
// is run in a checkout of the repository, with Go on PATH: it builds what it breaks.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"millrace/embedded"
)

// Exit codes, as those of the router.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError is a mistake of whoever typed the command.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	embedded.RunFetchChildIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	err := rootCommand().ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err == nil:
	case interrupted:
		os.Exit(exitInterrupted)
	case errors.As(err, &usageError{}):
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(exitUsage)
	default:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(exitFailed)
	}
}
