package scenario

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"millrace/bench"
	"millrace/bench/rig"
	"millrace/topic"
	"millrace/transport/kafka"
)

// backlog is whether our consumer keeps its pace, and its memory, while very many messages wait. As in an
// outage's aftermath, messages go on arriving: on both sides as many as are handled, so that as many
// wait at the end as at the beginning, and sending costs both sides the same.
func backlog() bench.Scenario {
	return bench.Scenario{
		Name:  "backlog",
		Gives: []string{"backlog", "backlog.memory"},
		Sides: []bench.Side{
			{Name: waitingSide, Run: onRound(func(ctx context.Context, env *bench.Env, round *rig.Round) (bench.Values, error) {
				waiting, _ := backlogSize(env.Scale)
				return keepPace(ctx, env, round, waiting, waiting)
			})},
			{Name: noneSide, Run: onRound(func(ctx context.Context, env *bench.Env, round *rig.Round) (bench.Values, error) {
				_, handled := backlogSize(env.Scale)
				return keepPace(ctx, env, round, subscriberSpan, handled)
			})},
		},
		Figures: func(rows []bench.Row) []bench.Figure {
			pace := bench.Versus("backlog", rows, waitingSide, noneSide, "messages_per_second")
			pace.Note = "theirs: the same with none waiting; both while as many arrive as are handled"
			return []bench.Figure{pace, bench.Alone("backlog.memory", rows, waitingSide, "growth_mib")}
		},
	}
}

const (
	waitingSide = "backlog"
	noneSide    = "none waiting"
	// subscriberSpan is how many messages a subscriber has at work at most, in all partitions of a topic together. So
	// few are none that wait.
	subscriberSpan = 1000 * rig.Partitions
)

// backlogSize is how many messages wait, all of which are handled, and how many are handled when none waits.
func backlogSize(scale bench.Scale) (waiting, handled int) {
	switch scale {
	case bench.Smoke:
		return 4_000, 4_000
	case bench.Quick:
		return 30_000, 20_000
	default:
		return 500_000, 200_000
	}
}

// keepPace handles that many messages while waiting ones wait.
func keepPace(ctx context.Context, env *bench.Env, round *rig.Round, waiting, messages int) (values bench.Values, err error) {
	sent, err := fill(ctx, round.Brokers, env.Partitions, waiting, topic.OrderCreated.Name, topic.InventoryReserved.Name)
	if err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // what filling took is not the consumer's
	o, err := openOurs(ctx, round, env.Log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, o.parts.stop()) }()
	publisher, err := kafka.NewPublisher(kafka.Config{Brokers: round.Brokers, Logger: env.Log})
	if err != nil {
		return nil, err
	}
	o.parts.closing(publisher.Close)
	handled := newMeter(messages)
	if err := o.consume(ctx, handled.handle, nil); err != nil {
		return nil, err
	}
	o.parts.start(ctx, "the arrivals", func(ctx context.Context) error { return arrive(ctx, publisher, handled, sent) })
	var memory watched
	o.parts.start(ctx, "the look at the memory", func(ctx context.Context) error { return memory.watch(ctx, env, handled) })
	m, err := handled.await(ctx, patience, o.parts.failed)
	if err != nil {
		return nil, err
	}
	rows, said, err := o.stopped(ctx)
	if err != nil {
		return nil, err
	}
	if said != rows || rows < m.count-m.count/duplicateEvery-1 {
		return nil, fmt.Errorf("%d messages were handled: %d orders have a row, and %d events were said", m.count, rows, said)
	}
	return bench.Values{"messages_per_second": m.perSecond(), "messages": float64(m.count), "waiting": float64(waiting),
		"growth_mib": memory.growth(), "rss_mib": memory.most()}, nil
}

const (
	// arrivalPace is how often arrivals are made up for.
	arrivalPace = 5 * time.Millisecond
	// arrivalBatch bounds one sending: a broker's batch, which is a fraction of a second's work.
	arrivalBatch = 1000
)

// arrive sends a message for each one that was handled.
func arrive(ctx context.Context, publisher *kafka.Publisher, handled *meter, sent int) error {
	waiting := sent
	tick := time.NewTicker(arrivalPace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for {
			missing := min(waiting+int(handled.count.Load())-sent, arrivalBatch)
			if missing <= 0 {
				break
			}
			n, err := send(ctx, publisher, topic.OrderCreated.Name, missing)
			if ctx.Err() != nil {
				return nil // what was sent is no part of the measurement any more
			}
			if err != nil {
				return err
			}
			sent += n
		}
	}
}
