package scenario

import (
	"fmt"

	"millrace/bench"
)

// tunedPart ends the names of figures that set us beside the tuned opponent. They have no goal.
const tunedPart = ".tuned"

// versusStock sets our rounds beside those of the opponent with its documentation's settings, which the
// goal speaks of, and beside the tuned one's.
func versusStock(figure string, rows []bench.Row, value string) []bench.Figure {
	documented := bench.Versus(figure, rows, ours, stock, value)
	documented.Note = "theirs: " + stock
	tuned := bench.Versus(figure+tunedPart, rows, ours, stockTuned, value)
	tuned.Note = theirsTuned(rows, value)
	return []bench.Figure{documented, tuned}
}

// theirsTuned says in how many rounds the tuned opponent was measured, if not in all.
func theirsTuned(rows []bench.Row, value string) string {
	note := "theirs: " + stockTuned
	if n := len(bench.Collect(rows, stockTuned, value)); n < len(bench.Collect(rows, stock, value)) {
		note += fmt.Sprintf(", rounds: %d", n)
	}
	return note
}

// versusStopped is versusStock for stock sides that are stopped before they are through: it says how much
// each side did in a round.
func versusStopped(figure string, rows []bench.Row, rate, amount string) []bench.Figure {
	figures := versusStock(figure, rows, rate)
	done := func(side string) float64 { return bench.Median(bench.Collect(rows, side, amount)) }
	for i, side := range []string{stock, stockTuned} {
		figures[i].Note += fmt.Sprintf("; in a round we did %.0f %s, they %.0f", done(ours), amount, done(side))
	}
	return figures
}
