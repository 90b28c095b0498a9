package shipping_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"millrace/event"
	"millrace/handlers/shipping"
)

// A row is named by its status ("-" while nothing was asked of shipping) and what
// else decides: whether it is booked, cancelled, and was delivered before.
// Every (row, input) pair is walked. This table lists the ones that change something:
// the row that follows, and what is said. All others must leave the row as it is
// and say nothing; reports and resolutions are then answered by an error.
const pairs = `
-                          | initiate    | PREPARING                  | PREPARING
-                          | cancel      | - cancelled                | STOPPED
- cancelled                | initiate    | STOPPED cancelled          |

PREPARING                  | cancel      | PREPARING cancelled        |
PREPARING                  | BOOKED      | PREPARING booked           |
PREPARING                  | REFUSED     | REFUSED                    | REFUSED
PREPARING                  | SHIPPED     | SHIPPED                    | SHIPPED
PREPARING                  | DELIVERED   | DELIVERED                  | SHIPPED DELIVERED
PREPARING                  | RETURNED    | RETURNED                   | SHIPPED RETURNED
PREPARING                  | LOST        | LOST                       | SHIPPED LOST

PREPARING booked           | cancel      | PREPARING booked cancelled |
PREPARING booked           | REFUSED     | REFUSED                    | REFUSED
PREPARING booked           | SHIPPED     | SHIPPED                    | SHIPPED
PREPARING booked           | DELIVERED   | DELIVERED                  | SHIPPED DELIVERED
PREPARING booked           | RETURNED    | RETURNED                   | SHIPPED RETURNED
PREPARING booked           | LOST        | LOST                       | SHIPPED LOST

PREPARING cancelled        | REFUSED     | STOPPED cancelled          | REFUSED STOPPED
PREPARING cancelled        | STOPPED     | STOPPED cancelled          | STOPPED
PREPARING cancelled        | SHIPPED     | SHIPPED cancelled          | SHIPPED
PREPARING cancelled        | DELIVERED   | RECALL_FAILED delivered    | SHIPPED DELIVERED RECALL_FAILED
PREPARING cancelled        | RETURNED    | RETURNED cancelled         | SHIPPED RETURNED
PREPARING cancelled        | LOST        | LOST cancelled             | SHIPPED LOST

PREPARING booked cancelled | REFUSED     | STOPPED cancelled          | REFUSED STOPPED
PREPARING booked cancelled | STOPPED     | STOPPED cancelled          | STOPPED
PREPARING booked cancelled | SHIPPED     | SHIPPED cancelled          | SHIPPED
PREPARING booked cancelled | DELIVERED   | RECALL_FAILED delivered    | SHIPPED DELIVERED RECALL_FAILED
PREPARING booked cancelled | RETURNED    | RETURNED cancelled         | SHIPPED RETURNED
PREPARING booked cancelled | LOST        | LOST cancelled             | SHIPPED LOST

SHIPPED                    | cancel      | SHIPPED cancelled          |
SHIPPED                    | DELIVERED   | DELIVERED                  | DELIVERED
SHIPPED                    | RETURNED    | RETURNED                   | RETURNED
SHIPPED                    | LOST        | LOST                       | LOST

SHIPPED cancelled          | DELIVERED   | RECALL_FAILED delivered    | DELIVERED RECALL_FAILED
SHIPPED cancelled          | RETURNED    | RETURNED cancelled         | RETURNED
SHIPPED cancelled          | LOST        | LOST cancelled             | LOST
SHIPPED cancelled          | NOT_RECALLED| RECALL_FAILED              | RECALL_FAILED

DELIVERED                  | cancel      | RECALL_FAILED delivered    | RECALL_FAILED
REFUSED                    | cancel      | STOPPED cancelled          | STOPPED
RETURNED                   | cancel      | RETURNED cancelled         |
LOST                       | cancel      | LOST cancelled             |

RECALL_FAILED              | RETURNED    | RETURNED cancelled         | RETURNED
RECALL_FAILED              | LOST        | LOST cancelled             | LOST
RECALL_FAILED              | returned    | RETURNED cancelled         | RETURNED
RECALL_FAILED              | written-off | LOST cancelled             | LOST
RECALL_FAILED delivered    | RETURNED    | RETURNED cancelled         | RETURNED
RECALL_FAILED delivered    | returned    | RETURNED cancelled         | RETURNED
RECALL_FAILED delivered    | written-off | LOST cancelled             | LOST

STOPPED cancelled          |             |                            |
RETURNED cancelled         |             |                            |
LOST cancelled             |             |                            |
`

// waits is what each row waits for; a row that is not listed waits for nothing.
var waits = map[string]string{
	"PREPARING":                  "book",
	"PREPARING booked":           "track-shipped",
	"PREPARING cancelled":        "stop",
	"PREPARING booked cancelled": "stop",
	"SHIPPED":                    "track-delivered",
	"SHIPPED cancelled":          "recall",
}

type input struct {
	name string
	give func(context.Context, *shipping.Service) error
	// ignored tells the error of an input that changes nothing.
	ignored func(error) bool
}

func inputs() []input {
	silently := func(err error) bool { return err == nil }
	all := []input{
		{"initiate", func(ctx context.Context, s *shipping.Service) error {
			return s.Initiate(ctx, event.ShippingInitiate{OrderID: order1, ShippingAddress: address})
		}, silently},
		{"cancel", func(ctx context.Context, s *shipping.Service) error {
			return s.Cancel(ctx, event.OrderCancelled{OrderID: order1})
		}, silently},
	}
	for _, state := range []shipping.State{
		shipping.Booked, shipping.Refused, shipping.Stopped, shipping.InTransit,
		shipping.Delivered, shipping.Returned, shipping.Lost, shipping.NotRecalled, "NEWS",
	} {
		all = append(all, input{string(state), func(ctx context.Context, s *shipping.Service) error {
			return s.Callback(ctx, order1, shipping.Report{State: state})
		}, func(err error) bool { var stale *shipping.StaleReport; return errors.As(err, &stale) }})
	}
	for _, as := range []shipping.Resolution{shipping.ResolveReturned, shipping.ResolveWrittenOff} {
		all = append(all, input{string(as), func(ctx context.Context, s *shipping.Service) error {
			return s.Resolve(ctx, order1, as, "found in the yard")
		}, func(err error) bool { return errors.Is(err, shipping.ErrNothingToResolve) }})
	}
	return all
}

type outcome struct{ next, said string }

// TestEveryPair walks every row that can be reached against every input. The rows it
// gets to must be those of the table.
func TestEveryPair(t *testing.T) {
	table := map[string]map[string]outcome{}
	for _, text := range strings.Split(pairs, "\n") {
		if cells := strings.Split(text, "|"); len(cells) == 4 {
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			if table[cells[0]] == nil {
				table[cells[0]] = map[string]outcome{}
			}
			table[cells[0]][cells[1]] = outcome{cells[2], cells[3]}
		}
	}
	reached := map[string]bool{}
	todo := []shipping.Shipment{{ID: order1}}
	for len(todo) > 0 {
		row := todo[0]
		todo = todo[1:]
		name := rowName(row)
		if reached[name] {
			continue
		}
		reached[name] = true
		if table[name] == nil {
			t.Errorf("the table has no row %q", name)
		}
		if got := steps(row); got != waits[name] {
			t.Errorf("%s: waits for %q, want %q", name, got, waits[name])
		}
		for _, in := range inputs() {
			d := newDesk(row)
			if name == "-" {
				d = newDesk() // absent
			}
			err := in.give(on(t, "cause"), shipping.New(d, &carrier{}, policy))
			next, known := d.rows[order1]
			want, changes := table[name][in.name]
			switch {
			case changes && err != nil:
				t.Errorf("%s, %s: %v", name, in.name, err)
			case changes:
				if got := (outcome{rowName(next), words(d.statuses())}); got != want {
					t.Errorf("%s, %s:\n got %v\nwant %v", name, in.name, got, want)
				}
				todo = append(todo, next)
			case row.Status == "" && in.name != "initiate" && in.name != "cancel":
				if !errors.Is(err, event.ErrUnknownOrder) || (name == "-" && known) {
					t.Errorf("%s, %s: got %v, want an unknown order, and no row", name, in.name, err)
				}
			case !in.ignored(err):
				t.Errorf("%s, %s: wrong answer: %v", name, in.name, err)
			case rowName(next) != name || len(next.History) != len(row.History) || len(d.said) > 0:
				t.Errorf("%s, %s: changed something: %+v, said %v", name, in.name, next, d.said)
			}
		}
	}
	for name := range table {
		if !reached[name] {
			t.Errorf("row %q of the table is never reached", name)
		}
	}
}

func rowName(s shipping.Shipment) string {
	words := []string{string(s.Status)}
	switch s.Status {
	case "":
		words[0] = "-"
	case event.ParcelPreparing:
		if !s.BookedAt.IsZero() {
			words = append(words, "booked")
		}
	case event.ParcelRecallFailed:
		if slices.ContainsFunc(s.History, func(e shipping.Entry) bool { return e.Status == event.ParcelDelivered }) {
			words = append(words, "delivered")
		}
		if s.Cancelled { // as it always is then
			return strings.Join(words, " ")
		}
	}
	if s.Cancelled {
		words = append(words, "cancelled")
	}
	return strings.Join(words, " ")
}

func steps(s shipping.Shipment) string {
	var names []string
	for _, w := range policy.Due(&s) {
		names = append(names, w.Step)
	}
	return strings.Join(names, " ")
}

func words(statuses []event.ParcelStatus) string {
	var names []string
	for _, s := range statuses {
		names = append(names, string(s))
	}
	return strings.Join(names, " ")
}
