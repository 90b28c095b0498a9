package outbox

import (
	"slices"
	"time"
)

// gapLifetime is how long an id that was drawn may stay unseen: a store
// transaction ends within transactionLimit, and the margin is for its commit.
const gapLifetime = transactionLimit + time.Second

// gaps gives the relay its lower bound. Ids are drawn in order, but transactions
// commit in any order: an id below the highest one seen may still appear. Such
// gaps hold the bound back, for as long as a store transaction may last; then
// the id was drawn in vain. Without gaps the bound is the highest id seen, so that
// a poll steps over no dead rows, however long a transaction elsewhere keeps
// vacuum from removing them.
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
	i, _ := slices.BinarySearchFunc(g.open, id, func(e gap, id int64) int {
		switch {
		case e.hi < id:
			return -1
		case e.lo > id:
			return 1
		}
		return 0
	})
	if i == len(g.open) || id < g.open[i].lo {
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

// bound is an id up to which nothing new can appear any more.
func (g *gaps) bound(now time.Time) int64 {
	g.open = slices.DeleteFunc(g.open, func(e gap) bool { return now.Sub(e.since) >= gapLifetime })
	if len(g.open) == 0 {
		return g.highest
	}
	return g.open[0].lo - 1
}
