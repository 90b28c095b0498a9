package deadletter

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"millrace/event"
	"millrace/outbox"
)

// Lost is a message that the index may lack.
type Lost struct {
	// Letter is New for one that failed, Parked for one that only waits.
	Letter
	// From is where it was read, for the letter's story.
	From string
}

// LostLane is what the logs hold of a lane: its letters, and the messages of its order.
type LostLane struct {
	ID string
	// OrderID is empty for a message without an order, whose own id the lane has.
	OrderID  event.OrderID
	Messages []Lost
}

// Rebuilt counts what a rebuild found and put back.
type Rebuilt struct {
	// Known letters were in the index already.
	Known int64 `json:"known"`
	// Resolved letters were put back whose message has been processed, or dropped, since.
	Resolved int64 `json:"resolved"`
	// New letters were put back that wait for somebody.
	New int64 `json:"new"`
	// Parked messages were put back, behind letters.
	Parked int64 `json:"parked"`
	// Lanes are held up again.
	Lanes int64 `json:"lanes"`
	// Freed orders had a mark, and nothing to wait for.
	Freed int64 `json:"freed"`
}

// Add adds another count.
func (r *Rebuilt) Add(o Rebuilt) {
	r.Known += o.Known
	r.Resolved += o.Resolved
	r.New += o.New
	r.Parked += o.Parked
	r.Lanes += o.Lanes
	r.Freed += o.Freed
}

// errDryRun ends a transaction that must change nothing.
var errDryRun = errors.New("dry run")

// Rebuild puts back what the index lacks of lanes of a service: letters, what waits behind them, and the marks. It
// is one transaction, which holds the orders' rows, so that routers may run. What the service has processed comes
// back as a resolved letter, or not at all; what lies in the index stays as it is. A marked order of which nothing
// waits loses its mark. The same again changes nothing. A dry run only counts.
//
// The lanes must hold all that the logs have of them: what is left out may be overtaken.
func (d *Desk) Rebuild(ctx context.Context, service string, lanes []LostLane, dryRun bool) (Rebuilt, error) {
	marks := d.marks[service]
	if marks == nil {
		return Rebuilt{}, fmt.Errorf("the rows of service %s are not in this database", service)
	}
	var ids []event.OrderID
	for _, lane := range lanes {
		if lane.OrderID != "" {
			ids = append(ids, lane.OrderID)
		}
	}
	var counted Rebuilt
	err := marks.Hold(ctx, ids, func(ctx context.Context, tx *sql.Tx, marked map[event.OrderID]bool) error {
		b := rebuild{service: service, who: d.who}
		if err := b.read(ctx, tx, marks, lanes); err != nil {
			return err
		}
		for _, lane := range lanes {
			b.plan(lane, marked)
		}
		counted = b.counted
		if dryRun {
			return errDryRun
		}
		return b.write(ctx, tx)
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	if err != nil {
		return Rebuilt{}, fmt.Errorf("rebuild %d lanes of %s: %w", len(lanes), service, err)
	}
	return counted, nil
}

// rebuild is one transaction's work.
type rebuild struct {
	service, who string

	held  map[string]bool      // lanes that are held up
	known map[string]bool      // letters and messages that lie here
	done  map[string]bool      // messages that count as processed
	open  map[string][]*Letter // what is open in each lane, in order

	letters []*Letter // to be written, in this order
	status  []Status
	from    []string // where each was read
	moved   []string // letters whose place must be behind all others, one after the other
	ended   outbox.UUIDArray
	lanes   outbox.UUIDArray
	orders  outbox.TextArray
	due     outbox.BooleanArray
	counted Rebuilt
}

// read looks at what there is. The lanes are locked in the order in which everybody locks them.
func (b *rebuild) read(ctx context.Context, tx *sql.Tx, marks *outbox.Marks, lanes []LostLane) (err error) {
	var ids outbox.UUIDArray
	var all []*Letter
	for _, lane := range lanes {
		ids = append(ids, lane.ID)
		for i := range lane.Messages {
			all = append(all, &lane.Messages[i].Letter)
		}
	}
	if b.held, err = texted(ctx, tx, "SELECT lane FROM deadletter.lanes WHERE service = $1 AND lane = ANY($2::uuid[]) ORDER BY service, lane FOR UPDATE", b.service, ids); err != nil {
		return err
	}
	if b.known, err = knownIDs(ctx, tx, all); err != nil {
		return err
	}
	if b.done, err = doneIDs(ctx, tx, marks, all); err != nil {
		return err
	}
	b.open, err = openPlaces(ctx, tx, b.service, ids)
	return err
}

// openPlaces reads, lane by lane, where what is open came from and how it stands. Nothing else of it is needed, and bodies are large.
func openPlaces(ctx context.Context, tx *sql.Tx, service string, lanes outbox.UUIDArray) (map[string][]*Letter, error) {
	rows, err := tx.QueryContext(ctx, "SELECT id, lane, topic, partition, kafka_offset, status FROM deadletter.letters WHERE service = $1 AND lane = ANY($2::uuid[]) AND "+
		open+" ORDER BY lane, position", service, lanes)
	if err != nil {
		return nil, fmt.Errorf("read what is open: %w", err)
	}
	defer rows.Close()
	list := map[string][]*Letter{}
	for rows.Next() {
		l := &Letter{}
		if err := rows.Scan(&l.ID, &l.Lane, &l.Topic, &l.Partition, &l.Offset, &l.Status); err != nil {
			return nil, fmt.Errorf("read what is open: %w", err)
		}
		list[l.Lane] = append(list[l.Lane], l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read what is open: %w", err)
	}
	return list, nil
}

// plan decides what becomes of a lane.
func (b *rebuild) plan(lane LostLane, marked map[event.OrderID]bool) {
	var missing []*Letter
	from := map[string]string{}
	held := len(b.open[lane.ID]) > 0 || marked[lane.OrderID]
	for i := range lane.Messages {
		l := &lane.Messages[i].Letter
		from[l.ID] = lane.Messages[i].From
		switch {
		case b.known[l.ID] && l.Status == New:
			b.counted.Known++
		case b.known[l.ID]:
		case b.done[l.ID] && l.Status == New:
			b.put(l, Resolved, from[l.ID])
			b.counted.Resolved++
		case b.done[l.ID]:
		default:
			missing = append(missing, l)
			held = held || l.Status == New
		}
	}
	if !held { // its messages are on their way, or will be
		if b.held[lane.ID] {
			b.ended = append(b.ended, lane.ID)
		}
		return
	}
	for _, l := range missing {
		if l.Status == New {
			b.counted.New++
		} else {
			b.counted.Parked++
		}
	}
	order, moved := merge(b.open[lane.ID], arrange(missing))
	if len(order) == 0 {
		marked[lane.OrderID] = false
		b.ended = append(b.ended, lane.ID)
		b.counted.Freed++
		return
	}
	if lane.OrderID != "" {
		marked[lane.OrderID] = true
	}
	isOpen := map[*Letter]bool{}
	for _, l := range b.open[lane.ID] {
		isOpen[l] = true
	}
	for _, l := range order {
		if !isOpen[l] { // what is open stays as it is
			b.put(l, l.Status, from[l.ID])
		}
	}
	b.moved = append(b.moved, moved...)
	if !b.held[lane.ID] {
		b.counted.Lanes++
	}
	// What has not failed is tried; a letter waits to be asked for.
	b.lanes, b.orders, b.due = append(b.lanes, lane.ID), append(b.orders, string(lane.OrderID)), append(b.due, order[0].Status != New)
}

func (b *rebuild) put(l *Letter, s Status, from string) {
	b.letters, b.status, b.from = append(b.letters, l), append(b.status, s), append(b.from, from)
}
