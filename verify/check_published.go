package verify

import (
	"cmp"
	"slices"
)

// checkPublished is I7: what a row counts as said is in the log, or in the outbox on its way there; and
// nothing else is. The outbox is read in the row's own snapshot, and the log up to an end that was noted
// later: what had left the outbox by then was acknowledged before, so the log must have it.
func checkPublished(o *order, l *look, sum *sums, f *findings) {
	if !l.log {
		return
	}
	var said [services][]*record
	for _, r := range o.events {
		if !r.ours() {
			continue
		}
		if r.Source != flow[r.Kind].publisher {
			f.wrong(i7, o, places(r), "%s said %s, which only %s may say", r.Source, r.what(), flow[r.Kind].publisher)
			continue
		}
		said[r.Source] = append(said[r.Source], r)
		if l.has(r.Source) && r.Version > o.said(r.Source) {
			o.sayMore(r, l, f)
		}
	}
	for s := range services {
		if l.has(s) {
			o.saidAll(s, said[s], l, sum, f)
		}
	}
}

// saidAll looks for each event that the publisher's row counts. Where one is nowhere that may have been removed, it is counted: no
// more can be excused so than records were removed.
func (o *order) saidAll(s service, list []*record, l *look, sum *sums, f *findings) {
	slices.SortFunc(list, func(a, b *record) int { return cmp.Compare(a.Version, b.Version) })
	since, n := o.since(), o.said(s)
	for v := int64(1); v <= n; v++ {
		at, there := slices.BinarySearchFunc(list, v, func(r *record, v int64) int { return cmp.Compare(r.Version, v) })
		if !there && l.mayBeGone(s, says, o.ID, since) {
			f.skipped(i7, 1)
			sum.missing[s]++
			continue
		}
		f.checked(i7, 1)
		if !there {
			f.wrong(i7, o, nil, "%s said %d events of it, and version %d is neither in the log nor in the outbox", s, n, v)
			continue
		}
		since = max(since, list[at].At) // what comes behind it is not older
	}
}

// checkMissing compares what may have been removed with what was.
func checkMissing(l *look, s *sums, f *findings) {
	for of := range services {
		if most := l.mayHaveLost(of, says); s.missing[of] > most {
			f.wrong(i7, nil, nil, "%d events that %s has said are neither in the log nor in the outbox, and %d records were removed from its topics at the most", s.missing[of], of, most)
		}
		if most := l.mayHaveLost(of, hears); s.unknown[of] > most {
			f.wrong(i7, nil, nil, "%s has processed %d events that are neither in the log nor in an outbox, and %d records were removed from the topics it hears at the most", of, s.unknown[of], most)
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
	f.count.Outbox = s.unsent()
	for i := range s.backlogs {
		b := &s.backlogs[i]
		for _, row := range b.examples {
			f.wrong(i7, nil, []string{row}, "nobody can publish it")
		}
		f.of(i7).violations += b.garbled - int64(len(b.examples))
	}
	if l.atRest && s.unsent() > 0 {
		f.wrong(i7, nil, nil, "%d events wait in the outbox of a system that is said to be at rest", s.unsent())
	}
}
