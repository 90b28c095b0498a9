package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/deadletter"
	"millrace/router"
	"millrace/transport/memory"
)

// hereEvery is how often it is looked whether all that was asked for has been done.
const hereEvery = 200 * time.Millisecond

// here redrives services in this process, beside the routers that run them or without any: their
// stores, the handlers that the letters are given to, and the relay. They hear no topic, answer no request, and make no
// calls to the outside: what the reactions want done waits for a router.
//
// stop waits for what was asked for, and what is parked behind it, or for the end of its context.
func (d *desks) here(ctx context.Context, services []string) (stop func(context.Context, runs) error, err error) {
	log := slog.Default()
	parts := lineup{patience: d.cfg.ShutdownTimeout + stopPatience}
	letters, redrives := map[string]router.Letters{}, map[string]message.Subscriber{}
	for _, db := range d.databases {
		parts.add("relay", db.relay.Run)
		for _, name := range db.services {
			if !slices.Contains(services, name) {
				continue
			}
			parking := deadletter.NewParking(db.work, name, d.assembly.marks[name], db.relay.Wake, deadletter.Options{Logger: log})
			// What fails again is told at the end, and not over the progress bar.
			letters[name], redrives[name] = parking, deadletter.NewRedriver(parking, slog.New(slog.DiscardHandler))
		}
	}
	for _, p := range d.assembly.lineup.parts {
		if slices.ContainsFunc(services, func(name string) bool { return p.name == storePart(name) }) {
			parts.add(p.name, p.run)
		}
	}
	nothing := memory.NewBus() // no message comes from it
	if err := nothing.EnsureTopics(ctx, 1, d.flow.Topics()...); err != nil {
		return nil, err
	}
	handlers, err := router.Bind(d.flow.Only(services...), nothing, router.BindConfig{
		Letters: letters, Redrives: redrives, Metrics: router.NewMetrics(prometheus.NewRegistry()), Version: build(), Timeout: d.cfg.Handlers.Timeout,
		CloseTimeout: d.cfg.ShutdownTimeout,
		Retry:        router.RetryConfig{Tries: d.cfg.Handlers.Tries, First: d.cfg.Handlers.Backoff, Longest: d.cfg.Handlers.BackoffMax},
	})
	if err != nil {
		return nil, err
	}
	parts.add("message handlers", func(ctx context.Context) error {
		go func() { <-ctx.Done(); _ = handlers.Close() }()
		return handlers.Run(context.WithoutCancel(ctx))
	})
	working, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- parts.run(working) }()
	select {
	case <-handlers.Running():
	case err := <-ended:
		end()
		return nil, fmt.Errorf("redrive %v here: %w", services, err)
	}
	return func(ctx context.Context, rs runs) error {
		err := rs.settled(ctx)
		end()
		if stopped := <-ended; stopped != nil {
			return stopped
		}
		return err
	}, nil
}

// settled waits until nothing that may go on is left in the lanes of the runs' services. Ended by ctx it says nothing:
// what is left goes on wherever somebody redrives it.
func (rs runs) settled(ctx context.Context) error {
	tick := time.NewTicker(hereEvery)
	defer tick.Stop()
	for {
		left := false
		for _, r := range rs {
			due, err := r.desk.Due(ctx, r.services()...)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			left = left || due.Lanes > 0 || due.Held > 0
		}
		if !left {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
