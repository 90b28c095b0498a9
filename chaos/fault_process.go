package chaos

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// The times of processes. A router's lease lasts 3 s and its session 6 s: paused is less, zombie more than both.
const (
	shortAbsence   = 500 * time.Millisecond
	longAbsence    = 3 * time.Second
	shortestZombie = 8 * time.Second
	longestZombie  = 12 * time.Second
	// An outage is longer than every deadline of an order that it meets.
	shortestOutage = orderDeadline + 4*time.Second
	longestOutage  = orderDeadline + 6*time.Second
	// untilClear is after an outage: messages are in time again, and what it held up is still under way.
	untilClear = 2 * time.Second
	// churnPause is between two changes of who runs.
	churnPause = 2 * time.Second
)

var processFaults = []Fault{
	{Name: "router-kill", What: "kill -9 of a router", Heals: "it is started again", On: []string{onReplica}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			killed := i.replica.kill()
			return func(context.Context) (int64, error) { return count(killed), i.replica.start() }, nil
		}},
	{Name: "router-stop", Injected: true, What: "SIGTERM to a router, which has to end well", Heals: "it is started again", On: everything, Shortest: shortAbsence, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			err := i.replica.stop()
			return once(func(context.Context) error { return i.replica.start() }), err
		}},
	{Name: "routers-kill", What: "kill -9 of all routers at once", Heals: "they are started again", On: []string{onReplica}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			killed := i.killRouters()
			return func(context.Context) (int64, error) { return killed, i.startRouters() }, nil
		}},
	{Name: "router-pause", Injected: true, What: "SIGSTOP of a router for less than a session: what it has in hand stands still", Heals: "SIGCONT", On: []string{onReplica},
		Shortest: time.Second, Longest: 4 * time.Second, inject: pauseRouter},
	{Name: "router-zombie", Injected: true, What: "SIGSTOP of a router for longer than lease and session: others take over, and it wakes up as nobody", Heals: "SIGCONT",
		On: []string{onReplica}, Shortest: shortestZombie, Longest: longestZombie, inject: pauseRouter},
	{Name: "rolling-restart", Injected: true, What: "SIGTERM to one router after the other, the next when the one before is ready again", Heals: "by itself", On: everything,
		Shortest: 0, Longest: shortAbsence, inject: rollingRestart},
	{Name: "members-come-and-go", Injected: true, What: "a router leaves and comes back every two seconds, so that groups balance without end", Heals: "it stays", On: everything,
		Shortest: 6 * time.Second, Longest: 10 * time.Second, inject: membersComeAndGo},
	{Name: "postgres-kill", Hides: true, Injected: true, What: "kill -9 of Postgres", Heals: "it is started again and replays its log", On: []string{onPostgres}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			return once(i.database.start), i.database.kill()
		}},
	{Name: "postgres-restart", Hides: true, Injected: true, What: "fast stop of Postgres, as before a failover", Heals: "it is started again", On: []string{onPostgres}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.database.server.Close()
			return once(i.database.start), nil
		}},
	{Name: "postgres-pause", Hides: true, Injected: true, What: "SIGSTOP of Postgres and all its sessions", Heals: "SIGCONT", On: []string{onPostgres}, Shortest: time.Second, Longest: 6 * time.Second,
		inject: func(_ context.Context, i *injection) (heal, error) {
			return once(func(context.Context) error { return i.database.signal(syscall.SIGCONT) }), i.database.signal(syscall.SIGSTOP)
		}},
	{Name: "broker-kill", Hides: true, Injected: true, What: "kill -9 of the broker", Heals: "it is started again", On: []string{onBroker}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.broker.kill()
			return once(i.broker.start), nil
		}},
	{Name: "broker-stop", Hides: true, Injected: true, What: "SIGTERM to the broker", Heals: "it is started again", On: []string{onBroker}, Shortest: 0, Longest: 6 * time.Second,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.broker.stop()
			return once(i.broker.start), nil
		}},
	{Name: "broker-away", Hides: true, Injected: true, What: "the broker is stopped for long", Heals: "it is started again", On: []string{onBroker}, Shortest: 15 * time.Second, Longest: 20 * time.Second,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.broker.stop()
			return once(i.broker.start), nil
		}},
	{Name: "broker-pause", Hides: true, Injected: true, What: "SIGSTOP of the broker", Heals: "SIGCONT", On: []string{onBroker}, Shortest: time.Second, Longest: shortestZombie,
		inject: func(_ context.Context, i *injection) (heal, error) {
			return once(func(context.Context) error { return i.broker.signal(syscall.SIGCONT) }), i.broker.signal(syscall.SIGSTOP)
		}},
	{Name: "broker-outage", Hides: true, Alone: true, What: "the broker is stopped for longer than any deadline, while orders are open", Heals: "it is started again", On: []string{onBroker}, Shortest: shortestOutage, Longest: longestOutage,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			open, err := i.database.openOrders(ctx)
			i.broker.stop()
			return func(ctx context.Context) (int64, error) { return open, i.broker.start(ctx) }, err
		}},
	{Name: "postgres-outage", Hides: true, Alone: true, What: "Postgres is stopped for longer than any deadline, while orders are open", Heals: "it is started again, and then one router after the other, as after a deployment",
		On: []string{onPostgres, onReplica}, Shortest: shortestOutage, Longest: longestOutage,
		inject: func(ctx context.Context, i *injection) (heal, error) {
			open, err := i.database.openOrders(ctx)
			i.database.server.Close()
			return func(ctx context.Context) (int64, error) {
				if err := i.database.start(ctx); err != nil {
					return open, err
				}
				sleep(ctx, untilClear)
				_, err := rollingRestart(ctx, i)
				return open, err
			}, err
		}},
}

// openOrders is how many orders an outage meets that have a deadline.
func (d *database) openOrders(ctx context.Context) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, sqlPatience)
	defer cancel()
	if err = d.admin.QueryRowContext(ctx, "SELECT count(*) FROM orders.orders WHERE status IN ('PENDING', 'AWAITING_PAYMENT', 'PAYMENT_PENDING', 'PAID')").Scan(&n); err != nil {
		return 0, fmt.Errorf("count open orders: %w", err)
	}
	return n, nil
}

func count(did bool) int64 {
	if did {
		return 1
	}
	return 0
}

func pauseRouter(_ context.Context, i *injection) (heal, error) {
	paused := i.replica.signal(syscall.SIGSTOP)
	return func(context.Context) (int64, error) {
		i.replica.signal(syscall.SIGCONT)
		return count(paused), nil
	}, nil
}

func (i *injection) killRouters() (killed int64) {
	for _, r := range i.replicas {
		killed += count(r.kill())
	}
	return killed
}

func (i *injection) startRouters() error {
	var failed error
	for _, r := range i.replicas {
		failed = errors.Join(failed, r.start())
	}
	return failed
}

func rollingRestart(ctx context.Context, i *injection) (heal, error) {
	for _, r := range i.replicas {
		if err := errors.Join(r.stop(), r.start(), r.awaitReady(ctx)); err != nil {
			return nil, err
		}
	}
	return once(func(context.Context) error { return nil }), nil
}

func membersComeAndGo(ctx context.Context, i *injection) (heal, error) {
	ctx, end := context.WithCancel(ctx)
	done := make(chan struct{})
	var hits int64
	var failed error
	go func() {
		defer close(done)
		for n := 0; failed == nil && ctx.Err() == nil; n++ {
			if n%2 == 0 {
				failed = i.replica.stop()
				hits++
			} else {
				failed = i.replica.start()
			}
			sleep(ctx, churnPause)
		}
	}()
	return func(context.Context) (int64, error) {
		end()
		<-done
		return hits, errors.Join(failed, i.replica.start())
	}, nil
}
