package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"

	"millrace/event"
)

// NewPostgres returns a store on Postgres. It uses one connection of db at a time,
// and up to maxAside more while rows are held elsewhere. Run it before the first Update.
func NewPostgres[S, V any](db *sql.DB, table Table[S, V], opts Options) *Store[S, V] {
	shape := shapeOf(table)
	return newStore(table, &postgres{db: db, shape: shape, sql: queriesFor(shape), stmts: &statements{db: db}}, opts)
}

// shape is a Table without its types.
type shape struct {
	service, name, history, sums string
	columns, columnTypes         []string
	side, sideKey, ledger        string
	sideColumns                  []string
	sideTypes                    []string
}

func shapeOf[S, V any](t Table[S, V]) shape {
	s := shape{service: t.Service, name: t.Name, history: t.HistoryTable, sums: t.SumsTable}
	for _, c := range t.Columns {
		s.columns, s.columnTypes = append(s.columns, c.Name), append(s.columnTypes, c.Type)
	}
	if t.Side == nil {
		return s
	}
	s.side, s.sideKey, s.ledger, s.sideColumns = t.Side.Name, t.Side.Key, t.Side.Ledger, t.Side.Columns
	zero := t.Side.New("")
	for _, f := range t.Side.Fields(&zero) {
		if _, isText := f.(*string); isText {
			s.sideTypes = append(s.sideTypes, "text")
		} else {
			s.sideTypes = append(s.sideTypes, "bigint")
		}
	}
	return s
}

type postgres struct {
	db    *sql.DB
	shape shape
	sql   queries
	stmts *statements
}

// lockPatience is how long a batch waits for a row it cannot go round; asidePatience how
// long an update waits that was set aside, before it looks whether its caller is still there.
const (
	lockPatience  = 100 * time.Millisecond
	asidePatience = time.Second
)

// planByIndex keeps the planner to what is right for large tables. A prepared statement's plan
// is made when its table may be empty, and kept while it fills: the plan for an empty
// table reads all of it. Every statement here finds rows by their key.
const planByIndex = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL plan_cache_mode = force_generic_plan"

// begin starts a transaction with its limits. They are set for the transaction alone, because
// a pooler in transaction mode hands the session to somebody else afterwards.
func (p *postgres) begin(ctx context.Context, opts lockOptions) (session, error) {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	patience := lockPatience
	if opts.wait {
		patience = asidePatience
	}
	limits := fmt.Sprintf("SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d; %s",
		patience.Milliseconds(), transactionLimit.Milliseconds(), transactionLimit.Milliseconds(), planByIndex)
	if _, err := tx.ExecContext(ctx, limits); err != nil {
		return nil, errors.Join(fmt.Errorf("set the transaction's limits: %w", err), tx.Rollback())
	}
	return &pgSession{postgres: p, opts: opts, tx: tx, run: preparedTx{ctx: ctx, tx: tx, stmts: p.stmts}}, nil
}

// load is not prepared: a plan for a table that was empty then would be kept while it fills.
func (p *postgres) load(ctx context.Context, ids []event.OrderID) ([]record, error) {
	rows, err := p.db.QueryContext(ctx, p.sql.load, pq.Array(ids))
	if err != nil {
		return nil, fmt.Errorf("read %d rows of %s: %w", len(ids), p.shape.name, err)
	}
	defer rows.Close()
	list := make([]record, 0, len(ids))
	for rows.Next() {
		var r record
		if err := rows.Scan(&r.id, &r.state, &r.correlationID); err != nil {
			return nil, fmt.Errorf("read rows of %s: %w", p.shape.name, err)
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

type pgSession struct {
	*postgres
	opts    lockOptions
	tx      *sql.Tx
	run     preparedTx
	unknown map[event.OrderID]bool
}

func (t *pgSession) insertMissing(ctx context.Context, all, create []event.OrderID, sides []string) error {
	t.unknown = map[event.OrderID]bool{}
	if len(all) > 0 {
		known, err := t.knownOf(ctx, all)
		if err != nil {
			return fmt.Errorf("look for rows in %s: %w", t.shape.name, err)
		}
		for _, id := range all {
			if !known[id] {
				t.unknown[id] = true
			}
		}
		var missing UUIDArray
		for _, id := range create {
			if t.unknown[id] {
				missing = append(missing, string(id))
				delete(t.unknown, id)
			}
		}
		if len(missing) > 0 {
			if _, err := t.run.ExecContext(ctx, t.sql.insert, missing); err != nil {
				return fmt.Errorf("insert into %s: %w", t.shape.name, err)
			}
		}
	}
	if len(sides) > 0 {
		if _, err := t.run.ExecContext(ctx, t.sql.insertSides, TextArray(sides)); err != nil {
			return fmt.Errorf("insert into %s: %w", t.shape.side, err)
		}
	}
	return nil
}

func uuids(ids []event.OrderID) UUIDArray {
	array := make(UUIDArray, len(ids))
	for i, id := range ids {
		array[i] = string(id)
	}
	return array
}

func (t *pgSession) knownOf(ctx context.Context, ids []event.OrderID) (map[event.OrderID]bool, error) {
	rows, err := t.run.QueryContext(ctx, t.sql.known, uuids(ids))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	known := make(map[event.OrderID]bool, len(ids))
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		known[event.OrderID(id)] = true
	}
	return known, rows.Err()
}

func (t *pgSession) lock(ctx context.Context, ids []event.OrderID) (locked, error) {
	l := locked{rows: make(map[event.OrderID]*record, len(ids)), unknown: t.unknown}
	query := t.sql.lock
	if t.opts.wait {
		query = t.sql.lockWaiting
	}
	rows, err := t.run.QueryContext(ctx, query, uuids(ids))
	if err != nil {
		return l, fmt.Errorf("lock rows of %s: %w", t.shape.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			r                            record
			id                           string
			processed, commands, waiting []byte
		)
		if err := rows.Scan(&id, &r.state, &r.version, &r.said, &processed, &commands, &waiting, &r.correlationID, &l.now); err != nil {
			return l, fmt.Errorf("read rows of %s: %w", t.shape.name, err)
		}
		r.id = event.OrderID(id)
		r.processed, r.commands = splitUUIDs(processed), splitUUIDs(commands)
		if err := (*pq.StringArray)(&r.waiting).Scan(waiting); err != nil {
			return l, fmt.Errorf("read rows of %s: %w", t.shape.name, err)
		}
		l.rows[r.id] = &r
	}
	return l, rows.Err()
}

// splitUUIDs reads Postgres's text form of a uuid[], which needs no quotes.
func splitUUIDs(array []byte) []string {
	text := strings.Trim(string(array), "{}")
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (t *pgSession) lockSides(ctx context.Context, keys []string) (map[string][]any, map[string]bool, error) {
	query := t.sql.lockSides
	if t.opts.skipSides {
		query = t.sql.lockSidesSkipping
	}
	found, err := t.sideRows(ctx, query, keys)
	if err != nil || !t.opts.skipSides {
		return found, nil, err
	}
	// What exists but was not returned is held.
	all, err := t.sideRows(ctx, t.sql.readSides, keys)
	if err != nil {
		return nil, nil, err
	}
	held := map[string]bool{}
	for key := range all {
		if _, ok := found[key]; !ok {
			held[key] = true
		}
	}
	return found, held, nil
}

func (t *pgSession) sideRows(ctx context.Context, query string, keys []string) (map[string][]any, error) {
	rows, err := t.run.QueryContext(ctx, query, TextArray(keys))
	if err != nil {
		return nil, fmt.Errorf("lock rows of %s: %w", t.shape.side, err)
	}
	defer rows.Close()
	found := make(map[string][]any, len(keys))
	for rows.Next() {
		fields := make([]any, len(t.shape.sideColumns))
		targets := make([]any, 0, len(fields)+1)
		var key string
		targets = append(targets, &key)
		for i := range fields {
			if t.shape.sideTypes[i] == "text" {
				targets = append(targets, new(string))
			} else {
				targets = append(targets, new(int64))
			}
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, fmt.Errorf("read rows of %s: %w", t.shape.side, err)
		}
		for i := range fields {
			if fields[i], err = valueOf(targets[i+1]); err != nil {
				return nil, err
			}
		}
		found[key] = fields
	}
	return found, rows.Err()
}

func (t *pgSession) inLedger(ctx context.Context, ids []string) (map[string]bool, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := t.run.QueryContext(ctx, t.sql.inLedger, UUIDArray(ids))
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", t.shape.ledger, err)
	}
	defer rows.Close()
	found := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("look into %s: %w", t.shape.ledger, err)
		}
		found[id] = true
	}
	return found, rows.Err()
}

func (t *pgSession) commit(context.Context) error {
	if err := t.tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// rollback's error does not matter: either the transaction has ended, or the
// connection is gone and the server ends it.
func (t *pgSession) rollback() { _ = t.tx.Rollback() }
