package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
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
	waits                        bool
	sideTypes                    []string
}

func shapeOf[S, V any](t Table[S, V]) shape {
	s := shape{service: t.Service, name: t.Name, waits: t.Waits != nil}
	if t.History != nil {
		s.history = t.HistoryTable
	}
	if t.Sums != nil {
		s.sums = t.SumsTable
	}
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

// limits sets a transaction's limits, and tells its time. They are set for the transaction alone,
// because a pooler in transaction mode hands the session to somebody else afterwards.
//
// The planner is kept to what is right for large tables. A prepared statement's plan is made when
// its table may be empty, and kept while it fills: the plan for an empty table reads all of it. Every
// statement here finds rows by their key.
func limits(lock time.Duration) string {
	settings := []struct {
		name, value string
	}{
		{"lock_timeout", milliseconds(lock)},
		{"statement_timeout", milliseconds(transactionLimit)},
		{"idle_in_transaction_session_timeout", milliseconds(transactionLimit)},
		{"enable_seqscan", "off"},
		{"enable_hashjoin", "off"},
		{"enable_mergejoin", "off"},
		{"plan_cache_mode", "force_generic_plan"},
	}
	calls := make([]string, len(settings))
	for i, s := range settings {
		calls[i] = fmt.Sprintf("set_config('%s', '%s', true)", s.name, s.value)
	}
	return "SELECT now(), concat(" + strings.Join(calls, ", ") + ")"
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

var (
	ordinaryLimits = limits(lockPatience)
	asideLimits    = limits(asidePatience)
)

func (p *postgres) begin(ctx context.Context, opts lockOptions) (_ session, now time.Time, err error) {
	set := ordinaryLimits
	if opts.wait {
		set = asideLimits
	}
	// Preparing takes a connection of its own: not while the transaction holds one.
	stmt, err := p.stmts.get(ctx, set)
	if err != nil {
		return nil, now, fmt.Errorf("prepare the transaction's limits: %w", err)
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, now, fmt.Errorf("begin: %w", err)
	}
	calls := context.WithoutCancel(ctx)
	if err := tx.StmtContext(calls, stmt).QueryRowContext(calls).Scan(&now, new(string)); err != nil {
		return nil, now, errors.Join(fmt.Errorf("set the transaction's limits: %w", err), tx.Rollback())
	}
	t := &pgSession{postgres: p, opts: opts, tx: tx, run: preparedTx{ctx: ctx, tx: tx, stmts: p.stmts}}
	return t, now, nil
}

// load is not prepared: a plan for a table that was empty then would be kept while it fills.
func (p *postgres) load(ctx context.Context, ids []event.OrderID) ([]record, error) {
	rows, err := p.db.QueryContext(ctx, p.sql.load, uuids(ids))
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
	opts lockOptions
	tx   *sql.Tx
	run  preparedTx
}

// scan runs a query that returns one row.
func (t *pgSession) scan(query string, args []any, targets ...any) error {
	stmt, err := t.run.stmt(query)
	if err != nil {
		return err
	}
	return stmt.QueryRowContext(context.WithoutCancel(t.run.ctx), args...).Scan(targets...)
}

func (t *pgSession) insertSides(ctx context.Context, keys []string) error {
	if err := t.exec(ctx, t.sql.insertSides, TextArray(keys)); err != nil {
		return fmt.Errorf("insert into %s: %w", t.shape.side, err)
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

func (t *pgSession) read(ctx context.Context, ids []event.OrderID) (map[event.OrderID]*record, error) {
	found := make(map[event.OrderID]*record, len(ids))
	if err := t.records(ctx, found, t.sql.read, uuids(ids)); err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", t.shape.name, err)
	}
	return found, nil
}

func (t *pgSession) lock(ctx context.Context, ids, create []event.OrderID) (locked, error) {
	l := locked{rows: make(map[event.OrderID]*record, len(ids)), unknown: map[event.OrderID]bool{}}
	query := t.sql.lock
	if t.opts.wait {
		query = t.sql.lockWaiting
	}
	if err := t.records(ctx, l.rows, query, uuids(ids), uuids(create)); err != nil {
		return l, fmt.Errorf("lock rows of %s: %w", t.shape.name, err)
	}
	creates := setOf(create)
	for _, id := range ids {
		if l.rows[id] == nil && !creates[id] {
			l.unknown[id] = true
		}
	}
	if len(l.unknown) == 0 {
		return l, nil
	}
	// They do not exist, or are held by somebody else.
	known, err := t.knownOf(ctx, slices.Collect(maps.Keys(l.unknown)))
	if err != nil {
		return l, fmt.Errorf("look for rows in %s: %w", t.shape.name, err)
	}
	for id := range known {
		delete(l.unknown, id)
	}
	return l, nil
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

// records runs a query for whole rows.
func (t *pgSession) records(ctx context.Context, into map[event.OrderID]*record, query string, args ...any) error {
	rows, err := t.run.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			r                            record
			id                           string
			processed, commands, waiting []byte
		)
		if err := rows.Scan(&id, &r.revision, &r.state, &r.version, &r.said, &processed, &commands, &waiting, &r.correlationID, &r.parked); err != nil {
			return err
		}
		r.id = event.OrderID(id)
		r.processed, r.commands = splitUUIDs(processed), splitUUIDs(commands)
		if err := (*pq.StringArray)(&r.waiting).Scan(waiting); err != nil {
			return err
		}
		into[r.id] = &r
	}
	return rows.Err()
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
