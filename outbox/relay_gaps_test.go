package outbox

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What the relay looks at below the highest id it has seen is what it has not
// seen there, for as long as that may still appear.
func TestTheGapsAreTheIDsThatMayStillAppear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 30
		began := time.Now()
		ids := rapid.Permutation(seq(most)).Draw(t, "appear")
		shown := rapid.IntRange(0, most).Draw(t, "shown")
		upTo := rapid.Int64Range(0, most).Draw(t, "up to")
		var g gaps
		seen := map[int64]bool{}
		for _, id := range ids[:shown] {
			g.saw(id, began)
			if rapid.Bool().Draw(t, "again") {
				g.saw(id, began)
			}
			seen[id] = true
		}
		lo, hi := g.ranges(upTo)
		looked := map[int64]bool{}
		for i := range lo {
			for id := lo[i]; id <= hi[i]; id++ {
				if looked[id] {
					t.Fatalf("id %d is in two gaps", id)
				}
				looked[id] = true
			}
		}
		for id := int64(1); id <= most; id++ {
			if want := !seen[id] && id <= min(g.highest, upTo); looked[id] != want {
				t.Fatalf("id %d is in a gap: %v, want %v; seen %v, up to %d", id, looked[id], want, ids[:shown], upTo)
			}
		}
		g.looked(most, began.Add(gapLifetime-time.Nanosecond))
		if lo, _ := g.ranges(most); (len(lo) > 0) != (int64(len(seen)) < g.highest) {
			t.Fatalf("gaps from %v within their lifetime; seen %v", lo, ids[:shown])
		}
		g.looked(upTo, began.Add(gapLifetime))
		for _, e := range g.open {
			if e.hi <= upTo {
				t.Fatalf("a gap from %d to %d after its lifetime", e.lo, e.hi)
			}
		}
	})
}

func TestVeryManyGapsAreOneRange(t *testing.T) {
	var g gaps
	now := time.Now()
	for id := int64(2); id < 10*maxGaps; id += 2 {
		g.saw(id, now)
	}
	lo, hi := g.ranges(g.highest)
	if len(lo) != 1 || lo[0] != 1 || len(hi) != 1 || hi[0] != g.highest-1 {
		t.Errorf("ranges from %v to %v, want one from 1 to %d", lo, hi, g.highest-1)
	}
}

func seq(n int64) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(i) + 1
	}
	return ids
}

// A broker that does not answer makes a batch last longer than any transaction. What was
// committed below meanwhile still comes before the later rows of its key.
func TestAGapIsLookedAtOnceMoreHoweverLongTheBatchTook(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	r := NewRelay(db, b, quiet())
	tx, err := db.Begin()
	need(t, err)
	defer tx.Rollback()
	insertRow(t, tx, "slow", 1)
	insertRow(t, db, "fast", 1)
	s := &shift{}
	step(t, r, s)
	for i := range s.seen.open {
		s.seen.open[i].since = time.Now().Add(-gapLifetime) // as if that batch had lasted so long
	}
	need(t, tx.Commit())
	insertRow(t, db, "slow", 2)
	step(t, r, s)
	b.checkOrder(t, map[string]int{"slow": 2, "fast": 1})
}

func TestALowerIDThatCommitsLaterIsNotLost(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	r := NewRelay(db, b, quiet())
	background(t, run(r))
	tx, err := db.Begin()
	need(t, err)
	defer tx.Rollback()
	low := insertRow(t, tx, "slow", 1)
	high := insertRow(t, db, "fast", 1)
	if low >= high {
		t.Fatal("the ids are not inverted")
	}
	eventually(t, func() bool { return b.published("fast") == 1 && unsent(t, db) == 0 })
	need(t, tx.Commit())
	eventually(t, func() bool { return b.published("slow") == 1 && unsent(t, db) == 0 })
}

// With pages that are full the relay goes on upwards. A key's next row must not be
// found there before its first one, which committed meanwhile below.
func TestALowerIDThatCommitsBetweenTwoPagesKeepsItsPlace(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	r := NewRelay(db, b, quiet())
	r.table.limit, r.table.maximum = 2, 2
	tx, err := db.Begin()
	need(t, err)
	defer tx.Rollback()
	insertRow(t, tx, "slow", 1)
	for n := range 4 {
		insertRow(t, db, "fast", n+1)
	}
	s := &shift{}
	step(t, r, s)
	need(t, tx.Commit())
	insertRow(t, db, "slow", 2)
	for range 4 {
		step(t, r, s)
	}
	b.checkOrder(t, map[string]int{"slow": 2, "fast": 4})
}

func TestARowBelowTheBoundIsFoundFromZero(t *testing.T) {
	db := migrated(t)
	b := &broker{}
	r := NewRelay(db, b, quiet())
	s := &shift{}
	tx, err := db.Begin()
	need(t, err)
	defer tx.Rollback()
	insertRow(t, tx, "late", 1)
	insertRow(t, db, "a", 1)
	step(t, r, s)
	s.seen.open = nil // as after gapLifetime
	step(t, r, s)
	need(t, tx.Commit())
	step(t, r, s)
	if b.published("late") != 0 {
		t.Fatal("the bound did not hold")
	}
	s.wholeAt = time.Time{} // a minute later
	step(t, r, s)
	if b.published("late") != 1 {
		t.Error("a row that appeared below the bound was not found from zero")
	}
}
