package outbox

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The bound must lie below every id that may still appear, and above all ids
// that were seen, once nothing is missing.
func TestTheBoundNeverPassesAnIDThatMayStillAppear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 30
		began := time.Now()
		ids := rapid.Permutation(seq(most)).Draw(t, "appear")
		shown := rapid.IntRange(0, most).Draw(t, "shown")
		var g gaps
		seen := map[int64]bool{}
		for _, id := range ids[:shown] {
			g.saw(id, began)
			if rapid.Bool().Draw(t, "again") {
				g.saw(id, began)
			}
			seen[id] = true
		}
		lowest := int64(1) // the lowest id that was not seen
		for seen[lowest] {
			lowest++
		}
		want := min(lowest-1, g.highest)
		if got := g.bound(began.Add(gapLifetime - time.Nanosecond)); got != want {
			t.Fatalf("bound %d, want %d: seen %v", got, want, ids[:shown])
		}
		if got := g.bound(began.Add(gapLifetime)); got != g.highest {
			t.Fatalf("bound %d after the gaps' lifetime, want the highest id %d", got, g.highest)
		}
	})
}

func seq(n int64) []int64 {
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = int64(i) + 1
	}
	return ids
}
