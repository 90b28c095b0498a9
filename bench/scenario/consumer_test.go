package scenario

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/bench"
	"millrace/topic"
)

// What a consumer did wrong is found, and what it did right is not.
func TestAConsumerIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		m                  measured
		orders, rows, said int64
		wrong              bool
	}{
		"all, with their duplicates":            {measured{count: 1010, whole: true}, 1000, 1000, 1000, false},
		"stopped early":                         {measured{count: 505}, 1000, 500, 500, false},
		"stopped early, some not counted yet":   {measured{count: 505}, 1000, 503, 503, false},
		"an order is missing":                   {measured{count: 1010, whole: true}, 1000, 999, 999, true},
		"an event is missing":                   {measured{count: 1010, whole: true}, 1000, 1000, 999, true},
		"an event was said twice":               {measured{count: 1010, whole: true}, 1000, 1000, 1001, true},
		"counted what was not committed":        {measured{count: 505}, 1000, 400, 400, true},
		"a duplicate was taken for a new order": {measured{count: 1010, whole: true}, 1000, 1010, 1010, true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkConsumed(c.m, c.orders, c.rows, c.said); (err != nil) != c.wrong {
				t.Errorf("checkConsumed = %v, want an error: %v", err, c.wrong)
			}
		})
	}
}

func TestAMeterTakesTheTimeUpToItsTarget(t *testing.T) {
	m := newMeter(2)
	handle := m.handle(func(msg *message.Message) ([]*message.Message, error) {
		if msg.UUID == "bad" {
			return nil, errors.New("failed")
		}
		return nil, nil
	})
	for _, id := range []string{"1", "bad", "2", "3"} {
		_, _ = handle(message.NewMessage(id, nil))
	}
	got, err := m.await(t.Context(), time.Hour, nil)
	if err != nil || got.count != 2 || !got.whole || got.span <= 0 {
		t.Errorf("await = %+v, %v; want the first two that succeeded", got, err)
	}
}

func TestAMeterStopsAtItsLimit(t *testing.T) {
	m := newMeter(1000)
	m.begin()
	m.done(3)
	const limit = 30 * time.Millisecond
	got, err := m.await(t.Context(), limit, nil)
	if err != nil || got.count != 3 || got.whole || got.span < limit {
		t.Errorf("await = %+v, %v; want three, not whole, after %s", got, err, limit)
	}
}

func TestAMeterEndsWithWhatItMeasures(t *testing.T) {
	failed := make(chan error, 1)
	broken := errors.New("broken")
	failed <- broken
	if _, err := newMeter(1).await(t.Context(), time.Hour, failed); !errors.Is(err, broken) {
		t.Errorf("await = %v, want the failure", err)
	}
}

// Each order that fill sends is in the topic; those sent twice count once.
func TestATopicIsFilled(t *testing.T) {
	round := aRound(t)
	const orders = 2 * duplicateEvery
	records, err := fill(t.Context(), round.Brokers, 3, orders, topic.OrderCreated.Name)
	if err != nil || records != orders+2 {
		t.Fatalf("fill = %d, %v; want %d records", records, err, orders+2)
	}
	found, err := inLog(t.Context(), round.Brokers, topic.OrderCreated.Name)
	if want := (logged{different: orders, repeats: 2}); err != nil || found != want {
		t.Errorf("the log has %+v, %v; want %+v", found, err, want)
	}
}

func TestTheGoalIsSetBesideTheDocumentedStock(t *testing.T) {
	rows := []bench.Row{
		{Side: ours, Values: bench.Values{"rate": 100}},
		{Side: ours, Values: bench.Values{"rate": 80}},
		{Side: stock, Values: bench.Values{"rate": 5}},
		{Side: stock, Values: bench.Values{"rate": 5}},
		{Side: stockTuned, Values: bench.Values{"rate": 20}},
	}
	f := versusStock("relay_vs_forwarder", rows, "rate")
	if f[0].Name != "relay_vs_forwarder" || f[0].Ratio != 18 || f[0].Goal == "" {
		t.Errorf("want 18 times the documented one, with a goal: %+v", f[0])
	}
	if f[1].Name != "relay_vs_forwarder.tuned" || f[1].Ratio != 4.5 || f[1].WorstPair != 4 || f[1].Goal != "" || f[1].Note != "theirs: stock tuned, rounds: 1" {
		t.Errorf("want 4.5 times the tuned one and 4 at the worst, without a goal: %+v", f[1])
	}
}

func TestAQuickRunMeasuresTheTunedStockOnce(t *testing.T) {
	runs := 0
	side := onceInQuick("relay", bench.Side{Name: stockTuned, Run: func(context.Context, *bench.Env) (bench.Values, error) {
		runs++
		return bench.Values{"rate": 1}, nil
	}})
	earlier := []bench.Row{{Scenario: "relay", Side: stockTuned, Values: bench.Values{"rate": 1}}}
	for _, c := range []struct {
		scale   bench.Scale
		earlier []bench.Row
		want    int
	}{{bench.Quick, nil, 1}, {bench.Quick, earlier, 0}, {bench.Whole, earlier, 1}, {bench.Quick, []bench.Row{{Scenario: "relay", Side: stock, Values: bench.Values{"rate": 1}}}, 1}} {
		runs = 0
		if _, err := side.Run(t.Context(), &bench.Env{Scale: c.scale, Earlier: c.earlier, Progress: t.Logf}); err != nil || runs != c.want {
			t.Errorf("%s after %v: it ran %d times, %v; want %d", c.scale, c.earlier, runs, err, c.want)
		}
	}
}
