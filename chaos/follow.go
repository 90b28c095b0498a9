package chaos

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// step is the begin or the end of a fault.
type step struct {
	at   time.Duration
	does func(context.Context) error
}

// follow breaks and heals as it was planned. What takes longer than that delays what comes after it, so that each fault
// lasts as long as it is to. Faults that last until the load has ended are healed by what is returned.
func (r *run) follow(ctx context.Context, schedule []Planned) (late []step, err error) {
	var steps []step
	for _, p := range schedule {
		f, err := faultNamed(p.Fault)
		if err != nil {
			return nil, err
		}
		breaks, heals := r.stepsOf(f, p)
		steps = append(steps, breaks)
		if f.UntilRest {
			late = append(late, heals)
		} else {
			steps = append(steps, heals)
		}
	}
	return late, r.walk(ctx, steps)
}

// stepsOf are the two ends of a fault.
func (r *run) stepsOf(f Fault, p Planned) (breaks, heals step) {
	i := &injection{system: r.system, say: r.say, replica: r.system.replicas[p.Replica], random: rand.New(rand.NewPCG(p.Seed, 1))}
	broken, end := Broken{Fault: p.Fault, Replica: p.Replica, Recovery: -1}, heal(nil)
	breaks = step{p.At, func(ctx context.Context) (err error) {
		broken.At = time.Since(r.began)
		lasting := "for " + p.Lasts.Round(time.Millisecond).String()
		if f.UntilRest {
			lasting = "until the load has ended"
		}
		r.say("%s at %s %s: %s", f.Name, i.replica.name, lasting, f.What)
		r.trouble.begins()
		if end, err = f.inject(ctx, i); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		return nil
	}}
	heals = step{p.At + p.Lasts, func(ctx context.Context) error {
		hits, err := end(ctx)
		r.trouble.ends()
		if err != nil {
			return fmt.Errorf("heal %s: %w", f.Name, err)
		}
		broken.Hits, broken.Healed = hits, time.Since(r.began)
		r.result.Faults = append(r.result.Faults, broken)
		felt := fmt.Sprintf("felt %d times", hits)
		if f.Injected {
			felt = fmt.Sprintf("done %d times", hits)
		}
		r.say("%s is over, %s: %s", f.Name, felt, f.Heals)
		return nil
	}}
	return breaks, heals
}

// walk takes the steps at their times, as far as those before them allow.
func (r *run) walk(ctx context.Context, steps []step) error {
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	var behind time.Duration
	for _, s := range steps {
		if !sleep(ctx, s.at+behind-time.Since(r.began)) {
			return ctx.Err()
		}
		if err := s.does(ctx); err != nil {
			return err
		}
		behind = max(behind, time.Since(r.began)-s.at)
	}
	return nil
}
