package scenario

import (
	"math"
	"slices"
	"testing"

	"millrace/bench"
)

// What is left open is a transaction with an id, which holds back what looks at transaction ids; after its end
// nothing of it remains.
func TestATransactionIsLeftOpen(t *testing.T) {
	round := aRound(t)
	for _, database := range []string{"", elsewhere} {
		end, err := leaveOpen(t.Context(), round.DSN, database)
		if err != nil {
			t.Fatal(err)
		}
		var open int
		const idle = `SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_xid IS NOT NULL AND datname = coalesce(nullif($1, ''), current_database())`
		if err := round.DB.QueryRow(idle, database).Scan(&open); err != nil || open != 1 {
			t.Errorf("database %q: %d transactions are open that have written, %v; want 1", database, open, err)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		if end, err = leaveOpen(t.Context(), round.DSN, database); err != nil {
			t.Errorf("the first one left something: %v", err)
		} else if err := end(); err != nil {
			t.Error(err)
		}
	}
}

func TestEventsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		m                               measured
		orders, handled, logged, unsent int64
		wrong                           bool
	}{
		"all":                        {measured{whole: true}, 100, 100, 100, 0, false},
		"stopped early":              {measured{}, 100, 50, 30, 20, false},
		"published, not yet deleted": {measured{}, 100, 50, 31, 20, false},
		"an event is lost":           {measured{}, 100, 50, 29, 20, true},
		"an event without an order":  {measured{}, 100, 50, 51, 0, true},
		"all, but one is not there":  {measured{whole: true}, 100, 100, 99, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkSaid(c.m, c.orders, c.handled, c.logged, c.unsent); (err != nil) != c.wrong {
				t.Errorf("checkSaid = %v, want an error: %v", err, c.wrong)
			}
		})
	}
}

func TestLossIsCountedRoundByRound(t *testing.T) {
	row := func(side string, round int, rate float64) bench.Row {
		return bench.Row{Side: side, Round: round, Values: bench.Values{"events_per_second": rate}}
	}
	got := losses([]bench.Row{row(ours, 1, 100), row(ours+whileIdle, 1, 95), row(ours, 3, 200), row(ours+whileIdle, 2, 10), row(ours+whileIdle, 3, 100)}, ours)
	for i := range got {
		got[i] = math.Round(got[i])
	}
	if want := []float64{5, 50}; !slices.Equal(got, want) {
		t.Errorf("losses = %v, want %v", got, want)
	}
}
