package chaos

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// The times of processes. A router's lease lasts 3 s and its session 6 s: paused is less, zombie more than both.
const (
	shortAbsence   = 500 * time.Millisecond
	longAbsence    = 3 * time.Second
	shortestZombie = 8 * time.Second
	longestZombie  = 12 * time.Second
	// churnPause is between two changes of who runs.
	churnPause = 2 * time.Second
)

var processFaults = []Fault{
	{Name: "router-kill", What: "kill -9 of a router", Heals: "it is started again", On: []string{onReplica}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			killed := i.replica.kill()
			return func(context.Context) (int64, error) { return count(killed), i.replica.start() }, nil
		}},
	{Name: "router-stop", What: "SIGTERM to a router, which has to end well", Heals: "it is started again", On: everything, Shortest: shortAbsence, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			err := i.replica.stop()
			return once(func(context.Context) error { return i.replica.start() }), err
		}},
	{Name: "routers-kill", What: "kill -9 of all routers at once", Heals: "they are started again", On: []string{onReplica}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			killed := i.killRouters()
			return func(context.Context) (int64, error) { return killed, i.startRouters() }, nil
		}},
	{Name: "router-pause", What: "SIGSTOP of a router for less than a session: what it has in hand stands still", Heals: "SIGCONT", On: []string{onReplica},
		Shortest: time.Second, Longest: 4 * time.Second, inject: pauseRouter},
	{Name: "router-zombie", What: "SIGSTOP of a router for longer than lease and session: others take over, and it wakes up as nobody", Heals: "SIGCONT",
		On: []string{onReplica}, Shortest: shortestZombie, Longest: longestZombie, inject: pauseRouter},
	{Name: "rolling-restart", What: "SIGTERM to one router after the other, the next when the one before is ready again", Heals: "by itself", On: everything,
		Shortest: 0, Longest: shortAbsence, inject: rollingRestart},
	{Name: "members-come-and-go", What: "a router leaves and comes back every two seconds, so that groups balance without end", Heals: "it stays", On: everything,
		Shortest: 6 * time.Second, Longest: 10 * time.Second, inject: membersComeAndGo},
	{Name: "postgres-kill", What: "kill -9 of Postgres", Heals: "it is started again and replays its log", On: []string{onPostgres}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			return once(i.database.start), i.database.kill()
		}},
	{Name: "postgres-restart", What: "fast stop of Postgres, as before a failover", Heals: "it is started again", On: []string{onPostgres}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.database.server.Close()
			return once(i.database.start), nil
		}},
	{Name: "postgres-pause", What: "SIGSTOP of Postgres and all its sessions", Heals: "SIGCONT", On: []string{onPostgres}, Shortest: time.Second, Longest: 6 * time.Second,
		inject: func(_ context.Context, i *injection) (heal, error) {
			return once(func(context.Context) error { return i.database.signal(syscall.SIGCONT) }), i.database.signal(syscall.SIGSTOP)
		}},
	{Name: "broker-kill", What: "kill -9 of the broker", Heals: "it is started again", On: []string{onBroker}, Shortest: 0, Longest: longAbsence,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.broker.kill()
			return once(i.broker.start), nil
		}},
	{Name: "broker-stop", What: "SIGTERM to the broker", Heals: "it is started again", On: []string{onBroker}, Shortest: 0, Longest: 6 * time.Second,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.broker.stop()
			return once(i.broker.start), nil
		}},
	{Name: "broker-away", What: "the broker is stopped for long", Heals: "it is started again", On: []string{onBroker}, Shortest: 15 * time.Second, Longest: 20 * time.Second,
		inject: func(_ context.Context, i *injection) (heal, error) {
			i.broker.stop()
			return once(i.broker.start), nil
		}},
	{Name: "broker-pause", What: "SIGSTOP of the broker", Heals: "SIGCONT", On: []string{onBroker}, Shortest: time.Second, Longest: shortestZombie,
		inject: func(_ context.Context, i *injection) (heal, error) {
			return once(func(context.Context) error { return i.broker.signal(syscall.SIGCONT) }), i.broker.signal(syscall.SIGSTOP)
		}},
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
