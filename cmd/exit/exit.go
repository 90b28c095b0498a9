// Package exit is how Millrace's commands end: on a signal, by a mistake of whoever typed them, or because something
// failed; each with its code, on which scripts rely.
package exit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/lib/pq"
)

// Exit codes. 0 is that all is well; 130 is what a shell says of what Ctrl-C ended.
const (
	Failed      = 1
	Misused     = 2
	Interrupted = 130
)

// UsageError is a mistake of whoever typed the command or set the environment.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Misuse makes a UsageError of err, which says what is right.
func Misuse(err error) error { return UsageError{Err: err} }

// OnSignal is a context that ends with SIGINT, SIGTERM, or one of others. A second signal does not wait: it ends the
// process where it stands. stop is to be called when nothing is left to interrupt.
func OnSignal(others ...os.Signal) (ctx context.Context, stop func()) {
	ctx, stop = signal.NotifyContext(context.Background(), append(others, os.Interrupt, syscall.SIGTERM)...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Run runs a program and ends the process if that fails, having said why in the program's name. Nothing is said of an
// interruption: whoever caused it knows.
func Run(program string, run func(context.Context) error) {
	ctx, stop := OnSignal()
	err := run(ctx)
	interrupted := ctx.Err() != nil
	stop()
	code := Code(err, interrupted)
	if err != nil && code != Interrupted {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	}
	if code != 0 {
		os.Exit(code)
	}
}

// Code is the exit code for what a program returned; interrupted tells whether a signal has come. What failed for
// another reason while it was being interrupted has failed.
func Code(err error, interrupted bool) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, &UsageError{}):
		return Misused
	case interrupted && isInterruption(err):
		return Interrupted
	default:
		return Failed
	}
}

// isInterruption tells whether err is what becomes of a call when its context ends. Postgres has
// its own word for it.
func isInterruption(err error) bool {
	const queryCanceled = "57014"
	var refused *pq.Error
	return errors.Is(err, context.Canceled) || errors.As(err, &refused) && refused.Code == queryCanceled
}
