package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 3}, 3}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := Median(c.of); got != c.want {
			t.Errorf("the median of %v is %v, not %v", c.of, c.want, got)
		}
	}
	if !math.IsNaN(Median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestTheWorstPairIsOurWorstBesideTheirBest(t *testing.T) {
	more := Between("relay_vs_forwarder", []float64{400, 300, 500}, []float64{10, 12, 8})
	want := Figure{Name: "relay_vs_forwarder", Unit: "rows/s", Ours: 400, Theirs: 10, Ratio: 40, WorstPair: 25, Goal: "≥ 40×", Reached: true}
	if diff := cmp.Diff(want, more); diff != "" {
		t.Error(diff)
	}
	less := Between("latency_30", []float64{40, 30, 60}, []float64{100, 90, 120}) // milliseconds: less is better
	if less.WorstPair != 60.0/90 || !less.Reached || less.Goal != "≤ 50 ms" {
		t.Errorf("of latencies the worst is the highest: %+v", less)
	}
}

func TestOfAWatchedQuotientMoreIsBetter(t *testing.T) {
	if f := Between("hot_sku.tuned", []float64{40, 30}, []float64{10, 12}); f.WorstPair != 2.5 || f.Goal != "" || !f.Reached {
		t.Errorf("the worst pair is our lowest beside their highest, without a goal: %+v", f)
	}
}

func TestAnUnjudgedFigureHasNoGoal(t *testing.T) {
	f := Between("soak.rss", []float64{50}, nil)
	f.Unjudged = true
	if f = Judge(f); f.Goal != "" || !f.Reached {
		t.Errorf("its goal does not apply: %+v", f)
	}
}

func TestAFigureIsJudgedOnWhatItsGoalSpeaksOf(t *testing.T) {
	for _, c := range []struct {
		figure  Figure
		reached bool
	}{
		{Between("relay_vs_forwarder", []float64{399}, []float64{10}), false}, // the ratio
		{Between("latency_30", []float64{51}, []float64{1000}), false},        // ours, however slow they are
		{Between("latency_30", []float64{50}, nil), true},
		{Between("latency_30", nil, nil), false}, // not measured is not reached
		{Between("cost", nil, nil), false},
		{Between("cost", []float64{7}, nil), true}, // without a goal
		{Between("cost.relay", []float64{7}, nil), true},
	} {
		if c.figure.Reached != c.reached {
			t.Errorf("%+v: reached should be %v", c.figure, c.reached)
		}
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	err := WriteJSON(&out, []Figure{
		Between("relay_vs_forwarder", []float64{400}, []float64{10}),
		Between("soak.goroutines", []float64{0}, nil),
		Between("latency_30", nil, nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"figures": []any{
		map[string]any{"name": "relay_vs_forwarder", "ours": 400.0, "theirs": 10.0, "ratio": 40.0, "worstPair": 40.0, "goal": "≥ 40×", "unit": "rows/s", "reached": true},
		map[string]any{"name": "soak.goroutines", "ours": 0.0, "theirs": nil, "ratio": nil, "worstPair": nil, "goal": "≤ 10 %", "unit": "%", "reached": true},
		map[string]any{"name": "latency_30", "ours": nil, "theirs": nil, "ratio": nil, "worstPair": nil, "goal": "≤ 50 ms", "unit": "ms", "reached": false},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 2: "2", 0.12345: "0.12", 12.34: "12.3", 123.4: "123", 1234.5: "1,234", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := number(v); got != want {
			t.Errorf("%v is written %q, not %q", v, got, want)
		}
	}
}
