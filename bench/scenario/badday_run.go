package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/bench"
	"millrace/bench/load"
	"millrace/bench/rig"
)

const (
	// badDayShare is the load's share of what the system can do at most: there must be room for a bad day in it.
	badDayShare = 0.5
	// badDayLook is how often it is looked how far things are.
	badDayLook = 200 * time.Millisecond
	// badDayPatience is how long a part of the day may take that should take a minute.
	badDayPatience = 10 * time.Minute
	// usualMessages are the messages that inventory hears of an order which is delivered: it is placed, it is paid, and three
	// statuses of its parcel.
	usualMessages = 5
	// badDaySamples is how many samples the bad minute has.
	badDaySamples = 60
)

// The bug: inventory's rows take no word of an order that is paid and was never placed. The empty row that holds the mark
// of a parked order is none.
var (
	breakInventory = []string{
		`CREATE FUNCTION public.bad_day() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.state->>'status' = '' AND NEW.state->>'paid' = 'true' THEN
    RAISE EXCEPTION 'order % is paid and was never placed', NEW.order_id USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$`,
		`CREATE TRIGGER bad_day BEFORE INSERT OR UPDATE OF state ON inventory.reservations FOR EACH ROW EXECUTE FUNCTION public.bad_day()`,
	}
	mendInventory = []string{`DROP TRIGGER bad_day ON inventory.reservations`}
)

// badDayRun is a bad day under way.
type badDayRun struct {
	env    *bench.Env
	round  *rig.Round
	system *running
	load   *load.Run
	values bench.Values
	spans  []badDaySpan
}

// badDaySpan is a part of the day, by the database's clock.
type badDaySpan struct {
	name     string
	from, to time.Time
}

func runBadDay(ctx context.Context, env *bench.Env, o *rig.Round) (bench.Values, error) {
	r, err := o.StartRouter(ctx, routerProcess, append(ourSettings(), "FLOOD_LETTERS=0")...)
	if err != nil {
		return nil, err
	}
	s := &running{name: ours, shop: load.Shop{URL: r.URL, DB: o.DB}, process: r.Process, admin: r.Admin}
	half, warmed, err := halfRate(ctx, env, o, s)
	if err != nil {
		return nil, err
	}
	orders, within := badDaySize(env.Scale)
	usual, err := newFlood([idRandom]byte{0x90, 0x0d, 0xda, 0x70}, orders)
	if err != nil {
		return nil, err
	}
	bad, err := newFlood([idRandom]byte{0xba, 0xdd, 0xa7, 0x00}, orders)
	if err != nil {
		return nil, err
	}
	b := &badDayRun{env: env, round: o, system: s, values: bench.Values{"rate": 2 * half * badDayShare, "usual_per_second": 2 * half * usualMessages, "orders_hit": float64(orders), "messages": float64(len(bad.records))}}
	b.load = s.shop.Open(ctx, b.values["rate"])
	err = b.load.Await(ctx, 1) // a group that is still dividing its partitions is not what is measured
	if err == nil {
		err = b.sampled(ctx, bad, func() error { return b.phases(ctx, usual, bad, within) })
	}
	if err := errors.Join(err, b.load.End(ctx), s.process.Failed()); err != nil {
		return nil, err
	}
	if err := b.latencies(ctx); err != nil {
		return nil, err
	}
	for _, f := range []*flood{usual, bad} {
		if err := f.check(ctx, o.DB); err != nil {
			return nil, err
		}
	}
	placed := warmed.And(b.load.Placed())
	if err := s.checkBooks(ctx, placed); err != nil {
		return nil, err
	}
	_, err = awaitLog(ctx, s.name, o.Brokers, int64(placed.Orders)*eventsPerOrder+int64(len(usual.records)+len(bad.records)), eventsPatience)
	return b.values, err
}

// phases are the day: a usual hour, the bad minute, somebody who looks, and the redrive.
func (b *badDayRun) phases(ctx context.Context, usual, bad *flood, within time.Duration) error {
	if err := b.flow(ctx, usual); err != nil {
		return err
	}
	if err := b.healthy(ctx, "before", func() error { return pause(ctx, within) }); err != nil {
		return err
	}
	if err := b.execute(ctx, breakInventory); err != nil {
		return err
	}
	if err := b.healthy(ctx, "during", func() error { return b.fails(ctx, bad, within) }); err != nil {
		return err
	}
	if err := b.looksAround(ctx); err != nil {
		return err
	}
	if err := b.execute(ctx, mendInventory); err != nil {
		return err
	}
	if err := b.healthy(ctx, "redriving", func() error { return b.redrive(ctx, bad) }); err != nil {
		return err
	}
	memory, err := rig.MemoryOf(b.system.process.PID())
	b.values["rss_peak_mib"] = memory.Peak
	return err
}

// flow measures how fast inventory gets through such messages when nothing is wrong with them, and all are there at once.
func (b *badDayRun) flow(ctx context.Context, f *flood) error {
	began := time.Now()
	if err := f.send(ctx, b.round.Brokers, 0); err != nil {
		return err
	}
	err := b.until(ctx, func() (bool, error) {
		n, err := f.processed(ctx, b.round.DB)
		return n == len(f.records), err
	})
	b.values["flow_per_second"] = float64(len(f.records)) / time.Since(began).Seconds()
	b.env.Progress("%d messages in the normal flow: %.0f a second", len(f.records), b.values["flow_per_second"])
	return errors.Join(err, b.load.Await(ctx, b.load.Accepted())) // what piled up beside it is over, too
}

// placedSince tells whether a span has an order of which its latency can tell.
const placedSince = `SELECT EXISTS (SELECT FROM orders.history WHERE type = 'Placed' AND at >= $1)`

// healthy measures the other orders meanwhile, one at least.
func (b *badDayRun) healthy(ctx context.Context, name string, meanwhile func() error) error {
	from, err := b.system.shop.Now(ctx)
	if err != nil {
		return err
	}
	first, began := b.load.Finished(), time.Now()
	if err := meanwhile(); err != nil {
		return err
	}
	if err := b.until(ctx, func() (placed bool, err error) { // on a slow machine none may have been yet
		err = b.round.DB.QueryRowContext(ctx, placedSince, from).Scan(&placed)
		return placed, err
	}); err != nil {
		return err
	}
	b.values["orders_per_second_"+name] = float64(b.load.Finished()-first) / time.Since(began).Seconds()
	b.env.Progress("%s: %.0f healthy orders a second", name, b.values["orders_per_second_"+name])
	to, err := b.system.shop.Now(ctx)
	b.spans = append(b.spans, badDaySpan{name, from, to})
	return err
}

// latencies are known when all orders are paid.
func (b *badDayRun) latencies(ctx context.Context) error {
	for _, span := range b.spans {
		latency, err := b.system.shop.Latency(ctx, span.from, span.to)
		if err != nil {
			return err
		}
		b.values["p50_ms_"+span.name], b.values["p99_ms_"+span.name] = milliseconds(latency.P50), milliseconds(latency.P99)
		b.env.Progress("%s: from accepted to PAID p50 %v, p99 %v", span.name, latency.P50, latency.P99)
	}
	return nil
}

// fails sends the messages while the bug is there, until all of them were put aside.
func (b *badDayRun) fails(ctx context.Context, bad *flood, within time.Duration) error {
	began := time.Now()
	if err := bad.send(ctx, b.round.Brokers, within); err != nil {
		return err
	}
	err := b.until(ctx, func() (bool, error) {
		letters, parked, err := bad.putAside(ctx, b.round.DB)
		b.values["letters"], b.values["parked"] = float64(letters), float64(parked)
		return letters+parked == len(bad.records), err
	})
	if err == nil && b.values["letters"] != float64(len(bad.ids)) {
		err = fmt.Errorf("%g messages of %d orders are letters, want one of each", b.values["letters"], len(bad.ids))
	}
	b.values["bad_seconds"] = time.Since(began).Seconds()
	return err
}

// looksAround times what somebody asks first.
func (b *badDayRun) looksAround(ctx context.Context) error {
	for value, args := range map[string][]string{"groups_seconds": {"groups"}, "list_seconds": {"list", "service:inventory", "error~placed"}} {
		took, err := slowest(ctx, b.round, args...)
		if err != nil {
			return err
		}
		b.values[value] = took.Seconds()
		b.env.Progress("router dlq %s: %v", args[0], took)
	}
	return nil
}

// redrive has everything redriven, until nothing waits any more.
func (b *badDayRun) redrive(ctx context.Context, bad *flood) error {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() {
		_, err := dlq(ctx, b.round, "redrive", "--filter", "service:inventory", "--yes", "--reason", "mended")
		if err != nil {
			cancel(err)
		}
		done <- err
	}()
	err := b.until(ctx, func() (bool, error) {
		var lanes int
		err := b.round.DB.QueryRowContext(ctx, "SELECT count(*) FROM deadletter.lanes WHERE service = 'inventory'").Scan(&lanes)
		return lanes == 0, err
	})
	b.values["redriven_per_second"] = float64(len(bad.records)) / time.Since(began).Seconds()
	b.env.Progress("redriven in %v: %.0f messages a second", time.Since(began), b.values["redriven_per_second"])
	return errors.Join(err, <-done)
}

// sampled takes samples until do is done.
func (b *badDayRun) sampled(ctx context.Context, bad *flood, do func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- b.sample(ctx, bad) }()
	err := do()
	cancel()
	return errors.Join(err, <-done)
}

func (b *badDayRun) sample(ctx context.Context, bad *flood) error {
	_, within := badDaySize(b.env.Scale)
	every := max(within/badDaySamples, badDayLook)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for began, last := time.Now(), b.load.Finished(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		letters, parked, err := bad.putAside(ctx, b.round.DB)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		finished := b.load.Finished()
		b.env.Sample("seconds", time.Since(began).Seconds())
		b.env.Sample("healthy_orders_per_second", float64(finished-last)/every.Seconds())
		b.env.Sample("letters", float64(letters))
		b.env.Sample("parked", float64(parked))
		last = finished
	}
}

// until looks until something is so.
func (b *badDayRun) until(ctx context.Context, so func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, badDayPatience, fmt.Errorf("a part of the bad day is not over after %s", badDayPatience))
	defer cancel()
	tick := time.NewTicker(badDayLook)
	defer tick.Stop()
	for {
		is, err := so()
		if err := errors.Join(err, b.load.Failed()); is || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (b *badDayRun) execute(ctx context.Context, steps []string) error {
	for _, step := range steps {
		if _, err := b.round.DB.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("break or mend inventory: %w", err)
		}
	}
	return nil
}
