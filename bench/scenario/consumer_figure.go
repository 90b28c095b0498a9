package scenario

import "millrace/bench"

// versusBest sets our rounds beside those of the better of the stock sides, and says which one that is.
func versusBest(figure string, rows []bench.Row, value string) bench.Figure {
	best, most := stock, 0.0
	for _, side := range []string{stock, stockTuned} {
		if median := bench.Median(bench.Collect(rows, side, value)); median > most { // false where there are no rows
			best, most = side, median
		}
	}
	f := bench.Versus(figure, rows, ours, best, value)
	f.Note = "theirs: " + best
	return f
}
