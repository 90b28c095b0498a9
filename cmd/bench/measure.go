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

	"millrace/bench"
	"millrace/bench/rig"
	"millrace/bench/scenario"
	"millrace/cmd/exit"
	"millrace/testserver/realkafka"
)

// measure runs what the options say, and returns what was measured, also when it fails in the midst
// of it, and the file with the rows.
func measure(ctx context.Context, o options, progress io.Writer) (results bench.Results, file string, err error) {
	scenarios, err := bench.Select(scenario.All(), o.only)
	if err != nil {
		return results, "", exit.Misuse(err)
	}
	began := time.Now()
	servers, err := startServers(ctx, o, began, progress)
	if err != nil {
		return results, "", err
	}
	defer func() { err = servers.stop(ctx, err) }()
	machine, err := describe(ctx, servers.rig, o)
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
		Scale: o.scale(), Rounds: o.rounds, Scenarios: scenarios, Rig: servers.rig, Log: servers.log,
		Before: servers.rig.Fsyncs, Append: rows.Append, Progress: progress,
	}
	results.Rows, err = runner.Run(ctx)
	fmt.Fprintf(progress, "%d rows in %s: %s.\n", len(results.Rows), time.Since(began).Round(time.Second), strings.Join(bench.Shares(results.Rows), ", "))
	return results, rows.Name(), err
}

// servers is what a run stands on, and the directory with its logs.
type servers struct {
	rig      *rig.Rig
	dir      string // empty: a temporary one, the rig's own
	log      *slog.Logger
	logFile  *os.File // nil with a temporary directory
	progress io.Writer
}

func startServers(ctx context.Context, o options, began time.Time, progress io.Writer) (*servers, error) {
	s := &servers{progress: progress}
	var logs io.Writer = progress
	if o.servers != "" {
		s.dir = filepath.Join(o.servers, began.UTC().Format("20060102T150405.000"))
		var err error
		if s.logFile, err = createLog(s.dir); err != nil {
			return nil, err
		}
		logs = s.logFile
	}
	s.log = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(s.log) // of the parts that a scenario runs in this process
	fmt.Fprintln(progress, "Building, and starting the servers.")
	var err error
	if s.rig, err = rig.Start(ctx, rig.Config{Dir: s.dir, Kafka: rig.Kafka(o.kafka), Log: s.log}); err != nil {
		return nil, s.clear(ctx, err)
	}
	return s, nil
}

// stop stops the servers after a run that ended with err, and returns that and what went wrong itself.
func (s *servers) stop(ctx context.Context, err error) error {
	return s.clear(ctx, errors.Join(err, s.rig.Close()))
}

// clear removes the logs of a run that was good or interrupted; nobody asks for them.
func (s *servers) clear(ctx context.Context, err error) error {
	if s.dir == "" {
		return err
	}
	err = errors.Join(err, s.logFile.Close())
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(s.progress, "Logs of what was running are in %s.\n", s.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// createLog makes the log of this process, beside those of the others.
func createLog(dir string) (*os.File, error) {
	logs := filepath.Join(dir, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("making a directory for logs: %w", err)
	}
	file, err := os.Create(filepath.Join(logs, "bench.log"))
	if err != nil {
		return nil, fmt.Errorf("creating a log: %w", err)
	}
	return file, nil
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
