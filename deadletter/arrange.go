package deadletter

import (
	"cmp"
	"slices"
	"strconv"

	"millrace/outbox"
)

// logName is a partition of a topic: what is in one is in order.
type logName struct {
	topic     string
	partition int32
}

func (l *Letter) log() logName { return logName{l.Topic, l.Partition} }

// arrange puts what was lost of a lane into the order in which it is to go on. The messages of a topic follow each
// other as they lie there. A letter was at the head of its lane when it failed, so what waits comes behind the
// letters; unless it lies before one in that one's own topic. Of different topics, the broker's clock decides, and
// where it says the same of events of one publisher, their version: about the order in which the service heard
// them. Nothing more is promised, nor needed: topics overtake each other every day.
func arrange(lost []*Letter) []*Letter {
	logs := map[logName][]*Letter{}
	var failed []*Letter
	for _, l := range lost {
		logs[l.log()] = append(logs[l.log()], l)
		if l.Status != Parked {
			failed = append(failed, l)
		}
	}
	for _, log := range logs {
		slices.SortStableFunc(log, func(a, b *Letter) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	var order []*Letter
	take := func(name logName) *Letter {
		l := logs[name][0]
		order = append(order, l)
		if logs[name] = logs[name][1:]; len(logs[name]) == 0 {
			delete(logs, name)
		}
		return l
	}
	slices.SortStableFunc(failed, earlier)
	for _, l := range failed {
		for slices.Contains(logs[l.log()], l) && take(l.log()) != l {
		}
	}
	for len(logs) > 0 {
		var next *Letter
		for _, log := range logs {
			if next == nil || earlier(log[0], next) < 0 {
				next = log[0]
			}
		}
		take(next.log())
	}
	return order
}

// earlier compares messages of different topics.
func earlier(a, b *Letter) int {
	return cmp.Or(a.PublishedAt.Compare(b.PublishedAt), cmp.Compare(a.Headers[outbox.HeaderSource], b.Headers[outbox.HeaderSource]),
		cmp.Compare(version(a), version(b)), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// version counts what its publisher says of an order; 0 for a message that has none.
func version(l *Letter) int64 {
	n, err := strconv.ParseInt(l.Headers[outbox.HeaderOrderVersion], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// merge puts what was lost, in its order, among what is open in a lane. That keeps its own order and comes first, but
// whatever was lost comes before what lies behind it in its own topic. moved are the ids whose places must
// be drawn anew, in this order.
func merge(open, lost []*Letter) (order []*Letter, moved []string) {
	order = slices.Clone(open)
	for _, l := range lost {
		place := slices.IndexFunc(order, func(o *Letter) bool { return o.log() == l.log() && o.Offset > l.Offset })
		if place < 0 {
			place = len(order)
		}
		order = slices.Insert(order, place, l)
	}
	first := slices.IndexFunc(order, func(l *Letter) bool { return !slices.Contains(open, l) })
	if first >= 0 && first < len(open) { // something open is behind something lost
		for _, l := range order[first:] {
			moved = append(moved, l.ID)
		}
	}
	return order, moved
}
