package scenario

import (
	"fmt"

	"millrace/bench"
)

// betterStock is the one of the stock sides that has more of a value, in the median.
func betterStock(rows []bench.Row, value string) string {
	best, most := stock, 0.0
	for _, side := range []string{stock, stockTuned} {
		if median := bench.Median(bench.Collect(rows, side, value)); median > most { // false where there are no rows
			best, most = side, median
		}
	}
	return best
}

// versusBest sets our rounds beside those of the better of the stock sides, and says which one that is, and
// how the other one compares.
func versusBest(figure string, rows []bench.Row, value string) bench.Figure {
	best := betterStock(rows, value)
	f := bench.Versus(figure, rows, ours, best, value)
	f.Note = "theirs: " + best
	for _, side := range []string{stock, stockTuned} {
		if other := bench.Versus(figure, rows, ours, side, value); side != best && other.Ratio > 0 {
			f.Note += fmt.Sprintf(", beside %s %.1f×", side, other.Ratio)
		}
	}
	return f
}

// versusStopped is versusBest for stock sides that are stopped before they are through: it says how much each
// side did in a round.
func versusStopped(figure string, rows []bench.Row, rate, amount string) bench.Figure {
	f := versusBest(figure, rows, rate)
	done := func(side string) float64 { return bench.Median(bench.Collect(rows, side, amount)) }
	f.Note += fmt.Sprintf("; in a round we did %.0f %s, they %.0f", done(ours), amount, done(betterStock(rows, rate)))
	return f
}
