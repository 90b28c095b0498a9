package outbox

import (
	"slices"
	"time"
)

// gapLifetime is how long an id that was drawn may stay unseen: a store
// transaction ends within transactionLimit, and the margin is for its commit.
const gapLifetime = transactionLimit + time.Second

// maxGaps is how many gaps are looked at one by one. With more of them, which takes many transactions
// that failed at once, one range from the first to the last is.
const maxGaps = 256

// gaps are the ids that were drawn and not seen. Ids are drawn in order, but
// transactions commit in any order: an id below the highest one seen may still appear, for
// as long as a store transaction may last; then it was drawn in vain.
//
// So the relay reads what lies above the highest id it has seen, and the gaps below,
// in one statement: a later row of the same key is never visible without the earlier one. A poll
// steps over no dead rows, however long a transaction elsewhere keeps vacuum from removing them.
//
// A transaction that lasts longer is found by the look from zero, which the
// relay takes once a minute.
type gaps struct {
	highest int64
	open    []gap // ascending, disjoint
}

type gap struct {
	lo, hi int64
	since  time.Time // when it was noticed; its ids were drawn before
}

// saw records that the row with that id was read.
func (g *gaps) saw(id int64, now time.Time) {
	if id > g.highest {
		if id > g.highest+1 {
			g.open = append(g.open, gap{g.highest + 1, id - 1, now})
		}
		g.highest = id
		return
	}
	i, missing := g.find(id)
	if !missing {
		return // seen before
	}
	whole := g.open[i]
	var rest []gap
	if whole.lo < id {
		rest = append(rest, gap{whole.lo, id - 1, whole.since})
	}
	if id < whole.hi {
		rest = append(rest, gap{id + 1, whole.hi, whole.since})
	}
	g.open = slices.Replace(g.open, i, i+1, rest...)
}

// find returns the gap that an id lies in, if it does.
func (g *gaps) find(id int64) (i int, ok bool) {
	return slices.BinarySearchFunc(g.open, id, func(e gap, id int64) int {
		switch {
		case e.hi < id:
			return -1
		case e.lo > id:
			return 1
		}
		return 0
	})
}

// missing tells whether an id was not seen and may still appear.
func (g *gaps) missing(id int64) bool {
	_, ok := g.find(id)
	return ok || id > g.highest
}

// missingAfter is the lowest missing id above another one.
func (g *gaps) missingAfter(id int64) int64 {
	i, ok := g.find(id + 1)
	switch {
	case ok:
		return id + 1
	case i < len(g.open):
		return g.open[i].lo
	}
	return max(g.highest, id) + 1
}

// looked records that all up to an id was read by a look begun at began, and forgets the gaps in
// which nothing could appear after it. Time alone must not close a gap: a batch may take longer
// than gapLifetime, and what appeared meanwhile has to be read before the later rows of its key.
func (g *gaps) looked(upTo int64, began time.Time) {
	g.open = slices.DeleteFunc(g.open, func(e gap) bool { return e.hi <= upTo && began.Sub(e.since) >= gapLifetime })
}

// ranges are the gaps at or below an id, as the lowest and highest id of each.
func (g *gaps) ranges(upTo int64) (lo, hi []int64) {
	for _, e := range g.open {
		if e.lo > upTo {
			break
		}
		lo, hi = append(lo, e.lo), append(hi, min(e.hi, upTo))
	}
	if len(lo) > maxGaps {
		lo, hi = lo[:1], hi[len(hi)-1:]
	}
	return lo, hi
}
