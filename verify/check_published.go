package verify

import "slices"

// checkPublished is I7: what a row counts as said is in the log, or in the outbox on its way there; and
// nothing else is. The outbox is read in the row's own snapshot, and the log up to an end that was noted
// later: what had left the outbox by then was acknowledged before, so the log must have it.
func checkPublished(o *order, l *look, f *findings) {
	if !l.log {
		return
	}
	var versions [services][]int64
	for _, r := range o.events {
		if !r.ours() {
			continue
		}
		if r.Source != flow[r.Kind].publisher {
			f.wrong(i7, o, places(r), "%s said %s, which only %s may say", r.Source, r.what(), flow[r.Kind].publisher)
			continue
		}
		versions[r.Source] = append(versions[r.Source], r.Version)
		if l.has(r.Source) && r.Version > o.said(r.Source) {
			o.sayMore(r, l, f)
		}
	}
	for s := range services {
		said := o.said(s)
		if !l.has(s) || said == 0 {
			continue
		}
		if !l.complete(s, o.ID, o.since()) {
			f.skipped(i7, said)
			continue
		}
		f.checked(i7, said)
		slices.Sort(versions[s])
		for v := int64(1); v <= said; v++ {
			if _, there := slices.BinarySearch(versions[s], v); !there {
				f.wrong(i7, o, nil, "%s said %d events of it, and version %d is neither in the log nor in the outbox", s, said, v)
			}
		}
	}
}

// sayMore is for an event that the publisher's row does not count.
func (o *order) sayMore(r *record, l *look, f *findings) {
	switch {
	case r.Row != 0:
		f.wrong(i7, o, places(r), "%s's row counts %d events, and version %d is in the outbox", r.Source, o.said(r.Source), r.Version)
	case l.afterwards(r.Source, r.At):
		f.count.Later++
	default:
		f.wrong(i7, o, places(r), "%s's row counts %d events, and version %d is in the log: it was never committed", r.Source, o.said(r.Source), r.Version)
	}
}

// checkOutbox is the rest of I7: at rest nothing waits, and nothing ever is unreadable.
func checkOutbox(l *look, s *sums, f *findings) {
	f.count.Outbox = s.unsent
	for _, row := range s.garbled {
		f.wrong(i7, nil, []string{row}, "nobody can publish it")
	}
	if l.atRest && s.unsent > 0 {
		f.wrong(i7, nil, nil, "%d events wait in the outbox of a system that is said to be at rest", s.unsent)
	}
}
