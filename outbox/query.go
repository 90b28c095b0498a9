package outbox

import (
	"fmt"
	"strings"

	"github.com/lib/pq"

	"millrace/fault"
)

// queries are the statements for one table. Every one of them takes arrays: a batch
// costs the same number of round trips whether it holds one update or five hundred.
type queries struct {
	load, read, known, lock, lockWaiting, write          string
	insertSides, lockSides, lockSidesSkipping, readSides string
	updateSides, inLedger, ledger                        string
}

func queriesFor(s shape) queries {
	const columns = "order_id, xmin, state, version, said, processed, commands, waiting, correlation_id, parked_at IS NOT NULL AS parked"
	read := fmt.Sprintf("SELECT %s FROM %s WHERE order_id = ANY($1::uuid[])", columns, s.name)
	// Every missing row is inserted before the first one is locked: the condition on inserted sees to
	// that. What is inserted here is not seen by the SELECT beside it.
	lock := fmt.Sprintf(`WITH inserted AS (
	%[1]s
	RETURNING %[3]s), locked AS (
	SELECT %[3]s FROM %[2]s WHERE order_id = ANY($1::uuid[]) AND (SELECT count(*) FROM inserted) >= 0
	ORDER BY order_id FOR UPDATE%%s)
SELECT * FROM locked UNION ALL SELECT * FROM inserted`, insertMissing(s.name, "$2"), s.name, columns)
	q := queries{
		load:        fmt.Sprintf("SELECT order_id, state, correlation_id FROM %s WHERE order_id = ANY($1::uuid[])", s.name),
		read:        read,
		known:       fmt.Sprintf("SELECT order_id FROM %s WHERE order_id = ANY($1::uuid[])", s.name),
		lock:        fmt.Sprintf(lock, " SKIP LOCKED"),
		lockWaiting: fmt.Sprintf(lock, ""),
		write:       writeQuery(s),
	}
	if s.side == "" {
		return q
	}
	sideColumns := strings.Join(append([]string{s.sideKey}, s.sideColumns...), ", ")
	readSides := fmt.Sprintf("SELECT %s FROM %s WHERE %s = ANY($1::text[]) ORDER BY %s", sideColumns, s.side, s.sideKey, s.sideKey)
	q.readSides, q.lockSides, q.lockSidesSkipping = readSides, readSides+" FOR UPDATE", readSides+" FOR UPDATE SKIP LOCKED"
	q.insertSides = fmt.Sprintf("INSERT INTO %s (%s) SELECT k FROM unnest($1::text[]) AS k ORDER BY k ON CONFLICT DO NOTHING", s.side, s.sideKey)
	var p parameters
	types, set := []string{"text"}, make([]string, len(s.sideColumns))
	for i, c := range s.sideColumns {
		types, set[i] = append(types, s.sideTypes[i]), fmt.Sprintf("%s = d.%s", c, c)
		if fault.On(fault.KeepStock) && c == "available" {
			set[i] = "available = t.available"
		}
	}
	q.updateSides = fmt.Sprintf("UPDATE %s t SET %s FROM %s AS d(%s) WHERE %s",
		s.side, strings.Join(set, ", "), p.unnest(types), sideColumns, sameKey(s.sideKey))
	q.inLedger = fmt.Sprintf("SELECT id FROM %s WHERE id = ANY($1::uuid[])", s.ledger)
	q.ledger = fmt.Sprintf("INSERT INTO %s (id, key, state, correlation_id, at) SELECT *, now() FROM unnest($1::uuid[], $2::text[], $3::json[], $4::text[])", s.ledger)
	return q
}

// insertMissing inserts empty rows where there are none, of ids in a parameter. Those that are there are left out although a conflict
// would do nothing: to find one, Postgres waits until whoever has written the row commits, and a lock that goes round rows would
// wait for it. They are counted because that cannot become a join (see sameKey).
func insertMissing(table, ids string) string {
	return fmt.Sprintf(`INSERT INTO %[1]s (order_id, state) SELECT d.order_id, '%[2]s' FROM unnest(%[3]s::uuid[]) AS d(order_id)
	WHERE (SELECT count(*) FROM %[1]s t WHERE t.order_id = d.order_id) = 0 ORDER BY d.order_id ON CONFLICT DO NOTHING`, table, emptyState, ids)
}

// parameters numbers the parameters of a statement as it is written.
type parameters int

// unnest is a table of arrays, one column for each type.
func (p *parameters) unnest(types []string) string {
	list := make([]string, len(types))
	for i, t := range types {
		*p++
		list[i] = fmt.Sprintf("$%d::%s[]", *p, t)
	}
	return "unnest(" + strings.Join(list, ", ") + ")"
}

// sameKey is an equality that the planner can use in one way only: to look up each row of d by the
// first column of t's key. A plan is kept while its table fills, and to one made for a nearly empty
// table it seems as good to read all of it and compare everything with everything.
func sameKey(column string) string { return fmt.Sprintf("t.%[1]s = ANY(ARRAY[d.%[1]s])", column) }

// writeQuery writes rows, what they wait for, their history and their sums: one statement, so that
// an idle system waits for one answer instead of six. Parts that have nothing to do cost little.
//
// The rows are given in the order of their ids, and inserted before any is updated, so that two processes do
// not wait for each other. A row that is not as it was read is left alone, and missing in the count.
func writeQuery(s shape) string {
	var p parameters
	columns := []string{"order_id", "state", "version", "said", "processed", "commands", "waiting", "correlation_id"}
	types := []string{"uuid", "json", "bigint", "bigint", "text", "text", "text", "text"}
	values := []string{"d.order_id", "d.state", "d.version", "d.said", "d.processed::uuid[]", "d.commands::uuid[]", "d.waiting::text[]", "d.correlation_id"}
	for i, c := range s.columns {
		columns, types = append(columns, c), append(types, "text")
		values = append(values, fmt.Sprintf("nullif(d.%s, '')::%s", c, s.columnTypes[i]))
	}
	set := make([]string, 0, len(columns))
	for i, c := range columns[1:] {
		set = append(set, c+" = "+values[i+1])
	}
	set[3] = "processed = t.processed || d.processed::uuid[]"
	list := strings.Join(columns, ", ")
	unchanged := "t.xmin = d.revision"
	if fault.On(fault.SkipStale) {
		unchanged = "true"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `WITH inserted AS (
	INSERT INTO %s (%s) SELECT %s FROM %s AS d(%s)
	ON CONFLICT DO NOTHING RETURNING 1
), updated AS (
	UPDATE %s t SET %s, updated_at = now() FROM %s AS d(%s, revision)
	WHERE %s AND %s RETURNING 1
)`, s.name, list, strings.Join(values, ", "), p.unnest(types), list, s.name, strings.Join(set, ", "), p.unnest(append(types, "xid")), list, sameKey("order_id"), unchanged)
	if s.waits {
		service := pq.QuoteLiteral(s.service)
		// The service is made an expression so that no index is found by it alone.
		fmt.Fprintf(&b, `, ended AS (
	DELETE FROM millrace.waits t USING %s AS d(order_id, step)
	WHERE %s AND t.step = d.step AND t.service || '' = %s
)`, p.unnest([]string{"uuid", "text"}), sameKey("order_id"), service)
		// A wait that was handed to the executor is written claimed: due again only when the lease of
		// that claim is over, which begins when the wait is due.
		fmt.Fprintf(&b, `, started AS (
	INSERT INTO millrace.waits (service, order_id, step, due_at, since, attempt, holder)
	SELECT %s, d.order_id, d.step,
	  now() + (d.after + CASE WHEN d.claimed THEN %d ELSE 0 END) * interval '1 millisecond',
	  now() + d.after * interval '1 millisecond', d.claimed::int, CASE WHEN d.claimed THEN nullif($%d, '')::uuid END
	FROM %s AS d(order_id, step, after, claimed)
	ON CONFLICT DO NOTHING
)`, service, claimLease.Milliseconds(), p.next(), p.unnest([]string{"uuid", "text", "bigint", "boolean"}))
	}
	if s.history != "" {
		fmt.Fprintf(&b, `, recorded AS (
	INSERT INTO %s (order_id, version, event_id, type, data, correlation_id, causation_id, at)
	SELECT *, now() FROM %s
)`, s.history, p.unnest([]string{"uuid", "bigint", "uuid", "text", "json", "text", "uuid"}))
	}
	if s.sums != "" {
		fmt.Fprintf(&b, `, added AS (
	INSERT INTO %s (minute, name, key, n) SELECT * FROM %s
)`, s.sums, p.unnest([]string{"timestamptz", "text", "text", "bigint"}))
	}
	b.WriteString("\nSELECT (SELECT count(*) FROM inserted) + (SELECT count(*) FROM updated), pg_current_xact_id()::xid")
	return b.String()
}

func (p *parameters) next() int {
	*p++
	return int(*p)
}
