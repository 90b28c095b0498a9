package main

import (
	"context"
	"database/sql"
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
	// connectPatience is for a server that takes a connection and says nothing, unless the address has a
	// connect_timeout. The driver would wait for ever, whatever the context says.
	connectPatience = 10 * time.Second
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
	if d.work, err = openPool(ctx, d.dsn, limit); err != nil {
		return fmt.Errorf("the database of %v (DATABASE_URL): %w", d.services, err)
	}
	c.add(d.work.Close)
	if d.reads, err = openPool(ctx, d.dsn, cfg.Database.ReadConnections); err != nil {
		return fmt.Errorf("the database of %v (DATABASE_URL): %w", d.services, err)
	}
	c.add(d.reads.Close)
	for _, s := range schemasOf(d.services) {
		if err := outbox.Migrate(ctx, d.work, s.schema, s.steps); err != nil {
			return err
		}
	}
	log.InfoContext(ctx, "database ready", "services", d.services, "connections_at_most", limit+cfg.Database.ReadConnections)
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

// addressOf reads a DSN, and adds the connect_timeout it lacks.
func addressOf(dsn string) (pq.Config, error) {
	address, err := pq.NewConfig(dsn)
	if address.ConnectTimeout == 0 {
		address.ConnectTimeout = connectPatience
	}
	return address, err
}

func openPool(ctx context.Context, dsn string, limit int) (*sql.DB, error) {
	address, err := addressOf(dsn)
	if err != nil {
		return nil, fmt.Errorf("its address is not readable: %w", err)
	}
	connector, err := pq.NewConnectorConfig(address)
	if err != nil {
		return nil, fmt.Errorf("its address is not readable: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(limit)
	db.SetMaxIdleConns(limit) // a statement is prepared once per connection: keep them
	db.SetConnMaxIdleTime(connectionIdle)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("it does not answer: %w", err)
	}
	return db, nil
}
