package rig

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// readConnections is what the bench itself opens to a round's database: a few queries at a time.
const readConnections = 8

// Round is what one side has for itself in one round: an empty database, a broker without topics, and
// the processes started on them.
type Round struct {
	// DSN is the address of the round's database, for lib/pq and psql alike.
	DSN string
	// Brokers are the broker's addresses, host:port.
	Brokers []string
	// DB is the bench's own way to the database, which no delay slows.
	DB *sql.DB

	rig       *Rig
	dir       string
	database  string
	mu        sync.Mutex // a meter looks at processes while more are started
	processes []*Process
	closers   []func() error
}

// Round makes an empty round. The one before has to be closed.
func (r *Rig) Round(ctx context.Context) (*Round, error) { return r.DelayedRound(ctx, 0) }

// DelayedRound is a round in which each round trip to the database and to the broker takes that much
// longer, as if they were somewhere else. What they can carry at once is not limited.
func (r *Rig) DelayedRound(ctx context.Context, delay time.Duration) (*Round, error) {
	n := r.rounds.Add(1)
	o := &Round{rig: r, database: fmt.Sprintf("round_%d", n), dir: filepath.Join(r.dir, fmt.Sprintf("round-%d", n))}
	if err := o.open(ctx, delay); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

func (o *Round) open(ctx context.Context, delay time.Duration) error {
	r := o.rig
	if err := os.MkdirAll(o.dir, 0o711); err != nil {
		return fmt.Errorf("make the directory of a round: %w", err)
	}
	// template0: nobody is ever connected to it, and a template in use cannot be copied.
	if _, err := r.admin.ExecContext(ctx, "CREATE DATABASE "+o.database+" TEMPLATE template0"); err != nil {
		return fmt.Errorf("create the database of a round: %w", err)
	}
	address, err := url.Parse(r.postgres.DSN())
	if err != nil {
		return fmt.Errorf("read the address of the bench's Postgres: %w", err)
	}
	address.Path = "/" + o.database
	o.DSN = address.String()
	if o.DB, err = sql.Open("postgres", o.DSN); err != nil {
		return fmt.Errorf("connect to the database of a round: %w", err)
	}
	o.DB.SetMaxOpenConns(readConnections)
	o.DB.SetMaxIdleConns(readConnections)
	o.closers = append(o.closers, o.DB.Close)
	if delay > 0 {
		proxy, err := startProxy(delay, "unix", socketOf(address))
		if err != nil {
			return err
		}
		o.closers = append(o.closers, proxy.Close)
		o.DSN = (&url.URL{Scheme: "postgres", User: url.User(address.Query().Get("user")), Host: proxy.addr(), Path: address.Path, RawQuery: "sslmode=disable"}).String()
	}
	if err := o.startBroker(ctx, delay); err != nil {
		return err
	}
	// What the last round left to be written shall not be written during this one.
	if _, err := r.admin.ExecContext(ctx, "CHECKPOINT"); err != nil {
		return fmt.Errorf("checkpoint before a round: %w", err)
	}
	return nil
}

// Dir is a directory of the round's own, removed with it.
func (o *Round) Dir() string { return o.dir }

// Router is the path of the router's program.
func (o *Round) Router() string { return o.rig.Router() }

// Bench is the path of the bench's program.
func (o *Round) Bench() string { return o.rig.Bench() }

// socketOf is the path of the unix socket that a Postgres address names.
func socketOf(address *url.URL) string {
	q := address.Query()
	return filepath.Join(q.Get("host"), ".s.PGSQL."+q.Get("port"))
}

// Close stops the round's processes, the last one first, and removes its database and its topics. It
// may be called again.
func (o *Round) Close() error {
	var errs []error
	for i := len(o.processes) - 1; i >= 0; i-- {
		errs = append(errs, o.processes[i].Stop())
	}
	for i := len(o.closers) - 1; i >= 0; i-- {
		errs = append(errs, o.closers[i]())
	}
	o.processes, o.closers = nil, nil
	// The caller's context may be over; the next round must find nothing all the same.
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	_, err := o.rig.admin.ExecContext(ctx, "DROP DATABASE IF EXISTS "+o.database+" WITH (FORCE)")
	errs = append(errs, err, os.RemoveAll(o.dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clear away a round: %w", err)
	}
	return nil
}
