// Command bench measures Millrace beside stock Watermill and pgbench, on this machine. It is run in a
// checkout of the repository, with Go on PATH: it builds what it measures.
package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"millrace/cmd/exit"
	"millrace/embedded"
)

// Figures are never a reason to fail.
func main() {
	embedded.RunFetchChildIfAsked()
	exit.Run("bench", rootCommand().ExecuteContext)
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
		return exit.Misuse(fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath()))
	})
	root.AddCommand(runCommand(), compareCommand(), reportCommand(), brokerCommand(), stockCommand())
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exit.Misuse(fmt.Errorf("%s takes no arguments, not %q (see %[1]s --help)", cmd.CommandPath(), args))
	}
	return nil
}
