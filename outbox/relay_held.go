package outbox

import (
	"maps"
	"slices"
	"time"
)

const (
	// probeAfter is how soon a held row is tried again, maxProbePause the longest
	// pause between tries: a broker that is back should not wait long to be noticed.
	probeAfter    = 100 * time.Millisecond
	maxProbePause = 2 * time.Second
)

// heldBack is what the relay remembers of lanes with a row that could not be
// published: later rows of such a lane wait, other lanes go on. It is bounded by the outbox itself.
type heldBack struct {
	lanes   map[string]*heldLane
	probeAt time.Time
	pause   time.Duration
}

// heldLane is the first row of a lane that could not be published.
type heldLane struct {
	id         int64
	unsendable bool
	// through means that the row got through. The lane is held until the relay begins at
	// zero: its later rows lie below where the relay reads, and those that come now behind them.
	through bool
}

// without returns the rows that may be sent, and the ids of those that are newly
// found to wait behind an unsendable one.
func (h *heldBack) without(rows []outboxRow) (free []outboxRow, behind []int64) {
	if len(h.lanes) == 0 {
		return rows, nil
	}
	for _, row := range rows {
		switch lane := h.lanes[row.lane()]; {
		case lane == nil:
			free = append(free, row)
		case lane.unsendable && !row.unsendable:
			behind = append(behind, row.id)
		}
	}
	return free, behind
}

// hold notes failures, in the order of their rows. It returns the first failure of each
// lane that was not held, and the ids of the rows that are found unsendable.
func (h *heldBack) hold(failed []failure, now time.Time) (first []failure, unsendable []int64) {
	for _, f := range failed {
		lane := h.lanes[f.row.lane()]
		if lane == nil {
			lane = &heldLane{id: f.row.id, unsendable: isUnsendable(f.err)}
			if h.lanes == nil {
				h.lanes = map[string]*heldLane{}
			}
			if len(h.lanes) == 0 {
				h.pause, h.probeAt = probeAfter, now.Add(probeAfter)
			}
			h.lanes[f.row.lane()] = lane
			first = append(first, f)
		}
		if lane.id == f.row.id {
			lane.unsendable = isUnsendable(f.err)
		}
		if lane.unsendable && !f.row.unsendable {
			unsendable = append(unsendable, f.row.id)
		}
	}
	return first, unsendable
}

// probe chooses up to n lanes to try again, by the row that holds each. Which ones is left
// to the map, so that a few hopeless rows cannot be all that is ever tried.
func (h *heldBack) probe(n int) []int64 {
	ids := make([]int64, 0, min(n, len(h.lanes)))
	for _, lane := range h.lanes {
		if len(ids) == n {
			break
		}
		if !lane.through {
			ids = append(ids, lane.id)
		}
	}
	slices.Sort(ids)
	return ids
}

// probed takes the result: the ids that were asked for, and those of them that are
// still there. Lanes whose row has gone are through; if nothing at all was refused, the outage is
// over, and all are. It returns how many.
func (h *heldBack) probed(asked, left []int64, now time.Time) (through int) {
	gone := setOf(asked)
	for _, id := range left {
		delete(gone, id)
	}
	for _, lane := range h.lanes {
		if !lane.through && (len(left) == 0 || gone[lane.id]) {
			lane.through = true
			through++
		}
	}
	if through > 0 {
		h.pause = probeAfter
	} else {
		h.pause = min(2*h.pause, maxProbePause)
	}
	h.probeAt = now.Add(h.pause)
	return through
}

// release lets go of the lanes that are through. The relay calls it when it begins at zero.
func (h *heldBack) release() {
	maps.DeleteFunc(h.lanes, func(_ string, lane *heldLane) bool { return lane.through })
}
