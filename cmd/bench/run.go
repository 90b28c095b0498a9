package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"millrace/bench"
	"millrace/bench/rig"
	"millrace/bench/scenario"
	"millrace/cmd/exit"
)

// Where things are, below the repository's root, where the bench is run.
const (
	resultsDir = "bench/results" // raw rows
	serversDir = "build/bench"   // the servers' data, not under /tmp: that may be memory, where fsync costs nothing
)

// options are the flags of commands that measure.
type options struct {
	quick, smoke bool
	kafka        string
	only         []string
	rounds       int

	results, servers string // directories; servers empty: a temporary one
}

func (o *options) register(cmd *cobra.Command) {
	o.results, o.servers = resultsDir, serversDir
	cmd.Flags().StringVar(&o.kafka, "kafka", string(rig.EmbeddedKafka), "the broker of both sides: embedded, or real, which is an Apache Kafka (see make kafka)")
	cmd.Flags().StringSliceVar(&o.only, "only", nil, "only these scenarios, by their name or that of a figure")
	cmd.Flags().IntVar(&o.rounds, "rounds", 0, "how often each scenario is run (default: 5, quick 3)")
}

func (o *options) scale() bench.Scale {
	switch {
	case o.smoke:
		return bench.Smoke
	case o.quick:
		return bench.Quick
	default:
		return bench.Whole
	}
}

func (o *options) check() error {
	switch {
	case o.quick && o.smoke:
		return exit.Misuse(errors.New("--quick and --smoke exclude each other"))
	case o.kafka != string(rig.EmbeddedKafka) && o.kafka != string(rig.RealKafka):
		return exit.Misuse(fmt.Errorf("--kafka is embedded or real, not %q", o.kafka))
	case o.rounds < 0:
		return exit.Misuse(fmt.Errorf("--rounds is at least 1, not %d", o.rounds))
	}
	return nil
}

func runCommand() *cobra.Command {
	var o options
	var output string
	var report bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Measures everything, or what --only names",
		Long: `Measures everything, or what --only names. Figures go to standard output, progress to standard
error, raw rows to bench/results. Exits with 1 if a check failed (an order not final, a wrong sum,
something lost); never because of a figure.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if output != "table" && output != "json" {
				return exit.Misuse(fmt.Errorf("--output is table or json, not %q", output))
			}
			results, rows, runErr := measure(cmd.Context(), o, cmd.ErrOrStderr())
			figures := bench.Figures(scenario.All(), results.Rows)
			var writeErr error
			if output == "json" {
				writeErr = bench.WriteJSON(cmd.OutOrStdout(), figures)
			} else {
				writeErr = bench.WriteTable(cmd.OutOrStdout(), figures)
			}
			if report && runErr == nil {
				writeErr = errors.Join(writeErr, writeReport(cmd.ErrOrStderr(), rows, ""))
			}
			return errors.Join(runErr, writeErr)
		},
	}
	o.register(cmd)
	cmd.Flags().BoolVar(&o.quick, "quick", false, "smaller sizes, 3 rounds: less than six minutes")
	cmd.Flags().BoolVar(&o.smoke, "smoke", false, "only to see that both sides end right: less than a minute")
	cmd.Flags().BoolVar(&report, "report", false, "write bench/REPORT.md from what was measured, if no check failed")
	cmd.Flags().StringVar(&output, "output", "table", "how to print: table or json")
	return cmd
}
