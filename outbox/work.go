package outbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	decode "github.com/go-json-experiment/json/v1" // encoding/json as it is from Go 1.27 on
	"github.com/google/uuid"

	"millrace/event"
	"millrace/fault"
)

// maxCommands is how many ids of requests and callbacks a row remembers; beyond that the oldest are
// forgotten. Those ids come from outside, so something has to bound them.
const maxCommands = 256

// errHeld means: the row, or a side row, is locked by somebody else.
var errHeld = errors.New("the row is held elsewhere")

// work is a batch between lock and write: rows in memory, changes applied to them one by one.
type work[S, V any] struct {
	store     *Store[S, V]
	now       time.Time
	rows      map[event.OrderID]*row[S]
	order     []*row[S] // rows in the order they were first changed
	unknown   map[event.OrderID]bool
	held      map[event.OrderID]bool // had to wait: what comes later for the same order waits as well
	sides     map[string][]any
	sideHeld  map[string]bool
	sideAsked map[string]bool
	current   map[string]V
	changed   map[string]bool
	inLedger  map[string]bool
	ledger    []ledgerWrite
	messages  []outboxRow
	entries   []entryWrite
}

// row is one order's row while changes run.
type row[S any] struct {
	record
	current    S      // the state after the last change that was kept
	good       []byte // the same as JSON: what a failed change is rolled back to
	newIDs     []string
	wasWaiting []string
	waits      []event.Wait // what the row waits for now
	sumsBefore []Sum
	sums       []Sum
	columns    []string // in the order of Table.Columns
	dirty      bool
	fromMemory bool // not read in this transaction: it may not be the newest
	unreadable error
}

func newWork[S, V any](s *Store[S, V], now time.Time) *work[S, V] {
	return &work[S, V]{
		store: s, now: now, rows: map[event.OrderID]*row[S]{}, unknown: map[event.OrderID]bool{},
		held: map[event.OrderID]bool{}, current: map[string]V{}, changed: map[string]bool{},
	}
}

func (w *work[S, V]) add(rec *record) {
	state, err := w.store.decode(rec.id, rec.state)
	r := &row[S]{record: *rec, current: state, good: rec.state, wasWaiting: rec.waiting, unreadable: err}
	if err == nil && w.store.table.Sums != nil {
		r.sumsBefore = w.store.table.Sums(&r.current)
	}
	w.rows[rec.id] = r
}

// emptyState is what a row holds that was inserted but never changed.
const emptyState = "{}"

func (s *Store[S, V]) decode(id event.OrderID, state []byte) (S, error) {
	row := s.table.New(id)
	if string(state) == emptyState {
		return row, nil
	}
	if err := decode.Unmarshal(state, &row); err != nil {
		return row, fmt.Errorf("%s: the row of order %s is not readable: %w", s.table.Name, id, err)
	}
	return row, nil
}

// run applies one member's change. It returns errHeld, or the answer for the caller.
func (w *work[S, V]) run(m *member[S, V]) error {
	m.known, m.changed = false, false
	if m.id == "" {
		return w.runSide(m)
	}
	r := w.rows[m.id]
	switch {
	case r == nil && w.unknown[m.id]:
		return fmt.Errorf("%s: order %s: %w", w.store.table.Service, m.id, event.ErrUnknownOrder)
	case r == nil || w.held[m.id]:
		w.held[m.id] = true
		return errHeld
	case !fault.On(fault.SkipProcessed) && (slices.Contains(r.processed, m.cause.ID) || slices.Contains(r.commands, m.cause.ID)):
		m.known = true
		return nil
	case r.parked && m.cause.Parkable:
		return ErrParked
	case r.unreadable != nil: // that is its own order's trouble alone
		return r.unreadable
	}
	err := w.guard(m, func() error {
		var side map[string]*V
		if m.keys != nil {
			var ok bool
			// The keys are asked for again: an earlier change of this batch may have moved them.
			if side, ok = w.sideCopies(m.keys(&r.current)); !ok {
				w.held[m.id] = true
				return errHeld
			}
		}
		return w.change(m, r, side)
	})
	if err != nil && !errors.Is(err, errHeld) {
		restored, decodeErr := w.store.decode(m.id, r.good)
		if decodeErr != nil {
			return decodeErr
		}
		r.current = restored
	}
	return err
}

// change runs the member's change on the row in place; after an error the caller restores the row.
func (w *work[S, V]) change(m *member[S, V], r *row[S], side map[string]*V) error {
	events, err := m.change(&r.current, side)
	if err != nil {
		return err
	}
	// An order keeps the correlation id it began with: a later request about it has
	// its own in its answer and in the access log.
	correlation := cmp.Or(r.correlationID, m.cause.CorrelationID, m.cause.ID)
	if fault.On(fault.ForgetCorrelation) {
		correlation = m.cause.ID
	}
	stamped := m.cause
	stamped.CorrelationID = correlation
	msgs, err := w.store.messages(events, m.id, stamped, r.said, w.now)
	if err != nil {
		return err
	}
	var entries []entryWrite
	version := r.version
	if w.store.table.History != nil {
		for _, e := range w.store.table.History(&r.current) {
			version++
			entries = append(entries, entryWrite{orderID: m.id, version: version, eventID: newID(), entry: e,
				correlationID: stamped.CorrelationID, causationID: m.cause.ID})
		}
	} else {
		version++
	}
	state, err := json.Marshal(&r.current)
	if err != nil {
		return fmt.Errorf("%s: encode the row of order %s: %w", w.store.table.Name, m.id, err)
	}
	table := &w.store.table
	var (
		waits   []event.Wait
		sums    []Sum
		columns = make([]string, len(table.Columns))
	)
	if table.Waits != nil {
		waits = table.Waits(&r.current)
	}
	if table.Sums != nil {
		sums = table.Sums(&r.current)
	}
	for i, c := range table.Columns {
		columns[i] = c.Value(&r.current)
	}
	if m.observation != nil {
		m.changed = len(msgs) > 0 || len(entries) > 0 || !w.store.same(m.id, r.good, state)
	}
	// Nothing below can fail: the change is kept as a whole.
	if !r.dirty {
		r.dirty = true
		w.order = append(w.order, r)
	}
	r.good, r.version, r.correlationID = state, version, correlation
	r.waits, r.sums, r.columns = waits, sums, columns
	r.said += int64(len(msgs))
	r.remember(m.cause)
	if fault.On(fault.LoseHistory) {
		entries = nil
	}
	w.messages, w.entries = append(w.messages, msgs...), append(w.entries, entries...)
	w.keepSides(side)
	return nil
}

func (r *row[S]) remember(c event.Cause) {
	if c.Command {
		r.commands = append(r.commands, c.ID)
		if extra := len(r.commands) - maxCommands; extra > 0 && !fault.On(fault.RememberAll) {
			r.commands = slices.Clone(r.commands[extra:]) // in place it would change a row kept in memory
		}
		return
	}
	r.processed, r.newIDs = append(r.processed, c.ID), append(r.newIDs, c.ID)
}

// guard runs what a service's own functions do for a member; a panic is its caller's alone.
func (w *work[S, V]) guard(m *member[S, V], do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			w.store.log.Error("a change panicked", "order_id", m.id, "cause", m.cause.ID, "panic", v, "stack", string(debug.Stack()))
			err = &PanicError{v}
		}
	}()
	return do()
}

func (w *work[S, V]) runSide(m *member[S, V]) error {
	if w.inLedger[m.cause.ID] {
		m.known = true
		return nil
	}
	m.changed = true
	side, ok := w.sideCopies(m.keys(nil))
	if !ok {
		return errHeld
	}
	var none S
	if err := w.guard(m, func() error { _, err := m.change(&none, side); return err }); err != nil {
		return err
	}
	w.keepSides(side)
	for key, v := range side {
		state, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%s: encode %s: %w", w.store.table.Side.Name, key, err)
		}
		w.ledger = append(w.ledger, ledgerWrite{id: m.cause.ID, key: key, state: state, correlationID: cmp.Or(m.cause.CorrelationID, m.cause.ID)})
	}
	if w.inLedger == nil {
		w.inLedger = map[string]bool{}
	}
	w.inLedger[m.cause.ID] = true
	return nil
}

// sideCopies gives a change its own copies of the side rows; false if one of them is
// held elsewhere, or was not locked because nobody knew it would be needed.
func (w *work[S, V]) sideCopies(keys []string) (map[string]*V, bool) {
	copies := make(map[string]*V, len(keys))
	for _, key := range keys {
		if w.sideHeld[key] || !w.sideAsked[key] {
			return nil, false
		}
		if v, ok := w.current[key]; ok {
			copies[key] = &v
		}
	}
	return copies, true
}

func (w *work[S, V]) keepSides(side map[string]*V) {
	for key, v := range side {
		w.current[key] = *v
		w.changed[key] = true
	}
}

func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(err) // the system's random source failed: nothing can be done safely
	}
	return id.String()
}
