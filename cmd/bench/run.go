package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/bench"
	"millrace/bench/rig"
	"millrace/bench/scenario"
	"millrace/testserver/realkafka"
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
		return usageError{errors.New("--quick and --smoke exclude each other")}
	case o.kafka != string(rig.EmbeddedKafka) && o.kafka != string(rig.RealKafka):
		return usageError{fmt.Errorf("--kafka is embedded or real, not %q", o.kafka)}
	case o.rounds < 0:
		return usageError{fmt.Errorf("--rounds is at least 1, not %d", o.rounds)}
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
				return usageError{fmt.Errorf("--output is table or json, not %q", output)}
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

// measure runs what the options say, and returns what was measured, also when it fails in the midst
// of it, and the file with the rows.
func measure(ctx context.Context, o options, progress io.Writer) (results bench.Results, file string, err error) {
	scenarios, err := bench.Select(scenario.All(), o.only)
	if err != nil {
		return results, "", usageError{err}
	}
	began := time.Now()
	log := slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(log) // of the parts that a scenario runs in this process
	config := rig.Config{Kafka: rig.Kafka(o.kafka), Log: log}
	if o.servers != "" {
		config.Dir = filepath.Join(o.servers, began.UTC().Format("20060102T150405.000"))
	}
	fmt.Fprintln(progress, "Building, and starting the servers.")
	r, err := rig.Start(ctx, config)
	if err != nil {
		return results, "", err
	}
	defer func() {
		err = errors.Join(err, r.Close())
		switch {
		case config.Dir == "":
		case err == nil, ctx.Err() != nil:
			err = errors.Join(err, os.RemoveAll(config.Dir)) // nobody asks for the logs of a good run
		default:
			fmt.Fprintf(progress, "Logs of what was running are in %s.\n", config.Dir)
		}
	}()
	machine, err := describe(ctx, r, o)
	if err != nil {
		return results, "", err
	}
	results.Run = bench.Run{Began: began, Scale: o.scale().String(), Rounds: o.rounds, Only: o.only, Machine: machine}
	if o.rounds == 0 {
		results.Run.Rounds = bench.DefaultRounds(o.scale())
	}
	rows, err := bench.CreateRows(o.results, results.Run)
	if err != nil {
		return results, "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	fmt.Fprintf(progress, "%s. Raw rows: %s\n", machine, rows.Name())

	runner := bench.Runner{
		Scale: o.scale(), Rounds: o.rounds, Scenarios: scenarios, Rig: r, Log: log,
		Before: r.Fsyncs, Append: rows.Append, Progress: progress,
	}
	results.Rows, err = runner.Run(ctx)
	fmt.Fprintf(progress, "%d rows in %s: %s.\n", len(results.Rows), time.Since(began).Round(time.Second), strings.Join(bench.Shares(results.Rows), ", "))
	return results, rows.Name(), err
}

// describe is the machine with the servers' versions.
func describe(ctx context.Context, r *rig.Rig, o options) (bench.Machine, error) {
	dir, err := filepath.Abs(cmp.Or(o.servers, os.TempDir()))
	if err != nil {
		return bench.Machine{}, fmt.Errorf("describing the machine: %w", err)
	}
	m := bench.ThisMachine(ctx, dir)
	m.Broker = o.kafka
	if m.Postgres, err = r.PostgresVersion(ctx); err != nil {
		return m, err
	}
	if rig.Kafka(o.kafka) == rig.RealKafka {
		m.Kafka = "Apache Kafka " + kafkaJars()
	} else {
		m.Kafka = "embedded broker, kfake " + dependency("github.com/twmb/franz-go/pkg/kfake")
	}
	return m, nil
}

// kafkaJars is Kafka's version, as its jars' names have it.
func kafkaJars() string {
	const prefix, suffix = "kafka-clients-", ".jar"
	dir, err := realkafka.FindJars()
	if err != nil {
		return ""
	}
	found, _ := filepath.Glob(filepath.Join(dir, prefix+"*"+suffix)) // the only error is a malformed pattern
	if len(found) == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), prefix), suffix)
}

// dependency is the version of a module that this program is built with.
func dependency(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return ""
}
