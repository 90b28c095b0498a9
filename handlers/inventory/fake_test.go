package inventory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"millrace/event"
	"millrace/handlers/inventory"
)

// shelf is the smallest store that keeps the promises of inventory.Reservations.
// It runs every closure twice, since a store may, and hands out exactly the levels
// that were asked for.
type shelf struct {
	rows      map[event.OrderID]inventory.Reservation
	levels    map[string]inventory.Level
	processed map[string]bool
	said      []event.Event
}

func newShelf(levels ...inventory.Level) *shelf {
	s := &shelf{
		rows:      map[event.OrderID]inventory.Reservation{},
		levels:    map[string]inventory.Level{},
		processed: map[string]bool{},
	}
	for _, l := range levels {
		s.levels[l.SKU] = l
	}
	return s
}

func (s *shelf) Update(ctx context.Context, id event.OrderID, keys func(*inventory.Reservation) []string,
	change func(*inventory.Reservation, map[string]*inventory.Level) ([]event.Event, error)) error {
	cause := string(id) + event.CauseFrom(ctx).ID
	if s.processed[cause] {
		return nil
	}
	var row inventory.Reservation
	var stock map[string]*inventory.Level
	var said []event.Event
	for range 2 {
		var known bool
		if row, known = s.rows[id]; !known {
			row = inventory.Reservation{ID: id}
		}
		stock = s.copies(keys(&row), false)
		var err error
		if said, err = change(&row, stock); err != nil {
			return err
		}
	}
	s.rows[id] = row
	s.keep(stock)
	s.said = append(s.said, said...)
	s.processed[cause] = true
	return nil
}

func (s *shelf) UpdateSide(ctx context.Context, keys []string, change func(map[string]*inventory.Level) error) error {
	cause := event.CauseFrom(ctx).ID
	if s.processed[cause] {
		return nil
	}
	var stock map[string]*inventory.Level
	for range 2 {
		stock = s.copies(keys, true)
		if err := change(stock); err != nil {
			return err
		}
	}
	s.keep(stock)
	s.processed[cause] = true
	return nil
}

func (s *shelf) copies(keys []string, create bool) map[string]*inventory.Level {
	stock := map[string]*inventory.Level{}
	for _, sku := range keys {
		l, known := s.levels[sku]
		if !known && !create {
			continue
		}
		l.SKU = sku
		stock[sku] = &l
	}
	return stock
}

func (s *shelf) keep(stock map[string]*inventory.Level) {
	for sku, l := range stock {
		s.levels[sku] = *l
	}
}

// saidOf lists the names of what was said about an order.
func (s *shelf) saidOf(id event.OrderID) []string {
	var names []string
	for _, e := range s.said {
		if e.Key() == id {
			names = append(names, nameOf(e))
		}
	}
	return names
}

func nameOf(e event.Event) string {
	switch e := e.(type) {
	case event.InventoryReserved:
		return "Reserved"
	case event.InventoryRejected:
		return "Rejected"
	case event.InventoryReleased:
		return fmt.Sprintf("Released(%d,%s)", len(e.Items), e.Cause)
	default:
		return fmt.Sprintf("%T", e)
	}
}

// wrong says which invariant of a level is broken, or nothing.
func wrong(l inventory.Level) string {
	switch {
	case l.Initial+l.Restocked != l.Available+l.Reserved+l.Sold:
		return fmt.Sprintf("%+v: initial + restocked is not available + reserved + sold", l)
	case min(l.Available, l.Reserved, l.Sold) < 0:
		return fmt.Sprintf("%+v: oversold", l)
	}
	return ""
}

// on returns a context caused by the event or request with that id.
func on(t testing.TB, id string) context.Context {
	return event.WithCause(t.Context(), event.Cause{ID: id})
}

func level(sku string, pieces int64) inventory.Level {
	return inventory.Level{SKU: sku, Initial: pieces, Available: pieces, Version: 1}
}

func items(pairs ...any) []event.Item {
	var out []event.Item
	for p := range slices.Chunk(pairs, 2) {
		out = append(out, event.Item{SKU: p[0].(string), Quantity: int64(p[1].(int)), UnitPrice: 100})
	}
	return out
}
