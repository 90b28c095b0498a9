package scenario

import (
	"testing"
	"time"

	"millrace/topic"
)

// The log is as long as it should be, but two of its records are repeats: two events are missing.
func TestARepeatHidesNoLostEvent(t *testing.T) {
	round := aRound(t)
	const orders = 2 * duplicateEvery
	records, err := fill(t.Context(), round.Brokers, 3, orders, topic.OrderCreated.Name, topic.InventoryReserved.Name)
	if err != nil {
		t.Fatal(err)
	}
	want := logged{different: orders, repeats: 2}
	if found, err := awaitLog(t.Context(), ours, round.Brokers, orders, time.Minute); err != nil || found != want {
		t.Errorf("the log holds %+v, %v; want %+v", found, err, want)
	}
	found, err := awaitLog(t.Context(), ours, round.Brokers, int64(records), 0)
	if err == nil || found != want {
		t.Errorf("%d events are wanted of a log with %+v: %v, want an error", records, found, err)
	}
}
