package stock

import (
	"context"
	"fmt"

	"millrace/event"
	"millrace/handlers/analytics"
	"millrace/handlers/notification"
	"millrace/handlers/order"
	"millrace/handlers/payment"
	"millrace/handlers/shipping"
)

func orderRows(policy order.Policy) *rows[order.Order] {
	return &rows[order.Order]{
		service: "order", table: "orders.orders",
		empty: func(id event.OrderID) order.Order { return order.Order{ID: id} },
		due:   policy.Due,
		columns: []column[order.Order]{
			{"customer_id", func(o *order.Order) string { return o.CustomerID }},
			{"status", func(o *order.Order) string { return string(o.Status) }},
		},
		write: writeHistory,
	}
}

const insertHistory = `INSERT INTO orders.history (order_id, version, event_id, type, data, correlation_id, causation_id) VALUES ($1, $2, $3, $4, $5, $6, $7)`

// writeHistory appends what happened to the order; its version counts these entries.
func writeHistory(ctx context.Context, tx *transaction, rec *record[order.Order]) error {
	for _, fact := range rec.row.TakeFacts() {
		name, data, err := order.EncodeFact(fact)
		if err != nil {
			return err
		}
		rec.version++
		id := newID()
		causation := rec.cause.ID
		if causation == "" { // nothing but time
			causation = id
		}
		if _, err := tx.ExecContext(ctx, insertHistory, string(rec.id), rec.version, id, name, string(data), rec.correlationID, causation); err != nil {
			return fmt.Errorf("append %s to the history of order %s: %w", name, rec.id, err)
		}
	}
	return nil
}

func paymentRows(policy payment.Policy) *rows[payment.Payment] {
	return &rows[payment.Payment]{
		service: "payment", table: "payments.payments",
		empty: func(id event.OrderID) payment.Payment { return payment.Payment{ID: id} },
		due:   policy.Due,
	}
}

func shippingRows(policy shipping.Policy) *rows[shipping.Shipment] {
	return &rows[shipping.Shipment]{
		service: "shipping", table: "shipping.shipments",
		empty: func(id event.OrderID) shipping.Shipment { return shipping.Shipment{ID: id} },
		due:   policy.Due,
	}
}

func notificationRows() *rows[notification.Order] {
	return &rows[notification.Order]{
		service: "notification", table: "notification.orders",
		empty:   func(id event.OrderID) notification.Order { return notification.Order{ID: id} },
		due:     (*notification.Order).Due,
		columns: []column[notification.Order]{{"customer_id", func(o *notification.Order) string { return o.CustomerID }}},
	}
}

func analyticsRows() *rows[analytics.Order] {
	return &rows[analytics.Order]{
		service: "analytics", table: "analytics.orders",
		empty:   func(id event.OrderID) analytics.Order { return analytics.Order{ID: id} },
		measure: func(o *analytics.Order) any { return o.Contribution() },
		write:   writeDeltas,
	}
}

const insertDelta = `INSERT INTO analytics.deltas (minute, name, key, n) VALUES ($1, $2, $3, $4)`

// writeDeltas appends what the change makes of a difference to the sums.
func writeDeltas(ctx context.Context, tx *transaction, rec *record[analytics.Order]) error {
	rec.version++
	difference := map[analytics.Sum]int64{} // by all but N
	var inOrder []analytics.Sum
	count := func(sums []analytics.Sum, sign int64) {
		for _, s := range sums {
			key := s
			key.N = 0
			if _, seen := difference[key]; !seen {
				inOrder = append(inOrder, key)
			}
			difference[key] += sign * s.N
		}
	}
	count(rec.was.([]analytics.Sum), -1)
	count(rec.row.Contribution(), +1)
	for _, s := range inOrder {
		if n := difference[s]; n != 0 {
			if _, err := tx.ExecContext(ctx, insertDelta, s.Minute, s.Name, s.Key, n); err != nil {
				return fmt.Errorf("add to the sum %q: %w", s.Name, err)
			}
		}
	}
	return nil
}
