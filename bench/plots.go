package bench

import (
	"fmt"
	"path/filepath"
	"strings"
)

// plot is a picture beside the report.
type plot struct{ File, Title, SVG string }

// plots draws the figures, one picture for each with its parts (and one for each unit, as one scale
// cannot hold two), and the series of each scenario that has some.
func (r report) plots() []plot {
	var plots []plot
	bars, titles := map[string][]bar{}, []string{}
	for _, f := range r.figures {
		if !f.Measured() {
			continue
		}
		whole, _, _ := strings.Cut(f.Name, ".")
		title := fmt.Sprintf("%s (%s)", whole, f.Unit)
		if bars[title] == nil {
			titles = append(titles, title)
		}
		bars[title] = append(bars[title], r.bars(f)...)
	}
	used := map[string]int{}
	for _, title := range titles {
		whole, _, _ := strings.Cut(title, " ")
		used[whole]++
		file := whole
		if used[whole] > 1 {
			file = fmt.Sprintf("%s-%d", whole, used[whole])
		}
		plots = append(plots, plot{filepath.Join(plotsDir, file+".svg"), title, barPlot(title, bars[title])})
	}
	for _, s := range r.scenarios {
		var own []Row
		for _, row := range r.results.Rows {
			if row.Scenario == s.Name && row.Failed == "" {
				own = append(own, row)
			}
		}
		if panels := panelsOf(own, s.Sides[0].Name); len(panels) > 0 {
			title := s.Name + " over time"
			plots = append(plots, plot{filepath.Join(plotsDir, s.Name+"-time.svg"), title, linePlot(title, panels)})
		}
	}
	return plots
}

// bars of a figure: ours and, if there is one, theirs. A goal on the ratio stands on our bar, at as
// many times theirs.
func (r report) bars(f Figure) []bar {
	_, part, _ := strings.Cut(f.Name, ".")
	spread, goal := r.spreads[f.Name], goalOf(f.Name)
	ours := bar{Label: strings.TrimSpace(part + " ours"), Value: f.Ours, Rounds: spread.Ours.Rounds, Ours: true}
	switch {
	case goal.Sign == NoGoal:
	case goal.On == OnRatio:
		ours.Goal = f.Theirs * goal.Limit
	default:
		ours.Goal = goal.Limit
	}
	if !f.Compared() {
		return []bar{ours}
	}
	return []bar{ours, {Label: strings.TrimSpace(part + " theirs"), Value: f.Theirs, Rounds: spread.Theirs.Rounds}}
}
