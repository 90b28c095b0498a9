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
