// Package reindex makes the index of dead letters anew from what lies in Kafka: the letters from their group's
// topic, and what waits behind them from the topics their service hears.
//
// It needs no consumer group, moves no offset, and may run beside routers: each lane is written in one transaction
// that holds the order's row. The same again changes nothing. What is in Postgres alone is lost with it: who
// decided what and why, redrives, and pauses. A dropped letter comes back as resolved, since its order counts its
// message as processed; one without an order comes back as new. What Kafka no longer keeps cannot come back.
package reindex

import (
	"context"
	"fmt"
	"time"

	"millrace/deadletter"
	"millrace/event"
	"millrace/outbox"
	"millrace/transport"
)

// Log is where records are read.
type Log interface {
	// Scan calls do for each record that lies in the topics when it begins, those of a partition in their order.
	Scan(ctx context.Context, topics []string, since time.Time, do func(transport.LogRecord) error) error
	// ReadAt returns one record, or transport.ErrNoRecord.
	ReadAt(ctx context.Context, topic string, partition int32, offset int64) (transport.LogRecord, error)
}

// Service is whose letters are put back.
type Service struct {
	Name  string
	Group string
	// Topics are those it hears.
	Topics []string
	// Desk is in the service's database.
	Desk *deadletter.Desk
	// Parkable is a record as the service would put it aside; false for one whose order it cannot tell, which
	// holds nobody up and waits for nobody.
	Parkable func(transport.LogRecord) (deadletter.Letter, bool)
}

// Report is what was found and done.
type Report struct {
	Service string `json:"service"`
	// Copies are records about letters of the service; several can be about one letter.
	Copies int64 `json:"copies"`
	// Foreign records are in the topic of the letters, and none of the service's.
	Foreign int64 `json:"foreign"`
	// Refused lanes could not be put back, because the database does not take them.
	Refused int64 `json:"refused"`
	deadletter.Rebuilt
}

const (
	// batch is how many messages are asked about at a time.
	batch = 500
	// lanesAtOnce and bytesAtOnce bound what one transaction puts back, unless a single lane is larger: a transaction has
	// five seconds, and 64 MiB took longer on a busy machine.
	lanesAtOnce = 50
	bytesAtOnce = 4 << 20
	// roundLanes and roundBytes bound what is in memory: that many lanes, with letters of that many bytes (and the
	// messages behind them), go through the logs at a time. What is more takes another round.
	roundLanes = 10_000
	roundBytes = 64 << 20
	// patience is how long a lane is tried whose row others hold.
	patience = 30 * time.Second
	// pause is the wait between such tries.
	pause = 200 * time.Millisecond
)

// Run puts back what the index lacks of a service's letters, and of what waits behind them. A dry run only counts.
// After an error, what was put back stays, whole lanes only; run it again. Lanes that the database refuses are
// left out, and make an error at the end.
func Run(ctx context.Context, log Log, s Service, dryRun bool) (Report, error) {
	w := &work{log: log, service: s, dryRun: dryRun, done: map[string]bool{}, report: Report{Service: s.Name}}
	fail := func(err error) (Report, error) {
		return w.report, fmt.Errorf("rebuild the index of %s: %w", s.Name, err)
	}
	held, err := s.Desk.Held(ctx, s.Name)
	if err != nil {
		return fail(err)
	}
	for first, more := true, true; more; first = false {
		r := &round{lanes: map[string]*lane{}}
		if err := w.readLetters(ctx, r, first); err != nil {
			return fail(err)
		}
		for _, h := range held {
			if l := r.lane(h.ID, h.OrderID, w.done); l != nil && h.OrderID != "" {
				l.waits = true
			}
		}
		if err := w.readMessages(ctx, r); err != nil {
			return fail(err)
		}
		if err := w.write(ctx, r); err != nil {
			return fail(err)
		}
		more = r.more
	}
	if w.refused != nil {
		return fail(fmt.Errorf("%d lanes are refused; the others were put back: %w", w.report.Refused, w.refused))
	}
	return w.report, nil
}

// work is one run.
type work struct {
	log     Log
	service Service
	dryRun  bool
	done    map[string]bool // lanes of earlier rounds
	report  Report
	refused error // the first of them
}

// write puts the lanes of a round back.
func (w *work) write(ctx context.Context, r *round) error {
	for ids := r.order; len(ids) > 0; {
		var lanes []deadletter.LostLane
		for size := 0; len(lanes) < min(len(ids), lanesAtOnce); {
			lost := r.lanes[ids[len(lanes)]].lost()
			if size += bytesIn(lost); size > bytesAtOnce && len(lanes) > 0 {
				break
			}
			lanes = append(lanes, lost)
		}
		if err := w.rebuild(ctx, lanes); err != nil {
			return err
		}
		for _, id := range ids[:len(lanes)] {
			w.done[id] = true
		}
		ids = ids[len(lanes):]
	}
	return nil
}

func bytesIn(l deadletter.LostLane) (n int) {
	for _, m := range l.Messages {
		n += len(m.Payload)
	}
	return n
}

// rebuild puts lanes back. Where the database refuses one, it must not keep the others away.
func (w *work) rebuild(ctx context.Context, lanes []deadletter.LostLane) error {
	for deadline := time.Now().Add(patience); ; {
		rebuilt, err := w.service.Desk.Rebuild(ctx, w.service.Name, lanes, w.dryRun)
		switch {
		case err == nil:
			w.report.Add(rebuilt)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !outbox.IsTransient(err) && len(lanes) > 1:
			half := len(lanes) / 2
			if err := w.rebuild(ctx, lanes[:half]); err != nil {
				return err
			}
			return w.rebuild(ctx, lanes[half:])
		case !outbox.IsTransient(err):
			w.report.Refused++
			if w.refused == nil {
				w.refused = err
			}
			return nil
		case time.Now().After(deadline):
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// round is what goes through the logs at a time.
type round struct {
	lanes map[string]*lane
	order []string // their ids, as they were found
	bytes int
	more  bool // there are lanes that had no room
}

// lane finds or makes a lane; nil for one that was done, or has no room.
func (r *round) lane(id string, order event.OrderID, done map[string]bool) *lane {
	if l := r.lanes[id]; l != nil || done[id] {
		return l
	}
	if len(r.lanes) >= roundLanes || r.bytes >= roundBytes {
		r.more = true
		return nil
	}
	l := &lane{id: id, orderID: order, letters: map[string]*letter{}, messages: map[string]*deadletter.Letter{}}
	r.lanes[id] = l
	r.order = append(r.order, id)
	return l
}

// lane is what the logs have of a lane.
type lane struct {
	id       string
	orderID  event.OrderID
	waits    bool // something of it waits: the messages of its order matter
	letters  map[string]*letter
	messages map[string]*deadletter.Letter
}

func (l *lane) lost() deadletter.LostLane {
	lost := deadletter.LostLane{ID: l.id, OrderID: l.orderID}
	for _, letter := range l.letters {
		lost.Messages = append(lost.Messages, letter.lost())
	}
	for _, m := range l.messages {
		lost.Messages = append(lost.Messages, deadletter.Lost{Letter: *m, From: m.Topic})
	}
	return lost
}
