package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// write writes what the batch decided: the rows and all that belongs to them, then what is shared,
// then the events.
func (t *pgSession) write(ctx context.Context, out *outcome) (revision uint32, err error) {
	for _, w := range t.writes(out) {
		if w.query != t.sql.write {
			err = t.exec(ctx, w.query, w.args...)
		} else {
			var n int
			err = t.scan(w.query, w.args, &n, &revision)
			if err == nil && n != len(out.rows) {
				err = errStale
			}
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", w.what, err)
		}
	}
	if len(out.messages) == 0 {
		return revision, nil
	}
	if err := t.writeMessages(ctx, out); err != nil {
		return 0, fmt.Errorf("write the outbox: %w", err)
	}
	return revision, nil
}

// tableWrite is a statement that writes a part of an outcome.
type tableWrite struct {
	what, query string
	args        []any
}

// writes are what writes an outcome, but for its events, in this order.
func (t *pgSession) writes(out *outcome) (list []tableWrite) {
	if len(out.rows) > 0 {
		list = append(list, tableWrite{"write to " + t.shape.name, t.sql.write, t.writeArgs(out)})
	}
	if len(out.sides) > 0 {
		list = append(list, tableWrite{"update " + t.shape.side, t.sql.updateSides, t.sideArgs(out)})
	}
	if len(out.ledger) > 0 {
		list = append(list, tableWrite{"append to " + t.shape.ledger, t.sql.ledger, ledgerArgs(out)})
	}
	return list
}

// writeArgs are the arguments of the write query, in the order of its parts.
func (t *pgSession) writeArgs(out *outcome) []any {
	var inserts, updates []rowWrite
	for _, r := range out.rows {
		if r.revision == notStored {
			inserts = append(inserts, r)
		} else {
			updates = append(updates, r)
		}
	}
	args := append(t.rowArgs(inserts), t.rowArgs(updates)...)
	revisions := make(xidArray, len(updates))
	for i, r := range updates {
		revisions[i] = r.revision
	}
	args = append(args, revisions)
	if t.shape.waits {
		args = append(args, waitArgs(out)...)
	}
	if t.shape.history != "" {
		args = append(args, historyArgs(out.entries)...)
	}
	if t.shape.sums != "" {
		args = append(args, sumArgs(out.sums)...)
	}
	return args
}

func (t *pgSession) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.run.ExecContext(ctx, query, args...)
	return err
}

func (t *pgSession) rowArgs(rows []rowWrite) []any {
	n := len(rows)
	var (
		ids, states         = make(UUIDArray, n), make(JSONArray, n)
		versions, said      = make(BigintArray, n), make(BigintArray, n)
		processed, commands = make(TextArray, n), make(TextArray, n)
		waiting             = make(TextArray, n)
		correlation         = make(TextArray, n)
		columns             = make([]TextArray, len(t.shape.columns))
	)
	for c := range columns {
		columns[c] = make(TextArray, n)
	}
	for i, r := range rows {
		ids[i], states[i], versions[i], said[i] = string(r.id), r.state, r.version, r.said
		processed[i], commands[i], waiting[i] = joinUUIDs(r.newIDs), joinUUIDs(r.commands), TextArray(r.waiting).text()
		correlation[i] = r.correlationID
		for c := range columns {
			columns[c][i] = r.columns[c]
		}
	}
	args := []any{ids, states, versions, said, processed, commands, waiting, correlation}
	for _, c := range columns {
		args = append(args, c)
	}
	return args
}

func joinUUIDs(ids []string) string { return "{" + strings.Join(ids, ",") + "}" }

func historyArgs(entries []entryWrite) []any {
	n := len(entries)
	ids, versions, events, types := make(UUIDArray, n), make(BigintArray, n), make(UUIDArray, n), make(TextArray, n)
	data, correlation, causation := make(JSONArray, n), make(TextArray, n), make(UUIDArray, n)
	for i, e := range entries {
		ids[i], versions[i], events[i], types[i] = string(e.orderID), e.version, e.eventID, e.entry.Type
		data[i], correlation[i], causation[i] = e.entry.Data, e.correlationID, e.causationID
	}
	return []any{ids, versions, events, types, data, correlation, causation}
}

func sumArgs(sums []Sum) []any {
	n := len(sums)
	minutes, names, keys, numbers := make(TimestamptzArray, n), make(TextArray, n), make(TextArray, n), make(BigintArray, n)
	for i, s := range sums {
		minutes[i], names[i], keys[i], numbers[i] = s.Minute, s.Name, s.Key, s.N
	}
	return []any{minutes, names, keys, numbers}
}

func waitArgs(out *outcome) []any {
	ended, endedSteps := make(UUIDArray, len(out.waitsEnd)), make(TextArray, len(out.waitsEnd))
	for i, w := range out.waitsEnd {
		ended[i], endedSteps[i] = string(w.id), w.step
	}
	n := len(out.waits)
	ids, steps, after, claimed := make(UUIDArray, n), make(TextArray, n), make(BigintArray, n), make(BooleanArray, n)
	for i, w := range out.waits {
		ids[i], steps[i], after[i], claimed[i] = string(w.id), w.step, w.after.Milliseconds(), w.claimed
	}
	return []any{ended, endedSteps, out.holder, ids, steps, after, claimed}
}

func (t *pgSession) sideArgs(out *outcome) []any {
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
	return args
}

func ledgerArgs(out *outcome) []any {
	n := len(out.ledger)
	ids, keys, states, correlation := make(UUIDArray, n), make(TextArray, n), make(JSONArray, n), make(TextArray, n)
	for i, l := range out.ledger {
		ids[i], keys[i], states[i], correlation[i] = l.id, l.key, l.state, l.correlationID
	}
	return []any{ids, keys, states, correlation}
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
