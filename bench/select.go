package bench

import (
	"fmt"
	"slices"
	"strings"
)

// Select keeps the scenarios that are named, by their own name or that of a figure they give, and
// refuses a name that nobody has. No names: all.
func Select(scenarios []Scenario, names []string) ([]Scenario, error) {
	if len(names) == 0 {
		return scenarios, nil
	}
	known := func(s Scenario, name string) bool { return s.Name == name || slices.Contains(s.Gives, name) }
	for _, name := range names {
		if !slices.ContainsFunc(scenarios, func(s Scenario) bool { return known(s, name) }) {
			var all []string
			for _, s := range scenarios {
				all = append(all, append([]string{s.Name}, s.Gives...)...)
			}
			slices.Sort(all)
			return nil, fmt.Errorf("there is no scenario and no figure %q; there are %s", name, strings.Join(slices.Compact(all), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(scenarios), func(s Scenario) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return known(s, name) })
	}), nil
}

// Figures computes all figures from the rows there are, in the order of Goals, then the unknown ones by
// name. A scenario of which our side has no row is left out.
func Figures(scenarios []Scenario, rows []Row) []Figure {
	var figures []Figure
	for _, s := range scenarios {
		var own []Row
		for _, row := range rows {
			if row.Scenario == s.Name && row.Failed == "" {
				own = append(own, row)
			}
		}
		if len(own) == 0 {
			continue
		}
		for _, f := range s.Figures(own) {
			figures = append(figures, Judge(f))
		}
	}
	slices.SortStableFunc(figures, func(a, b Figure) int { return place(a.Name) - place(b.Name) })
	return figures
}

// place of a figure in the report: its own in Goals, or behind the figure that it is a part of.
func place(name string) int {
	at := func(name string) int { return slices.IndexFunc(Goals, func(g Goal) bool { return g.Name == name }) }
	if i := at(name); i >= 0 {
		return i
	}
	whole, _, _ := strings.Cut(name, ".")
	if i := at(whole); i >= 0 {
		return i
	}
	return len(Goals)
}
