// Command bench measures Millrace beside stock Watermill and pgbench, on this machine. It is run in a
// checkout of the repository, with Go on PATH: it builds what it measures.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"millrace/embedded"
)

// Exit codes, as those of the router. Figures are never a reason to fail.
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
	case interrupted && errors.Is(err, context.Canceled):
		os.Exit(exitInterrupted)
	case errors.As(err, &usageError{}):
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitUsage)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitFailed)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bench",
		Short: "Measures Millrace beside stock Watermill and pgbench",
		Long: `Measures Millrace beside stock Watermill and pgbench, on the same Postgres (fsync on) and
the same broker, in interleaved rounds. Raw rows go to bench/results, one line of JSON each.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.AddCommand(runCommand(), compareCommand(), reportCommand(), brokerCommand(), stockCommand())
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, not %q (see %[1]s --help)", cmd.CommandPath(), args)}
	}
	return nil
}
