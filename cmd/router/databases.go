package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/lib/pq"

	"millrace/config"
	"millrace/deadletter"
	"millrace/handlers/analytics/analyticspg"
	"millrace/handlers/inventory/inventorypg"
	"millrace/handlers/notification/notificationpg"
	"millrace/handlers/order/orderpg"
	"millrace/handlers/payment/paymentpg"
	"millrace/handlers/shipping/shippingpg"
	"millrace/outbox"
)

// database is one Postgres database and the services that live in it.
type database struct {
	dsn      string
	services []string
	// work is for stores, effects, letters and the relay; reads for the GETs, so
	// that no flood of them can hold up an order.
	work, reads *sql.DB
	relay       *outbox.Relay
}

// A service's store uses one connection, its effects two; what holds rows up for long, letters
// and the relay share some more.
const (
	connectionsPerService = 3
	connectionsShared     = 8
	connectionIdle        = 5 * time.Minute
)

// schemaSteps is one schema and the migrations that make it.
type schemaSteps struct {
	schema string
	steps  fs.FS
}

// schemasOf lists what a database needs that holds the given services.
func schemasOf(services []string) []schemaSteps {
	list := []schemaSteps{{outbox.Schema, outbox.Migrations()}, {deadletter.Schema, deadletter.Migrations()}}
	for _, s := range services {
		switch s {
		case "order":
			list = append(list, schemaSteps{orderpg.Schema, orderpg.Migrations()})
		case "payment":
			list = append(list, schemaSteps{paymentpg.Schema, paymentpg.Migrations()}, schemaSteps{paymentpg.ProviderSchema, paymentpg.ProviderMigrations()})
		case "inventory":
			list = append(list, schemaSteps{inventorypg.Schema, inventorypg.Migrations()})
		case "shipping":
			list = append(list, schemaSteps{shippingpg.Schema, shippingpg.Migrations()})
		case "notification":
			list = append(list, schemaSteps{notificationpg.Schema, notificationpg.Migrations()})
		case "analytics":
			list = append(list, schemaSteps{analyticspg.Schema, analyticspg.Migrations()})
		}
	}
	return list
}

// groupByDatabase says which services share a database.
func groupByDatabase(cfg config.Config, s *servers) []*database {
	var list []*database
	for _, name := range cfg.Services {
		dsn := s.privateDSN
		if url := cfg.DatabaseURL(name); url.IsSet() {
			dsn = url.Reveal()
		}
		var found *database
		for _, d := range list {
			if d.dsn == dsn {
				found = d
			}
		}
		if found == nil {
			found = &database{dsn: dsn}
			list = append(list, found)
		}
		found.services = append(found.services, name)
	}
	return list
}

// open connects and brings the schemas up to date.
func (d *database) open(ctx context.Context, cfg config.Config, log *slog.Logger, c *closers) error {
	var err error
	limit := connectionsPerService*len(d.services) + connectionsShared
	if err := d.migrate(ctx); err != nil {
		return err
	}
	if d.work, err = openPool(ctx, d.dsn, limit, silence); err != nil {
		return fmt.Errorf("the database of %v (DATABASE_URL): %w", d.services, err)
	}
	c.add(d.work.Close)
	if d.reads, err = openPool(ctx, d.dsn, cfg.Database.ReadConnections, silence); err != nil {
		return fmt.Errorf("the database of %v (DATABASE_URL): %w", d.services, err)
	}
	c.add(d.reads.Close)
	log.InfoContext(ctx, "database ready", "services", d.services, "connections_at_most", limit+cfg.Database.ReadConnections)
	return nil
}

// migrate brings the schemas up to date, over connections of its own: a step may take its time, and
// waits for another replica's.
func (d *database) migrate(ctx context.Context) (err error) {
	db, err := openPool(ctx, d.dsn, connectionsShared, 0)
	if err != nil {
		return fmt.Errorf("the database of %v (DATABASE_URL): %w", d.services, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, s := range schemasOf(d.services) {
		if err := outbox.Migrate(ctx, db, s.schema, s.steps); err != nil {
			return err
		}
	}
	return nil
}

// checkDatabaseURLs finds the addresses the driver does not understand.
func checkDatabaseURLs(cfg config.Config) error {
	for _, name := range cfg.Services {
		url := cfg.DatabaseURL(name)
		if !url.IsSet() {
			continue
		}
		if _, err := pq.NewConfig(url.Reveal()); err != nil {
			setting := "DATABASE_URL"
			if url != cfg.Database.URL {
				setting = strings.ToUpper(name) + "_DATABASE_URL"
			}
			return fmt.Errorf("%s is wrong: %w", setting, err)
		}
	}
	return nil
}
