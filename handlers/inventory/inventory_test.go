package inventory_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"millrace/event"
	"millrace/handlers/inventory"
)

func TestAllLinesOrNone(t *testing.T) {
	s := newShelf(level("MUG", 10), level("PEN", 1))
	order := event.OrderCreated{OrderID: order1, Items: items("MUG", 2, "PEN", 2, "GHOST", 1)}
	if err := inventory.New(s).Reserve(on(t, "1"), order); err != nil {
		t.Fatal(err)
	}
	want := []event.Event{event.InventoryRejected{OrderID: order1, Items: order.Items, Short: []event.Shortage{
		{SKU: "PEN", Wanted: 2, Available: 1},
		{SKU: "GHOST", Wanted: 1, Available: 0},
	}}}
	if diff := cmp.Diff(want, s.said); diff != "" {
		t.Error(diff)
	}
	if s.levels["MUG"] != level("MUG", 10) {
		t.Errorf("a rejected order moved stock: %+v", s.levels["MUG"])
	}
}

func TestLinesOfOneSKUCountTogether(t *testing.T) {
	s := newShelf(level("MUG", 5))
	service := inventory.New(s)
	if err := service.Reserve(on(t, "1"), event.OrderCreated{OrderID: order1, Items: items("MUG", 3, "MUG", 3)}); err != nil {
		t.Fatal(err)
	}
	if got := s.rows[order1].Status; got != inventory.Rejected {
		t.Errorf("6 of 5 mugs: %s", got)
	}
	const order2 = event.OrderID("0199c0de-0000-7000-8000-000000000002")
	if err := service.Reserve(on(t, "2"), event.OrderCreated{OrderID: order2, Items: items("MUG", 2, "MUG", 3)}); err != nil {
		t.Fatal(err)
	}
	if l := s.levels["MUG"]; l.Reserved != 5 || l.Available != 0 {
		t.Errorf("5 of 5 mugs in two lines: %+v", l)
	}
}

// TestMalformedOrdersArePermanentErrors: they go to the dead letters, and move nothing.
func TestMalformedOrdersArePermanentErrors(t *testing.T) {
	for name, lines := range map[string][]event.Item{
		"no items":          nil,
		"zero":              items("MUG", 0),
		"negative":          items("MUG", 1, "MUG", -1),
		"no SKU":            items("", 1),
		"SKU with a space":  items("MUG RED", 1),
		"too many":          {{SKU: "MUG", Quantity: math.MaxInt64}},
		"too many together": {{SKU: "MUG", Quantity: inventory.MaxPieces}, {SKU: "MUG", Quantity: 1}},
	} {
		s := newShelf(level("MUG", 10))
		err := inventory.New(s).Reserve(on(t, "1"), event.OrderCreated{OrderID: order1, Items: lines})
		var permanent interface{ Permanent() bool }
		if !errors.As(err, &permanent) || !permanent.Permanent() {
			t.Errorf("%s: %v is not a permanent error", name, err)
		}
		if len(s.rows) > 0 || s.levels["MUG"] != level("MUG", 10) {
			t.Errorf("%s: something changed", name)
		}
	}
}

// TestMissingLevelIsAnError: pieces of a SKU that vanished are not given back silently.
func TestMissingLevelIsAnError(t *testing.T) {
	s := newShelf(level("MUG", 10))
	service := inventory.New(s)
	if err := service.Reserve(on(t, "1"), event.OrderCreated{OrderID: order1, Items: items("MUG", 3)}); err != nil {
		t.Fatal(err)
	}
	delete(s.levels, "MUG")
	err := service.Release(on(t, "2"), event.PaymentFailed{OrderID: order1})
	if err == nil || !strings.Contains(err.Error(), "MUG") {
		t.Errorf("got %v", err)
	}
	if s.rows[order1].Status != inventory.Reserved {
		t.Errorf("the row changed all the same: %+v", s.rows[order1])
	}
}

func TestRestock(t *testing.T) {
	s := newShelf()
	service := inventory.New(s)
	for _, step := range []struct {
		id, name string
		add      int64
		want     inventory.Level
	}{
		{"1", "Mug", 10, inventory.Level{SKU: "MUG", Name: "Mug", Initial: 10, Available: 10, Version: 1}},
		{"2", "", 5, inventory.Level{SKU: "MUG", Name: "Mug", Initial: 10, Restocked: 5, Available: 15, Version: 2}},
		{"2", "", 5, inventory.Level{SKU: "MUG", Name: "Mug", Initial: 10, Restocked: 5, Available: 15, Version: 2}}, // again
		{"3", "Cup", -15, inventory.Level{SKU: "MUG", Name: "Cup", Initial: 10, Restocked: -10, Available: 0, Version: 3}},
		{"4", "", 0, inventory.Level{SKU: "MUG", Name: "Cup", Initial: 10, Restocked: -10, Available: 0, Version: 4}},
	} {
		if err := service.Restock(on(t, step.id), "MUG", step.name, step.add); err != nil {
			t.Fatalf("add %d: %v", step.add, err)
		}
		if diff := cmp.Diff(step.want, s.levels["MUG"]); diff != "" {
			t.Errorf("add %d:\n%s", step.add, diff)
		}
		if w := wrong(s.levels["MUG"]); w != "" {
			t.Error(w)
		}
	}
}

// TestCreatedEmptyThenRestocked: a SKU may begin with nothing.
func TestCreatedEmptyThenRestocked(t *testing.T) {
	s := newShelf()
	service := inventory.New(s)
	for id, add := range []int64{0, 7} {
		if err := service.Restock(on(t, string(rune('a'+id))), "MUG", "", add); err != nil {
			t.Fatal(err)
		}
	}
	if l := s.levels["MUG"]; l.Initial != 0 || l.Restocked != 7 || l.Available != 7 {
		t.Errorf("%+v", l)
	}
}

func TestRestockRefuses(t *testing.T) {
	held := inventory.Level{SKU: "MUG", Initial: 10, Available: 4, Reserved: 3, Sold: 3, Version: 1}
	for _, c := range []struct {
		sku, name string
		add       int64
		want      error
	}{
		{"MUG", "", -5, inventory.ErrNotAvailable},
		{"MUG", "", math.MinInt64, inventory.ErrNotAvailable},
		{"NEW", "", -1, inventory.ErrNotAvailable},
		{"MUG", "", inventory.MaxPieces - 9, inventory.ErrTooMany},
		{"MUG", "", math.MaxInt64, inventory.ErrTooMany},
		{"", "", 1, inventory.ErrBadSKU},
		{"MUG RED", "", 1, inventory.ErrBadSKU},
		{strings.Repeat("M", 65), "", 1, inventory.ErrBadSKU},
		{"MÜG", "", 1, inventory.ErrBadSKU},
		{"MUG", strings.Repeat("m", 201), 1, inventory.ErrBadName},
		{"MUG", "a\x00b", 1, inventory.ErrBadName},
		{"MUG", "\xff", 1, inventory.ErrBadName},
	} {
		s := newShelf(held)
		if err := inventory.New(s).Restock(on(t, "1"), c.sku, c.name, c.add); !errors.Is(err, c.want) {
			t.Errorf("%q %q %d: got %v, want %v", c.sku, c.name, c.add, err, c.want)
		}
		if len(s.levels) != 1 || s.levels["MUG"] != held {
			t.Errorf("%q %q %d: something changed: %+v", c.sku, c.name, c.add, s.levels)
		}
	}
}
