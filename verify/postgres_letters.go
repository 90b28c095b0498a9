package verify

import (
	"context"
	"database/sql"
	"time"
)

// ordinarySteps leave a letter what the log says. After any other one it need not be: somebody gave
// it another body, took it up again, or brought it from elsewhere.
const ordinarySteps = "'redriven', 'resolved', 'failed again', 'dropped'"

// letters reads what was put aside. What is known of a message whose order is not known lies with
// its record: under the key, or under its own id.
func (r *reader) letters(ctx context.Context) error {
	touched := "false"
	if r.tables[tableSteps] {
		touched = "id IN (SELECT letter_id FROM " + tableSteps + " WHERE action NOT IN (" + ordinarySteps + "))"
	}
	query := `SELECT id, service, order_id IS NOT NULL, message_id, correlation_id, topic, partition, kafka_offset, key, payload, status, position, lane,
 recorded_at, original IS NOT NULL OR ` + touched + ` FROM ` + tableLetters
	var letterID, name, message, laneID string
	var key, payload sql.RawBytes
	var recorded time.Time
	return r.each(ctx, tableLetters, query, func(scan func(...any) error) error {
		var f letter
		err := scan(&letterID, &name, &f.Ordered, &message, &f.Correlation, &f.Topic, &f.Partition, &f.Offset, &key, &payload, &f.Status, &f.Position, &laneID,
			&recorded, &f.Touched)
		if err != nil {
			return err
		}
		if f.ID, err = uuidOf(letterID); err != nil {
			return err
		}
		if f.Lane, err = uuidOf(laneID); err != nil {
			return err
		}
		f.Message = eventID(message, "", "", "", 0, 0)
		f.Service, f.Recorded = serviceNamed(name), micros(recorded)
		if k, ok := kindOf(f.Topic); ok {
			body := record{Kind: k, Readable: true}
			_, err := body.read(payload)
			f.Ignored = err == nil && !leavesTrace(f.Service, &body)
		}
		return r.out.Put(home(key, f.Message), tagLetter, &f)
	})
}

// home is what a message's facts lie under: the order its key names, else its own id.
func home(key []byte, message id) id {
	if order, ok := orderID(string(key)); ok {
		return order
	}
	return message
}

// lanes reads what is held up. A lane of a message without an order has the letter's id; the facts
// about that letter lie elsewhere, so it is looked up.
func (r *reader) lanes(ctx context.Context) error {
	query := `SELECT n.service, n.lane, n.order_id IS NOT NULL, CASE WHEN n.due_at IS NOT NULL THEN greatest(n.due_at, n.lease_until) END, l.key, coalesce(l.message_id, '') FROM ` + tableLanes + ` n
LEFT JOIN ` + tableLetters + ` l ON n.order_id IS NULL AND l.id = n.lane`
	var name, laneID, message string
	var key sql.RawBytes
	return r.each(ctx, tableLanes, query, func(scan func(...any) error) error {
		var f lane
		var due sql.NullTime
		err := scan(&name, &laneID, &f.Ordered, &due, &key, &message)
		if err != nil {
			return err
		}
		if due.Valid {
			f.Due = micros(due.Time)
		}
		if f.ID, err = uuidOf(laneID); err != nil {
			return err
		}
		f.Service = serviceNamed(name)
		at := f.ID
		if message != "" {
			at = home(key, eventID(message, "", "", "", 0, 0))
		}
		return r.out.Put(at, tagLane, &f)
	})
}

// decided reads about which orders somebody decided whose letters are not kept any more.
func (r *reader) decided(ctx context.Context) error {
	var name, of string
	return r.each(ctx, tableDecided, "SELECT service, order_id FROM "+tableDecided, func(scan func(...any) error) error {
		if err := scan(&name, &of); err != nil {
			return err
		}
		about, err := uuidOf(of)
		if err != nil {
			return err
		}
		return r.out.Put(about, tagDecided, &decided{serviceNamed(name)})
	})
}

// outbox reads the events, and the copies of letters, that are committed and not yet known to be in Kafka.
func (r *reader) outbox(ctx context.Context) error {
	var number int64
	var name, topic string
	var key, payload, headers sql.RawBytes
	var created time.Time
	query := `SELECT id, service, topic, key, payload, headers, created_at FROM ` + tableOutbox
	found := backlog{database: r.name, at: r.at}
	defer func() { r.sums.backlogs = append(r.sums.backlogs, found) }()
	return r.each(ctx, tableOutbox, query, func(scan func(...any) error) error {
		if err := scan(&number, &name, &topic, &key, &payload, &headers, &created); err != nil {
			return err
		}
		found.row(micros(created))
		list, err := outboxHeaders(headers)
		if err != nil {
			found.unreadable(number, oneLine(err.Error()))
			return nil
		}
		f := fetched{topic: topic, row: number, key: key, value: payload, headers: list, stamp: micros(created)}
		return f.keep(r.out)
	})
}
