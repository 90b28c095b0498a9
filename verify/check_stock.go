package verify

import (
	"maps"
	"slices"
)

// checkReservation is the half of I4 that is an order's: its pieces are counted, and are those it
// ordered. Reservations and stock are written together, so they agree in every snapshot.
func checkReservation(o *order, l *look, s *sums, f *findings) {
	r := o.Rows[inventory]
	if !l.has(inventory) || r == nil || r.Unreadable != "" || r.Stock.Status == "" {
		return
	}
	f.checked(i4, 1)
	var into map[string]int64
	switch r.Stock.Status {
	case stockReserved:
		into = s.held
	case stockSold:
		into = s.gone
	}
	if into != nil {
		for _, i := range r.Stock.Items {
			into[i.SKU] += i.Quantity
		}
	}
	if !o.placed() {
		return
	}
	if o.foreign(core...) || o.meddled(inventory) {
		f.exempt(i4)
		return
	}
	if ordered := o.Rows[orders].Order.Items; !maps.Equal(pieces(ordered), pieces(r.Stock.Items)) {
		f.wrong(i4, o, nil, "it ordered %v, and the reservation is of %v", ordered, r.Stock.Items)
	}
}

// pieces are how many of each article.
func pieces(items []item) map[string]int64 {
	n := map[string]int64{}
	for _, i := range items {
		n[i.SKU] += i.Quantity
	}
	return n
}

// checkStock is the other half: each article's stock adds up, is never negative, and is what the
// reservations and the ledger of restocks say.
func checkStock(l *look, s *sums, f *findings) {
	if !l.has(inventory) {
		return
	}
	for _, sku := range slices.Sorted(maps.Keys(s.levels)) {
		v := s.levels[sku]
		f.checked(i4, 1)
		if v.Initial+v.Restocked != v.Available+v.Reserved+v.Sold {
			f.wrong(i4, nil, nil, "%s: initial %d + restocked %d is not available %d + reserved %d + sold %d",
				sku, v.Initial, v.Restocked, v.Available, v.Reserved, v.Sold)
		}
		if min(v.Available, v.Reserved, v.Sold) < 0 {
			f.wrong(i4, nil, nil, "%s: available %d, reserved %d, sold %d: it is oversold", sku, v.Available, v.Reserved, v.Sold)
		}
		if v.Reserved != s.held[sku] {
			f.wrong(i4, nil, nil, "%s: %d pieces are reserved, the reservations come to %d", sku, v.Reserved, s.held[sku])
		}
		if v.Sold != s.gone[sku] {
			f.wrong(i4, nil, nil, "%s: %d pieces are sold, the reservations come to %d", sku, v.Sold, s.gone[sku])
		}
		last, ever := s.restocked[sku]
		switch {
		case ever && (last.Initial != v.Initial || last.Restocked != v.Restocked):
			f.wrong(i4, nil, nil, "%s: initial %d, restocked %d; after the last restock in the ledger it was %d and %d",
				sku, v.Initial, v.Restocked, last.Initial, last.Restocked)
		case !ever && v.Restocked != 0:
			f.wrong(i4, nil, nil, "%s: restocked %d, and the ledger knows of no restock", sku, v.Restocked)
		}
	}
	for _, held := range []map[string]int64{s.held, s.gone} {
		for _, sku := range slices.Sorted(maps.Keys(held)) {
			if _, known := s.levels[sku]; !known && held[sku] != 0 {
				f.wrong(i4, nil, nil, "%s: orders hold %d pieces of it, and there is no such article", sku, held[sku])
			}
		}
	}
	for _, sku := range slices.Sorted(maps.Keys(s.restocked)) {
		if _, known := s.levels[sku]; !known {
			f.wrong(i4, nil, nil, "%s: it was restocked, and there is no such article", sku)
		}
	}
}
