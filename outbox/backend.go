package outbox

import (
	"context"
	"errors"
	"slices"
	"time"

	"millrace/event"
)

// backend is where rows lie: Postgres or memory. It knows no types: states are
// JSON, side rows are lists of field values.
type backend interface {
	// begin starts a transaction; now is its time, on the database's clock.
	begin(ctx context.Context, opts lockOptions) (tx session, now time.Time, err error)
	// load returns state and correlation id of those rows that exist, as they were committed.
	load(ctx context.Context, ids []event.OrderID) ([]record, error)
}

// session is one transaction. Its calls come in the order they are listed in: read alone, or
// those that lock.
type session interface {
	// read returns the committed rows of those ids that have one, without a lock.
	read(ctx context.Context, ids []event.OrderID) (map[event.OrderID]*record, error)
	// insertSides makes sure the side rows exist.
	insertSides(ctx context.Context, keys []string) error
	// lock makes sure the rows of create exist, and returns those rows of ids that could be locked.
	// Missing ones and those held elsewhere are told apart in the result.
	lock(ctx context.Context, ids, create []event.OrderID) (locked, error)
	// lockSides returns the fields of those keys that exist, and the keys that are held elsewhere.
	lockSides(ctx context.Context, keys []string) (fields map[string][]any, held map[string]bool, err error)
	// inLedger returns which ids the ledger holds already. The side rows are locked by then.
	inLedger(ctx context.Context, ids []string) (map[string]bool, error)
	// refusals returns for each of the outcomes what the database says against its data when it is written by itself; nil where
	// it says nothing. Nothing is written.
	refusals(ctx context.Context, outs []*outcome) ([]error, error)
	// write returns the revision that the rows it wrote have from now on. It fails with errStale, and
	// nothing may be committed then, if one of them is no longer as it was read.
	write(ctx context.Context, out *outcome) (revision uint32, err error)
	commit(ctx context.Context) error
	// rollback is the last call, always; after commit it changes nothing.
	rollback()
}

// errStale means: somebody else has written a row since it was read.
var errStale = errors.New("a row was changed by somebody else since it was read")

// errFromMemory means: a change was refused, or found processed, on a row that was taken from memory. Where
// nothing is written, nothing shows whether it was the newest: a mark may be gone since, a dropped message restored.
var errFromMemory = errors.New("a row from memory left a change undone")

type locked struct {
	rows    map[event.OrderID]*record
	unknown map[event.OrderID]bool // no such row
}

// record is a row as it is stored.
type record struct {
	id event.OrderID
	// revision changes with every write, whoever makes it; notStored is a row that does not exist yet.
	// In Postgres it is xmin, the number of the transaction that wrote the row last.
	revision      uint32
	state         []byte
	version       int64
	said          int64
	processed     []string
	commands      []string
	waiting       []string
	correlationID string
	parked        bool // a dead letter holds the order up: messages wait behind it
}

// notStored is the revision of a row that is still to be inserted. No transaction has this number.
const notStored = 0

func newRecord(id event.OrderID) *record { return &record{id: id, state: []byte(emptyState)} }

// outcome is all that one transaction writes.
type outcome struct {
	holder   string // who claims the waits that are written claimed
	rows     []rowWrite
	entries  []entryWrite
	waits    []waitWrite
	waitsEnd []waitKey
	sides    []sideWrite
	ledger   []ledgerWrite
	sums     []Sum
	messages []outboxRow
}

func (o *outcome) empty() bool {
	return len(o.rows) == 0 && len(o.sides) == 0 && len(o.ledger) == 0
}

type rowWrite struct {
	record           // as it is to be
	newIDs  []string // what to append to the processed ids
	columns []string // in the order of Table.Columns
}

type entryWrite struct {
	orderID       event.OrderID
	version       int64
	eventID       string
	entry         Entry
	correlationID string
	causationID   string
}

type waitKey struct {
	id   event.OrderID
	step string
}

type waitWrite struct {
	waitKey
	after   time.Duration
	claimed bool
}

type sideWrite struct {
	key    string
	fields []any
}

type ledgerWrite struct {
	id            string
	key           string
	state         []byte
	correlationID string
}

// sorted sorts and removes doubles: every process locks in the same order.
func sorted[T ~string](s []T) []T {
	slices.Sort(s)
	return slices.Compact(s)
}

func setOf[T comparable](s []T) map[T]bool {
	set := make(map[T]bool, len(s))
	for _, v := range s {
		set[v] = true
	}
	return set
}
