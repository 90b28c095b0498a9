package verify

import (
	"context"
	"time"
)

// restPause is the time between two looks at a system that comes to rest.
const restPause = 500 * time.Millisecond

// RunAtRest looks until the system is at rest, for so long at most, and reports the last look: with
// Options.AtRest, whatever opts say of it. After a demo, or a fault, nobody knows when the last notice has gone out.
//
// A violation that a look without AtRest finds is one for ever, unless it is that something has stood still for too long: then it does
// not wait any longer.
func RunAtRest(ctx context.Context, opts Options, within time.Duration) (*Report, error) {
	return untilRest(ctx, within, func(atRest bool) (*Report, error) {
		opts.AtRest = atRest
		return Run(ctx, opts)
	})
}

// RunSettled is RunAtRest for a system that may have other users: where it does not come to rest, it is
// looked at as it goes on, and that is what counts.
func RunSettled(ctx context.Context, opts Options, within time.Duration) (*Report, error) {
	report, err := RunAtRest(ctx, opts, within)
	if err != nil || report.OK {
		return report, err
	}
	opts.AtRest = false
	return Run(ctx, opts)
}

func untilRest(ctx context.Context, within time.Duration, look func(atRest bool) (*Report, error)) (*Report, error) {
	deadline := time.Now().Add(within)
	for {
		report, err := look(true)
		if err != nil || report.OK || time.Now().After(deadline) {
			return report, err
		}
		goesOn, err := look(false)
		if err != nil {
			return nil, err
		}
		if !goesOn.OK && !goesOn.mayPass() {
			return look(true)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(restPause):
		}
	}
}
