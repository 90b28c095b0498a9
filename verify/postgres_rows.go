package verify

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

var errNoUUID = errors.New("not a UUID")

func uuidOf(text string) (id, error) {
	i, ok := canonical(text)
	if !ok {
		return i, fmt.Errorf("%q: %w", text, errNoUUID)
	}
	return i, nil
}

// rowsOf reads a service's rows. Arrays come as text of a form that is quickly read: UUIDs all have the
// same length, and no step has a line break in its name.
func (r *reader) rowsOf(ctx context.Context, s service, table string) error {
	column := "''"
	if s == orders {
		column = "coalesce(status, '')"
	}
	query := fmt.Sprintf(`SELECT order_id, state, version, said, array_to_string(processed, ''), cardinality(commands), array_to_string(waiting, E'\n'),
 correlation_id, parked_at IS NOT NULL, created_at, %s FROM %s`, column, table)
	var order string
	var state, processed, waiting sql.RawBytes
	var created time.Time
	return r.each(ctx, table, query, func(scan func(...any) error) error {
		f := row{Service: s}
		if err := scan(&order, &state, &f.Version, &f.Said, &processed, &f.Commands, &waiting, &f.Correlation, &f.Parked, &created, &f.Column); err != nil {
			return err
		}
		of, err := uuidOf(order)
		if err != nil {
			return err
		}
		f.Created = micros(created)
		if f.Processed, err = uuidsOf(string(processed)); err != nil {
			return fmt.Errorf("order %s: processed: %w", of, err)
		}
		if len(f.Processed) > 0 {
			r.sums.worksSince(s, f.Created)
		}
		if len(waiting) > 0 {
			f.Waiting = strings.Split(string(waiting), "\n")
		}
		f.readState(state)
		return r.out.Put(of, tagRow, &f)
	})
}

// uuidsOf cuts UUIDs that stand side by side.
func uuidsOf(text string) (list []id, err error) {
	for ; len(text) >= canonicalLength; text = text[canonicalLength:] {
		one, err := uuidOf(text[:canonicalLength])
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	if text != "" {
		return nil, fmt.Errorf("%q: %w", text, errNoUUID)
	}
	return list, nil
}

func (r *reader) history(ctx context.Context) error {
	var order string
	var data sql.RawBytes
	return r.each(ctx, tableHistory, `SELECT order_id, version, type, data, correlation_id FROM `+tableHistory, func(scan func(...any) error) error {
		var f entry
		if err := scan(&order, &f.Version, &f.Type, &data, &f.Correlation); err != nil {
			return err
		}
		of, err := uuidOf(order)
		if err != nil {
			return err
		}
		f.read(data)
		return r.out.Put(of, tagEntry, &f)
	})
}

func (r *reader) waits(ctx context.Context) error {
	var name, order string
	var due time.Time
	return r.each(ctx, tableWaits, `SELECT service, order_id, step, attempt, due_at FROM `+tableWaits, func(scan func(...any) error) error {
		var f wait
		if err := scan(&name, &order, &f.Step, &f.Attempt, &due); err != nil {
			return err
		}
		f.Due = micros(due)
		of, err := uuidOf(order)
		if err != nil {
			return err
		}
		f.Service = serviceNamed(name)
		return r.out.Put(of, tagWait, &f)
	})
}

// accounts reads the simulated provider's book.
func (r *reader) accounts(ctx context.Context) error {
	r.sums.provider = true
	var order string
	var book sql.RawBytes
	query := `SELECT order_id, account, captures, refunded, captured_amount, refunded_amount, currency FROM ` + tableAccounts
	return r.each(ctx, tableAccounts, query, func(scan func(...any) error) error {
		var f account
		if err := scan(&order, &book, &f.Captures, &f.Refunded, &f.CapturedAmount, &f.RefundedAmount, &f.Currency); err != nil {
			return err
		}
		of, err := uuidOf(order)
		if err != nil {
			return err
		}
		var keys struct{ Charges, Refunds map[string]json.RawMessage }
		if err := json.Unmarshal(book, &keys); err != nil {
			return fmt.Errorf("the account of order %s: %w", of, err)
		}
		f.Charges, f.Refunds = slices.Sorted(maps.Keys(keys.Charges)), slices.Sorted(maps.Keys(keys.Refunds))
		return r.out.Put(of, tagAccount, &f)
	})
}

// sent reads the built-in sender's book.
func (r *reader) sent(ctx context.Context) error {
	var order string
	return r.each(ctx, tableSent, `SELECT order_id, key, kind, channel FROM `+tableSent, func(scan func(...any) error) error {
		var f sent
		if err := scan(&order, &f.Key, &f.Kind, &f.Channel); err != nil {
			return err
		}
		of, err := uuidOf(order)
		if err != nil {
			return err
		}
		return r.out.Put(of, tagSent, &f)
	})
}

func (r *reader) stock(ctx context.Context) error {
	query := `SELECT sku, initial, restocked, available, reserved, sold FROM ` + tableStock
	return r.each(ctx, tableStock, query, func(scan func(...any) error) error {
		var sku string
		var l level
		if err := scan(&sku, &l.Initial, &l.Restocked, &l.Available, &l.Reserved, &l.Sold); err != nil {
			return err
		}
		r.sums.levels[sku] = l
		return nil
	})
}

// ledger reads what each article's level was after its last restock.
func (r *reader) ledger(ctx context.Context) error {
	query := `SELECT DISTINCT ON (key) key, (state->>'initial')::bigint, (state->>'restocked')::bigint
FROM ` + tableLedger + ` ORDER BY key, (state->>'version')::bigint DESC`
	return r.each(ctx, tableLedger, query, func(scan func(...any) error) error {
		var sku string
		var l level
		if err := scan(&sku, &l.Initial, &l.Restocked); err != nil {
			return err
		}
		r.sums.restocked[sku] = l
		return nil
	})
}

func (r *reader) totals(ctx context.Context) error {
	return r.summed(ctx, tableTotals, `SELECT NULL, name, key, n::text FROM `+tableTotals)
}

func (r *reader) minutes(ctx context.Context) error {
	return r.summed(ctx, tableMinutes, `SELECT extract(epoch FROM minute)::bigint, name, key, n::text FROM `+tableMinutes)
}

// deltas are what is not folded yet; they belong to the totals and to the minutes.
func (r *reader) deltas(ctx context.Context) error {
	return r.summed(ctx, tableDeltas, `SELECT extract(epoch FROM minute)::bigint, name, key, sum(n)::text FROM `+tableDeltas+` GROUP BY 1, 2, 3
UNION ALL SELECT NULL, name, key, sum(n)::text FROM `+tableDeltas+` GROUP BY 2, 3`)
}

func (r *reader) summed(ctx context.Context, table, query string) error {
	return r.each(ctx, table, query, func(scan func(...any) error) error {
		var minute sql.NullInt64
		var name, key, n string
		if err := scan(&minute, &name, &key, &n); err != nil {
			return err
		}
		at := allTime
		if minute.Valid {
			at = minute.Int64
		}
		if at != allTime && name == sumTimeToPaid {
			return nil // there is no series of those
		}
		return r.sums.stored.add(sumKey{at, name, key}, n)
	})
}
