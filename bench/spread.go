package bench

import "slices"

// Spread is what the rounds of one number came to.
type Spread struct {
	Min, Median, Max float64
	Rounds           []float64 // in the order of the rounds
}

func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	return Spread{Min: slices.Min(values), Median: Median(values), Max: slices.Max(values), Rounds: values}
}

// FigureSpread is a figure's numbers over the rounds, each round taken by itself.
type FigureSpread struct {
	Ours, Theirs, Ratio Spread
}

// Spreads computes each figure once per round, and says by the figures' names how far they lie apart.
func Spreads(scenarios []Scenario, rows []Row) map[string]FigureSpread {
	ours, theirs, ratios := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for _, round := range roundsOf(rows) {
		of := slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return r.Round != round })
		for _, f := range Figures(scenarios, of) {
			if f.Measured() {
				ours[f.Name] = append(ours[f.Name], f.Ours)
			}
			if f.Compared() {
				theirs[f.Name], ratios[f.Name] = append(theirs[f.Name], f.Theirs), append(ratios[f.Name], f.Ratio)
			}
		}
	}
	spreads := map[string]FigureSpread{}
	for name := range ours {
		spreads[name] = FigureSpread{Ours: spreadOf(ours[name]), Theirs: spreadOf(theirs[name]), Ratio: spreadOf(ratios[name])}
	}
	return spreads
}

func roundsOf(rows []Row) []int {
	var rounds []int
	for _, r := range rows {
		rounds = append(rounds, r.Round)
	}
	slices.Sort(rounds)
	return slices.Compact(rounds)
}
