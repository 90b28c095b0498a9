package verify

import "time"

// checkHeard is what a row tells of the messages behind it. It lists what it has processed in the order in which it
// did, so no later event of a topic may stand before an earlier one (I5; I9, where a dead letter was about). And
// nobody can have processed an event that never reached Kafka (I7).
func checkHeard(o *order, l *look, sum *sums, f *findings) {
	if !l.log {
		return
	}
	for s := range services {
		r := o.Rows[s]
		if !l.has(s) || r == nil || r.Unreadable != "" {
			continue
		}
		o.heardNothingElse(s, r, l, sum, f)
		if o.meddled(s) { // somebody else decided about the order
			f.exempt(i5)
			continue
		}
		o.heardInOrder(s, r, l, f)
	}
}

func (o *order) heardInOrder(s service, r *row, l *look, f *findings) {
	var last [kinds]*record
	seen := make(map[id]bool, len(r.Processed))
	for _, cause := range r.Processed {
		if seen[cause] { // that is I2's
			continue
		}
		seen[cause] = true
		e := o.lookup[cause]
		if e == nil || e.Row != 0 || !e.Readable || !l.firstIsFirst(e) {
			continue
		}
		about := o.letterAt(s, cause)
		if about != nil && !about.Ordered { // nobody knew whose it was, so nobody waited for it
			continue
		}
		before := last[e.Kind]
		if before == nil || before.Partition != e.Partition || before.Offset <= e.Offset {
			last[e.Kind] = e
			f.checked(i5, 1)
			continue
		}
		broken := i5
		if about != nil || o.letterAt(s, before.ID) != nil {
			broken = i9
		}
		f.wrong(broken, o, places(before, e), "%s processed the first before the second, which came before it", s)
	}
}

// heardNothingElse: an event's id tells when it was made, so an event that retention has taken is none that
// never was; those are counted. Ids of another kind are those of answers, and of strangers.
func (o *order) heardNothingElse(s service, r *row, l *look, sum *sums, f *findings) {
	for _, cause := range r.Processed {
		at, ok := cause.madeAt()
		if !ok || o.lookup[cause] != nil || o.letterAt(s, cause) != nil || o.hasDecided(s) && l.outlived(s, at) {
			continue
		}
		if l.mayBeGone(s, hears, o.ID, at) {
			f.skipped(i7, 1)
			sum.unknown[s]++
			continue
		}
		f.wrong(i7, o, nil, "%s has processed event %s, which is neither in the log nor in an outbox", s, cause)
	}
}

// madeAt is when a UUIDv7 was made, in microseconds; false for other UUIDs.
func (i id) madeAt() (at int64, ok bool) {
	const version, versionBits, stampBytes, byteBits = 7, 4, 6, 8
	if i[stampBytes]>>versionBits != version {
		return 0, false
	}
	for _, b := range i[:stampBytes] {
		at = at<<byteBits | int64(b)
	}
	return at * int64(time.Millisecond/time.Microsecond), true
}
