package verify

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/verify/spill"
)

// Database is one of those the services keep their rows in.
type Database struct {
	// Name is what the report calls it; empty: the name it has on its server.
	Name string
	DB   *sql.DB
}

// snapshot is a database as it is at one moment: one transaction, in which everything is read.
// Nothing is locked, and nobody waits for it; while it lasts the server keeps old versions of rows.
type snapshot struct {
	name    string
	tx      *sql.Tx
	at      int64  // on the database's clock
	cluster string // the Kafka cluster its events go to; empty: none yet
	lags    [services]int64
	tables  map[string]bool
}

// serviceTables are the services' rows; below is all else that is read. Which of them a database
// has depends on the services that live in it.
var serviceTables = [services]string{
	orders: "orders.orders", payments: "payments.payments", inventory: "inventory.reservations",
	shipping: "shipping.shipments", notification: "notification.orders", analytics: "analytics.orders",
}

const (
	tableHistory  = "orders.history"
	tableAccounts = "provider.accounts"
	tableStock    = "inventory.stock"
	tableLedger   = "inventory.ledger"
	tableSent     = "notification.sent"
	tableTotals   = "analytics.totals"
	tableMinutes  = "analytics.minutes"
	tableDeltas   = "analytics.deltas"
	tableOutbox   = "millrace.outbox"
	tableWaits    = "millrace.waits"
	tableLags     = "millrace.lags"
	tableCluster  = "millrace.cluster"
	tableLetters  = "deadletter.letters"
	tableLanes    = "deadletter.lanes"
	tableSteps    = "deadletter.steps"
	tableDecided  = "deadletter.decided"
)

// errNoTables means that a database is none of the system's.
var errNoTables = errors.New("it has none of the system's tables: is it the right one?")

// takeSnapshot begins the transaction; its first query is the moment that is looked at.
func takeSnapshot(ctx context.Context, db Database) (*snapshot, error) {
	tx, err := db.DB.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("database %s: begin: %w", db.Name, err)
	}
	s := &snapshot{name: db.Name, tx: tx, tables: map[string]bool{}}
	if err := s.look(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", s.name, err), s.end())
	}
	return s, nil
}

func (s *snapshot) look(ctx context.Context) error {
	var at time.Time
	var name string
	if err := s.tx.QueryRowContext(ctx, `SELECT clock_timestamp(), current_database()`).Scan(&at, &name); err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	s.at = micros(at)
	if s.name == "" {
		s.name = name
	}
	// A role may have limits that are right for requests; a table takes as long as it takes.
	if _, err := s.tx.ExecContext(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
		return fmt.Errorf("lift the time-outs: %w", err)
	}
	if err := s.lookForTables(ctx); err != nil {
		return err
	}
	if s.tables[tableCluster] {
		err := s.tx.QueryRowContext(ctx, `SELECT id FROM `+tableCluster).Scan(&s.cluster)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read %s: %w", tableCluster, err)
		}
	}
	if s.tables[tableLags] {
		return s.readLags(ctx)
	}
	return nil
}

// readLags reads how long the lags were that are over. One that lasts is not among them: it is no reason to stand still.
func (s *snapshot) readLags(ctx context.Context) error {
	rows, err := s.tx.QueryContext(ctx, `SELECT service, (sum(extract(epoch FROM upper(lag) - lower(lag))) * 1000000)::bigint
FROM `+tableLags+`, unnest(lags) AS lag WHERE NOT (lower_inf(lag) OR upper_inf(lag)) GROUP BY service`)
	if err != nil {
		return fmt.Errorf("read %s: %w", tableLags, err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var took int64
		if err := rows.Scan(&name, &took); err != nil {
			return fmt.Errorf("read %s: %w", tableLags, err)
		}
		if of := serviceNamed(name); of < services {
			s.lags[of] = took
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s: %w", tableLags, err)
	}
	return nil
}

func (s *snapshot) end() error {
	if err := s.tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("end the snapshot: %w", err)
	}
	return nil
}

func (s *snapshot) lookForTables(ctx context.Context) error {
	names := append(serviceTables[:], tableHistory, tableAccounts, tableStock, tableLedger, tableSent, tableTotals, tableMinutes, tableDeltas,
		tableOutbox, tableWaits, tableLags, tableCluster, tableLetters, tableLanes, tableSteps, tableDecided)
	query := "SELECT t FROM unnest(ARRAY['" + strings.Join(names, "', '") + "']) AS t WHERE to_regclass(t) IS NOT NULL"
	rows, err := s.tx.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("look for the tables: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return fmt.Errorf("look for the tables: %w", err)
		}
		s.tables[name] = true
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("look for the tables: %w", err)
	}
	if len(s.tables) == 0 {
		return errNoTables
	}
	return nil
}

// services are those whose rows are here.
func (s *snapshot) services() (here []service) {
	for i, table := range serviceTables {
		if s.tables[table] {
			here = append(here, service(i))
		}
	}
	return here
}

// reader reads one snapshot into the buckets.
type reader struct {
	*snapshot
	out  *spill.Writer
	sums *sums
	rows func(n int64) // is told how many more rows were read
}

// progressEvery is how many rows are read between two words on the progress.
const progressEvery = 1000

// all reads every table there is. Rows come as a stream: the server sends as fast as they are taken, so
// neither side holds more than a few at a time.
func (r *reader) all(ctx context.Context) error {
	for i, table := range serviceTables {
		if !r.tables[table] {
			continue
		}
		if err := r.rowsOf(ctx, service(i), table); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		table string
		read  func(context.Context) error
	}{
		{tableHistory, r.history}, {tableAccounts, r.accounts}, {tableSent, r.sent}, {tableStock, r.stock}, {tableLedger, r.ledger},
		{tableTotals, r.totals}, {tableMinutes, r.minutes}, {tableDeltas, r.deltas},
		{tableWaits, r.waits}, {tableOutbox, r.outbox}, {tableLetters, r.letters}, {tableLanes, r.lanes}, {tableDecided, r.decided},
	} {
		if !r.tables[part.table] {
			continue
		}
		if err := part.read(ctx); err != nil {
			return err
		}
	}
	return nil
}

// each runs a query and hands over its rows one by one. Without parameters the driver asks by the
// simple protocol, whose answer it reads from the wire as it is asked for.
func (r *reader) each(ctx context.Context, table, query string, one func(scan func(...any) error) error) error {
	rows, err := r.tx.QueryContext(ctx, query)
	if err != nil {
		return fmt.Errorf("database %s: read %s: %w", r.name, table, err)
	}
	defer rows.Close()
	n := int64(0)
	for rows.Next() {
		if err := one(rows.Scan); err != nil {
			return fmt.Errorf("database %s: read %s: %w", r.name, table, err)
		}
		if n++; n == progressEvery {
			r.rows(n)
			n = 0
		}
	}
	r.rows(n)
	if err := rows.Err(); err != nil {
		return fmt.Errorf("database %s: read %s: %w", r.name, table, err)
	}
	return nil
}
