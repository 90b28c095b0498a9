package verify

// checkVersions is I5: of one publisher's events of an order, the first occurrences ascend within each
// topic; each version is one event, and an event that came again is the same; a key stays in its
// partition. That no version is missing is I7's, where the row tells how many there are; where its
// database was not read, the log must have no gap.
func checkVersions(o *order, l *look, f *findings) {
	if !l.log {
		return
	}
	type stream struct {
		kind   kind
		source service
	}
	type version struct {
		source service
		n      int64
	}
	last := map[stream]*record{}
	byVersion := map[version]*record{}
	highest := map[service]int64{}
	for _, r := range o.events {
		if !r.ours() || r.Source >= services {
			continue
		}
		f.checked(i5, 1)
		v := version{r.Source, r.Version}
		if before := byVersion[v]; before != nil {
			f.wrong(i5, o, places(before, r), "%s's version %d is two events: %s and %s", r.Source, r.Version, before.what(), r.what())
		} else {
			byVersion[v] = r
		}
		highest[r.Source] = max(highest[r.Source], r.Version)
		if r.Row != 0 {
			continue
		}
		if n := l.partitions[r.Kind]; n > 0 && r.Partition != partitionOf([]byte(o.ID.String()), n) {
			f.wrong(i5, o, places(r), "the key belongs into partition %d of %d", partitionOf([]byte(o.ID.String()), n), n)
		}
		in := stream{r.Kind, r.Source}
		before := last[in]
		switch {
		case !l.firstIsFirst(r):
			f.skipped(i5, 1)
		case before != nil && r.Version < before.Version:
			f.wrong(i5, o, places(before, r), "%s's version %d comes behind its version %d", r.Source, r.Version, before.Version)
		default:
			last[in] = r
		}
	}
	for _, p := range o.again {
		if p.first.ours() && p.again.ours() && p.first.Digest != p.again.Digest {
			f.wrong(i5, o, places(p.first, p.again), "one event id, and two different contents: %s and %s", p.first.what(), p.again.what())
		}
	}
	for s, n := range highest {
		if l.has(s) {
			continue
		}
		since := int64(0)
		for v := int64(1); v < n; v++ {
			switch r := byVersion[version{s, v}]; {
			case r != nil:
				since = max(since, r.At)
			case l.mayBeGone(s, says, o.ID, since):
				f.skipped(i5, 1)
			default:
				f.wrong(i5, o, nil, "%s's version %d is missing, and its version %d is there", s, v, n)
			}
		}
	}
}
