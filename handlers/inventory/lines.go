package inventory

import (
	"fmt"

	"millrace/event"
)

// lines are an order's items with the pieces of each SKU summed up, in the order
// of first appearance.
type lines []line

type line struct {
	sku    string
	pieces int64
}

// malformed is an order nobody can fulfil, however often it is tried.
type malformed struct{ reason string }

func (e malformed) Error() string { return "malformed order: " + e.reason }

// Permanent makes the event a dead letter at once.
func (malformed) Permanent() bool { return true }

// bySKU sums items up. Order checks what customers send; this guards stock against
// events that come from anywhere else.
func bySKU(items []event.Item) (lines, error) {
	if len(items) == 0 {
		return nil, malformed{"it has no items"}
	}
	var sum lines
	at := make(map[string]int, len(items))
	for i, it := range items {
		if err := CheckSKU(it.SKU); err != nil {
			return nil, malformed{fmt.Sprintf("items[%d]: %v", i, err)}
		}
		if it.Quantity <= 0 || it.Quantity > MaxPieces {
			return nil, malformed{fmt.Sprintf("items[%d]: quantity %d of %s is not between 1 and %d", i, it.Quantity, it.SKU, MaxPieces)}
		}
		n, seen := at[it.SKU]
		if !seen {
			at[it.SKU] = len(sum)
			sum = append(sum, line{it.SKU, it.Quantity})
			continue
		}
		if sum[n].pieces += it.Quantity; sum[n].pieces > MaxPieces {
			return nil, malformed{fmt.Sprintf("items[%d]: more than %d pieces of %s in all", i, MaxPieces, it.SKU)}
		}
	}
	return sum, nil
}

func (ls lines) skus() []string {
	skus := make([]string, len(ls))
	for i, l := range ls {
		skus[i] = l.sku
	}
	return skus
}

// short lists what stock cannot give. An unknown SKU has nothing available.
func (ls lines) short(stock map[string]*Level) []event.Shortage {
	var short []event.Shortage
	for _, l := range ls {
		var available int64
		if level := stock[l.sku]; level != nil {
			available = level.Available
		}
		if available < l.pieces {
			short = append(short, event.Shortage{SKU: l.sku, Wanted: l.pieces, Available: available})
		}
	}
	return short
}

// each takes one step with every level. After an error some have moved: the
// caller's copies are thrown away then.
func (ls lines) each(stock map[string]*Level, step func(*Level, int64) error) error {
	for _, l := range ls {
		level := stock[l.sku]
		if level == nil {
			return fmt.Errorf("the level of SKU %s is missing: levels are never deleted, restore it", l.sku)
		}
		if err := step(level, l.pieces); err != nil {
			return err
		}
	}
	return nil
}
