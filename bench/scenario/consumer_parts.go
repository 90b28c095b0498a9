package scenario

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"millrace/bench"
	"millrace/bench/rig"
)

// parts are what runs in this process for one side: stores, handlers, relays. The last one started is
// the first one stopped.
type parts struct {
	failed chan error // has the first failure
	stops  []func() error
}

func newParts() *parts { return &parts{failed: make(chan error, 1)} }

// closing has close called in its turn.
func (p *parts) closing(close func() error) { p.stops = append(p.stops, close) }

// start runs a part until its turn to stop comes. A part that ends before has failed.
func (p *parts) start(ctx context.Context, name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			err = errors.Join(fmt.Errorf("%s ended by itself", name), err)
			select {
			case p.failed <- err:
			default: // the first failure is told
			}
		}
		done <- err
	}()
	p.closing(func() error {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		return nil
	})
}

// stop stops all parts. It may be called again.
func (p *parts) stop() error {
	var errs []error
	for i := len(p.stops) - 1; i >= 0; i-- {
		errs = append(errs, p.stops[i]())
	}
	p.stops = nil
	return errors.Join(errs...)
}

// measurement is one round of one side, on the round's servers.
type measurement func(context.Context, *bench.Env, *rig.Round) (bench.Values, error)

// gcPercent is the pace of the garbage collector that a router sets itself while it takes as little memory
// as here. Theirs, measured in this process too, gets the same.
const gcPercent = 300

// onRound has measure run on a round of its own.
func onRound(measure measurement) func(context.Context, *bench.Env) (bench.Values, error) {
	return func(ctx context.Context, env *bench.Env) (values bench.Values, err error) {
		round, err := env.Rig.Round(ctx)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, round.Close()) }()
		runtime.GC() // what the side before left is not this one's to collect
		defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
		return measure(ctx, env, round)
	}
}
