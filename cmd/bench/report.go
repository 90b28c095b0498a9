package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"millrace/bench"
	"millrace/bench/scenario"
	"millrace/cmd/exit"
)

// reportDir is where the report is written.
const reportDir = "bench"

func reportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "report <rows.jsonl> [rows of a second run]",
		Short: "Writes bench/REPORT.md from raw rows",
		Long: `Writes bench/REPORT.md, its plots and its raw rows from a file that a run left in bench/results.
A second run's file shows how well the first one repeats. All of it is to be committed.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 && len(args) != 2 {
				return exit.Misuse(errors.New("report takes one file of rows, or two (see bench report --help)"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			again := ""
			if len(args) > 1 {
				again = args[1]
			}
			return writeReport(cmd.ErrOrStderr(), args[0], again)
		},
	}
}

func writeReport(progress io.Writer, rows, again string) error {
	if err := bench.WriteReport(reportDir, scenario.All(), rows, again); err != nil {
		return err
	}
	fmt.Fprintln(progress, "Wrote bench/REPORT.md.")
	return nil
}

func compareCommand() *cobra.Command {
	var o options
	before := bench.ReportRows(reportDir)
	cmd := &cobra.Command{
		Use:   "compare [rows.jsonl]",
		Short: "Sets a quick run beside the committed report and names what got slower",
		Long: `Runs the quick bench, or takes the rows of a run that there was, and sets them beside those of
bench/REPORT.md or of an earlier run. It names what got slower beyond the spread of the rounds, and exits with 0 all the same.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return exit.Misuse(errors.New("compare takes at most one file of rows (see bench compare --help)"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			then, err := bench.ReadRows(before)
			if errors.Is(err, fs.ErrNotExist) {
				return exit.Misuse(fmt.Errorf("nothing to compare with; name the rows of an earlier run with --then, or make a report (see bench report --help): %w", err))
			}
			if err != nil {
				return err
			}
			var now bench.Results
			var runErr error
			if len(args) > 0 {
				now, err = bench.ReadRows(args[0])
			} else {
				o.quick = true
				now, _, runErr = measure(cmd.Context(), o, cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			return errors.Join(runErr, bench.WriteComparison(cmd.OutOrStdout(), then, now, bench.Compare(scenario.All(), then, now)))
		},
	}
	o.register(cmd)
	cmd.Flags().StringVar(&before, "then", before, "the rows to compare with: the report's, or an earlier run's")
	return cmd
}
