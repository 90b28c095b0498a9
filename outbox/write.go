package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// queries are the statements for one table. Every one of them takes arrays: a batch
// costs the same number of round trips whether it holds one update or five hundred.
type queries struct {
	load, known, insert, lock, lockWaiting, update       string
	history, sums                                        string
	endWaits, startWaits                                 string
	insertSides, lockSides, lockSidesSkipping, readSides string
	updateSides, inLedger, ledger                        string
}

func queriesFor(s shape) queries {
	const rowColumns = "order_id, state, version, said, processed, commands, waiting, correlation_id, now()"
	lock := fmt.Sprintf("SELECT %s FROM %s WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE", rowColumns, s.name)
	q := queries{
		load:        fmt.Sprintf("SELECT order_id, state, correlation_id FROM %s WHERE order_id = ANY($1::uuid[])", s.name),
		known:       fmt.Sprintf("SELECT order_id FROM %s WHERE order_id = ANY($1::uuid[])", s.name),
		insert:      fmt.Sprintf("INSERT INTO %s (order_id, state) SELECT id, '%s' FROM unnest($1::uuid[]) AS id ORDER BY id ON CONFLICT DO NOTHING", s.name, emptyState),
		lock:        lock + " SKIP LOCKED",
		lockWaiting: lock,
		update:      updateQuery(s),
		history: fmt.Sprintf(`INSERT INTO %s (order_id, version, event_id, type, data, correlation_id, causation_id, at)
SELECT * , now() FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::json[], $6::text[], $7::uuid[])`, s.history),
		sums: fmt.Sprintf("INSERT INTO %s (minute, name, key, n) SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::bigint[])", s.sums),
		endWaits: `DELETE FROM millrace.waits w USING unnest($2::uuid[], $3::text[]) AS d(order_id, step)
WHERE w.service = $1 AND w.order_id = d.order_id AND w.step = d.step`,
		// A wait that was handed to the executor is written claimed: due again only when the lease of
		// that claim is over, which begins when the wait is due.
		startWaits: fmt.Sprintf(`INSERT INTO millrace.waits (service, order_id, step, due_at, since, attempt, holder)
SELECT $1, d.order_id, d.step,
  now() + (d.after + CASE WHEN d.claimed THEN %d ELSE 0 END) * interval '1 millisecond',
  now() + d.after * interval '1 millisecond', d.claimed::int, CASE WHEN d.claimed THEN nullif($6, '')::uuid END
FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::bool[]) AS d(order_id, step, after, claimed)
ON CONFLICT DO NOTHING`, claimLease.Milliseconds()),
	}
	if s.side == "" {
		return q
	}
	columns := strings.Join(append([]string{s.sideKey}, s.sideColumns...), ", ")
	read := fmt.Sprintf("SELECT %s FROM %s WHERE %s = ANY($1::text[]) ORDER BY %s", columns, s.side, s.sideKey, s.sideKey)
	q.readSides, q.lockSides, q.lockSidesSkipping = read, read+" FOR UPDATE", read+" FOR UPDATE SKIP LOCKED"
	q.insertSides = fmt.Sprintf("INSERT INTO %s (%s) SELECT k FROM unnest($1::text[]) AS k ORDER BY k ON CONFLICT DO NOTHING", s.side, s.sideKey)
	set, cols, params := make([]string, len(s.sideColumns)), []string{"k"}, []string{"$1::text[]"}
	for i, c := range s.sideColumns {
		set[i] = fmt.Sprintf("%s = d.%s", c, c)
		cols = append(cols, c)
		params = append(params, fmt.Sprintf("$%d::%s[]", i+2, s.sideTypes[i]))
	}
	q.updateSides = fmt.Sprintf("UPDATE %s t SET %s FROM unnest(%s) AS d(%s) WHERE t.%s = d.k",
		s.side, strings.Join(set, ", "), strings.Join(params, ", "), strings.Join(cols, ", "), s.sideKey)
	q.inLedger = fmt.Sprintf("SELECT id FROM %s WHERE id = ANY($1::uuid[])", s.ledger)
	q.ledger = fmt.Sprintf("INSERT INTO %s (id, key, state, correlation_id, at) SELECT *, now() FROM unnest($1::uuid[], $2::text[], $3::json[], $4::text[])", s.ledger)
	return q
}

func updateQuery(s shape) string {
	set := []string{
		"state = d.state", "version = d.version", "said = d.said", "processed = t.processed || d.processed::uuid[]",
		"commands = d.commands::uuid[]", "waiting = d.waiting::text[]", "correlation_id = d.correlation_id", "updated_at = now()",
	}
	names := []string{"order_id", "state", "version", "said", "processed", "commands", "waiting", "correlation_id"}
	params := []string{"$1::uuid[]", "$2::json[]", "$3::bigint[]", "$4::bigint[]", "$5::text[]", "$6::text[]", "$7::text[]", "$8::text[]"}
	for i, c := range s.columns {
		set = append(set, fmt.Sprintf("%s = nullif(d.%s, '')::%s", c, c, s.columnTypes[i]))
		names = append(names, c)
		params = append(params, fmt.Sprintf("$%d::text[]", len(params)+1))
	}
	return fmt.Sprintf("UPDATE %s t SET %s FROM unnest(%s) AS d(%s) WHERE t.order_id = d.order_id",
		s.name, strings.Join(set, ", "), strings.Join(params, ", "), strings.Join(names, ", "))
}

// write writes what the batch decided, one statement for each kind of row.
func (t *pgSession) write(ctx context.Context, out *outcome) error {
	for _, part := range []struct {
		what string
		n    int
		do   func(context.Context, *outcome) error
	}{
		{"update " + t.shape.name, len(out.rows), t.writeRows},
		{"append to " + t.shape.history, len(out.entries), t.writeHistory},
		{"update " + t.shape.side, len(out.sides), t.writeSides},
		{"append to " + t.shape.ledger, len(out.ledger), t.writeLedger},
		{"append to " + t.shape.sums, len(out.sums), t.writeSums},
		{"end waits", len(out.waitsEnd), t.writeWaitsEnd},
		{"start waits", len(out.waits), t.writeWaits},
		{"write the outbox", len(out.messages), t.writeMessages},
	} {
		if part.n == 0 {
			continue
		}
		if err := part.do(ctx, out); err != nil {
			return fmt.Errorf("%s: %w", part.what, err)
		}
	}
	return nil
}

func (t *pgSession) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.run.ExecContext(ctx, query, args...)
	return err
}

func (t *pgSession) writeRows(ctx context.Context, out *outcome) error {
	n := len(out.rows)
	var (
		ids, states, processed = make(UUIDArray, n), make(JSONArray, n), make(TextArray, n)
		commands, waiting      = make(TextArray, n), make(TextArray, n)
		correlation            = make(TextArray, n)
		versions, said         = make(BigintArray, n), make(BigintArray, n)
		columns                = make([]TextArray, len(t.shape.columns))
	)
	for c := range columns {
		columns[c] = make(TextArray, n)
	}
	for i, r := range out.rows {
		ids[i], states[i], versions[i], said[i] = string(r.id), r.state, r.version, r.said
		processed[i], commands[i] = joinUUIDs(r.newIDs), joinUUIDs(r.commands)
		value, err := TextArray(r.waiting).Value()
		if err != nil {
			return err
		}
		waiting[i], _ = value.(string)
		correlation[i] = r.correlationID
		for c := range columns {
			columns[c][i] = r.columns[c]
		}
	}
	args := []any{ids, states, versions, said, processed, commands, waiting, correlation}
	for _, c := range columns {
		args = append(args, c)
	}
	return t.exec(ctx, t.sql.update, args...)
}

func joinUUIDs(ids []string) string { return "{" + strings.Join(ids, ",") + "}" }

func (t *pgSession) writeHistory(ctx context.Context, out *outcome) error {
	n := len(out.entries)
	ids, versions, events, types := make(UUIDArray, n), make(BigintArray, n), make(UUIDArray, n), make(TextArray, n)
	data, correlation, causation := make(JSONArray, n), make(TextArray, n), make(UUIDArray, n)
	for i, e := range out.entries {
		ids[i], versions[i], events[i], types[i] = string(e.orderID), e.version, e.eventID, e.entry.Type
		data[i], correlation[i], causation[i] = e.entry.Data, e.correlationID, e.causationID
	}
	return t.exec(ctx, t.sql.history, ids, versions, events, types, data, correlation, causation)
}

func (t *pgSession) writeSides(ctx context.Context, out *outcome) error {
	keys := make(TextArray, len(out.sides))
	texts, numbers := make([]TextArray, len(t.shape.sideColumns)), make([]BigintArray, len(t.shape.sideColumns))
	for i, side := range out.sides {
		keys[i] = side.key
		for c, value := range side.fields {
			switch v := value.(type) {
			case string:
				texts[c] = append(texts[c], v)
			case int64:
				numbers[c] = append(numbers[c], v)
			}
		}
	}
	args := []any{keys}
	for c := range t.shape.sideColumns {
		if t.shape.sideTypes[c] == "text" {
			args = append(args, texts[c])
		} else {
			args = append(args, numbers[c])
		}
	}
	return t.exec(ctx, t.sql.updateSides, args...)
}

func (t *pgSession) writeLedger(ctx context.Context, out *outcome) error {
	n := len(out.ledger)
	ids, keys, states, correlation := make(UUIDArray, n), make(TextArray, n), make(JSONArray, n), make(TextArray, n)
	for i, l := range out.ledger {
		ids[i], keys[i], states[i], correlation[i] = l.id, l.key, l.state, l.correlationID
	}
	return t.exec(ctx, t.sql.ledger, ids, keys, states, correlation)
}

func (t *pgSession) writeSums(ctx context.Context, out *outcome) error {
	n := len(out.sums)
	minutes, names, keys, numbers := make(TimestamptzArray, n), make(TextArray, n), make(TextArray, n), make(BigintArray, n)
	for i, s := range out.sums {
		minutes[i], names[i], keys[i], numbers[i] = s.Minute, s.Name, s.Key, s.N
	}
	return t.exec(ctx, t.sql.sums, minutes, names, keys, numbers)
}

func (t *pgSession) writeWaitsEnd(ctx context.Context, out *outcome) error {
	ids, steps := make(UUIDArray, len(out.waitsEnd)), make(TextArray, len(out.waitsEnd))
	for i, w := range out.waitsEnd {
		ids[i], steps[i] = string(w.id), w.step
	}
	return t.exec(ctx, t.sql.endWaits, t.shape.service, ids, steps)
}

func (t *pgSession) writeWaits(ctx context.Context, out *outcome) error {
	n := len(out.waits)
	ids, steps, after, claimed := make(UUIDArray, n), make(TextArray, n), make(BigintArray, n), make(BooleanArray, n)
	for i, w := range out.waits {
		ids[i], steps[i], after[i], claimed[i] = string(w.id), w.step, w.after.Milliseconds(), w.claimed
	}
	return t.exec(ctx, t.sql.startWaits, t.shape.service, ids, steps, after, claimed, out.holder)
}

// writeMessages gives the rows their ids, which ascend in the order of the rows.
func (t *pgSession) writeMessages(ctx context.Context, out *outcome) error {
	rows, err := t.run.QueryContext(ctx, insertEvents+" RETURNING id", insertArgs(t.shape.service, out.messages)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	ids := make([]int64, 0, len(out.messages))
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for i, id := range ids {
		out.messages[i].id = id
	}
	return rows.Err()
}
