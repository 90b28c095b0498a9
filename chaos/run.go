// Package chaos starts a whole system (Postgres, a broker, routers), places orders, breaks things at times and places that a seed
// determines, heals them, waits for rest, and has router verify judge what is left. Scenarios has the list, and
// the command in cmd/chaos runs them.
package chaos

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Config says what to run.
type Config struct {
	Scenario Scenario
	Seed     uint64
	// Lasts is how long there is load; 0: Scenario.Lasts.
	Lasts time.Duration
	Kafka Kafka
	// Env are settings of all routers beside the scenario's, as NAME=value.
	Env []string
	// Race: the router was built with the race detector because somebody asked for it.
	Race bool
	// Programs are what is run; see Build.
	Programs Programs
	// Dir is where runs keep their files; each gets a directory of its own there. A failed run's stays.
	Dir string
	// Keep has the files of a good run stay too.
	Keep bool
	// Out gets the schedule as it happens.
	Out io.Writer
}

// Run starts a system, loads it, breaks it, heals it, and has it judged. The error says that it could not; what came
// about is in the result.
func Run(ctx context.Context, c Config) (Result, error) {
	c.Scenario = c.Scenario.withDefaults()
	c.Lasts = cmp.Or(c.Lasts, c.Scenario.Lasts)
	result := Result{Scenario: c.Scenario.Name, Seed: c.Seed, Kafka: c.Kafka, Replicas: c.Scenario.Replicas, Lasted: c.Lasts, Began: time.Now(),
		Rate: c.Scenario.Rate, Env: c.Env, Expected: c.Scenario.Expected, Faults: []Broken{}}
	if err := c.describePrograms(&result); err != nil {
		return result, err
	}
	schedule, notDone, err := plan(c.Scenario, c.Seed, c.Lasts, c.Kafka)
	if err != nil {
		return result, err
	}
	result.NotDone = notDone
	dir := filepath.Join(c.Dir, fmt.Sprintf("%s-%d-%s", c.Scenario.Name, c.Seed, result.Began.Format("150405")))
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return result, fmt.Errorf("make the run's directory: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, scheduleFile))
	if err != nil {
		return result, fmt.Errorf("note what happens: %w", err)
	}
	defer file.Close()
	r := &run{Config: c, dir: dir, result: &result, out: io.MultiWriter(file, c.Out)}
	failed := r.whole(ctx, schedule)
	if ctx.Err() != nil { // somebody does not want to know any more
		return result, errors.Join(ctx.Err(), os.RemoveAll(dir))
	}
	if failed != nil {
		r.wrong("%v", failed)
	}
	result.OK = len(result.Why) == 0
	if result.OK && !c.Keep {
		return result, os.RemoveAll(dir)
	}
	result.Evidence = dir
	text, err := json.MarshalIndent(result, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, resultFile), text, 0o600)
	}
	return result, err
}

// describePrograms notes what is run.
func (c Config) describePrograms(result *Result) (err error) {
	if result.Of, err = builtFrom(c.Programs.Router); err != nil {
		return err
	}
	if b := c.Programs.Built; b != nil {
		result.Of.Commit, result.Of.Changed = b.Commit, b.Changed
	}
	if c.Programs.Old != "" {
		result.Old, err = builtFrom(c.Programs.Old)
	}
	return err
}

// run is one run.
type run struct {
	Config
	dir      string
	result   *Result
	out      io.Writer
	system   *system
	load     *load
	progress *progress
	trouble  trouble
	began    time.Time
}

// say prints a line with the time since the start of the load.
func (r *run) say(format string, args ...any) {
	at := time.Duration(0)
	if !r.began.IsZero() {
		at = time.Since(r.began)
	}
	fmt.Fprintf(r.out, "%8.2fs  %s\n", at.Seconds(), fmt.Sprintf(format, args...))
}

func (r *run) wrong(format string, args ...any) {
	if len(r.result.Why) == 0 {
		r.say("to repeat it, at %s: %s", r.result.Of, r.Command())
	}
	r.result.Why = append(r.result.Why, fmt.Sprintf(format, args...))
	r.say("WRONG: "+format, args...)
}

func (r *run) whole(ctx context.Context, schedule []Planned) (err error) {
	s := r.Scenario
	r.say("%s, seed %d: %d replicas, %s broker, %.0f orders/s for %s", s.Name, r.Seed, s.Replicas, r.Kafka, s.Rate, r.Lasts)
	r.say("to repeat it, at %s: %s", r.result.Of, r.Command())
	for _, f := range r.result.NotDone {
		r.say("not done: %s", f)
	}
	if r.system, err = startSystem(ctx, r.dir, r.Config); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() == nil && (len(r.result.Why) > 0 || err != nil) {
			err = errors.Join(err, r.keepEvidence())
		}
		err = errors.Join(err, r.system.close())
	}()
	if r.load, err = newLoad(r.Seed, s, r.system, &r.trouble); err != nil {
		return err
	}
	defer r.load.close()
	if s.HotStock > 0 {
		if err := r.load.stock(ctx, hotArticle, s.HotStock); err != nil {
			return err
		}
	}
	return r.underLoad(ctx, schedule)
}

func (r *run) underLoad(ctx context.Context, schedule []Planned) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.began = time.Now()
	r.progress = &progress{db: r.system.database.admin, began: r.began}
	var watching sync.WaitGroup
	defer watching.Wait()
	watched, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	watching.Go(func() { r.progress.watch(watched) })

	living, endLiving := context.WithCancel(ctx)
	defer endLiving()
	placing, endPlacing := context.WithCancel(ctx)
	defer endPlacing()
	var loading sync.WaitGroup
	loading.Go(func() { r.load.run(living, placing) })
	defer func() { // whatever happened: nobody goes on
		endPlacing()
		endLiving()
		loading.Wait()
		r.load.wait()
	}()

	during, afterwards := schedule, []Planned(nil)
	if r.Scenario.AtRest {
		during, afterwards = nil, schedule
	}
	late, err := r.follow(ctx, during)
	if err != nil {
		return err
	}
	sleep(ctx, r.Lasts-time.Since(r.began))
	loaded := time.Since(r.began)
	endPlacing()
	loading.Wait()
	time.AfterFunc(lastAnswers, endLiving)
	r.load.wait()
	r.result.Accepted, r.result.Again = r.load.count(), r.load.again.Load()
	r.say("%d orders were accepted; waiting for rest", r.result.Accepted)
	if err := r.finish(ctx, afterwards, late); err != nil {
		return err
	}
	if err := r.system.awaitReady(ctx); err != nil {
		return err
	}
	healed := time.Now()
	if err := r.system.awaitQuiet(ctx, r.say, quiet{}); err != nil { // what is delivered again is judged when it has been heard again
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.wrong("%v", err)
	}
	r.load.asksEach(ctx, healed)
	verdict, err := r.system.verify(ctx)
	stopWatching()
	watching.Wait()
	r.result.Rest, r.result.Standstill = time.Since(healed), r.progress.standstill(loaded)
	for i, b := range r.result.Faults {
		if recovery, ok := r.progress.after(b.Healed); ok {
			r.result.Faults[i].Recovery = recovery
		}
	}
	if err != nil {
		return err
	}
	r.judge(ctx, verdict)
	return ctx.Err()
}

// finish is what comes when nothing is placed any more: faults that are for a system at rest, the end of those that lasted
// until now, and what the scenario has besides.
func (r *run) finish(ctx context.Context, afterwards []Planned, late []step) error {
	if len(afterwards) > 0 {
		for _, p := range afterwards {
			if err := r.system.awaitQuiet(ctx, r.say, quietAll); err != nil {
				return err
			}
			if _, err := r.follow(ctx, []Planned{p}); err != nil {
				return err
			}
		}
	}
	for _, s := range late {
		if err := s.does(ctx); err != nil {
			return err
		}
	}
	if r.Scenario.finish == nil {
		return nil
	}
	return r.Scenario.finish(ctx, r.system, r.say)
}
