package reindex

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"millrace/deadletter"
	"millrace/deadletter/dialect"
	"millrace/event"
	"millrace/transport"
)

// letter is what the topic has of one: the first copy, and the last.
type letter struct{ first, last copied }

// copied is a letter as one record has it.
type copied struct {
	deadletter.Letter
	record transport.LogRecord
}

// behind tells whether a copy was written later. Those of one letter are in one partition, unless it has no key.
func (c copied) behind(o copied) bool {
	if c.record.Partition == o.record.Partition {
		return c.record.Offset > o.record.Offset
	}
	return c.record.Time.After(o.record.Time)
}

// lost is the last copy, with the beginning of the first one.
func (l *letter) lost() deadletter.Lost {
	out := deadletter.Lost{Letter: l.last.Letter, From: l.last.record.Place()}
	out.FirstFailed = l.first.FirstFailed
	if !bytes.Equal(l.first.Payload, l.last.Payload) {
		out.Before = l.first.Payload
	}
	return out
}

// readLetters takes the letters from their topic that the index lacks.
func (w *work) readLetters(ctx context.Context, r *round, first bool) error {
	var read []copied
	flush := func() error {
		list := make([]*deadletter.Letter, len(read))
		for i := range read {
			list[i] = &read[i].Letter
		}
		unknown, err := w.service.Desk.Unknown(ctx, list)
		if err != nil {
			return err
		}
		if first {
			w.report.Known += int64(len(list) - len(unknown))
		}
		lacking := make(map[*deadletter.Letter]bool, len(unknown))
		for _, l := range unknown {
			lacking[l] = true
		}
		for i, c := range read {
			if !lacking[list[i]] {
				continue
			}
			if err := w.complete(ctx, &c); err != nil {
				return err
			}
			w.add(r, c)
		}
		read = nil
		return nil
	}
	err := w.log.Scan(ctx, []string{deadletter.Topic(w.service.Group)}, time.Time{}, func(rec transport.LogRecord) error {
		l, ok := w.ours(rec)
		if first && ok {
			w.report.Copies++
		} else if first {
			w.report.Foreign++
		}
		if !ok || w.done[laneOf(&l)] {
			return nil
		}
		if read = append(read, copied{l, rec}); len(read) < batch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	return w.findWaiting(ctx, r)
}

// complete takes a message whose copy was cut from its own topic. Where that no longer keeps it, the letter is what the
// copy has; and an edited one is what it was.
func (w *work) complete(ctx context.Context, c *copied) error {
	if !slices.ContainsFunc(c.record.Headers, func(h transport.Header) bool { return h.Key == deadletter.HeaderCut }) {
		return nil
	}
	r, err := w.log.ReadAt(ctx, c.Topic, c.Partition, c.Offset)
	switch {
	case errors.Is(err, transport.ErrNoRecord):
		return nil
	case err != nil:
		return err
	}
	if m, _ := w.service.Parkable(r); m.ID == c.ID {
		c.Key, c.Headers, c.Payload = m.Key, m.Headers, m.Payload
	}
	return nil
}

func (w *work) add(r *round, c copied) {
	l := r.lane(laneOf(&c.Letter), event.OrderID(c.OrderID), w.done)
	if l == nil {
		return
	}
	r.bytes += len(c.Payload)
	known := l.letters[c.ID]
	switch {
	case known == nil:
		l.letters[c.ID] = &letter{c, c}
	case c.behind(known.last):
		known.last = c
	case known.first.behind(c):
		known.first = c
	}
}

// findWaiting finds the lanes with a letter that waits.
func (w *work) findWaiting(ctx context.Context, r *round) error {
	var asked []*deadletter.Letter
	flush := func() error {
		missing, err := w.service.Desk.Missing(ctx, w.service.Name, asked)
		for _, l := range missing {
			r.lanes[laneOf(l)].waits = true
		}
		asked = nil
		return err
	}
	for _, id := range r.order {
		for _, l := range r.lanes[id].letters {
			if l.last.OrderID == "" {
				continue
			}
			if asked = append(asked, &l.last.Letter); len(asked) < batch {
				continue
			}
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// readMessages takes the messages from the service's topics that wait, or should, behind letters.
func (w *work) readMessages(ctx context.Context, r *round) error {
	waits := false
	for _, l := range r.lanes {
		waits = waits || l.waits
	}
	if !waits {
		return nil
	}
	var read []*deadletter.Letter
	flush := func() error {
		missing, err := w.service.Desk.Missing(ctx, w.service.Name, read)
		for _, m := range missing {
			l := r.lanes[m.OrderID]
			if other := l.messages[m.ID]; l.letters[m.ID] == nil && (other == nil || m.Offset < other.Offset) { // the relay may have sent it twice
				l.messages[m.ID] = m
			}
		}
		read = nil
		return err
	}
	err := w.log.Scan(ctx, w.service.Topics, time.Time{}, func(rec transport.LogRecord) error {
		id, err := event.ParseOrderID(string(rec.Key))
		if err != nil {
			return nil
		}
		if l := r.lanes[string(id)]; l == nil || !l.waits {
			return nil
		}
		m, ok := w.service.Parkable(rec)
		if !ok || m.OrderID != string(id) {
			return nil
		}
		m.Status = deadletter.Parked
		if read = append(read, &m); len(read) < batch {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// laneOf is the lane a letter belongs to: its order's, or its own.
func laneOf(l *deadletter.Letter) string { return cmp.Or(l.OrderID, l.ID) }

// ours reads a letter of the service. Anybody may have written to the topic: a record whose ids do not fit each
// other is none.
func (w *work) ours(rec transport.LogRecord) (deadletter.Letter, bool) {
	l, name := dialect.Read(rec)
	if name != dialect.Ours || l.Group != w.service.Group || uuid.Validate(l.MessageID) != nil || !l.HasOwnID() {
		return l, false
	}
	if _, err := event.ParseOrderID(l.OrderID); l.OrderID != "" && err != nil {
		return l, false
	}
	l.Service, l.Status, l.Attempts = w.service.Name, deadletter.New, max(l.Attempts, 1)
	for _, text := range []*string{&l.Handler, &l.Topic, &l.CorrelationID, &l.Error, &l.ErrorType, &l.Version} {
		*text = strings.ReplaceAll(strings.ToValidUTF8(*text, "\uFFFD"), "\x00", "\uFFFD") // what no Postgres text can hold
	}
	return l, true
}
