package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// runner of scenarios that need no servers; the rows it appended and what it said come with it.
func runner(scenarios ...Scenario) (r *Runner, appended *[]Row, said *strings.Builder) {
	appended, said = &[]Row{}, &strings.Builder{}
	return &Runner{
		Scale: Quick, Scenarios: scenarios, Log: slog.New(slog.DiscardHandler), Progress: said,
		Before: func(context.Context) (float64, error) { return 1234, nil },
		Append: func(row Row) error { *appended = append(*appended, row); return nil },
	}, appended, said
}

func order(rows []Row) (of []string) {
	for _, row := range rows {
		of = append(of, fmt.Sprintf("%s %s %d", row.Scenario, row.Side, row.Round))
	}
	return of
}

func TestSidesAreRunInTurn(t *testing.T) {
	r, appended, said := runner(racers([]float64{1, 2, 3}, []float64{1, 2, 3}), lone())
	rows, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"relay ours 1", "relay stock 1", "relay ours 2", "relay stock 2", "relay ours 3", "relay stock 3", "soak ours 1"}
	if diff := cmp.Diff(want, order(rows)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(rows, *appended); diff != "" {
		t.Errorf("the file has other rows: %s", diff)
	}
	soak := rows[len(rows)-1]
	if soak.FsyncsPerSecond != 1234 || soak.Partitions != partitions || soak.Concurrency != 16 || len(soak.Series["orders_per_second"]) != 4 {
		t.Errorf("the row does not have all that was told: %+v", soak)
	}
	if !strings.Contains(said.String(), "relay, round 2 of 3, 1234 fsyncs/s") {
		t.Errorf("nobody could follow:\n%s", said)
	}
}

func TestAFailedSideMakesNoFigureAndStopsNobody(t *testing.T) {
	s := racers([]float64{100, 900, 100}, []float64{1, 1, 1})
	good, round := s.Sides[0].Run, 0
	lost := errors.New("one message was lost")
	s.Sides[0].Run = func(ctx context.Context, env *Env) (Values, error) {
		values, err := good(ctx, env)
		if round++; round == 2 {
			err = lost
		}
		return values, err
	}
	r, appended, _ := runner(s, lone())
	rows, err := r.Run(t.Context())
	if !errors.Is(err, lost) || !strings.Contains(err.Error(), "relay, ours, round 2") {
		t.Errorf("the error should say what failed, but is %v", err)
	}
	if len(*appended) != 7 || (*appended)[2].Failed != "one message was lost" {
		t.Errorf("the row should be there, marked: %+v", *appended)
	}
	if got := Figures(r.Scenarios, rows)[0].Ours; got != 100 {
		t.Errorf("the median is %v: the failed round counts", got)
	}
}

func TestAnInterruptedRunKeepsItsRows(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := racers([]float64{1, 2, 3}, []float64{1, 2, 3})
	good, round := s.Sides[1].Run, 0
	s.Sides[1].Run = func(ctx context.Context, env *Env) (Values, error) {
		if round++; round == 2 {
			cancel()
			return nil, ctx.Err()
		}
		return good(ctx, env)
	}
	r, appended, _ := runner(s, lone())
	if _, err := r.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run returned %v", err)
	}
	if diff := cmp.Diff([]string{"relay ours 1", "relay stock 1", "relay ours 2"}, order(*appended)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoNumberIsLeftOut(t *testing.T) {
	s := racers([]float64{math.NaN()}, []float64{math.Inf(1)})
	r, appended, _ := runner(s)
	r.Rounds = 1
	if _, err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len((*appended)[0].Values) != 0 || len((*appended)[1].Values) != 0 {
		t.Errorf("JSON cannot say this: %+v", *appended)
	}
}

func TestLaterScenariosSeeEarlierRows(t *testing.T) {
	seen := 0
	watcher := Scenario{Name: "watcher", Sides: []Side{{Name: "ours", Run: func(_ context.Context, env *Env) (Values, error) {
		seen = len(env.Earlier)
		return nil, nil
	}}}, Figures: func([]Row) []Figure { return nil }}
	r, _, _ := runner(racers([]float64{1}, []float64{1}), watcher)
	r.Rounds = 1
	if _, err := r.Run(t.Context()); err != nil || seen != 2 {
		t.Errorf("%d earlier rows, error %v", seen, err)
	}
}

func TestFiguresStandInTheTablesOrder(t *testing.T) {
	var names []string
	for _, f := range Figures([]Scenario{lone(), racers(nil, nil)}, append(resultsOf([]float64{1}, []float64{1}).Rows, Row{Scenario: "soak", Side: "ours", Round: 1, Values: Values{"drift": 1}})) {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{"relay_vs_forwarder", "soak", "soak.outbox", "soak.rss"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestSelect(t *testing.T) {
	all := []Scenario{racers(nil, nil), lone()}
	for _, name := range []string{"relay", "relay_vs_forwarder"} {
		if got, err := Select(all, []string{name}); err != nil || len(got) != 1 || got[0].Name != "relay" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := Select(all, nil); err != nil || len(got) != 2 {
		t.Errorf("no name: %v, %v", got, err)
	}
	if _, err := Select(all, []string{"relay", "rely"}); err == nil || !strings.Contains(err.Error(), `"rely"; there are relay, relay_vs_forwarder, soak`) {
		t.Errorf("a wrong name: %v", err)
	}
}
