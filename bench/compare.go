package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// noticeable is the least change that is named, for figures whose rounds lie closer together than
// that: a figure with one round has no spread at all.
const noticeable = 0.05

// Verdict is what became of a figure.
type Verdict string

// Verdicts. A figure whose opponent changed in the same way says something of the machine, not of us.
const (
	Same     Verdict = "same"      // within the spread of the rounds
	Slower   Verdict = "slower"    // worse beyond it; of memory: more
	Faster   Verdict = "faster"    // better beyond it
	AsTheirs Verdict = "as theirs" // changed beyond it, but the ratio to the opponent did not
)

// Comparison is a figure then and now.
type Comparison struct {
	Name, Unit          string
	OursThen, OursNow   float64
	OursChange          float64 // of ours, as a share of then: -0.1 is a tenth less
	RatioThen, RatioNow float64
	Verdict             Verdict
}

// Compare sets figures that both runs have beside each other. A change is beyond the noise when no
// round of one run lies between those of the other, and it is at least 5 %. Where there is an opponent,
// whose code does not change, the ratio must have changed as well.
func Compare(scenarios []Scenario, then, now Results) []Comparison {
	before, after := map[string]Figure{}, Figures(scenarios, now.Rows)
	for _, f := range Figures(scenarios, then.Rows) {
		before[f.Name] = f
	}
	thens, nows := Spreads(scenarios, then.Rows), Spreads(scenarios, now.Rows)
	var comparisons []Comparison
	for _, f := range after {
		old, ok := before[f.Name]
		if !ok || !old.Measured() || !f.Measured() {
			continue
		}
		c := Comparison{Name: f.Name, Unit: f.Unit, OursThen: old.Ours, OursNow: f.Ours, OursChange: change(old.Ours, f.Ours), RatioThen: old.Ratio, RatioNow: f.Ratio}
		lower := goalOf(f.Name).lowerIsBetter()
		c.Verdict = judgeChange(thens[f.Name].Ours, nows[f.Name].Ours, lower)
		if c.Verdict != Same && old.Compared() && f.Compared() && judgeChange(thens[f.Name].Ratio, nows[f.Name].Ratio, lower) != c.Verdict {
			c.Verdict = AsTheirs
		}
		comparisons = append(comparisons, c)
	}
	return comparisons
}

// judgeChange tells whether all rounds of now are on one side of all rounds of then.
func judgeChange(then, now Spread, lowerIsBetter bool) Verdict {
	more, less := now.Min > then.Max, now.Max < then.Min
	switch {
	case !more && !less, math.Abs(change(then.Median, now.Median)) < noticeable:
		return Same
	case more == lowerIsBetter:
		return Slower
	default:
		return Faster
	}
}

// change from then to now, as a share of then.
func change(then, now float64) float64 {
	switch {
	case then == now:
		return 0
	case then == 0:
		return math.Inf(1)
	default:
		return (now - then) / math.Abs(then)
	}
}

// percent is a share in words: "+3 %".
func percent(share float64) string {
	const whole = 100
	if math.IsInf(share, 0) {
		return "from 0"
	}
	return fmt.Sprintf("%+.0f %%", share*whole)
}

// WriteComparison writes the comparison for people, and last what got slower, in a sentence each.
func WriteComparison(w io.Writer, then, now Results, comparisons []Comparison) error {
	fmt.Fprintf(w, "then: %s run of %s, %s\n", then.Run.Scale, then.Run.Began.UTC().Format("2006-01-02 15:04"), then.Run.Machine)
	fmt.Fprintf(w, "now:  %s run of %s, %s\n\n", now.Run.Scale, now.Run.Began.UTC().Format("2006-01-02 15:04"), now.Run.Machine)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tUNIT\tOURS THEN\tNOW\tCHANGE\tRATIO THEN\tNOW\tVERDICT")
	var slower []string
	for _, c := range comparisons {
		fmt.Fprintln(t, strings.Join([]string{c.Name, c.Unit, number(c.OursThen), number(c.OursNow), percent(c.OursChange), times(c.RatioThen), times(c.RatioNow), string(c.Verdict)}, "\t"))
		if c.Verdict == Slower {
			slower = append(slower, fmt.Sprintf("%s got worse: %s to %s %s (%s), beyond the spread of the rounds", c.Name, number(c.OursThen), number(c.OursNow), c.Unit, percent(c.OursChange)))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if then.Run.Scale != now.Run.Scale {
		fmt.Fprintf(w, "A %s run has other sizes than a %s one: figures that depend on them differ for that alone.\n", now.Run.Scale, then.Run.Scale)
	}
	if len(slower) == 0 {
		_, err := fmt.Fprintln(w, "Nothing got slower beyond the spread of the rounds.")
		return err
	}
	_, err := fmt.Fprintln(w, strings.Join(slower, "\n"))
	return err
}
