package bench

import (
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	then := resultsOf([]float64{100, 110, 105, 95, 102}, []float64{10, 11, 10, 10, 10})
	for _, c := range []struct {
		name         string
		ours, theirs []float64
		want         Verdict
	}{
		{"within the spread", []float64{96, 99, 101}, []float64{10, 10, 10}, Same},
		{"one round touches", []float64{80, 82, 96}, []float64{10, 10, 10}, Same},
		{"slower", []float64{80, 82, 84}, []float64{10, 10, 10}, Slower},
		{"faster", []float64{140, 150, 160}, []float64{10, 10, 10}, Faster},
		{"so is the opponent: the machine", []float64{50, 52, 51}, []float64{5, 5, 5}, AsTheirs},
	} {
		got := Compare([]Scenario{racers(nil, nil)}, then, resultsOf(c.ours, c.theirs))
		if len(got) != 1 || got[0].Verdict != c.want {
			t.Errorf("%s: %+v, not %q", c.name, got, c.want)
		}
	}
}

func TestASmallChangeWithoutSpreadIsNotNamed(t *testing.T) {
	one, other := Spread{Min: 100, Median: 100, Max: 100}, Spread{Min: 96, Median: 96, Max: 96}
	if got := judgeChange(one, other, false); got != Same {
		t.Errorf("4 %% is %q", got)
	}
	if got := judgeChange(one, Spread{Min: 94, Median: 94, Max: 94}, false); got != Slower {
		t.Errorf("6 %% less is %q", got)
	}
	if got := judgeChange(one, Spread{Min: 120, Median: 120, Max: 120}, true); got != Slower {
		t.Errorf("20 %% more of what should be little is %q", got)
	}
}

func TestTheComparisonNamesWhatGotSlower(t *testing.T) {
	then, now := resultsOf([]float64{100, 110, 105}, []float64{10, 11, 10}), resultsOf([]float64{80, 82, 84}, []float64{10, 10, 10})
	scenarios := []Scenario{racers(nil, nil)}
	var out strings.Builder
	if err := WriteComparison(&out, then, now, Compare(scenarios, then, now)); err != nil {
		t.Fatal(err)
	}
	if want := "relay_vs_forwarder got worse: 105 to 82 rows/s (-22 %), beyond the spread of the rounds"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
	out.Reset()
	if err := WriteComparison(&out, then, then, Compare(scenarios, then, then)); err != nil || !strings.Contains(out.String(), "Nothing got slower") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
