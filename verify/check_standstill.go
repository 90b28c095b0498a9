package verify

import (
	"time"
)

// checkStandstill is the part of I6 that is our own doing. That a message is on its way, or a call is to be made again,
// is no reason for an order not to end, once it has gone on for longer than there is patience for: then nobody
// publishes, reads or calls. What is younger is the life of a busy system. At rest nothing may be on its way, and other
// checks say so.
func checkStandstill(o *order, l *look, f *findings) {
	if l.atRest {
		return
	}
	late := func(records []string, since time.Duration, format string, args ...any) {
		o.stands = true
		f.passing(i6, o, records, "for %s "+format, append([]any{since.Round(time.Second)}, args...)...)
	}
	for i := range o.Waits {
		w := &o.Waits[i]
		if since := l.late(w.Service, l.due(w)); since > 0 {
			late(nil, since, "%s has had to do %q (%d calls so far), and does not", w.Service, w.Step, w.Attempt)
		}
	}
	for i := range o.Unsent {
		if r := &o.Unsent[i]; l.late(r.Source, r.Stamp) > 0 {
			late(places(r), l.late(r.Source, r.Stamp), "it has waited in the outbox to be published")
		}
	}
	for i := range o.Copies {
		if c := &o.Copies[i]; c.Row != 0 && l.late(c.Service, c.Stamp) > 0 {
			late([]string{c.where()}, l.late(c.Service, c.Stamp), "it has waited in the outbox to be published")
		}
	}
	for _, n := range o.Lanes {
		if n.Due != 0 && l.late(n.Service, n.Due) > 0 {
			late(nil, l.late(n.Service, n.Due), "%s could go on with what it has put aside, and nobody does", n.Service)
		}
	}
	for s := range services {
		if unheard, since := o.unheard(s, l); len(unheard) > 0 {
			late(unheard, since, "%s has not heard of it what lies in the log", s)
		}
	}
}

// unheard are the events that a service should have processed long ago, and for how long the oldest of them has waited. What it
// is said to be done with is I8's, and a stranger's record may say any time of itself.
func (o *order) unheard(s service, l *look) (where []string, since time.Duration) {
	for _, r := range o.events {
		if r.Row != 0 || !r.ours() || !hears(s, r.Kind) || l.done(s, r) || o.hasHeard(s, r) || o.tooOld(s, r, l) {
			continue
		}
		if late := l.late(s, r.Stamp); late > 0 {
			where, since = append(where, r.where()), max(since, late)
		}
	}
	return where, since
}
