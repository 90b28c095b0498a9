package inventory_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"millrace/event"
	"millrace/handlers/inventory"
)

const order1 = event.OrderID("0199c0de-0000-7000-8000-000000000001")

// The columns of the table: what inventory can hear of an order of 3 mugs. "short"
// is the same order while only 2 are available.
var heard = []struct {
	name string
	hear func(context.Context, *inventory.Service) error
}{
	{"created", func(ctx context.Context, s *inventory.Service) error {
		return s.Reserve(ctx, event.OrderCreated{OrderID: order1, Items: items("MUG", 3)})
	}},
	{"short", func(ctx context.Context, s *inventory.Service) error {
		return s.Reserve(ctx, event.OrderCreated{OrderID: order1, Items: items("MUG", 3)})
	}},
	{"failed", func(ctx context.Context, s *inventory.Service) error {
		return s.Release(ctx, event.PaymentFailed{OrderID: order1})
	}},
	{"paid", func(ctx context.Context, s *inventory.Service) error {
		return s.Commit(ctx, event.InventoryUpdate{OrderID: order1, Items: items("MUG", 3)})
	}},
	{"stopped", func(ctx context.Context, s *inventory.Service) error {
		return s.TakeBack(ctx, event.ShippingStatus{OrderID: order1, Status: event.ParcelStopped})
	}},
	{"returned", func(ctx context.Context, s *inventory.Service) error {
		return s.TakeBack(ctx, event.ShippingStatus{OrderID: order1, Status: event.ParcelReturned})
	}},
}

// A row is named by its status ("-" while the order is not known) and what it
// remembers. A cell is the row that follows and what is said; "." is nothing at all.
const pairs = `
row                      | created                                                | short                             | failed                                                | paid                                          | stopped                                     | returned
-                        | RESERVED : Reserved                                    | REJECTED : Rejected               | - failed : Released(0,PAYMENT_FAILED)                 | - paid                                        | - stopped                                   | - returned
- failed                 | RELEASED failed                                        | RELEASED failed                   | .                                                     | .                                             | - failed stopped                            | - failed returned
- paid                   | SOLD paid : Reserved                                   | REJECTED paid : Rejected          | .                                                     | .                                             | - paid stopped                              | - paid returned
- stopped                | RESERVED stopped : Reserved                            | REJECTED stopped : Rejected       | - failed stopped : Released(0,PAYMENT_FAILED)         | - paid stopped                                | .                                           | .
- returned               | RESERVED returned : Reserved                           | REJECTED returned : Rejected      | - failed returned : Released(0,PAYMENT_FAILED)        | - paid returned                               | .                                           | .
- failed stopped         | RELEASED failed stopped                                | RELEASED failed stopped           | .                                                     | .                                             | .                                           | .
- failed returned        | RELEASED failed returned                               | RELEASED failed returned          | .                                                     | .                                             | .                                           | .
- paid stopped           | RELEASED paid stopped : Reserved Released(1,STOPPED)   | REJECTED paid stopped : Rejected  | .                                                     | .                                             | .                                           | .
- paid returned          | RETURNED paid returned : Reserved Released(1,RETURNED) | REJECTED paid returned : Rejected | .                                                     | .                                             | .                                           | .
RESERVED                 | .                                                      | .                                 | RELEASED failed : Released(1,PAYMENT_FAILED)          | SOLD paid                                     | RESERVED stopped                            | RESERVED returned
RESERVED stopped         | .                                                      | .                                 | RELEASED failed stopped : Released(1,PAYMENT_FAILED)  | RELEASED paid stopped : Released(1,STOPPED)   | .                                           | .
RESERVED returned        | .                                                      | .                                 | RELEASED failed returned : Released(1,PAYMENT_FAILED) | RETURNED paid returned : Released(1,RETURNED) | .                                           | .
SOLD paid                | .                                                      | .                                 | .                                                     | .                                             | RELEASED paid stopped : Released(1,STOPPED) | RETURNED paid returned : Released(1,RETURNED)
RELEASED failed          | .                                                      | .                                 | .                                                     | .                                             | RELEASED failed stopped                     | RELEASED failed returned
RELEASED failed stopped  | .                                                      | .                                 | .                                                     | .                                             | .                                           | .
RELEASED failed returned | .                                                      | .                                 | .                                                     | .                                             | .                                           | .
RELEASED paid stopped    | .                                                      | .                                 | .                                                     | .                                             | .                                           | .
RETURNED paid returned   | .                                                      | .                                 | .                                                     | .                                             | .                                           | .
REJECTED                 | .                                                      | .                                 | REJECTED failed                                       | REJECTED paid                                 | REJECTED stopped                            | REJECTED returned
REJECTED failed          | .                                                      | .                                 | .                                                     | .                                             | REJECTED failed stopped                     | REJECTED failed returned
REJECTED paid            | .                                                      | .                                 | .                                                     | .                                             | REJECTED paid stopped                       | REJECTED paid returned
REJECTED stopped         | .                                                      | .                                 | REJECTED failed stopped                               | REJECTED paid stopped                         | .                                           | .
REJECTED returned        | .                                                      | .                                 | REJECTED failed returned                              | REJECTED paid returned                        | .                                           | .
REJECTED failed stopped  | .                                                      | .                                 | .                                                     | .                                             | .                                           | .
REJECTED failed returned | .                                                      | .                                 | .                                                     | .                                             | .                                           | .
REJECTED paid stopped    | .                                                      | .                                 | .                                                     | .                                             | .                                           | .
REJECTED paid returned   | .                                                      | .                                 | .                                                     | .                                             | .                                           | .
`

// TestEveryPair walks every row that can be reached against every event. Whatever
// row it gets to must be in the table, and every row of the table must be got to.
func TestEveryPair(t *testing.T) {
	table := map[string][]string{}
	for _, text := range strings.Split(strings.TrimSpace(pairs), "\n")[1:] {
		cells := strings.Split(text, " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		table[cells[0]] = cells[1:]
	}
	reached := map[string]bool{}
	todo := []inventory.Reservation{{ID: order1}}
	for len(todo) > 0 {
		row := todo[0]
		todo = todo[1:]
		if reached[rowName(row)] {
			continue
		}
		reached[rowName(row)] = true
		cells, listed := table[rowName(row)]
		if !listed {
			t.Errorf("the table has no row %q", rowName(row))
			continue
		}
		for i, h := range heard {
			pieces := int64(10)
			if h.name == "short" && row.Status == "" {
				pieces = 2
			}
			s := newShelf(stockFor(row.Status, pieces))
			s.rows[order1] = row
			if err := h.hear(on(t, "cause"), inventory.New(s)); err != nil {
				t.Errorf("%s, %s: %v", rowName(row), h.name, err)
				continue
			}
			next := s.rows[order1]
			got := rowName(next)
			if said := strings.Join(s.saidOf(order1), " "); said != "" {
				got += " : " + said
			} else if next.Status == row.Status && got == rowName(row) {
				got = "."
			}
			if got != cells[i] {
				t.Errorf("%s, %s:\n got %s\nwant %s", rowName(row), h.name, got, cells[i])
			}
			if got, want := counts(s.levels["MUG"]), counts(stockFor(next.Status, pieces)); got != want {
				t.Errorf("%s, %s: stock is %s, want %s", rowName(row), h.name, got, want)
			}
			todo = append(todo, next)
		}
	}
	for name := range table {
		if !reached[name] {
			t.Errorf("row %q of the table is never reached", name)
		}
	}
}

// TestOtherParcelStatusesLeaveStockAlone: they do not even make a row.
func TestOtherParcelStatusesLeaveStockAlone(t *testing.T) {
	for _, status := range []event.ParcelStatus{
		event.ParcelPreparing, event.ParcelShipped, event.ParcelDelivered,
		event.ParcelRefused, event.ParcelLost, event.ParcelRecallFailed, "SOMETHING_NEW",
	} {
		s := newShelf(level("MUG", 10))
		if err := inventory.New(s).TakeBack(on(t, "cause"), event.ShippingStatus{OrderID: order1, Status: status}); err != nil {
			t.Errorf("%s: %v", status, err)
		}
		if len(s.rows) > 0 || len(s.said) > 0 {
			t.Errorf("%s changed something: %v %v", status, s.rows, s.said)
		}
	}
}

func rowName(r inventory.Reservation) string {
	words := []string{string(r.Status)}
	if r.Status == "" {
		words[0] = "-"
	}
	if r.PaymentFailed {
		words = append(words, "failed")
	}
	if r.Paid {
		words = append(words, "paid")
	}
	if r.Back != "" {
		words = append(words, strings.ToLower(string(r.Back)))
	}
	return strings.Join(words, " ")
}

// stockFor is the stock of mugs while the order of 3 has that status.
func stockFor(status inventory.Status, pieces int64) inventory.Level {
	l := level("MUG", pieces)
	switch status {
	case inventory.Reserved:
		l.Available, l.Reserved = l.Available-3, 3
	case inventory.Sold:
		l.Available, l.Sold = l.Available-3, 3
	}
	return l
}

func counts(l inventory.Level) string {
	return fmt.Sprintf("available %d, reserved %d, sold %d", l.Available, l.Reserved, l.Sold)
}
