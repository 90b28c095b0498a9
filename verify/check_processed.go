package verify

// checkProcessed is I8: what lies before a committed offset was processed, or put aside. The offsets were
// noted before the rows were read: so what they promise must show in the rows. What lies behind them may be
// on its way.
func checkProcessed(o *order, l *look, f *findings) {
	if !l.log {
		return
	}
	f.count.Records += int64(len(o.Log))
	f.count.Duplicates += int64(duplicates(o))
	for i := range o.Log {
		r := &o.Log[i]
		if !r.ours() {
			f.count.Foreign++
		}
		for _, s := range flow[r.Kind].consumers {
			if !l.has(s) || !leavesTrace(s, r) || o.tooOld(s, r, l) {
				continue
			}
			done := l.done(s, r)
			if done {
				f.checked(i8, 1)
			}
			switch {
			case o.hasHeard(s, r):
			case done:
				f.wrong(i8, o, places(r), "%s has committed the offset behind this %s, and has neither processed it nor put it aside", s, r.what())
			case l.atRest:
				f.wrong(i8, o, places(r), "%s has not processed this %s, and the system is said to be at rest", s, r.what())
			default:
				f.count.Unheard++
			}
		}
	}
}

// duplicates counts the records of the log that came again.
func duplicates(o *order) (n int) {
	for _, p := range o.again {
		if p.again.Row == 0 {
			n++
		}
	}
	return n
}
