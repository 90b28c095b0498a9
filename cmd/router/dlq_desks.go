package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"millrace/cmd/exit"
	"millrace/config"
	"millrace/deadletter"
	"millrace/handlers/order/orderpg"
	"millrace/outbox"
	"millrace/router"
	"millrace/transport"
)

// desks are the databases' letters, and the flow whose reactions tell what a redrive would do.
type desks struct {
	all  []*deadletter.Desk
	flow router.Graph
	// orders is nil where the order service's database is not among them.
	orders *orderpg.Reads

	cfg       config.Config
	servers   *servers
	databases []*database // those that all are about
	assembly  *assembly
}

// withDesks connects to every configured database, or to the private one, which it starts or joins.
func withDesks(ctx context.Context, do func(ctx context.Context, d *desks) error) error {
	return connectDesks(ctx, false, os.Stderr, do)
}

// withDesksLogging is withDesks where warnings go somewhere else.
func withDesksLogging(ctx context.Context, warnings io.Writer, do func(ctx context.Context, d *desks) error) error {
	return connectDesks(ctx, false, warnings, do)
}

// openDesks is withDesks, and connects to the broker too, if it is wanted, so that the databases have relays.
func openDesks(ctx context.Context, withBroker bool, do func(ctx context.Context, d *desks) error) error {
	return connectDesks(ctx, withBroker, os.Stderr, do)
}

// connectDesks does all that. A database that cannot be reached does not keep anybody from the others: it is told among
// the warnings, and the command fails when it is done.
func connectDesks(ctx context.Context, withBroker bool, warnings io.Writer, do func(ctx context.Context, d *desks) error) (err error) {
	cfg, _, err := loadConfig(nil)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(warnings, &slog.HandlerOptions{Level: slog.LevelWarn}))
	slog.SetDefault(log)
	if withBroker && cfg.Transport == "memory" {
		return exit.Misuse(errors.New("TRANSPORT=memory: the events of such a router are in its own memory, and no other process can add to them"))
	}
	if !withBroker {
		cfg.Transport = "memory"
	}
	if err := lookForData(cfg); err != nil {
		return err
	}
	var c closers
	defer func() {
		if closeErr := c.close(); err == nil {
			err = closeErr
		}
	}()
	s, err := startServers(ctx, cfg, log, &c)
	if err != nil {
		return err
	}
	d := &desks{cfg: cfg, servers: s, assembly: &assembly{
		cfg: cfg, flow: router.Flow(router.Services{}), log: log, metrics: prometheus.NewRegistry(), lineup: &lineup{},
		lag: lagBehind(noTransport{}, nil), routes: map[string]func(huma.API){}, marks: map[string]*outbox.Marks{},
	}}
	var t transport.Transport
	var cluster string
	if withBroker {
		if t, cluster, err = openTransport(ctx, cfg, s, prometheus.NewRegistry(), log); err != nil {
			return err
		}
		c.add(t.Close)
	}
	var missing []error
	for _, db := range groupByDatabase(cfg, s) {
		err := d.add(ctx, db, &c)
		if err == nil && cluster != "" {
			err = addRelay(ctx, db, t, cluster, log, &c)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			missing = append(missing, err)
			continue
		}
		if err := d.assemble(db); err != nil {
			return err
		}
	}
	if len(d.all) == 0 {
		return errors.Join(missing...)
	}
	for _, m := range missing {
		fmt.Fprintln(warnings, "router: left out:", m)
	}
	d.flow = router.Flow(d.assembly.services)
	if err := do(ctx, d); err != nil || len(missing) == 0 {
		return err
	}
	return fmt.Errorf("this is not all: %d of %d databases were left out", len(missing), len(missing)+len(d.all))
}

// lookForData refuses to make a new private database: there is nothing in it to look at.
func lookForData(cfg config.Config) error {
	for _, name := range cfg.Services {
		if cfg.DatabaseURL(name).IsSet() {
			continue
		}
		if _, err := os.Stat(cfg.DataDir); err != nil {
			return exit.Misuse(fmt.Errorf("no router has run here, %s is not there: run this where router serve was started, or set DATA_DIR or DATABASE_URL as it has them", cfg.DataDir))
		}
	}
	return nil
}

// lettersThere tells whether the tables are there that this build needs.
const lettersThere = "SELECT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'deadletter' AND table_name = 'redrives' AND column_name = 'begun_at')"

// add connects to a database.
func (d *desks) add(ctx context.Context, db *database, c *closers) (err error) {
	if db.work, err = openPool(ctx, db.dsn, connectionsPerService*len(db.services)+connectionsShared, silence); err != nil {
		return fmt.Errorf("the database of %v (DATABASE_URL): %w", db.services, err)
	}
	c.add(db.work.Close)
	db.reads = db.work
	var there bool
	if err := db.work.QueryRowContext(ctx, lettersThere).Scan(&there); err != nil {
		return fmt.Errorf("the database of %v (DATABASE_URL): %w", db.services, err)
	}
	if !there {
		return fmt.Errorf("the database of %v has no tables for dead letters, or those of an older version: start router serve, or run router migrate up", db.services)
	}
	return nil
}

// assemble puts a database's services together, without running them.
func (d *desks) assemble(db *database) error {
	marks := map[string]*outbox.Marks{}
	for _, name := range db.services {
		if err := d.assembly.add(name, db); err != nil {
			return err
		}
		marks[name] = d.assembly.marks[name]
	}
	if slices.Contains(db.services, "order") {
		d.orders = orderpg.NewReads(db.work)
	}
	d.databases = append(d.databases, db)
	d.all = append(d.all, deadletter.NewDesk(db.work, marks, whoAmI()))
	return nil
}

// addRelay makes what carries a database's events to the broker.
func addRelay(ctx context.Context, db *database, t transport.Transport, cluster string, log *slog.Logger, c *closers) error {
	if err := outbox.RememberCluster(ctx, db.work, cluster, false); err != nil {
		return err
	}
	publisher, err := t.Publisher()
	if err != nil {
		return fmt.Errorf("the relay's publisher: %w", err)
	}
	c.add(publisher.Close)
	db.relay = outbox.NewRelay(db.work, publisher, outbox.RelayOptions{Logger: log})
	return nil
}

// noTransport is for services that are put together and not run.
type noTransport struct{ transport.Transport }
