package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"millrace/chaos"
	"millrace/cmd/exit"
)

// flags are what was asked for.
type flags struct {
	scenarios []string
	random    bool
	quick     bool
	seed      uint64
	seeds     int
	lasts     time.Duration
	rate      float64
	replicas  int
	kafka     string
	old       string
	env       []string
	router    string
	dir       string
	results   string
	race      bool
	keep      bool
	list      bool
	report    bool
}

func rootCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "chaos",
		Short: "Breaks a running system in every way it can, and has router verify judge what is left",
		Long: `Breaks a running system in every way it can, and has router verify judge what is left.

Each run starts Postgres, a broker and routers of its own, places orders from a seed, breaks things at times and places
from the same seed, heals them, waits for rest, and runs router verify, whose word is the verdict. The
seed determines what breaks, where, when and for how long, and which orders are placed. It does not determine which
request, packet or row a fault meets: how far the system has come by then is up to the machine. Each run prints
the command that repeats it.

Without flags, every scenario is run once. A run that went wrong leaves everything behind and says where: what happened
when, the logs of all processes, a dump of the database, the topics, what verify said.`,
		Example: `  chaos --list
  chaos --scenario kill,zombies --seed 7
  chaos --random --for 30m --seed 42
  chaos --random --seeds 20 --for 60s
  chaos --report`,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return exit.Misuse(fmt.Errorf("chaos takes no arguments, not %q (see chaos --help)", args))
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exit.Misuse(fmt.Errorf("%w (see chaos --help)", err)) })
	flags := cmd.Flags()
	flags.StringSliceVar(&f.scenarios, "scenario", nil, "which scenarios to run, by name; default: all")
	flags.BoolVar(&f.random, "random", false, "run all faults mixed, several at a time")
	flags.BoolVar(&f.quick, "quick", false, "run the quick one: half a minute, the usual faults")
	flags.Uint64Var(&f.seed, "seed", 0, "where all chance comes from (default: another one each time)")
	flags.IntVar(&f.seeds, "seeds", 1, "run with so many seeds, one after the other, from --seed on")
	flags.DurationVar(&f.lasts, "for", 0, "how long there is load (default: as the scenario has it)")
	flags.Float64Var(&f.rate, "rate", 0, "orders a second (default: as the scenario has it)")
	flags.IntVar(&f.replicas, "replicas", 0, "how many routers (default: as the scenario has it)")
	flags.StringVar(&f.kafka, "kafka", string(chaos.EmbeddedKafka), "which broker: embedded, or real, an Apache Kafka")
	flags.StringVar(&f.old, "old", "", "the program of every second router, such as an older version; default: the same")
	flags.StringArrayVar(&f.env, "env", nil, "a setting of all routers, as NAME=value; may be repeated")
	flags.StringVar(&f.router, "router", "", "the router's program; default: it is built")
	flags.StringVar(&f.dir, "dir", "", "where runs keep their files (default: a directory for temporary files)")
	flags.StringVar(&f.results, "results", filepath.Join("chaos", "results", "latest.jsonl"), "the file that results are added to, one line each; empty: none")
	flags.BoolVar(&f.race, "race", false, "build the router with the race detector, which --quick does where there is a C compiler; what it finds is wrong")
	flags.BoolVar(&f.keep, "keep", false, "keep the files of good runs too")
	flags.BoolVar(&f.list, "list", false, "list scenarios and faults")
	flags.BoolVar(&f.report, "report", false, "write docs/chaos.md from what lies in "+keptResults)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case f.list:
			return list(cmd.OutOrStdout(), chaos.Kafka(f.kafka))
		case f.report:
			return report()
		}
		return run(cmd.Context(), f, cmd.OutOrStdout())
	}
	cmd.AddCommand(brokerCommand())
	return cmd
}

func (f flags) chosen() ([]chaos.Scenario, error) {
	if f.kafka != string(chaos.EmbeddedKafka) && f.kafka != string(chaos.RealKafka) {
		return nil, fmt.Errorf("--kafka %q: it is %s or %s", f.kafka, chaos.EmbeddedKafka, chaos.RealKafka)
	}
	if f.seeds < 1 || f.lasts < 0 || f.rate < 0 || f.replicas < 0 {
		return nil, errors.New("--seeds, --for, --rate and --replicas: at least one, and not less than nothing")
	}
	if f.race && f.router != "" {
		return nil, errors.New("--race and --router: what is built already cannot be built with the race detector; leave one out")
	}
	switch {
	case f.random:
		return []chaos.Scenario{chaos.Random()}, nil
	case f.quick:
		return []chaos.Scenario{chaos.Quick()}, nil
	case len(f.scenarios) == 0:
		return chaos.Scenarios(), nil
	}
	var list []chaos.Scenario
	for _, name := range f.scenarios {
		s, err := chaos.Named(name)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// run runs what was chosen, with each seed.
func run(ctx context.Context, f flags, out io.Writer) (err error) {
	chosen, err := f.chosen()
	if err != nil {
		return exit.Misuse(err)
	}
	if f.seed == 0 {
		f.seed = uint64(rand.Uint32()) + 1
	}
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "millrace-chaos-"); err != nil {
			return fmt.Errorf("make a directory for the runs: %w", err)
		}
		defer func() { _ = os.Remove(f.dir) }() // if nothing was left in it
	}
	if err := errors.Join(os.MkdirAll(f.dir, 0o711), os.Chmod(f.dir, 0o711)); err != nil { // as root, Postgres runs as another user, who has to get in
		return fmt.Errorf("make a directory for the runs: %w", err)
	}
	programs, clean, err := f.programs(ctx, out)
	if err != nil {
		return err
	}
	defer clean()
	var wrong []string
	for n := range uint64(f.seeds) {
		for _, s := range chosen {
			if why, ok := s.Runs(chaos.Kafka(f.kafka)); !ok {
				fmt.Fprintf(out, "%s is not run: %s\n", s.Name, why)
				continue
			}
			s = f.changed(s)
			result, err := chaos.Run(ctx, chaos.Config{Scenario: s, Seed: f.seed + n, Lasts: f.lasts, Kafka: chaos.Kafka(f.kafka), Env: f.env, Race: f.race, Programs: programs, Dir: f.dir, Keep: f.keep, Out: out})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return err
			}
			if err := f.keepResult(result); err != nil {
				return err
			}
			if !result.OK {
				wrong = append(wrong, fmt.Sprintf("%s with seed %d (%s)", result.Scenario, result.Seed, result.Evidence))
			}
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d runs went wrong: %s", len(wrong), strings.Join(wrong, ", "))
	}
	return nil
}

// changed is a scenario with what was asked for instead.
func (f flags) changed(s chaos.Scenario) chaos.Scenario {
	if f.rate > 0 {
		s.Rate = f.rate
	}
	if f.replicas > 0 {
		s.Replicas = f.replicas
	}
	return s
}

// programs builds what is missing.
func (f flags) programs(ctx context.Context, out io.Writer) (p chaos.Programs, clean func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return p, nil, fmt.Errorf("find this program: %w", err)
	}
	for _, path := range []*string{&f.router, &f.old} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil { // routers run in another directory
			return p, nil, err
		}
	}
	if f.router != "" {
		return chaos.Programs{Router: f.router, Old: f.old, Chaos: self}, func() {}, nil
	}
	dir, err := os.MkdirTemp("", "millrace-chaos-bin-")
	if err != nil {
		return p, nil, fmt.Errorf("make a directory for programs: %w", err)
	}
	clean = func() { _ = os.RemoveAll(dir) }
	race := f.race
	if f.quick && !race {
		if none := chaos.NoRaces(ctx); none != nil {
			fmt.Fprintf(out, "races are not looked for: %v\n", none)
		} else {
			race = true
		}
	}
	if p, err = chaos.Build(ctx, dir, self, race); err != nil {
		clean()
		return p, nil, err
	}
	p.Old = f.old
	return p, clean, nil
}

func (f flags) keepResult(r chaos.Result) error {
	if f.results == "" {
		return nil
	}
	return chaos.AddResult(f.results, r)
}
