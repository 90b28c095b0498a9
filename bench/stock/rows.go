package stock

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"millrace/event"
)

// rows keeps one service's rows, one transaction per message: it notes the message's id, locks
// the row, lets the domain decide, and writes the row and the events it says. S is the row's
// type in the domain.
type rows[S any] struct {
	db      *database
	outbox  outbox
	service string
	table   string
	empty   func(event.OrderID) S
	due     func(*S) []event.Wait // what the row waits for; nil: never for anything
	columns []column[S]           // copied out of the state
	// write is what the service writes besides row and events, in the same transaction.
	write func(context.Context, *transaction, *record[S]) error
	// measure is called with the row as it was, for write to compare with.
	measure func(*S) any
	perform func(ctx context.Context, row S, step string, attempt int) (func(*S) ([]event.Event, error), error)

	sql struct{ lock, load, insert, update string }
}

type column[S any] struct {
	name  string
	value func(*S) string
}

// errRace: somebody else has just inserted the row; the transaction begins anew and finds it.
var errRace = errors.New("the row was inserted meanwhile")

const insertProcessed = `INSERT INTO processed (service, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`

// init makes the table's statements.
func (r *rows[S]) init(ctx context.Context) error {
	names, set, values := "", "", ""
	for i, c := range r.columns {
		n := i + 5 // after the four parameters that every table has
		names += ", " + c.name
		set += fmt.Sprintf(", %s = $%d", c.name, n)
		values += fmt.Sprintf(", $%d", n)
	}
	r.sql.load = fmt.Sprintf("SELECT state, version, correlation_id FROM %s WHERE order_id = $1", r.table)
	r.sql.lock = r.sql.load + " FOR UPDATE"
	r.sql.insert = fmt.Sprintf("INSERT INTO %s (order_id, state, version, correlation_id%s) VALUES ($1, $2, $3, $4%s) ON CONFLICT DO NOTHING", r.table, names, values)
	r.sql.update = fmt.Sprintf("UPDATE %s SET state = $2, version = $3, correlation_id = $4, updated_at = now()%s WHERE order_id = $1", r.table, set)
	return r.db.prepare(ctx, r.sql.lock, r.sql.insert, r.sql.update)
}

// mode is how a change came in.
type mode struct {
	existing bool // an unknown order is an error, and nothing is created
	fired    bool // by the poller: every wait of the row stands in the table of waits
	answers  bool // to calls, not caused by a message
}

// Update is the domain's: in a message's context, one transaction for the message, then the
// calls to the outside that the row waits for because of it.
func (r *rows[S]) Update(ctx context.Context, id event.OrderID, change func(*S) ([]event.Event, error)) error {
	return r.update(ctx, id, mode{}, ignoring[S](change))
}

// UpdateExisting is Update for orders that are known, else event.ErrUnknownOrder.
func (r *rows[S]) UpdateExisting(ctx context.Context, id event.OrderID, change func(*S) ([]event.Event, error)) error {
	return r.update(ctx, id, mode{existing: true}, ignoring[S](change))
}

// changeIn decides on a row; the transaction is for what else it must read or write.
type changeIn[S any] func(context.Context, *transaction, *S) ([]event.Event, error)

func ignoring[S any](change func(*S) ([]event.Event, error)) changeIn[S] {
	return func(_ context.Context, _ *transaction, row *S) ([]event.Event, error) { return change(row) }
}

func (r *rows[S]) update(ctx context.Context, id event.OrderID, m mode, change changeIn[S]) error {
	done, calls, err := r.transact(ctx, id, m, change)
	if err != nil {
		return err
	}
	return r.call(ctx, done, calls, m)
}

// transact runs the one transaction. It returns the row, and the steps that are due at once and
// that nobody else is performing.
func (r *rows[S]) transact(ctx context.Context, id event.OrderID, m mode, change changeIn[S]) (done *record[S], calls []string, err error) {
	for {
		done, calls, err = r.try(ctx, id, m, change)
		if !errors.Is(err, errRace) {
			return done, calls, err
		}
	}
}

func (r *rows[S]) try(ctx context.Context, id event.OrderID, m mode, change changeIn[S]) (*record[S], []string, error) {
	tx, err := r.db.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing

	cause := event.CauseFrom(ctx)
	if !m.answers && !cause.Command {
		// A command needs no entry: the domain finds in the row that it was here before.
		result, err := tx.ExecContext(ctx, insertProcessed, r.service, cause.ID)
		if err != nil {
			return nil, nil, fmt.Errorf("note message %s as processed: %w", cause.ID, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return r.again(ctx, tx, id, err)
		}
	}
	rec, err := r.read(ctx, tx, r.sql.lock, id)
	if err != nil {
		return nil, nil, err
	}
	if m.existing && rec.state == nil {
		return nil, nil, event.ErrUnknownOrder
	}
	rec.cause = cause
	if rec.correlationID == "" {
		rec.correlationID = cause.CorrelationID
	}
	before := r.waits(&rec.row)
	if r.measure != nil {
		rec.was = r.measure(&rec.row)
	}
	said, err := change(ctx, tx, &rec.row)
	if err != nil {
		return nil, nil, err
	}
	if err := r.save(ctx, tx, rec); err != nil {
		return nil, nil, err
	}
	if err := r.outbox.publish(tx, rec.correlationID, said); err != nil {
		return nil, nil, err
	}
	// What a message makes due at once is found again when the message comes again; what
	// comes only once is written down.
	calls, err := r.saveWaits(ctx, tx, id, before, r.waits(&rec.row), m.fired || cause.Command)
	if err != nil {
		return nil, nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, nil, fmt.Errorf("commit a change of %s %s: %w", r.table, id, err)
	}
	return rec, calls, nil
}

// again is for a message that was processed before. It may have been cut off between its
// transaction and the calls that follow from it, so whatever is due at once is called again; the
// idempotency keys are the same.
func (r *rows[S]) again(ctx context.Context, tx *transaction, id event.OrderID, err error) (*record[S], []string, error) {
	if err != nil || r.due == nil {
		return nil, nil, err
	}
	rec, err := r.read(ctx, tx, r.sql.load, id)
	if err != nil {
		return nil, nil, err
	}
	var calls []string
	for _, w := range r.waits(&rec.row) {
		if w.After == 0 {
			calls = append(calls, w.Step)
		}
	}
	return rec, calls, nil
}

// newID is a UUID that ascends with time.
func newID() string { return uuid.Must(uuid.NewV7()).String() } // crypto/rand does not fail
