package verify

import (
	"cmp"
	"slices"
)

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
	heardOf := map[service]bool{}
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
		heardOf[r.Source] = true
		if r.Row != 0 {
			continue
		}
		o.checkPartition(r, l, f)
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
		if p.again.ours() && p.again.Row == 0 {
			o.checkPartition(p.again, l, f)
		}
		if p.first.ours() && p.again.ours() && p.first.Digest != p.again.Digest {
			f.wrong(i5, o, places(p.first, p.again), "one event id, and two different contents: %s and %s", p.first.what(), p.again.what())
		}
	}
	for s := range heardOf {
		if !l.has(s) {
			o.checkGaps(s, l, f)
		}
	}
}

// checkPartition: a key has one partition, in which its events are heard in their order.
func (o *order) checkPartition(r *record, l *look, f *findings) {
	if n := l.partitions[r.Kind]; n > 0 && r.Partition != partitionOf([]byte(o.ID.String()), n) {
		f.wrong(i5, o, places(r), "the key belongs into partition %d of %d", partitionOf([]byte(o.ID.String()), n), n)
	}
}

// checkGaps: what a service has said has no gap, where its row cannot tell how much that is. A gap is one finding, however wide:
// what a record calls its version is its own word.
func (o *order) checkGaps(s service, l *look, f *findings) {
	var said []*record
	for _, r := range o.events {
		if r.ours() && r.Source == s {
			said = append(said, r)
		}
	}
	slices.SortFunc(said, func(a, b *record) int { return cmp.Compare(a.Version, b.Version) })
	version, since := int64(0), int64(0)
	for _, r := range said {
		switch missing := r.Version - version - 1; {
		case missing <= 0: // one version that is two events has been said
		case l.mayBeGone(s, says, o.ID, since):
			f.skipped(i5, missing)
		case missing == 1:
			f.wrong(i5, o, places(r), "%s's version %d is missing, and its version %d is there", s, r.Version-1, r.Version)
		default:
			f.wrong(i5, o, places(r), "%s's versions %d to %d are missing, and its version %d is there", s, version+1, r.Version-1, r.Version)
		}
		version, since = r.Version, max(since, r.At)
	}
}
