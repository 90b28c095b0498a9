package verify

import (
	"cmp"
	"maps"
	"math/big"
	"slices"
	"time"
)

// checkAnalysed is the half of I13 that is an order's: what analytics knows of it is what the events say that
// it has processed, as far as the log still has them. Its contribution to the sums is counted.
func checkAnalysed(o *order, l *look, s *sums, f *findings) {
	r := o.Rows[analytics]
	if !l.has(analytics) || r == nil || r.Unreadable != "" {
		return
	}
	r.Analysed.contribute(s.contributed)
	if !l.log {
		return
	}
	if o.meddled(analytics) || o.foreign(analytics) && o.ambiguous() {
		f.exempt(i13)
		return
	}
	var want analysed
	for heard := range o.heard[analytics] {
		e := o.lookup[heard]
		if e == nil {
			f.skipped(i13, 1) // the log does not have it any more
			return
		}
		if e.Readable { // what nobody can read counts as processed when it was dropped, and changes nothing
			want.hear(e)
		}
	}
	f.checked(i13, 1)
	if what := differ(&want, r.Analysed); what != "" {
		f.wrong(i13, o, nil, "analytics has processed %d events of it; by the log it would be %s", len(o.heard[analytics]), what)
	}
}

// ambiguous tells whether there are different records under one id: which of them was processed nobody knows.
func (o *order) ambiguous() bool {
	return slices.ContainsFunc(o.again, func(p pair) bool { return p.first.Digest != p.again.Digest })
}

// differ names the first difference; empty if there is none.
func differ(want, got *analysed) string {
	for _, one := range []struct {
		name      string
		want, got moment
	}{
		{"placed", want.Placed, got.Placed}, {"paid", want.Paid, got.Paid}, {"shipped", want.Shipped, got.Shipped},
		{"delivered", want.Delivered, got.Delivered}, {"cancelled", want.Cancelled, got.Cancelled},
		{"captured", want.Captured.moment, got.Captured.moment}, {"refund refused", want.RefundFailed.moment, got.RefundFailed.moment},
		{"refunded", want.Refunded.moment, got.Refunded.moment},
	} {
		if one.want != one.got {
			return one.name + " " + one.want.String() + ", and is " + one.got.String()
		}
	}
	for _, one := range []struct {
		name      string
		want, got money
	}{
		{"captured", want.Captured.Total, got.Captured.Total}, {"refund refused", want.RefundFailed.Total, got.RefundFailed.Total},
		{"refunded", want.Refunded.Total, got.Refunded.Total},
	} {
		if one.want != one.got {
			return one.name + " " + one.want.String() + ", and is " + one.got.String()
		}
	}
	if want.Reason != got.Reason {
		return "cancelled for " + want.Reason + ", and is for " + got.Reason
	}
	return ""
}

func (m moment) String() string {
	if !m.Heard {
		return "never"
	}
	return "at " + time.UnixMicro(m.At).UTC().Format(time.RFC3339Nano)
}

// checkSums is the other half: the sums are what the orders add up to, in all and by the minute. Rows
// and sums are written together, so they agree in every snapshot.
func checkSums(l *look, s *sums, f *findings) {
	if !l.has(analytics) {
		return
	}
	keys := maps.Clone(s.stored)
	maps.Copy(keys, s.contributed)
	for _, key := range slices.SortedFunc(maps.Keys(keys), func(a, b sumKey) int {
		return cmp.Or(cmp.Compare(a.Minute, b.Minute), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Key, b.Key))
	}) {
		stored, want := s.stored[key], s.contributed[key]
		if stored == nil {
			stored = new(big.Int)
		}
		if want == nil {
			want = new(big.Int)
		}
		f.checked(i13, 1)
		if stored.Cmp(want) != 0 {
			when := "in all"
			if key.Minute != allTime {
				when = "in the minute of " + time.Unix(key.Minute, 0).UTC().Format(time.RFC3339)
			}
			f.wrong(i13, nil, nil, "%q %s %s: analytics says %s, the orders add up to %s", key.Name, key.Key, when, stored, want)
		}
	}
}
