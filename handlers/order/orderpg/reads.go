package orderpg

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"millrace/event"
	"millrace/handlers/order"
)

// Reads answers questions about orders. It takes no locks, and sees what is committed.
type Reads struct{ db *sql.DB }

// NewReads returns the queries on db.
func NewReads(db *sql.DB) *Reads { return &Reads{db: db} }

// A row without a status is one that heard of an order nobody placed: it is not shown.
const selectView = `SELECT order_id, state, version, correlation_id, created_at, updated_at
FROM orders.orders WHERE status IS NOT NULL`

// Order returns an order; an error that is event.ErrUnknownOrder if nobody placed it.
func (r *Reads) Order(ctx context.Context, id event.OrderID) (order.View, error) {
	view, err := scanView(r.db.QueryRowContext(ctx, selectView+" AND order_id = $1", string(id)))
	if errors.Is(err, sql.ErrNoRows) {
		err = event.ErrUnknownOrder
	}
	if err != nil {
		return order.View{}, fmt.Errorf("read order %s: %w", id, err)
	}
	return view, nil
}

func scanView(row interface{ Scan(...any) error }) (order.View, error) {
	var (
		view  order.View
		id    string
		state []byte
	)
	if err := row.Scan(&id, &state, &view.Version, &view.CorrelationID, &view.CreatedAt, &view.UpdatedAt); err != nil {
		return view, err
	}
	if err := json.Unmarshal(state, &view.Order); err != nil {
		return view, fmt.Errorf("order %s: its row is not readable: %w", id, err)
	}
	view.CreatedAt, view.UpdatedAt = view.CreatedAt.UTC(), view.UpdatedAt.UTC()
	return view, nil
}

// History returns what happened to an order, the oldest first; an error that is
// event.ErrUnknownOrder if nobody placed it.
func (r *Reads) History(ctx context.Context, id event.OrderID) ([]order.HistoryEntry, error) {
	rows, err := r.db.QueryContext(ctx, `SELECT version, event_id, type, at, correlation_id, causation_id, data
FROM orders.history WHERE order_id = $1
AND EXISTS (SELECT FROM orders.orders WHERE order_id = $1 AND status IS NOT NULL)
ORDER BY version`, string(id))
	if err != nil {
		return nil, fmt.Errorf("read the history of order %s: %w", id, err)
	}
	defer rows.Close()
	var history []order.HistoryEntry
	for rows.Next() {
		var (
			e    order.HistoryEntry
			data []byte
		)
		if err := rows.Scan(&e.Version, &e.EventID, &e.Type, &e.OccurredAt, &e.CorrelationID, &e.CausationID, &data); err != nil {
			return nil, fmt.Errorf("read the history of order %s: %w", id, err)
		}
		e.OccurredAt, e.Data = e.OccurredAt.UTC(), data
		history = append(history, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the history of order %s: %w", id, err)
	}
	if len(history) == 0 {
		return nil, fmt.Errorf("read the history of order %s: %w", id, event.ErrUnknownOrder)
	}
	return history, nil
}

// Rebuild replays an order's history, which must give its row.
func (r *Reads) Rebuild(ctx context.Context, id event.OrderID) (order.Order, error) {
	history, err := r.History(ctx, id)
	if err != nil {
		return order.Order{}, err
	}
	facts := make([]order.Fact, len(history))
	for i, e := range history {
		if facts[i], err = order.DecodeFact(e.Type, e.Data); err != nil {
			return order.Order{}, fmt.Errorf("order %s, version %d: %w", id, e.Version, err)
		}
	}
	return order.Replay(id, facts), nil
}

// List returns a page of orders, the newest first. Without a customer, a filter by
// status looks through all orders until the page is full.
func (r *Reads) List(ctx context.Context, f order.Filter) (order.Page, error) {
	query, args := strings.Builder{}, []any(nil)
	query.WriteString(selectView)
	where := func(condition string, values ...any) {
		numbers := make([]any, len(values))
		for i := range values {
			numbers[i] = len(args) + i + 1
		}
		fmt.Fprintf(&query, " AND "+condition, numbers...)
		args = append(args, values...)
	}
	if f.CustomerID != "" {
		where("customer_id = $%d", f.CustomerID)
	}
	if f.Status != "" {
		where("status = $%d", string(f.Status))
	}
	if f.Cursor != "" {
		at, id, err := decodeCursor(f.Cursor)
		if err != nil {
			return order.Page{}, err
		}
		where("(created_at, order_id) < ($%d, $%d)", at, string(id))
	}
	// One more than asked for tells whether there is a next page.
	fmt.Fprintf(&query, " ORDER BY created_at DESC, order_id DESC LIMIT %d", f.Limit+1)

	rows, err := r.db.QueryContext(ctx, query.String(), args...)
	if err != nil {
		return order.Page{}, fmt.Errorf("list orders: %w", err)
	}
	defer rows.Close()
	var page order.Page
	for rows.Next() {
		view, err := scanView(rows)
		if err != nil {
			return order.Page{}, fmt.Errorf("list orders: %w", err)
		}
		page.Orders = append(page.Orders, view)
	}
	if err := rows.Err(); err != nil {
		return order.Page{}, fmt.Errorf("list orders: %w", err)
	}
	if len(page.Orders) > f.Limit {
		page.Orders = page.Orders[:f.Limit]
		last := page.Orders[f.Limit-1]
		page.NextCursor = encodeCursor(last.CreatedAt, last.ID)
	}
	return page, nil
}

// A cursor is the place of a page's last order in the list: when it was placed, in
// microseconds as Postgres counts, and its id.
func encodeCursor(at time.Time, id event.OrderID) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", at.UnixMicro(), id))
}

func decodeCursor(cursor string) (time.Time, event.OrderID, error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return time.Time{}, "", order.ErrBadCursor
	}
	micros, id, _ := strings.Cut(string(text), " ")
	at, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || at < 0 || at > maxMicros {
		return time.Time{}, "", order.ErrBadCursor
	}
	orderID, err := event.ParseOrderID(id)
	if err != nil {
		return time.Time{}, "", order.ErrBadCursor
	}
	return time.UnixMicro(at).UTC(), orderID, nil
}

// maxMicros is the end of the year 9999: later times no timestamptz text form of
// Go's holds.
const maxMicros = 253_402_300_799_999_999
