package bench

import (
	"math"
	"slices"
)

// Versus is the figure of one value on two sides: medians over the rounds, their quotient, and the
// worst pair. Without rows of theirs it is Alone's.
func Versus(name string, rows []Row, ours, theirs, value string) Figure {
	return Between(name, Collect(rows, ours, value), Collect(rows, theirs, value))
}

// Alone is the figure of one value of ours that is compared with nobody.
func Alone(name string, rows []Row, ours, value string) Figure {
	return Between(name, Collect(rows, ours, value), nil)
}

// Between is the figure of two lists of rounds, for values that first have to be computed.
func Between(name string, ours, theirs []float64) Figure {
	f := Figure{Name: name, Ours: Median(ours)}
	if len(theirs) > 0 && len(ours) > 0 {
		f.Theirs = Median(theirs)
		f.Ratio = quotient(f.Ours, f.Theirs)
		if goalOf(name).lowerIsBetter() {
			f.WorstPair = quotient(slices.Max(ours), slices.Min(theirs))
		} else {
			f.WorstPair = quotient(slices.Min(ours), slices.Max(theirs))
		}
	}
	return Judge(f)
}

// Measured tells whether there is a number of ours.
func (f Figure) Measured() bool { return !math.IsNaN(f.Ours) }

// Compared tells whether there is also one of theirs.
func (f Figure) Compared() bool { return f.Measured() && f.Theirs != 0 && !math.IsNaN(f.Theirs) }

// Collect is a value of one side in all rounds that have it, in the order of the rows.
func Collect(rows []Row, side, value string) []float64 {
	var found []float64
	for _, r := range rows {
		if v, ok := r.Values[value]; ok && r.Side == side && r.Failed == "" {
			found = append(found, v)
		}
	}
	return found
}

// Median is the middle one, the mean of the middle two, or NaN of none: not measured.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[half-1] + sorted[half]) / 2
	}
	return sorted[half]
}

// quotient is 0 where there is none.
func quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
