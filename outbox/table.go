package outbox

import (
	"time"

	"millrace/event"
)

// Table says how one service's rows, one per order, are kept: S is a row's
// state, V a side row's (None for a service without side rows).
//
// The Postgres table Name has these columns, the store's own, and one for each
// entry of Columns:
//
//	order_id       uuid PRIMARY KEY
//	state          json        NOT NULL            -- S, as JSON
//	version        bigint      NOT NULL DEFAULT 0  -- counts changes; with History, its entries
//	said           bigint      NOT NULL DEFAULT 0  -- counts published events: ce_orderversion
//	processed      uuid[]      NOT NULL DEFAULT '{}' -- events and answers, for ever
//	commands       uuid[]      NOT NULL DEFAULT '{}' -- requests and callbacks, the last 256
//	waiting        text[]      NOT NULL DEFAULT '{}' -- steps in millrace.waits
//	correlation_id text        NOT NULL DEFAULT ''
//	parked_at      timestamptz                      -- set while dead letters hold the order up
//	created_at     timestamptz NOT NULL DEFAULT now()
//	updated_at     timestamptz NOT NULL DEFAULT now()
//
// Give it a fillfactor of 40, so that new versions of a row find room in its page, and keep
// indexes off columns that change.
type Table[S, V any] struct {
	// Service is the service's name: "order".
	Service string
	// Name is the qualified table: "orders.orders".
	Name string
	// New is a row nobody has heard of yet.
	New func(event.OrderID) S
	// Waits is what a row waits for. Nil: nothing ever.
	Waits func(*S) []event.Wait
	// Columns are projections of the state that queries need.
	Columns []Column[S]
	// History takes from a row what the last change recorded; each entry becomes a row
	// of HistoryTable(order_id uuid, version bigint, event_id uuid, type text, data
	// json, correlation_id text, causation_id uuid, at timestamptz, PRIMARY KEY
	// (order_id, version)). Nil: the service stores state only.
	History      func(*S) []Entry
	HistoryTable string
	// Sums is what a row contributes to sums over all rows. What a change adds to
	// them is appended to SumsTable(minute timestamptz, name text, key text, n bigint)
	// in the same transaction; nobody locks a shared row. Nil: no sums.
	Sums      func(*S) []Sum
	SumsTable string
	// Side rows are shared between orders, such as stock. Nil: none.
	Side *Side[V]
}

// None is V for a service without side rows.
type None struct{}

// Column is a projected column. Value is its content in Postgres's text form; an
// empty string is NULL.
type Column[S any] struct {
	Name  string
	Type  string // a Postgres type: text, timestamptz, bigint
	Value func(*S) string
}

// Entry is one entry of an event-sourced row's history.
type Entry struct {
	Type string
	Data []byte // JSON
}

// Sum is a number that many orders contribute to.
type Sum struct {
	Minute time.Time // start of the minute, UTC
	Name   string    // what is counted
	Key    string    // by what: a reason, a currency; may be empty
	N      int64
}

// Side says how rows are kept that many orders share. V is copied by assignment:
// it must not hold pointers, slices or maps.
//
// Name has the primary key column Key (text) and Columns, each with a default. Ledger(id uuid,
// key text, state json, correlation_id text, at timestamptz, PRIMARY KEY (id, key)) remembers what
// UpdateSide did, for ever.
type Side[V any] struct {
	Name    string
	Key     string
	New     func(key string) V
	Columns []string
	// Fields points at the columns' values, in order: *string or *int64.
	Fields func(*V) []any
	Ledger string
}
