package scenario

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/lib/pq"

	"millrace/event"
	"millrace/outbox"
	"millrace/topic"
	"millrace/transport"
	"millrace/transport/kafka"
)

// flood is messages of many orders, which another system sends to inventory alone: all say that an order is paid, and its
// shop has not placed it yet, so that inventory remembers it. Nobody else does anything about them.
type flood struct {
	first, last event.OrderID // the orders' ids lie between these, and nobody else's
	ids         map[event.OrderID][]string
	records     []transport.Record
}

const (
	// messagesOfMany and messagesOfOthers are how many messages an order has, by turns: two and a half in the mean.
	messagesOfMany, messagesOfOthers = 2, 3
	// floodStride is how many orders' first messages are sent before their second ones.
	floodStride = 100
	// idRandom is where in an id the part begins that differs between the orders of one flood.
	idRandom = 4
)

// newFlood makes the messages of that many orders, whose ids begin with mark.
func newFlood(mark [idRandom]byte, orders int) (*flood, error) {
	f := &flood{ids: map[event.OrderID][]string{}}
	id := func(fill byte) event.OrderID {
		return event.OrderID(uuid.UUID(slices.Concat(mark[:], slices.Repeat([]byte{fill}, len(uuid.UUID{})-idRandom))).String())
	}
	f.first, f.last = id(0), id(0xff)
	for begin := 0; begin < orders; begin += floodStride {
		stride := make([]event.OrderID, min(floodStride, orders-begin))
		for i := range stride {
			random := uuid.New()
			copy(random[:], mark[:])
			stride[i] = event.OrderID(random.String())
		}
		for n := range messagesOfOthers {
			for i, order := range stride {
				if n >= messagesOfMany && i%2 == 0 {
					continue
				}
				record, messageID, err := paidFor(order)
				if err != nil {
					return nil, err
				}
				f.ids[order] = append(f.ids[order], messageID)
				f.records = append(f.records, record)
			}
		}
	}
	return f, nil
}

func paidFor(order event.OrderID) (transport.Record, string, error) {
	payload, err := json.Marshal(event.InventoryUpdate{OrderID: order, Items: []event.Item{{SKU: sold, Quantity: 1, UnitPrice: 1250}}})
	if err != nil {
		return transport.Record{}, "", fmt.Errorf("make a message: %w", err)
	}
	msg := message.NewMessage(newID(), payload)
	msg.Metadata = message.Metadata{outbox.HeaderID: msg.UUID, outbox.HeaderType: topic.InventoryUpdate.Event, outbox.HeaderSource: "elsewhere"}
	msg.SetContext(transport.WithKey(context.Background(), []byte(order)))
	return transport.Encode(topic.InventoryUpdate.Name, msg), msg.UUID, nil
}

// floodPace is how often a part of a flood is sent.
const floodPace = 50 * time.Millisecond

// send sends the messages evenly within a time.
func (f *flood) send(ctx context.Context, brokers []string, within time.Duration) error {
	publisher, err := kafka.NewPublisher(kafka.Config{Brokers: brokers})
	if err != nil {
		return err
	}
	defer publisher.Close()
	tick := time.NewTicker(floodPace)
	defer tick.Stop()
	began := time.Now()
	for sent := 0; sent < len(f.records); {
		due := len(f.records)
		if passed := time.Since(began); passed < within {
			due = min(due, int(float64(due)*passed.Seconds()/within.Seconds()))
		}
		for sent < due {
			part := f.records[sent:min(due, sent+loadChunk)]
			for _, err := range publisher.PublishBatch(ctx, part) {
				if err != nil {
					return fmt.Errorf("send messages to %s: %w", topic.InventoryUpdate.Name, err)
				}
			}
			sent += len(part)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// processed is how many of the messages inventory has processed.
func (f *flood) processed(ctx context.Context, db *sql.DB) (n int, err error) {
	err = db.QueryRowContext(ctx, `SELECT coalesce(sum(cardinality(processed)), 0) FROM inventory.reservations WHERE order_id BETWEEN $1 AND $2`,
		string(f.first), string(f.last)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count what inventory has processed: %w", err)
	}
	return n, nil
}

// putAside is how many of the messages are letters, and how many wait behind one.
func (f *flood) putAside(ctx context.Context, db *sql.DB) (letters, parked int, err error) {
	err = db.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE status <> 'parked'), count(*) FILTER (WHERE status = 'parked') FROM deadletter.letters
WHERE service = 'inventory' AND status IN ('parked', 'retrying', 'new', 'redriving')`).Scan(&letters, &parked)
	if err != nil {
		return 0, 0, fmt.Errorf("count the letters: %w", err)
	}
	return letters, parked, nil
}

// check looks whether each order's messages were processed in order, all of them, and none twice.
func (f *flood) check(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, `SELECT order_id, processed::text[] FROM inventory.reservations WHERE order_id BETWEEN $1 AND $2`, string(f.first), string(f.last))
	if err != nil {
		return fmt.Errorf("read what inventory has processed: %w", err)
	}
	defer rows.Close()
	found := 0
	for rows.Next() {
		var order string
		var processed pq.StringArray
		if err := rows.Scan(&order, &processed); err != nil {
			return fmt.Errorf("read what inventory has processed: %w", err)
		}
		found++
		if want := f.ids[event.OrderID(order)]; !slices.Equal(processed, want) {
			return fmt.Errorf("of order %s inventory has processed %v, want %v", order, processed, want)
		}
	}
	if found != len(f.ids) {
		return fmt.Errorf("inventory has heard of %d orders, want %d", found, len(f.ids))
	}
	return rows.Err()
}
