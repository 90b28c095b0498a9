package main

import (
	"slices"
	"strings"
	"testing"

	"millrace/bench"
	"millrace/bench/rig"
	"millrace/bench/scenario"
)

// The smoke is the whole bench, so small that it is over within a minute: it is there to see that both
// sides of each scenario end with the right sums. No figure is judged; they mean nothing at this size.
func TestSmoke(t *testing.T) {
	o := options{smoke: true, kafka: string(rig.EmbeddedKafka), results: t.TempDir()}
	results, _, err := measure(t.Context(), o, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	figures := bench.Figures(scenario.All(), results.Rows)
	for _, s := range scenario.All() {
		for _, name := range s.Gives {
			if !slices.ContainsFunc(figures, func(f bench.Figure) bool { return f.Name == name && f.Measured() }) {
				t.Errorf("scenario %s ran, but gave no %s", s.Name, name)
			}
		}
	}
}

// Every figure is measured by someone; its parts, behind a dot, by the same.
func TestEveryFigureHasAScenario(t *testing.T) {
	for _, g := range bench.Goals {
		if !strings.Contains(g.Name, ".") && !slices.ContainsFunc(scenario.All(), func(s bench.Scenario) bool { return slices.Contains(s.Gives, g.Name) }) {
			t.Errorf("no scenario gives %s", g.Name)
		}
	}
}
